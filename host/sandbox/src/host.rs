//! The host's side of the interface: each imported function, over the gates of the task.

mod artifacts;
mod http;
mod log;
mod services;
mod state;
mod tools;
mod wasi_http;

use tollgate_core::JobName;
use wasmtime::{
    Engine,
    component::{HasSelf, Linker},
};

use crate::{SandboxError, bindings::v0_1::tollgate::handler as interface, guest::Guest};

#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use http::GuestResponse;
pub(crate) use wasi_http::OwnClient;

/// Everything that any handler may be linked to. What isn't here, nobody can reach.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<Guest>, SandboxError> {
    let mut linker = Linker::new(engine);
    link(&mut linker).map_err(|error| SandboxError::Engine(format!("the interface can't be linked: {error}")))?;
    Ok(linker)
}

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    // Random bytes have a total a task, which WASI's own implementation doesn't know.
    linker.allow_shadowing(true);
    wasmtime_wasi::p2::bindings::random::random::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    linker.allow_shadowing(false);
    wasi_http::link(linker)?;
    interface::types::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    interface::http::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    interface::artifacts::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    interface::state::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    interface::tools::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    interface::llm::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    interface::search::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    interface::speech::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    interface::log::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    Ok(())
}

impl interface::types::Host for Guest {}

impl Guest {
    /// What a call without its grant answers: the line to add.
    fn not_granted(&self, capability: &str) -> String {
        not_granted(self.job.as_ref(), capability)
    }
}

fn not_granted(job: Option<&JobName>, capability: &str) -> String {
    match job {
        Some(job) => format!("not granted; add \"{capability}\" to `grant` of [job.{job}] in jobs.toml"),
        None => format!("not granted: {capability} can't be called from `describe`"),
    }
}
