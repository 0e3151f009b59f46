//! Paid services behind an endpoint: they share its places, its rate and its outages with handlers, and are sent with
//! time left.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
};

use futures::FutureExt;
use tollgate_core::outcome::Refusal;
use tollgate_egress::{ServiceAnswer, ServiceFailure, ServiceRequest};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A service over a world, asked as the host asks it.
struct Paid {
    world: World,
    clock: Arc<Moved>,
    /// How often a request was being sent.
    sent: AtomicU32,
    /// Nothing is to be sent any more when its turn comes.
    is_held_back: AtomicBool,
}

impl Paid {
    /// One that answers. `more` is what the endpoint's entry says besides.
    async fn new(service: Scripted, more: &str) -> Self {
        let sim = Sim::builder().site(SERVICE, Arc::new(service)).start().await.unwrap();
        let url = format!("http://{}/v1", sim.direct_addr(SERVICE).unwrap());
        let (world, clock) = moved_over(sim, &url, more);
        Self { world, clock, sent: AtomicU32::new(0), is_held_back: AtomicBool::new(false) }
    }

    async fn at(at: SocketAddr) -> Self {
        let (world, clock) = world_at(at).await;
        Self { world, clock, sent: AtomicU32::new(0), is_held_back: AtomicBool::new(false) }
    }

    /// Asks with so much time, of which a quarter has to be left when it is sent.
    async fn ask(&self, time: Duration) -> Result<ServiceAnswer, ServiceFailure> {
        let url = "endpoint://ibkr/".parse().unwrap();
        let (headers, time_min) = (Vec::new(), time / 4);
        let request = ServiceRequest { url, headers, key: None, body: None, time, time_min, body_max: 1_000 };
        let may_go = || {
            let goes = !self.is_held_back.load(SeqCst);
            self.sent.fetch_add(u32::from(goes), SeqCst);
            goes
        };
        self.world.gate.ask_service(request, &may_go).await
    }

    /// How often the service was asked. Each time its asker was told.
    fn asked(&self) -> u64 {
        let asked = self.world.sim.counts().of_host(SERVICE);
        assert_eq!(u64::from(self.sent.load(SeqCst)), asked);
        asked
    }
}

fn answers() -> Scripted {
    Scripted::new().path("/v1/", [Step::ok("x")])
}

/// What a request was refused with of which nothing was sent.
fn refusal(answer: Result<ServiceAnswer, ServiceFailure>) -> Refusal {
    match answer.err() {
        Some(ServiceFailure::NotSent(refused)) => *refused.refusal.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// That it has to wait, what is said, and for how long.
fn waits(answer: Result<ServiceAnswer, ServiceFailure>) -> (String, Duration) {
    let refusal = refusal(answer);
    assert_eq!((refusal.kind, refusal.about.as_str()), (RefusalKind::RateLimited, "endpoint ibkr"), "{refusal:?}");
    (refusal.message, refusal.after.unwrap())
}

/// That it is down, and for how long it is left alone.
fn is_down(answer: Result<ServiceAnswer, ServiceFailure>) -> Duration {
    let refusal = refusal(answer);
    assert_eq!((refusal.kind, refusal.about.as_str()), (RefusalKind::Down, "endpoint ibkr"), "{refusal:?}");
    assert!(refusal.message.starts_with("endpoint ibkr is down: "), "{refusal:?}");
    refusal.after.unwrap()
}

#[tokio::test]
async fn s02_an_endpoints_rate_is_kept_by_paid_services_too_and_shared_with_handlers() {
    let paid = Paid::new(answers(), "rate = \"1/min\"").await;
    drop(paid.ask(30 * SECOND).await.unwrap());
    assert_eq!(waits(paid.ask(30 * SECOND).await).1, 60 * SECOND);
    let refusal = paid.world.fetch("endpoint://ibkr/").await.unwrap_err().refusal.unwrap();
    assert_eq!(refusal.kind, RefusalKind::RateLimited);
    assert_eq!(paid.asked(), 1);
}

#[tokio::test]
async fn trap09_a_request_that_is_held_back_at_its_turn_gives_it_back() {
    let paid = Paid::new(answers(), "rate = \"1/min\"").await;
    paid.is_held_back.store(true, SeqCst);
    waits(paid.ask(30 * SECOND).await);
    assert_eq!(paid.asked(), 0);
    paid.is_held_back.store(false, SeqCst);
    paid.ask(30 * SECOND).await.unwrap();
    assert_eq!(paid.asked(), 1);
}

#[tokio::test]
async fn s02_a_turn_that_would_leave_too_little_time_is_refused_at_once_and_says_that_it_is_the_rates() {
    let paid = Paid::new(answers(), "rate = \"12/min\"").await;
    drop(paid.ask(30 * SECOND).await.unwrap());
    for time in [SECOND, 5 * SECOND, 6 * SECOND] {
        let refused = paid.ask(time).now_or_never().expect("nobody waits for it");
        let (why, after) = waits(refused);
        assert_eq!((why.as_str(), after), ("its `rate` in jobs.toml is used up", 5 * SECOND), "{time:?}");
    }
    let mut longer = Box::pin(paid.ask(7 * SECOND));
    assert!(longer.as_mut().now_or_never().is_none(), "a quarter of its time is left then");
    paid.clock.on(5 * SECOND + Duration::from_millis(1));
    longer.await.unwrap();
    assert_eq!(paid.asked(), 2);
}

#[tokio::test]
async fn s02_an_endpoints_places_are_kept_by_paid_services_too_until_their_answers_are_read() {
    let paid = Paid::new(answers(), "concurrency = 1").await;
    let mut first = paid.ask(30 * SECOND).await.unwrap();
    // Three quarters of its time, and no more than 10 s.
    for (time, most) in [(8, 6), (60, 10)] {
        let mut second = Box::pin(paid.ask(time * SECOND));
        assert!(second.as_mut().now_or_never().is_none());
        paid.clock.on(most * SECOND - Duration::from_millis(1));
        assert!(second.as_mut().now_or_never().is_none(), "it waits for {most} s");
        paid.clock.on(Duration::from_millis(1));
        let (why, after) = waits(second.await);
        assert_eq!((why.as_str(), after), ("its places, `concurrency` in jobs.toml, are taken", 5 * SECOND));
    }
    assert_eq!(paid.asked(), 1, "nothing was sent");
    let mut second = Box::pin(paid.ask(30 * SECOND));
    assert!(second.as_mut().now_or_never().is_none());
    while first.chunk().await.unwrap().is_some() {}
    drop(first);
    second.await.unwrap();
    assert_eq!(paid.asked(), 2);
}

#[tokio::test]
async fn s02_a_place_that_comes_with_too_little_time_left_is_not_taken() {
    let paid = Paid::new(answers(), "concurrency = 1").await;
    let first = paid.ask(30 * SECOND).await.unwrap();
    let mut second = Box::pin(paid.ask(8 * SECOND));
    assert!(second.as_mut().now_or_never().is_none());
    // Both come at once: the place, and the end of the wait for it.
    paid.clock.on(7 * SECOND);
    drop(first);
    assert!(waits(second.await).0.contains("too little of the call's time left"));
    paid.ask(8 * SECOND).await.unwrap();
    assert_eq!(paid.asked(), 2, "and it is another's");
}

#[tokio::test]
async fn s02_an_endpoint_is_down_for_handlers_and_paid_services_together_and_either_heals_it() {
    let nobody = nobody_at();
    let paid = Paid::at(nobody.local_addr().unwrap()).await;
    assert_eq!(is_down(paid.ask(30 * SECOND).await), SECOND);
    assert_eq!(paid.sent.load(SeqCst), 1, "it was tried");
    down(paid.world.fetch("endpoint://ibkr/").await.unwrap_err());
    for (failures, seconds) in [1, 2, 4].into_iter().enumerate() {
        assert_eq!(is_down(paid.ask(30 * SECOND).await), seconds * SECOND, "after {failures} more");
        assert_eq!(paid.sent.load(SeqCst), 1 + failures as u32, "it is left alone");
        paid.clock.on(seconds * SECOND);
        assert_eq!(is_down(paid.ask(30 * SECOND).await), 2 * seconds * SECOND, "one tries");
    }
    let (_, after) = down(paid.world.fetch("endpoint://ibkr/").await.unwrap_err());
    paid.clock.on(after);
    let service = serve(nobody.listen(8).unwrap());
    paid.ask(30 * SECOND).await.unwrap();
    assert_eq!(paid.world.gate.status().sites[0].reason, None, "an answer says that it is up");
    paid.world.fetch("endpoint://ibkr/").await.unwrap();
    // It goes away, and a handler is the first to see it.
    service.abort();
    assert!(service.await.unwrap_err().is_cancelled());
    down(paid.world.fetch("endpoint://ibkr/").await.unwrap_err());
    let sent = paid.sent.load(SeqCst);
    assert_eq!(is_down(paid.ask(30 * SECOND).await), SECOND, "it begins anew");
    assert_eq!(paid.sent.load(SeqCst), sent);
}

#[tokio::test]
async fn s02_an_endpoint_that_goes_away_in_the_middle_of_a_paid_call_is_down_and_the_call_is_lost() {
    let listener = TcpListener::bind("127.83.79.2:0").await.unwrap();
    let paid = Paid::at(listener.local_addr().unwrap()).await;
    let (answer, ()) = tokio::join!(paid.ask(30 * SECOND), async move {
        let (mut wire, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        assert!(wire.read(&mut head).await.unwrap() > 0);
        drop(listener);
        drop(wire);
    });
    assert!(matches!(answer, Err(ServiceFailure::Lost(_))), "it was sent");
    assert_eq!(is_down(paid.ask(30 * SECOND).await), SECOND);
    assert_eq!(paid.sent.load(SeqCst), 1);
}

#[tokio::test]
async fn s02_a_503_of_a_paid_service_is_its_accounts_and_others_behind_its_endpoint_are_asked() {
    let busy = Step::status(StatusCode::SERVICE_UNAVAILABLE);
    let paid = Paid::new(Scripted::new().path("/v1/", [busy, Step::ok("x")]), "").await;
    assert_eq!(paid.ask(30 * SECOND).await.unwrap().status, 503);
    assert_eq!(paid.ask(30 * SECOND).await.unwrap().status, 200);
    assert_eq!(paid.asked(), 2);
}
