//! Books of a shop: keep the page, take title and price.
use tollgate_sdk::prelude::*;

/// What discovery knows of a book.
#[data]
struct Book {
    #[key]
    url: String,
}

/// Settings of the job, from `params` in jobs.toml.
#[params]
struct Shop {
    /// Address of the list of books.
    list: Address,
    #[serde(default = "ten")]
    max_pages: u64,
}

fn ten() -> u64 {
    10
}

#[output]
struct Page {
    size: u64,
}

#[output]
struct Offer {
    title: String,
    price: Option<String>,
    #[may_be_empty]
    authors: Vec<String>,
}

/// The shop's list, page by page.
#[discover]
fn list(round: &Round, shop: &Shop) -> Result<Found> {
    let page = http::get(&format!("{}?page={}", shop.list, round.page()))?.html()?;
    let links = page.select("a.book")?;
    let books: Vec<Book> = links.iter().filter_map(|link| Some(Book { url: link.link("href")? })).collect();
    let next = round.page() + 1;
    let is_last = books.is_empty() || next == shop.max_pages;
    Ok(if is_last { Found::all(books) } else { Found::more(books, next) })
}

/// Keeps the raw page; parses nothing.
#[stage]
fn fetch(book: &Book) -> Result<Page> {
    let page = http::get(&book.url)?.save("page.html")?;
    Ok(Page { size: page.size })
}

/// Takes the page apart. Needs `fetch`, because it reads what that kept.
#[stage]
fn extract(book: &Book, #[reads("fetch/page.html")] raw: Artifact) -> Result<Offer> {
    let page = raw.html(&book.url)?;
    Ok(Offer {
        title: page.text_of("h1")?.or_reject("no title: not a book")?,
        price: page.text_of(".price")?,
        authors: page.select(".author")?.iter().map(|author| author.text()).collect(),
    })
}

handler!("books", discover: list, stages: [fetch, extract]);
