//! The pages of the ideas site as HTML: listing, idea, teaser, login and the pages that say "not now".

use super::facts::{IDEAS, IdeaFacts, PER_PAGE, Sequence, facts};
use super::settings::Limit;
use maud::{DOCTYPE, Markup, html};

/// Pages of the listing.
pub const PAGES: u32 = IDEAS.div_ceil(PER_PAGE);

/// Where an idea stands.
pub fn idea_path(number: u32) -> String {
    format!("/idea/{number:03}")
}

/// One page of the listing, from 1, the newest idea first. Past the last one it has no ideas.
pub(super) fn listing(seed: u64, page: u32) -> Markup {
    let newest = IDEAS.saturating_sub(page.saturating_sub(1).saturating_mul(PER_PAGE));
    let oldest = newest.saturating_sub(PER_PAGE) + 1;
    frame(
        "Ideas",
        &html! {
            h1 { "Ideas" }
            p.intro { "What members have written, the newest first. Page " (page) " of " (PAGES) "." }
            ul.ideas { @for number in (oldest..=newest).rev() {
                @let facts = facts(seed, number);
                li {
                    a.idea href=(idea_path(number)) { (facts.title) }
                    " " span.company { (facts.company) } " " time.posted { (facts.posted) }
                }
            } }
            nav.pages {
                @if page > 1 { a rel="prev" href={ "/ideas?page=" (page - 1) } { "Newer" } " " }
                @if page < PAGES { a rel="next" href={ "/ideas?page=" (page + 1) } { "Older" } }
            }
        },
    )
}

pub(super) fn idea(seed: u64, number: u32, nth: u64) -> Markup {
    thesis(&facts(seed, number), seed, nth)
}

/// The same page whichever idea was asked for; token and date differ each time.
pub(super) fn teaser(seed: u64, nth: u64) -> Markup {
    let mut facts = facts(seed, IDEAS + 1);
    "Idea of the month".clone_into(&mut facts.title);
    thesis(&facts, seed, nth)
}

fn thesis(facts: &IdeaFacts, seed: u64, nth: u64) -> Markup {
    let token = token(seed, nth);
    frame(
        &facts.title,
        &html! {
            article.thesis {
                h1.title { (facts.title) }
                p.about {
                    span.company { (facts.company) } " (" span.ticker { (facts.ticker) } "), by "
                    span.author { (facts.author) } ", " time.posted { (facts.posted) }
                }
                div.text { @for paragraph in &facts.paragraphs { p { (paragraph) } } }
                h2 { "Catalysts" }
                ul.catalysts { @for catalyst in &facts.catalysts { li { (catalyst) } } }
            }
            form action="/rate" method="post" {
                input type="hidden" name="_token" value=(token);
                button { "Rate this idea" }
            }
            p.served { "Served on 2026-" (format!("{:02}-{:02}", 1 + nth / 28 % 12, 1 + nth % 28)) ", view " (nth) }
        },
    )
}

pub(super) fn login() -> Markup {
    frame(
        "Log in",
        &html! {
            h1 { "Log in" }
            form action="/login" method="post" {
                input name="mail" placeholder="E-mail";
                input type="password" name="password" placeholder="Password";
                button { "Log in" }
            }
        },
    )
}

/// A page that says "not now", in one of its wordings.
pub(super) fn limit(limit: Limit) -> Markup {
    frame(
        "Ideas",
        &html! { @match limit {
            Limit::AccessLimits => {
                h1 { "Access limits" }
                p { "You have reached your access limits for today. Your view count will reset in 24 hours." }
            }
            Limit::PleaseWait => {
                h1 { "Not so fast" }
                p { "Please wait 24 hours before you look at another idea." }
            }
            Limit::Unheard => {
                h1 { "Enough for one day" }
                p { "The club's readers share its shelves. Yours are full; they are emptied at noon." }
            }
        } },
    )
}

fn frame(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (title) " | Ideas" } }
            body { nav { a href="/ideas" { "Ideas" } } (body) }
        }
    }
}

fn token(seed: u64, nth: u64) -> String {
    format!("{:016x}", Sequence::of(seed ^ 0x7e11, nth).next())
}
