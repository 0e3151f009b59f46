//! Expiry, seen from the site's answers; one renewal at a time; cookies at each hop.

use std::sync::Arc;

use futures::future::join_all;
use http::{
    StatusCode,
    header::{COOKIE, SET_COOKIE},
};
use tollgate_core::{Clock as _, Timestamp, http::HttpError, outcome::RefusalKind};
use tollgate_sim::{
    Release,
    sites::{
        ideas::{Exchange, HOST, Ideas, Limit, REMEMBER_COOKIE, SESSION_COOKIE, Settings, Wall},
        scripted::{Scripted, Step},
    },
};

use super::world::{FIREFOX, IDEA, World, firefox};

#[tokio::test]
async fn r10_an_expired_session_is_renewed_once_however_many_ask() {
    for wall in [Wall::LoginPage, Wall::Redirect, Wall::Unauthorized] {
        let world = World::with_firefox(10).await;
        world.site.set(Settings { wall, ..Settings::default() });
        assert!(world.gives_idea().await);
        world.site.expire();
        // All of them are refused before the exchange answers the first: they were under way with the old session.
        let hold = Release::new();
        world.site.hold_exchange(hold.clone());
        let all = join_all((0..30).map(|_| world.gives_idea()));
        let release = async {
            world.sim.wait_for(|counts| counts.of(HOST, "/idea/001") == 31 && counts.of(HOST, "/session") == 2).await;
            hold.release();
        };
        let (all, ()) = tokio::join!(all, release);
        assert!(all.into_iter().all(|is_idea| is_idea), "{wall:?}");
        assert_eq!((world.site.sessions_given(), world.asked("/session")), (2, 2), "{wall:?}");
        let [renewals] = &world.gate.status().renewals[..] else { panic!("{wall:?}") };
        assert_eq!((renewals.session.as_str(), renewals.renewed, renewals.failed), ("ideas", 2, 0), "{wall:?}");
        assert_eq!(world.asked("/idea/001"), 1 + 2 * 30, "{wall:?}: each is repeated once");
        assert_eq!(world.asked("/login"), 0);
    }
}

#[tokio::test]
async fn r10_of_many_without_a_session_one_runs_the_chain() {
    let world = World::with_firefox(11).await;
    let all = join_all((0..30).map(|_| world.gives_idea())).await;
    assert!(all.into_iter().all(|is_idea| is_idea));
    assert_eq!((world.asked("/session"), world.asked("/idea/001")), (1, 30));
    world.site.expire();
    world.site.set(Settings { exchange: Exchange::Down, ..Settings::default() });
    let hold = Release::new();
    world.site.hold_exchange(hold.clone());
    let all = join_all((0..30).map(|_| world.get(IDEA)));
    let release = async {
        world.sim.wait_for(|counts| counts.of(HOST, "/idea/001") == 60 && counts.of(HOST, "/session") == 2).await;
        hold.release();
    };
    let (all, ()) = tokio::join!(all, release);
    assert!(all.into_iter().all(|answer| answer.unwrap_err().refusal.unwrap().kind == RefusalKind::Down));
    assert_eq!(world.asked("/session"), 2, "what stood in its way stands in theirs");
}

#[tokio::test]
async fn r10_sessions_of_a_few_views_last_for_a_crawl() {
    let world = World::with_firefox(12).await;
    world.site.set(Settings { session_views: 7, wall: Wall::Redirect, ..Settings::default() });
    for _ in 0..50 {
        assert!(world.gives_idea().await);
    }
    assert_eq!(world.asked("/session"), 8);
}

#[tokio::test]
async fn r10_a_post_is_not_sent_twice() {
    let world = World::with_firefox(13).await;
    world.site.set(Settings { wall: Wall::Unauthorized, ..Settings::default() });
    assert_eq!(world.ask("POST", IDEA).await.unwrap().status, 200);
    world.site.expire();
    let refused = world.ask("POST", IDEA).await.unwrap_err();
    assert!(refused.error.to_string().contains("a POST isn't sent twice"), "{}", refused.error);
    assert_eq!((refused.refusal.unwrap().kind, world.asked("/idea/001")), (RefusalKind::LoginRequired, 2));
    assert_eq!(world.ask("HEAD", IDEA).await.unwrap().status, 200, "renewed it is");
}

#[tokio::test]
async fn r10_a_renewed_session_that_is_refused_again_needs_a_person() {
    let world = World::with_firefox(14).await;
    world.site.set(Settings { exchange: Exchange::GivesDead, ..Settings::default() });
    let refused = world.get(IDEA).await.unwrap_err();
    let text = refused.error.to_string();
    assert!(text.contains("session ideas was renewed, and refused again") && text.contains("log in to"), "{text}");
    let page = refused.guarded.unwrap();
    assert!(page.guarded.rule.starts_with("login."), "the page that said so is kept apart");
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::LoginRequired);
    let asked = (world.asked("/session"), world.asked("/idea/001"));
    world.get(IDEA).await.unwrap_err();
    assert_eq!((world.asked("/session"), world.asked("/idea/001")), asked, "and nobody tries meanwhile");
    let saved = std::fs::read_dir(world.folder.path().join("sessions")).unwrap().count();
    assert_eq!(saved, 0, "a session that the site refused is kept for no restart");
}

#[tokio::test]
async fn s11_a_session_that_the_engine_calls_expired_is_renewed_by_the_next_request() {
    let mut world = World::with_firefox(15).await;
    world.site.set(Settings { wall: Wall::Teaser, ..Settings::default() });
    assert!(world.gives_idea().await);
    world.site.expire();
    let page = world.get(IDEA).await.unwrap().body.bytes().await.unwrap();
    assert!(String::from_utf8_lossy(&page).contains("Idea of the month"), "no guard sees it");
    let met = async |url: &str, began| world.gate.duplicated(url, "2 items were served it", began).await;
    let began = Timestamp(world.clock.now().0 + 1);
    let other = met("http://other.example/", began).await;
    assert_eq!(other.kind, RefusalKind::Blocked, "a site without a session is left alone: {other:?}");
    let before = met(IDEA, Timestamp(began.0 - 1)).await;
    assert_eq!(before.kind, RefusalKind::Later, "it came before the session: {before:?}");
    for _ in 0..2 {
        let expired = met(IDEA, began).await;
        assert_eq!(expired.kind, RefusalKind::Later, "once for all who hold such pages: {expired:?}");
        assert!(expired.message.contains("renewed"), "{expired:?}");
    }
    world.restart();
    let page = world.get(IDEA).await.unwrap().body.bytes().await.unwrap();
    assert!(!String::from_utf8_lossy(&page).contains("Idea of the month"), "over a restart, too");
    assert_eq!(world.asked("/session"), 2);
}

#[tokio::test]
async fn s11_a_page_that_comes_again_with_a_renewed_session_wants_a_person() {
    let world = World::with_firefox(17).await;
    assert!(world.gives_idea().await);
    let later = || Timestamp(world.clock.now().0 + 1);
    let met = async || world.gate.duplicated(IDEA, "2 items were served it", later()).await;
    assert_eq!(met().await.kind, RefusalKind::Later);
    assert!(world.gives_idea().await);
    let again = met().await;
    assert_eq!(again.kind, RefusalKind::LoginRequired);
    assert!(again.message.contains("logged in"), "what a person has to do: {again:?}");
    // Where something ended well, the session had helped, and this one is over in its turn.
    let caller = tollgate_egress::Caller::of(tollgate_core::JobName::new("test").unwrap(), Vec::new());
    world.gate.ended(&caller, &["ideas.example:80".to_owned()].into(), true).await;
    assert_eq!(met().await.kind, RefusalKind::Later);
    assert_eq!(world.asked("/session"), 2);
}

#[tokio::test]
async fn r01_a_limit_that_is_reached_is_no_end_of_a_session() {
    let world = World::with_firefox(16).await;
    world.site.set(Settings { views_max: Some(1), limit: Limit::PleaseWait, ..Settings::default() });
    assert!(world.gives_idea().await);
    let refused = world.get(IDEA).await.unwrap_err();
    assert!(matches!(refused.error, HttpError::RateLimited { .. }), "{:?}", refused.error);
    assert_eq!(world.asked("/session"), 1);
}

#[tokio::test]
async fn r10_cookies_go_to_the_hosts_of_their_domain_and_session_alone_at_each_hop() {
    let (other, below) = (Arc::new(Scripted::new()), Arc::new(Scripted::new()));
    let lands = Step::ok("here it is");
    other.set("/end", [lands.clone()]);
    below.set("/end", [lands.clone()]);
    let start = Arc::new(
        Scripted::new()
            .path("/to-other", [Step::redirect(StatusCode::FOUND, "http://other.example/end")])
            .path("/to-below", [Step::redirect(StatusCode::FOUND, "http://cdn.club.example/end")])
            .path("/end", [lands]),
    );
    let more = "[site.\"*.club.example\"]\nsession = \"ideas\"\n";
    let sites: Vec<(&str, Arc<dyn tollgate_sim::Site>)> =
        vec![("other.example", other.clone()), ("cdn.club.example", below.clone()), ("club.example", start.clone())];
    let world = World::new(Ideas::seeded(17), sites, "file = \"cookies/ideas.txt\"\n", more).await;
    world.drop_file(
        "other.example\tFALSE\t/\tFALSE\t0\tother\t1\n.club.example\tTRUE\t/\tFALSE\t0\twide\t2\n\
         club.example\tFALSE\t/\tFALSE\t0\town\t3\nclub.example\tFALSE\t/\tTRUE\t0\tsecure\t4\n\
         club.example\tFALSE\t/deep\tFALSE\t0\tdeep\t5\nideas.example\tFALSE\t/\tFALSE\t0\tideas\t6\n",
    );
    for path in ["/to-other", "/to-below", "/end"] {
        assert_eq!(world.get(&format!("http://club.example{path}")).await.unwrap().status, 200);
    }
    let cookies = |site: &Scripted, path: &str| {
        let seen = site.seen(path).remove(0);
        seen.http.headers().get(COOKIE).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(cookies(&start, "/end").as_deref(), Some("wide=2; own=3"), "the guest's own is dropped");
    assert_eq!(cookies(&below, "/end").as_deref(), Some("wide=2"));
    assert_eq!(cookies(&other, "/end"), None, "no site of the session");
}

#[tokio::test]
async fn r10_a_guest_sees_no_cookie_that_a_site_sets() {
    let world = World::with_firefox(18).await;
    world.site.set(Settings { rotates: true, ..Settings::default() });
    let response = world.get(IDEA).await.unwrap();
    assert!(
        response.headers.iter().all(|(name, _)| name != "set-cookie" && name != "cookie"),
        "{:?}",
        response.headers
    );
}

#[tokio::test]
async fn r10_a_late_answer_to_an_old_session_does_not_change_the_new_one() {
    // The first request hangs with the old session, which another renews meanwhile.
    let hold = Release::new();
    let slow = Step::ok("late").header(SET_COOKIE, "ideas_session=old; domain=club.example; path=/").hang_until(&hold);
    let site = Arc::new(Scripted::new().path("/slow", [slow]).path("/end", [Step::ok("here it is")]));
    let more = "[site.\"club.example\"]\nsession = \"ideas\"\n";
    let world =
        World::new(Ideas::seeded(19), vec![("club.example", site.clone())], "file = \"cookies/ideas.txt\"\n", more);
    let world = world.await;
    let file = |value: &str| format!(".club.example\tTRUE\t/\tFALSE\t0\t{SESSION_COOKIE}\t{value}\n");
    world.drop_file(&file("old"));
    let late = world.get("http://club.example/slow");
    let meanwhile = async {
        world.sim.wait_for(|counts| counts.of("club.example", "/slow") == 1).await;
        world.drop_file(&file("newer"));
        world.get("http://club.example/end").await.unwrap();
        hold.release();
    };
    let (late, ()) = tokio::join!(late, meanwhile);
    late.unwrap();
    world.get("http://club.example/end").await.unwrap();
    let seen = site.seen("/end");
    assert_eq!(seen[1].http.headers()[COOKIE], format!("{SESSION_COOKIE}=newer"));
}

#[tokio::test]
async fn r10_a_refusal_of_an_old_session_does_not_renew_the_new_one() {
    let hold = Release::new();
    let is_first = |request: &tollgate_sim::Request| request.http.headers()[COOKIE] == format!("{SESSION_COOKIE}=s0");
    let refuses = Step::status(StatusCode::UNAUTHORIZED);
    let (late, slow) = (refuses.clone().hang_until(&hold), move |request: &_, late: Step| match is_first(request) {
        true => late,
        false => Step::ok("here it is"),
    });
    let club = Scripted::new()
        .respond("/session", |_, nth| Step::ok("in").header(SET_COOKIE, format!("{SESSION_COOKIE}=s{nth}; path=/")))
        .respond("/slow", move |request, _| slow(request, late.clone()))
        .respond("/end", move |request, _| slow(request, refuses.clone()));
    let session = FIREFOX.replace("ideas.example", "club.example");
    let more = "[site.\"club.example\"]\nsession = \"ideas\"\n";
    let sites: Vec<(&str, Arc<dyn tollgate_sim::Site>)> = vec![("club.example", Arc::new(club))];
    let world = World::new(Ideas::seeded(21), sites, &session, more).await;
    drop(firefox(&world.folder.path().join("profile"), &[(REMEMBER_COOKIE, "x", "club.example")]));
    let late = world.get("http://club.example/slow");
    let meanwhile = async {
        world.sim.wait_for(|counts| counts.of("club.example", "/slow") == 1).await;
        world.get("http://club.example/end").await.unwrap();
        hold.release();
    };
    let (late, ()) = tokio::join!(late, meanwhile);
    late.unwrap();
    let counts = world.sim.counts();
    assert_eq!((counts.of("club.example", "/session"), counts.of("club.example", "/slow")), (2, 2));
}

#[tokio::test]
async fn r10_an_exchange_leads_to_no_other_site() {
    let other = Arc::new(Scripted::new().path("/in", [Step::ok("here it is")]));
    let club =
        Arc::new(Scripted::new().path("/session", [Step::redirect(StatusCode::FOUND, "http://other.example/in")]));
    let session = FIREFOX.replace("ideas.example", "club.example");
    let more = "[site.\"club.example\"]\nsession = \"ideas\"\n";
    let sites: Vec<(&str, Arc<dyn tollgate_sim::Site>)> =
        vec![("other.example", other.clone()), ("club.example", club)];
    let world = World::new(Ideas::seeded(20), sites, &session, more).await;
    drop(firefox(&world.folder.path().join("profile"), &[(REMEMBER_COOKIE, "x", "club.example")]));
    let refused = world.get("http://club.example/").await.unwrap_err();
    assert!(refused.error.to_string().contains("leads to other.example:80, which isn't a site"), "{}", refused.error);
    assert!(other.seen("/in").is_empty());
}

#[tokio::test]
async fn r10_what_a_site_sets_when_a_session_is_tested_is_the_session_from_then_on() {
    let session = FIREFOX.replace("/account", "/idea/001");
    let world = World::new(Ideas::seeded(23), Vec::new(), &session, "").await;
    let remember = world.site.remember();
    drop(firefox(&world.folder.path().join("profile"), &[(REMEMBER_COOKIE, &remember, HOST)]));
    world.site.set(Settings { rotates: true, ..Settings::default() });
    let tested = world.gate.test_session("ideas").await.unwrap();
    assert!(tested.is_taken, "{tested:?}");
    assert!(world.gives_idea().await);
    assert_eq!(world.asked("/session"), 1, "the session that the test left is taken");
}
