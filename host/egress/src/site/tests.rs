//! Turns at a site: given back, paced anew, and refused where they are far off.

use futures::{FutureExt, future::BoxFuture};
use tollgate_core::spec::{Route, SitePattern};

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn sleep_until(&self, _until: Timestamp) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}

fn spec(interval: Duration) -> SiteSpec {
    SiteSpec {
        pattern: SitePattern::Any,
        route: Route::Unset,
        rate: Some(Rate { interval, burst: 1 }),
        concurrency: 4,
        timeout: Duration::from_secs(1),
        body_max: 1,
        cool_down: Duration::from_secs(1),
        headers: Vec::new(),
        budget: tollgate_core::budget::Budget::default(),
        jobs: None,
        guard: Arc::default(),
        session: None,
        duplicates: None,
        at: None,
    }
}

async fn first_sent(spec: &SiteSpec) -> Arc<Site> {
    let site = Sites::new(Vec::new()).get("a.example:80", spec, NOW);
    site.enter(spec, &Still, 1).await.ok().unwrap().sent();
    site
}

fn next_turn(site: &Site, spec: &SiteSpec) -> Duration {
    let mut rate = site.state().rate;
    rate.take(spec.rate.unwrap(), NOW)
}

#[tokio::test]
async fn a_turn_that_is_waited_for_in_vain_is_given_back() {
    let interval = Duration::from_secs(5);
    let spec = spec(interval);
    let site = first_sent(&spec).await;
    {
        let mut waits = Box::pin(site.enter(&spec, &Still, 1));
        assert!(waits.as_mut().now_or_never().is_none());
        assert_eq!(next_turn(&site, &spec), interval * 2);
    }
    assert_eq!(next_turn(&site, &spec), interval, "who was dropped holds no turn");
    assert_eq!(site.state().requests, 1);
}

#[tokio::test]
async fn another_rate_holds_at_once() {
    let site = first_sent(&spec(Duration::from_secs(3_600))).await;
    assert!(site.enter(&spec(Duration::from_secs(3_600)), &Still, 1).await.is_err());
    assert!(site.enter(&spec(Duration::from_secs(1)), &Still, 1).await.is_ok(), "nobody waits an old hour out");
}

#[tokio::test]
async fn a_turn_that_is_far_off_is_refused_with_its_wait() {
    let interval = TURN_WAIT_MAX + Duration::from_secs(1);
    let spec = spec(interval);
    let site = first_sent(&spec).await;
    let refused = site.enter(&spec, &Still, 1).await.err().unwrap();
    assert_eq!(refused.refusal.and_then(|refusal| refusal.after), Some(interval));
    assert_eq!(next_turn(&site, &spec), interval);
}
