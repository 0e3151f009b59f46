//! The club of investors, held against its facts and its switches.

use crate::client::{Client, Connection, get};
use http::StatusCode;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use std::collections::BTreeSet;
use std::sync::Arc;
use tollgate_sim::Sim;
use tollgate_sim::sites::ideas::{
    Exchange, HOST, IDEAS, Ideas, Limit, PAGES, REMEMBER_COOKIE, SESSION_COOKIE, Settings, Wall, facts, idea_path,
};

async fn start() -> (Sim, Arc<Ideas>, Connection) {
    let site = Arc::new(Ideas::seeded(7));
    let sim = Sim::builder().site(HOST, site.clone()).start().await.unwrap();
    let connection = Client::new(&sim).tunnel(HOST).await.unwrap();
    (sim, site, connection)
}

async fn ask(connection: &mut Connection, path: &str, cookies: &str) -> crate::client::Reply {
    let mut request = get(HOST, path);
    request.headers_mut().insert(COOKIE, HeaderValue::from_str(cookies).unwrap());
    connection.send(request).await.unwrap()
}

/// The exchange: what `ideas_session` it gives.
async fn exchange(connection: &mut Connection, remember: &str) -> Option<String> {
    let reply = ask(connection, "/session", &format!("{REMEMBER_COOKIE}={remember}")).await;
    assert_eq!(reply.status, StatusCode::FOUND);
    let set = reply.headers.get(SET_COOKIE)?.to_str().unwrap();
    assert!(set.ends_with("; secure"), "{set}");
    Some(set.split(';').next().unwrap().to_owned())
}

#[tokio::test]
async fn every_idea_is_listed_once_and_says_what_its_facts_say() {
    let (_sim, site, mut connection) = start().await;
    let mut listed = BTreeSet::new();
    for page in 1..=PAGES {
        let reply = ask(&mut connection, &format!("/ideas?page={page}"), "").await;
        for href in reply.text().split("class=\"idea\" href=\"").skip(1) {
            assert!(listed.insert(href.split('"').next().unwrap().to_owned()));
        }
    }
    assert_eq!(listed, (1..=IDEAS).map(idea_path).collect());
    let past = ask(&mut connection, "/ideas?page=7", "").await;
    assert!(past.status == StatusCode::OK && !past.text().contains("class=\"idea\""));
    let session = format!("{SESSION_COOKIE}={}", site.log_in());
    let mut texts = BTreeSet::new();
    for number in 1..=IDEAS {
        let facts = facts(7, number);
        assert!((200..=400).contains(&facts.words()), "{number}: {}", facts.words());
        assert!((2..=4).contains(&facts.catalysts.len()));
        let page = ask(&mut connection, &idea_path(number), &session).await;
        for said in facts.paragraphs.iter().chain(&facts.catalysts).chain([&facts.title, &facts.company]) {
            assert!(page.text().contains(said), "{number}: {said}");
        }
        assert!(texts.insert(facts.paragraphs));
    }
    assert_eq!(ask(&mut connection, "/idea/121", &session).await.status, StatusCode::NOT_FOUND);
    assert_ne!(Ideas::seeded(8).remember(), site.remember());
}

#[tokio::test]
async fn a_session_is_exchanged_for_the_persistent_cookie_and_expires() {
    let (_sim, site, mut connection) = start().await;
    site.set(Settings { session_views: 2, wall: Wall::Unauthorized, ..Settings::default() });
    assert_eq!(exchange(&mut connection, "wrong").await, None);
    let session = exchange(&mut connection, &site.remember()).await.unwrap();
    for wanted in [StatusCode::OK, StatusCode::OK, StatusCode::UNAUTHORIZED] {
        assert_eq!(ask(&mut connection, "/idea/001", &session).await.status, wanted);
    }
    site.set(Settings { exchange: Exchange::Forgets, ..Settings::default() });
    assert_eq!(exchange(&mut connection, &site.remember()).await, None);
    site.set(Settings { exchange: Exchange::GivesDead, ..Settings::default() });
    let dead = exchange(&mut connection, &site.remember()).await.unwrap();
    assert!(ask(&mut connection, "/idea/001", &dead).await.text().contains("type=\"password\""));
    site.set(Settings { rotates: true, ..Settings::default() });
    let first = exchange(&mut connection, &site.remember()).await.unwrap();
    let shown = ask(&mut connection, "/idea/001", &first).await;
    let second = shown.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(second != first && shown.text().contains("article class=\"thesis\""));
    assert_eq!(ask(&mut connection, "/account", &first).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&mut connection, "/account", &second).await.status, StatusCode::OK);
    site.expire();
    assert_eq!(ask(&mut connection, "/account", &second).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn s11_without_a_session_every_idea_is_one_and_the_same_page() {
    let (_sim, site, mut connection) = start().await;
    site.set(Settings { wall: Wall::Teaser, ..Settings::default() });
    let text = |reply: &crate::client::Reply| {
        let text = reply.text();
        let article = text.split("<article").nth(1).unwrap().split("</article>").next().unwrap();
        (article.to_owned(), text.to_owned())
    };
    let (one, other) = (ask(&mut connection, "/idea/001", "").await, ask(&mut connection, "/idea/002", "").await);
    let ((one_article, one), (other_article, other)) = (text(&one), text(&other));
    assert_eq!(one_article, other_article);
    assert_ne!(one, other, "token and date differ");
    site.set(Settings { wall: Wall::Redirect, ..Settings::default() });
    assert_eq!(ask(&mut connection, "/idea/001", "").await.header("location"), "/login");
}

#[tokio::test]
async fn r02_the_limit_has_several_wordings() {
    let (sim, site, mut connection) = start().await;
    let session = format!("{SESSION_COOKIE}={}", site.log_in());
    for (limit, words) in [
        (Limit::AccessLimits, "access limits for today. Your view count will reset"),
        (Limit::PleaseWait, "Please wait 24 hours"),
        (Limit::Unheard, "emptied at noon"),
    ] {
        site.reset_views();
        site.set(Settings { views_max: Some(1), limit, ..Settings::default() });
        assert!(ask(&mut connection, "/idea/001", &session).await.text().contains("thesis"));
        let page = ask(&mut connection, "/idea/002", &session).await;
        assert!(page.status == StatusCode::OK && page.text().contains(words), "{}", page.text());
    }
    let settings = ask(&mut connection, "/_settings", "").await;
    assert!(settings.text().contains("\"limit\":\"unheard\""), "{}", settings.text());
    sim.reset();
    assert_eq!(site.settings(), Settings::default());
}
