//! Discovery: listings of channels and playlists, and searches, a page at a time; wanted titles become items.

use tollgate_sdk::{Value, prelude::*, serde_json};

use crate::{
    video::{Video, yt_dlp},
    wanted::Wanted,
};

/// Where videos are listed.
#[params]
pub(crate) struct Listings {
    /// Addresses that yt-dlp takes for a list: `https://www.youtube.com/@NAME/videos`, a playlist, the page of a
    /// search.
    listings: Vec<Address>,
    /// How many of each are looked at in a round, from the first; all of them where nothing is said.
    #[serde(default)]
    newest: Option<u64>,
    /// How many are asked for at once.
    #[serde(default = "page")]
    #[schemars(range(min = 1, max = 1000))]
    page: u64,
}

fn page() -> u64 {
    100
}

/// Where a page begins: which listing, and which of its videos, from 1. As a cursor: `LISTING:FIRST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    listing: usize,
    first: u64,
}

impl Place {
    fn of(round: &Round) -> Result<Self> {
        let Some(cursor) = round.cursor() else { return Ok(Self { listing: 0, first: 1 }) };
        let place = cursor
            .split_once(':')
            .and_then(|(listing, first)| Some(Self { listing: listing.parse().ok()?, first: first.parse().ok()? }));
        place.or_fail(&format!("{cursor:?} is no place in the listings"))
    }

    fn cursor(self) -> String {
        format!("{}:{}", self.listing, self.first)
    }
}

/// A page of a listing: the videos whose titles are wanted.
#[discover]
pub(crate) fn list(round: &Round, listings: &Listings, wanted: &Wanted) -> Result<Found> {
    let place = Place::of(round)?;
    let url = listings.listings.get(place.listing).or_fail("`listings` of params has no such listing")?;
    let last = listings.newest.unwrap_or(u64::MAX).min(place.first.saturating_add(listings.page - 1));
    let items = format!("{}:{last}", place.first);
    let args = ["--flat-playlist", "--dump-single-json", "--playlist-items", items.as_str()];
    let answer: Value = serde_json::from_slice(&yt_dlp(url, &args).call()?.stdout)?;
    let entries = answer["entries"].as_array().or_fail(&format!("{} is no list of videos", &**url))?;
    let titles = wanted.titles();
    let (mut videos, mut left_out) = (Vec::new(), 0_u64);
    for entry in entries {
        let video = video(entry, url)?;
        match titles.call_of(&video.title) {
            Ok(_) => videos.push(video),
            Err(why) => {
                left_out += 1;
                log::debug!("no call", title = video.title, why = why.to_string());
            }
        }
    }
    log::info!("a page of a listing", listing = &**url, wanted = videos.len(), left_out = left_out);
    let is_full = entries.len() as u64 > last - place.first && listings.newest.is_none_or(|newest| last < newest);
    let next = if is_full {
        Some(Place { first: last + 1, ..place })
    } else {
        let next = place.listing + 1;
        (next < listings.listings.len()).then_some(Place { listing: next, first: 1 })
    };
    Ok(Found::page(videos, next.map(Place::cursor)))
}

/// An entry of a listing.
fn video(entry: &Value, listing: &str) -> Result<Video> {
    let text = |name: &str| entry[name].as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    if text("ie_key").is_some_and(|kind| kind == "YoutubeTab") {
        return Err(StageError::failed(format!(
            "{listing} lists lists: name one of them in `listings` of params, such as {}",
            text("url").unwrap_or_default()
        )));
    }
    let id = text("id").or_fail(&format!("an entry of {listing} has no id"))?;
    let url = text("url").or_fail(&format!("the entry {id} of {listing} has no address"))?;
    // A video that is gone may have none.
    Ok(Video { id, url, title: text("title").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use tollgate_sdk::{json, mock};

    use super::*;

    const CHANNEL: &str = "https://video.example/@earnings/videos";
    const SEARCH: &str = "https://video.example/results?search_query=earnings";

    fn page_of(entries: &[(&str, &str)]) -> Result<tools::Output, tollgate_sdk::ToolError> {
        let entry = |(id, title): &(&str, &str)| json!({"id": id, "title": title, "url": format!("https://video.example/watch?v={id}")});
        let entries: Vec<Value> = entries.iter().map(entry).collect();
        Ok(tools::Output { stdout: json!({"entries": entries}).to_string().into_bytes(), ..Default::default() })
    }

    fn round(cursor: Option<&str>, more: &Value) -> Round {
        let mut params = json!({
            "listings": [CHANNEL, SEARCH],
            "companies": [{"symbol": "AA", "name": "Arlen Alloys"}, {"symbol": "LOW", "name": "Lowther Homes"}],
        });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Round { job: "youtube".to_owned(), params, cursor: cursor.map(ToOwned::to_owned) }
    }

    fn found(host: &mock::Host, cursor: Option<&str>, more: &Value) -> Result<Found> {
        host.run(|| crate::handler().discover(&round(cursor, more)))
    }

    fn keys(found: &Found) -> Vec<&str> {
        found.items.iter().map(|item| item.key.as_str()).collect()
    }

    #[test]
    fn q01_q02_q03_only_calls_of_the_companies_become_items() {
        let host = mock::Host::new().tool(page_of(&[
            ("a", "Arlen Alloys ($AA) Q3 2025 Earnings Call"),
            ("b", "$AA Earnings SHOCK!"),
            ("c", "$AA, $LOW and $NWLL earnings this week"),
            ("d", "How LOW can prices go before earnings"),
            ("e", "Why $AAL flies: earnings"),
            ("f", "Lowther Homes Q1 2025 Earnings Conference Call"),
            ("g", ""),
        ]));
        let found = found(&host, None, &json!({})).unwrap();
        assert_eq!(keys(&found), ["a", "f"]);
        assert_eq!(found.items[0].data["url"], "https://video.example/watch?v=a");
        assert_eq!(found.cursor.as_deref(), Some("1:1"), "then the next listing");
        let args = ["--flat-playlist", "--dump-single-json", "--playlist-items", "1:100"];
        assert_eq!(host.tool_runs(), [yt_dlp(CHANNEL, &args)]);
    }

    #[test]
    fn q01_a_name_is_taken_by_choice_and_more_words_are_rejected_by_choice() {
        let titles = [("a", "Arlen Alloys Earnings Call"), ("b", "$AA earnings preview")];
        let strict = mock::Host::new().tool(page_of(&titles));
        assert_eq!(keys(&found(&strict, None, &json!({"by-name": false})).unwrap()), ["b"]);
        let more = mock::Host::new().tool(page_of(&titles));
        assert_eq!(keys(&found(&more, None, &json!({"reject": ["preview"]})).unwrap()), ["a"]);
    }

    #[test]
    fn a_listing_is_paged_to_its_end_or_to_the_newest_and_then_the_next_one() {
        let full = || mock::Host::new().tool(page_of(&[("a", ""), ("b", "")]));
        let cursor = |host: &mock::Host, cursor: Option<&str>, more: Value| found(host, cursor, &more).unwrap().cursor;
        assert_eq!(cursor(&full(), None, json!({"page": 2})).as_deref(), Some("0:3"));
        assert_eq!(cursor(&full(), Some("0:3"), json!({"page": 2, "newest": 4})).as_deref(), Some("1:1"));
        assert_eq!(cursor(&full(), Some("0:3"), json!({"page": 3})).as_deref(), Some("1:1"), "fewer than asked for");
        let last = full();
        assert_eq!(cursor(&last, Some("1:3"), json!({"page": 2, "newest": 4})), None);
        let args = ["--flat-playlist", "--dump-single-json", "--playlist-items", "3:4"];
        assert_eq!(last.tool_runs(), [yt_dlp(SEARCH, &args)]);
    }

    #[test]
    fn q07_what_is_no_list_of_videos_is_an_error_and_no_empty_page() {
        let says = |answer: Value, wanted: &str| {
            let answer = tools::Output { stdout: answer.to_string().into_bytes(), ..Default::default() };
            let error = found(&mock::Host::new().tool(Ok(answer)), None, &json!({})).unwrap_err();
            assert!(matches!(&error, StageError::Failed(text) if text.contains(wanted)), "{error}");
        };
        says(json!({"id": "a", "title": "a video"}), "is no list of videos");
        says(
            json!({"entries": [{"ie_key": "YoutubeTab", "id": "x", "url": "https://video.example/@x/videos"}]}),
            "@x/videos",
        );
        says(json!({"entries": [{"title": "no id"}]}), "has no id");
        let refused = mock::Host::new().tool(Err(tollgate_sdk::ToolError::Failed("Unsupported URL".to_owned())));
        assert!(matches!(found(&refused, None, &json!({})), Err(StageError::Failed(_))));
    }
}
