//! What policy denies is counted by why, whoever asks and however; what passes moves no count.

use std::sync::Arc;

use http::StatusCode;
use tollgate_core::{http::HttpError, spec::SitePattern};
use tollgate_egress::{Caller, Denial};
use tollgate_sim::sites::scripted::{Scripted, Step};

use crate::world::World;

const SITE: &str = "site.example";

fn denials(world: &World) -> Vec<(Denial, u64)> {
    world.gate.status().denials.into_iter().map(|count| (count.why, count.times)).collect()
}

#[tokio::test]
async fn what_policy_denies_is_counted_by_why() {
    let site = Scripted::new()
        .path("/", [Step::ok("fine")])
        .path("/inside", [Step::redirect(StatusCode::FOUND, "http://10.0.0.1/")])
        .path("/service", [Step::redirect(StatusCode::FOUND, "endpoint://near/")]);
    let more = "[endpoint.near]\nurl = \"http://127.0.0.1:9\"\n[site.\"theirs.example\"]\njobs = [\"theirs\"]\n\
                [job.theirs]\nkind = \"backfill\"\nhandler = \"a\"\n";
    let mut world = World::new(vec![(SITE, Arc::new(site))], more).await;
    world.fetch(&format!("http://{SITE}/")).await.unwrap();
    // What is no address at all is a mistake, and no matter of policy.
    world.fetch("ftp://site.example/").await.unwrap_err();
    assert_eq!(denials(&world), []);
    let mut counted = std::collections::BTreeMap::new();
    for (url, why) in [
        ("endpoint://far/", Denial::NoPolicy),
        ("http://theirs.example/", Denial::OtherJobs),
        ("http://127.0.0.1/", Denial::Local),
        ("http://localhost:9/", Denial::Local),
        ("http://site.example/inside", Denial::Redirect),
        ("http://site.example/service", Denial::Redirect),
    ] {
        let refused = world.fetch(url).await.unwrap_err();
        assert!(matches!(refused.error, HttpError::Denied(_)), "{url}: {refused:?}");
        assert_eq!(refused.denial, Some(why), "{url}");
        *counted.entry(why).or_default() += 1;
        assert_eq!(denials(&world), counted.clone().into_iter().collect::<Vec<_>>(), "{url}");
    }
    world.caller = Caller { allowed: vec![SitePattern::parse("other.example").unwrap()], ..world.caller };
    let page = format!("http://{SITE}/");
    world.fetch(&page).await.unwrap_err();
    world.gate.fetch_zip_member(&world.caller, &page, "a", &|_| {}).await.unwrap_err();
    world.gate.list_zip_members(&world.caller, &page, &|_| {}).await.unwrap_err();
    counted.insert(Denial::NotGranted, 3);
    assert_eq!(denials(&world), counted.into_iter().collect::<Vec<_>>());
    let said = world.gate.status().since_start();
    assert_eq!(
        said,
        ["denied by policy: 1 without a policy, 3 not granted, 1 for other jobs, 2 to this machine or its network, \
          2 redirected to where no page may send us"]
    );
}
