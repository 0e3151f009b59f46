//! The small internet of a campaign: pages that show how far the handler has come, a model and a search that are paid.
//! Each request is told at once, and its answer is held for as long as the campaign says so.

use std::{future::poll_fn, sync::Arc};

use tokio::sync::watch;
use tollgate_core::{model::Dialect, money::NanoUsd};
use tollgate_sim::{
    Answer, Answering, Request, Sim, Site,
    sites::{
        bill::Billed,
        models::{Models, Say, usual_models},
        search::Serper,
    },
};

use crate::tap::Flow;

/// Where the pages are.
pub(crate) const PAGES: &str = "pages.example";
/// Where the model is.
const MODEL_HOST: &str = "api.openai.com";
/// The model, one of the small internet's usual ones.
pub(crate) const MODEL: &str = "gpt-4.1-mini";
/// What a search costs.
pub(crate) const SEARCH_PRICE: NanoUsd = NanoUsd(1_000_000);
/// A word in what is asked when the model is to search first.
pub(crate) const LOOK: &str = "lookabout";

/// Who is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Model,
    Search,
}

/// A request that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// For a page, by its path.
    Page(String),
    /// For an answer that is paid: it is billed. With the bytes of answers that had passed the tap by then.
    Asked(Service, u64),
}

/// What is seen of the program from outside.
pub(crate) struct Eyes {
    seen: watch::Sender<Vec<Seen>>,
    /// How the paths of pages begin that are held.
    held: watch::Sender<Option<&'static str>>,
    flow: Arc<watch::Sender<Flow>>,
}

impl Eyes {
    fn see(&self, seen: Seen) {
        self.seen.send_modify(|all| all.push(seen));
    }

    /// What has come since the last [`Eyes::forget`].
    pub(crate) fn seen(&self) -> watch::Receiver<Vec<Seen>> {
        self.seen.subscribe()
    }

    pub(crate) fn forget(&self) {
        self.seen.send_replace(Vec::new());
    }

    /// Holds pages whose paths begin so; none: lets all of them go.
    pub(crate) fn hold(&self, pages: Option<&'static str>) {
        self.held.send_replace(pages);
    }
}

struct Pages(Arc<Eyes>);

impl Site for Pages {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            let path = request.path().to_owned();
            self.0.see(Seen::Page(path.clone()));
            let is_let_go = |held: &Option<&'static str>| held.is_none_or(|held| !path.starts_with(held));
            let mut held = self.0.held.subscribe();
            // It can't fail: `self` holds the sender.
            let _let_go = held.wait_for(is_let_go).await;
            Answer::html("<p>a page</p>")
        })
    }
}

/// A paid site whose requests are told.
struct Told {
    eyes: Arc<Eyes>,
    service: Service,
    site: Arc<dyn Site>,
}

impl Site for Told {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            let mut answering = self.site.answer(request);
            let mut is_told = false;
            poll_fn(|context| {
                // It is billed at its first step, before anything of it is sent.
                let answer = answering.as_mut().poll(context);
                if !std::mem::replace(&mut is_told, true) {
                    self.eyes.see(Seen::Asked(self.service, self.eyes.flow.borrow().answered));
                }
                answer
            })
            .await
        })
    }

    fn reset(&self) {
        self.site.reset();
    }

    fn bill(&self) -> Vec<Billed> {
        self.site.bill()
    }
}

/// All of it.
pub(crate) struct Internet {
    pub(crate) sim: Sim,
    pub(crate) eyes: Arc<Eyes>,
    pub(crate) models: Arc<Models>,
    pub(crate) search: Arc<Serper>,
}

impl Internet {
    /// `flow`: how the tap stands.
    pub(crate) async fn start(flow: Arc<watch::Sender<Flow>>) -> anyhow::Result<Self> {
        let eyes = Arc::new(Eyes { seen: watch::Sender::default(), held: watch::Sender::default(), flow });
        let models = Arc::new(Models::new(usual_models()));
        // Long enough for half of it to be seen on its way.
        models.answer("", Say::Text("Anvils are made, and more of them. ".repeat(60)));
        let search = Arc::new(Serper::new(1, SEARCH_PRICE));
        let told = |service, site: Arc<dyn Site>| Arc::new(Told { eyes: eyes.clone(), service, site }) as Arc<dyn Site>;
        models.answer(LOOK, Say::search("anvils"));
        let sim = Sim::builder()
            .site(PAGES, Arc::new(Pages(eyes.clone())))
            .site(MODEL_HOST, told(Service::Model, models.site(Dialect::OpenAi)))
            .site(Serper::HOST, told(Service::Search, search.clone()))
            .start()
            .await?;
        Ok(Self { sim, eyes, models, search })
    }

    pub(crate) fn bill_of(&self, service: Service) -> Vec<Billed> {
        match service {
            Service::Model => self.models.bill(),
            Service::Search => self.search.desk.bill(),
        }
    }
}
