//! The chain: file, kept session, browser; what it remembers and what it says when it fails.

use std::time::Duration;

use tollgate_core::{http::HttpError, outcome::RefusalKind};
use tollgate_egress::{Refused, SessionError, SessionSource, SessionStatus};
use tollgate_sim::sites::ideas::{Exchange, HOST, Ideas, REMEMBER_COOKIE, SESSION_COOKIE, Settings};

use super::world::{FIREFOX, IDEA, World, firefox};

fn status(world: &World) -> SessionStatus {
    world.gate.sessions().remove(0)
}

/// Why a person has to come.
/// How often it was renewed, and how often in vain.
fn renewals(world: &World) -> (u64, u64) {
    world.gate.status().renewals.first().map_or((0, 0), |renewals| (renewals.renewed, renewals.failed))
}

fn login(refused: &Refused) -> &str {
    assert_eq!(refused.refusal.as_ref().unwrap().kind, RefusalKind::LoginRequired);
    let HttpError::LoginRequired(text) = &refused.error else { panic!("{:?}", refused.error) };
    text
}

#[tokio::test]
async fn r10_a_file_wins_over_all_and_is_read_again_when_it_changes() {
    let world = World::with_firefox(1).await;
    let first = world.site.log_in();
    world.drop_file(&format!("{HOST}\tFALSE\t/\tFALSE\t0\t{SESSION_COOKIE}\t{first}\n"));
    assert!(world.gives_idea().await);
    assert_eq!((world.asked("/session"), status(&world).source), (0, SessionSource::File));
    world.site.expire();
    let refused = world.get(IDEA).await.unwrap_err();
    let text = login(&refused);
    assert!(
        text.contains("cookies/ideas.txt: the site no longer takes its cookies") && text.contains("export the cookies"),
        "{text}"
    );
    assert_eq!(world.asked("/session"), 0, "the browser isn't asked behind the file's back");
    let second = world.site.log_in();
    world.drop_file(&format!("# by hand\n{HOST}\tFALSE\t/\tFALSE\t0\t{SESSION_COOKIE}\t{second}\n"));
    assert!(world.gives_idea().await, "without a restart");
    std::fs::remove_file(world.folder.path().join("cookies/ideas.txt")).unwrap();
    assert!(world.gives_idea().await);
    assert_eq!((world.asked("/session"), status(&world).source), (1, SessionSource::Browser));
}

#[tokio::test]
async fn r10_a_file_with_the_persistent_cookie_alone_is_exchanged() {
    let session = "file = \"cookies/ideas.txt\"\n\
                   exchange = { url = \"http://ideas.example/session\", keeps = \"ideas_session\" }\n";
    let world = World::new(Ideas::seeded(2), Vec::new(), session, "").await;
    let missing = world.get(IDEA).await.unwrap_err();
    assert!(login(&missing).contains("cookies/ideas.txt isn't there; export the cookies"), "{missing:?}");
    assert_eq!(world.asked("/idea/001"), 0, "a site that wants a session is asked nothing without");
    world.drop_file(&world.site.cookie_file(None, false));
    assert!(world.gives_idea().await);
    world.site.expire();
    assert!(world.gives_idea().await, "and again, since the file still has it");
    assert_eq!(world.asked("/session"), 2);
}

#[tokio::test]
async fn r10_a_browsers_cookie_is_exchanged_once_and_kept_over_a_restart() {
    let mut world = World::with_firefox(3).await;
    assert_eq!(status(&world).source, SessionSource::None);
    for _ in 0..3 {
        assert!(world.gives_idea().await);
    }
    assert_eq!((world.asked("/session"), world.sim.counts().direct), (1, 0), "through the site's proxy");
    assert_eq!(status(&world).source, SessionSource::Browser);
    world.restart();
    assert_eq!(status(&world).source, SessionSource::Cached, "before anything is asked");
    assert!(world.gives_idea().await);
    assert_eq!((world.asked("/session"), status(&world).source), (1, SessionSource::Cached));
    world.site.expire();
    assert!(world.gives_idea().await);
    assert_eq!((world.asked("/session"), status(&world).source), (2, SessionSource::Browser));
}

#[tokio::test]
async fn r10_a_session_that_the_site_changes_is_kept_as_it_is_now() {
    let mut world = World::with_firefox(4).await;
    world.site.set(Settings { rotates: true, ..Settings::default() });
    for _ in 0..3 {
        assert!(world.gives_idea().await);
    }
    world.restart();
    assert!(world.gives_idea().await);
    assert_eq!(world.asked("/session"), 1, "each idea gave another cookie, and each was taken");
}

#[tokio::test]
async fn r10_a_chain_that_fails_says_which_step_and_is_not_run_by_each_task() {
    let world = World::with_firefox(5).await;
    world.site.set(Settings { exchange: Exchange::Forgets, ..Settings::default() });
    for _ in 0..5 {
        let refused = world.get(IDEA).await.unwrap_err();
        let text = login(&refused);
        assert!(
            text.contains(
                "the exchange at http://ideas.example/session gave no session: ideas.example:80 redirected to /login"
            ) && text.contains("log in to ideas.example with firefox"),
            "{text}"
        );
    }
    assert_eq!((world.asked("/session"), world.asked("/idea/001")), (1, 0));
    assert_eq!(renewals(&world), (0, 1), "those that weren't run count for nothing");
    assert!(status(&world).last_error.unwrap().contains("the exchange"));
    world.turn(Duration::from_mins(5));
    world.get(IDEA).await.unwrap_err();
    assert_eq!(world.asked("/session"), 2, "after some minutes it is tried again");
    // What the browser writes else changes nothing; another cookie does, and the person has logged in.
    let profile = world.folder.path().join("profile");
    drop(firefox(&profile, &[("other", "x", HOST)]));
    world.get(IDEA).await.unwrap_err();
    assert_eq!(world.asked("/session"), 2);
    world.site.set(Settings::default());
    let remember = format!("{REMEMBER_COOKIE}_2");
    drop(firefox(&profile, &[(&remember, "new", HOST)]));
    assert!(world.gives_idea().await);
    assert_eq!((world.asked("/session"), status(&world).last_error), (3, None));
    assert_eq!(renewals(&world), (1, 2));
    let said = world.gate.status().since_start();
    assert_eq!(said, ["session ideas was made or renewed 1 times, and 2 times in vain"]);
}

#[tokio::test]
async fn r10_a_site_or_proxy_that_is_down_at_the_exchange_is_no_persons_business() {
    let world = World::with_firefox(6).await;
    world.site.set(Settings { exchange: Exchange::Down, ..Settings::default() });
    let refused = world.get(IDEA).await.unwrap_err();
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::Down, "{:?}", refused.error);
    world.sim.proxy_down().await.unwrap();
    let refused = world.get(IDEA).await.unwrap_err();
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::Down, "{:?}", refused.error);
    assert_eq!(status(&world).last_error, None);
    world.sim.proxy_up().await.unwrap();
    world.site.set(Settings::default());
    world.turn(Duration::from_mins(1));
    assert!(world.gives_idea().await, "it heals by itself");
}

#[tokio::test]
async fn r10_people_ask_how_sessions_stand_test_them_and_renew_them() {
    let world = World::with_firefox(7).await;
    let unknown = world.gate.test_session("idea").await.unwrap_err();
    assert!(unknown.to_string().contains("did you mean `ideas`?"), "{unknown}");
    let tested = world.gate.test_session("ideas").await.unwrap();
    assert!(tested.is_taken && tested.url == "http://ideas.example/account", "{tested:?}");
    world.site.expire();
    let tested = world.gate.test_session("ideas").await.unwrap();
    assert!(!tested.is_taken && tested.said.contains("401"), "{tested:?}");
    let renewed = world.gate.renew_session("ideas").await.unwrap();
    assert_eq!((renewed.source, renewed.sites), (SessionSource::Browser, vec![HOST.to_owned()]));
    assert!(renewed.since.is_some() && renewed.expires.is_none());
    assert!(world.gate.test_session("ideas").await.unwrap().is_taken);
    world.site.set(Settings { exchange: Exchange::Forgets, ..Settings::default() });
    let refused = world.gate.renew_session("ideas").await.unwrap_err();
    assert!(matches!(refused, SessionError::Refused(_)) && refused.to_string().contains("log in to"), "{refused}");

    let without = FIREFOX.replace("test = \"http://ideas.example/account\"\n", "");
    let world = World::new(Ideas::seeded(7), Vec::new(), &without, "").await;
    assert!(matches!(world.gate.test_session("ideas").await, Ok(tested) if !tested.is_taken), "no browser");
    world.drop_file(&world.site.cookie_file(None, false));
    assert!(world.gate.test_session("ideas").await.unwrap().is_taken, "the exchange is asked");
    let world = World::new(Ideas::seeded(7), Vec::new(), "file = \"cookies/ideas.txt\"", "").await;
    assert!(world.gate.test_session("ideas").await.unwrap_err().to_string().contains("add test ="));
}

#[tokio::test]
async fn r10_a_file_that_is_no_use_is_named_and_nothing_else_serves() {
    let world = World::with_firefox(8).await;
    for (text, wanted) in [
        ("not a cookie\n", "cookies/ideas.txt: line 1 is no cookie"),
        ("other.example\tFALSE\t/\tFALSE\t0\ta\tb\n", "cookies/ideas.txt has no cookie of ideas.example"),
        ("ideas.example\tFALSE\t/\tFALSE\t1000\tideas_session\tb\n", "its cookies are over"),
    ] {
        world.drop_file(text);
        let refused = world.get(IDEA).await.unwrap_err();
        assert!(login(&refused).contains(wanted), "{refused:?}");
    }
    assert_eq!(world.sim.counts().total, 0);
}
