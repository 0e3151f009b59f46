//! R07 and trap 9 at a site's places: nobody is let in between a refusal and its being understood.

use std::sync::Arc;

use futures::future::join_all;
use http::{StatusCode, header::CONTENT_TYPE};
use tollgate_core::outcome::RefusalKind;
use tollgate_sim::sites::scripted::{Scripted, Step};

use crate::world::World;

#[tokio::test]
async fn trap09_who_waits_for_a_place_is_let_in_once_what_its_holder_was_told_is_understood() {
    // So long that guards look at it beside the workers, while others run.
    let page = format!("<p>{}</p>", "words and words ".repeat(20_000));
    let busy = Step::status(StatusCode::TOO_MANY_REQUESTS).header(CONTENT_TYPE, "text/html").body(page);
    let site = Scripted::new().path("/", [busy]);
    let world = World::new(vec![("a.example", Arc::new(site))], "[site.\"*\"]\nconcurrency = 1\n").await;
    let answers = join_all((0..4).map(|_| world.fetch("http://a.example/"))).await;
    for refused in answers.into_iter().map(|answer| answer.unwrap_err()) {
        assert_eq!(refused.refusal.unwrap().kind, RefusalKind::RateLimited);
    }
    assert_eq!(world.sim.counts().of_host("a.example"), 1, "the first was refused, and nobody else asked");
}
