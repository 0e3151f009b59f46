//! Faults by seed: the sim does what `Faults::decide` says it will, and heals.

use crate::client::Client;
use http::StatusCode;
use std::sync::Arc;
use tollgate_sim::sites::scripted::{Scripted, Step};
use tollgate_sim::{Fault, Faults, Faulty, Sim};

const HOST: &str = "rough.example";
const PATHS: u64 = 40;

fn faults(seed: u64) -> Faults {
    Faults { reset: 0.15, busy: 0.15, unavailable: 0.15, truncate: 0.15, ..Faults::none(seed) }
}

async fn start(seed: u64) -> Sim {
    let fine = (0..PATHS).fold(Scripted::new(), |site, at| site.path(&format!("/{at}"), [Step::ok("a fine page")]));
    let site = Faulty::new(Arc::new(fine), faults(seed));
    Sim::builder().site(HOST, Arc::new(site)).start().await.unwrap()
}

async fn seen(client: &Client, path: &str) -> Fault {
    match client.get(&format!("https://{HOST}{path}")).await {
        Ok(reply) if reply.status == StatusCode::TOO_MANY_REQUESTS => {
            assert_eq!(reply.header("retry-after"), "1");
            Fault::Busy
        }
        Ok(reply) if reply.status == StatusCode::SERVICE_UNAVAILABLE => Fault::Unavailable,
        Ok(reply) => {
            assert_eq!(reply.text(), "a fine page");
            Fault::None
        }
        Err(error) if format!("{error:?}").contains("ConnectionReset") => Fault::Reset,
        Err(_) => Fault::Truncate,
    }
}

#[tokio::test]
async fn what_was_decided_is_what_happens() {
    for seed in [1, 2] {
        let sim = start(seed).await;
        let client = Client::new(&sim);
        let mut happened = Vec::new();
        for path in (0..PATHS).map(|at| format!("/{at}")) {
            for nth in 0..4 {
                let (decided, _) = faults(seed).decide(HOST, &path, nth);
                assert_eq!(seen(&client, &path).await, decided, "seed {seed}, {path}, request {nth}");
                happened.push(decided);
            }
        }
        for fault in [Fault::None, Fault::Reset, Fault::Busy, Fault::Unavailable, Fault::Truncate] {
            assert!(happened.contains(&fault), "seed {seed}: no {fault:?} among {}", happened.len());
        }
    }
}

#[tokio::test]
async fn a_reset_begins_the_faults_anew() {
    let sim = start(3).await;
    let client = Client::new(&sim);
    let path = (0..PATHS).map(|at| format!("/{at}")).find(|path| faults(3).decide(HOST, path, 0).0 == Fault::Busy);
    let path = path.expect("one of the paths is busy at first");
    for _ in 0..2 {
        assert_eq!(seen(&client, &path).await, Fault::Busy);
        sim.reset();
    }
}
