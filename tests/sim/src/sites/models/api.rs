//! One provider's API as a site: reads a request, lets the script decide, bills, and sends the answer whole or broken.

use super::Models;
use super::asked::Asked;
use super::facts::ModelFacts;
use super::format::{self, Format, Reply, Trouble};
use super::said::{Said, said};
use super::script::{ModelFault, Turn};
use crate::answer::Answer;
use crate::body::AnswerBody;
use crate::site::{Answering, Request, Site};
use crate::sites::bill::{Amount, Billed};
use crate::sites::desk::deliver;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use std::sync::Arc;
use tollgate_core::model::{Dialect, Tokens};

/// What stands under a host name.
pub(super) struct Api {
    pub(super) dialect: Dialect,
    pub(super) models: Arc<Models>,
}

impl Site for Api {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            let format = format::of(self.dialect);
            let asked = match format.read(&request, &self.models) {
                Ok(asked) => asked,
                Err(refusal) => return refusal.answer(),
            };
            self.models.remember(&asked);
            let Turn { say, fault } = self.models.script.turn(&asked);
            if let Some(ModelFault::Raw(step)) = fault {
                return step.play().await;
            }
            if let Some(trouble) = fault.as_ref().and_then(ModelFault::refusal) {
                return format.refusal(&trouble, &asked.model).answer();
            }
            let Some(facts) = self.models.facts(self.dialect, &asked.model) else {
                return format.refusal(&Trouble::UnknownModel(asked.model.clone()), &asked.model).answer();
            };
            self.say(format, &asked, facts, &said(&say, &asked, facts), fault).await
        })
    }

    fn reset(&self) {
        self.models.reset();
    }

    fn bill(&self) -> Vec<Billed> {
        self.models.bill()
    }
}

impl Api {
    async fn say(
        &self,
        format: &dyn Format,
        asked: &Asked,
        facts: &ModelFacts,
        said: &Said,
        fault: Option<ModelFault>,
    ) -> Answer {
        let is_error_inside = matches!(fault, Some(ModelFault::ErrorInside));
        if is_error_inside && !asked.is_streamed {
            return Answer::whole(StatusCode::OK, "application/json", format.error_body().to_string());
        }
        let looked = self.models.cache.look(asked, facts);
        let output = said.thought + said.spoken();
        // What came before the error is half of it.
        let billed = Tokens { output: if is_error_inside { output / 2 } else { output }, ..looked.tokens };
        let row = self.models.bill.push(Billed {
            host: asked.host.to_string(),
            model: asked.model.clone(),
            key: asked.key.clone(),
            amount: Amount::Tokens(billed),
            cost: facts.prices.of(&billed),
            is_whole: false,
        });
        if let Some(ModelFault::Hold(release)) = &fault {
            release.released().await;
        }
        self.models.cache.keep(&looked);
        if matches!(fault, Some(ModelFault::Lost)) {
            return Answer::HangUp;
        }
        let lie = fault.as_ref().and_then(ModelFault::lie);
        let tokens = Tokens { output, ..looked.tokens };
        let reply = Reply { asked, said, tokens, lie, number: self.models.number() };
        let pieces =
            if asked.is_streamed { format.events(&reply) } else { vec![format.whole(&reply).to_string().into()] };
        let body = match fault {
            Some(ModelFault::ErrorInside) => {
                let mut half = pieces[..pieces.len() / 2].concat();
                let error = format.error_event(asked, half.is_empty());
                half.extend_from_slice(&error);
                AnswerBody::whole(half)
            }
            fault => deliver(pieces, asked.is_streamed, fault.as_ref(), &self.models.bill, row),
        };
        let kind = match (asked.is_streamed, asked.is_list) {
            (true, false) => "text/event-stream; charset=utf-8",
            _ => "application/json",
        };
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        Answer::Respond(response)
    }
}
