//! A site that does, path by path, exactly what a test wrote down, and remembers what it was asked.

mod step;

pub use crate::release::Release;
pub use step::Step;

use crate::answer::Answer;
use crate::site::{Answering, Request, Site};
use http::StatusCode;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Requests that the site remembers. A test that looks at more should look at the counts.
pub const SEEN_MAX: usize = 1_000;

type Respond = Arc<dyn Fn(&Request, u64) -> Step + Send + Sync>;

enum Script {
    Steps(Vec<Step>),
    Respond(Respond),
}

struct Play {
    script: Script,
    /// How often the path was asked for.
    asked: u64,
}

#[derive(Default)]
struct State {
    plays: HashMap<String, Play>,
    seen: Vec<Request>,
}

/// A site made of scripts. A path plays its steps in order, one a request, and then repeats the last one; any
/// other path answers 404. Paths are compared without their query.
#[derive(Default)]
pub struct Scripted {
    state: Mutex<State>,
}

impl Scripted {
    /// A site without paths.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same site with a script for a path.
    #[must_use]
    pub fn path(self, path: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        self.set(path, steps);
        self
    }

    /// The same site with a function for a path: from the request, and how many came before it, to a step.
    #[must_use]
    pub fn respond(self, path: &str, respond: impl Fn(&Request, u64) -> Step + Send + Sync + 'static) -> Self {
        self.put(path, Script::Respond(Arc::new(respond)));
        self
    }

    /// Gives a path a new script, also while the sim runs. Without a step it answers 404.
    pub fn set(&self, path: &str, steps: impl IntoIterator<Item = Step>) {
        self.put(path, Script::Steps(steps.into_iter().collect()));
    }

    fn put(&self, path: &str, script: Script) {
        self.lock().plays.insert(path.to_owned(), Play { script, asked: 0 });
    }

    /// The requests for a path, in the order in which they came, headers and bodies included. The site remembers
    /// the first [`SEEN_MAX`] requests since its start or last reset.
    pub fn seen(&self, path: &str) -> Vec<Request> {
        self.lock().seen.iter().filter(|request| request.path() == path).cloned().collect()
    }

    // Nothing that could panic half-way happens under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, request: &Request) -> Option<Step> {
        let (respond, nth) = {
            let mut state = self.lock();
            if state.seen.len() < SEEN_MAX {
                state.seen.push(request.clone());
            }
            let play = state.plays.get_mut(request.path())?;
            let nth = play.asked;
            play.asked += 1;
            match &play.script {
                Script::Steps(steps) => {
                    let step = usize::try_from(nth).ok().and_then(|nth| steps.get(nth)).or(steps.last());
                    return step.cloned();
                }
                Script::Respond(respond) => (respond.clone(), nth),
            }
        };
        // Out of the lock: the test's function may ask the site things.
        Some(respond(request, nth))
    }
}

impl Site for Scripted {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            match self.step(&request) {
                Some(step) => step.play().await,
                None => Answer::text(StatusCode::NOT_FOUND, "no script for this path\n"),
            }
        })
    }

    fn reset(&self) {
        let mut state = self.lock();
        state.seen.clear();
        for play in state.plays.values_mut() {
            play.asked = 0;
        }
    }
}
