//! Any bytes as the answer to a request: the gate takes or refuses it, in time and within the site's limits.

mod server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tollgate_core::{
    Clock, JobName, Timestamp,
    http::{HttpError, HttpRequest},
    spec,
};
use tollgate_egress::{Caller, Gate, GateOptions, Held, NoMemory, Refused, Response};

use crate::Target;

use server::Server;

/// Largest body that the policy allows, in bytes: small, so that inputs come to it.
const BODY_MAX: u64 = 16 << 10;
/// Time for a request with all its redirects. The server says all that it says at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than any site is left alone.
const LEAP: Duration = Duration::from_hours(25);

/// A gate before a server that says what the input says, whoever asks for what.
///
/// The first byte says how it is asked: `d`irectly, as a `p`roxy for plain http, as one that has to make a `t`unnel, or
/// as a `s`ocks proxy. The rest is what it says.
pub struct HttpResponses {
    gate: Arc<Gate>,
    server: Server,
    clock: Arc<Leaps>,
    caller: Caller,
    runtime: Runtime,
    _folder: TempDir,
}

impl Target for HttpResponses {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(Leaps::default()));
        let server = runtime.block_on(Server::start());
        let deployment = spec::parse(&policy(server.port()), "jobs.toml").unwrap();
        let options = GateOptions {
            spool: folder.path().join("spool"),
            sessions: folder.path().join("sessions"),
            clock: clock.clone(),
            base: folder.path().to_owned(),
            memory: Arc::new(NoMemory),
            remembered: Vec::new(),
            spent: Vec::new(),
        };
        let gate = Gate::new(&deployment, options).unwrap();
        let caller =
            Caller { job: JobName::new("fuzz").unwrap(), allowed: Vec::new(), tools: None, held: Held::default() };
        Self { gate, server, clock, caller, runtime, _folder: folder }
    }

    fn run(&self, input: &[u8]) {
        match self.ask(input) {
            Some(Ok(response)) => self.runtime.block_on(is_within_limits(&response)),
            Some(Err(refused)) => {
                assert!(!matches!(refused.error, HttpError::Storage(_)), "{refused:?}");
                assert!(!refused.error.to_string().is_empty());
            }
            None => {}
        }
        assert_eq!(self.gate.status().proxies.len(), 2);
    }
}

impl HttpResponses {
    /// Sends a request, to which the server answers as the input says; absent: it says nothing.
    fn ask(&self, input: &[u8]) -> Option<Result<Response, Refused>> {
        let (way, answer) = input.split_first()?;
        let url = match way {
            b'p' => "http://http.example/".to_owned(),
            b't' => "https://http.example/".to_owned(),
            b's' => "http://socks.example/".to_owned(),
            _ => format!("http://127.0.0.1:{}/", self.server.port()),
        };
        self.server.says(answer);
        self.clock.leap();
        let request = HttpRequest { method: "GET".to_owned(), url, headers: Vec::new(), body: None, timeout: None };
        let answer = self.runtime.block_on(async {
            let fetch = self.gate.fetch(&self.caller, request, &|_| {});
            tokio::time::timeout(PATIENCE, fetch).await.expect("an answer that is over ends the request")
        });
        Some(answer)
    }
}

async fn is_within_limits(response: &Response) {
    assert!((100..1_000).contains(&response.status));
    assert!(response.body.size() <= BODY_MAX && response.bytes_received >= response.body.size());
    assert_eq!(response.body.bytes().await.unwrap().len() as u64, response.body.size());
    assert!(response.headers.iter().all(|(name, _)| name != "set-cookie" && name.to_ascii_lowercase() == *name));
    assert_eq!(response.transport_failure.is_some(), response.status >= 500);
}

/// The server by its address, and as a proxy of either kind.
fn policy(port: u16) -> String {
    format!(
        r#"
        [proxy.http]
        url = "http://127.0.0.1:{port}"
        [proxy.socks]
        url = "socks5h://127.0.0.1:{port}"
        [site."*"]
        timeout = "2s"
        body-max = "{BODY_MAX}"
        [site."127.0.0.1:{port}"]
        direct = true
        [site."http.example"]
        proxy = "http"
        [site."socks.example"]
        proxy = "socks"
        "#
    )
}

/// A clock that stands still within an input: no site cools down, and no proxy is left alone, for the next one.
#[derive(Default)]
struct Leaps(AtomicU64);

impl Leaps {
    fn leap(&self) {
        self.0.store(self.now().after(LEAP).0, Relaxed);
    }
}

impl Clock for Leaps {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Relaxed))
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        self.0.fetch_max(until.0, Relaxed);
        std::future::ready(()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_come_as_far_as_they_are_meant_to() {
        let target = HttpResponses::new();
        let ask = |seed: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http_responses");
            target.ask(&std::fs::read(format!("{folder}/{seed}")).unwrap()).unwrap()
        };
        for (seed, bytes) in [("plain", 5), ("chunked", 1_039), ("gzip", 1_039), ("br", 1_039), ("socks", 2)] {
            let response = ask(seed).unwrap();
            assert_eq!((response.status, response.body.size()), (200, bytes), "{seed}");
        }
        for (seed, bytes) in [("deflate", 1_039), ("zstd", 1_039), ("old", 15)] {
            assert_eq!(ask(seed).unwrap().body.size(), bytes, "{seed}");
        }
        assert!(matches!(ask("gzip-bomb").unwrap_err().error, HttpError::TooLarge(BODY_MAX)));
        assert!(matches!(ask("too-many").unwrap_err().error, HttpError::RateLimited { .. }));
        for (seed, words) in [
            ("moved", "redirected 10 times"),
            ("moved-inside", "on this machine"),
            ("cut", "broke off"),
            ("tunnel", "http.example"),
            ("no-tunnel", "made no tunnel"),
            ("proxy-wants-password", "407"),
            ("socks-refused", "SOCKS"),
        ] {
            let said = format!("{:?}", ask(seed).unwrap_err());
            assert!(said.contains(words), "{seed}: {said}");
        }
    }
}
