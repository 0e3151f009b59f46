//! What is known of a video before anything is paid for: its metadata, and how much a cheap model thinks it promises.

use tollgate_sdk::{
    Value,
    prelude::*,
    quarters::{FiscalYear, Quarter},
    serde_json,
};

use crate::{
    video::{Video, yt_dlp},
    wanted::Wanted,
};

/// Characters of a description that a model is shown: what follows are links.
const DESCRIPTION_CHARS_MAX: usize = 2_000;

/// What a video must be.
#[params]
pub(crate) struct Length {
    /// The shortest that may be a call, in seconds.
    #[serde(default = "shortest")]
    shortest_s: u64,
}

fn shortest() -> u64 {
    600
}

/// A company's own call.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Meta {
    pub(crate) title: String,
    #[may_be_empty]
    pub(crate) channel: Option<String>,
    /// The company's symbol.
    pub(crate) symbol: String,
    /// The company's name.
    pub(crate) company: String,
    /// When it was published, as `2025-10-25`.
    pub(crate) published: Option<String>,
    /// What it is about: as the title says, else by the month in which it was published.
    pub(crate) quarter: Option<Quarter>,
    pub(crate) duration_s: u64,
    #[may_be_empty]
    pub(crate) description: String,
}

/// How much a video promises.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Score {
    /// 10: the whole call, by the company itself, with questions and answers. 5: parts of it. 0: somebody else talks
    /// about it, or it is something else.
    #[schemars(range(min = 0, max = 10))]
    pub(crate) value: u8,
    /// Why, in one sentence.
    pub(crate) why: String,
}

/// Keeps the metadata, and rejects what is no company's own call, before anything is paid for.
#[stage]
pub(crate) fn meta(video: &Video, wanted: &Wanted, length: &Length, kept: &Artifacts) -> Result<With<Meta>> {
    let answer = yt_dlp(&video.url, &["--skip-download", "--dump-json"]).call()?;
    kept.put("info.json", "application/json", &answer.stdout)?;
    let info: Value = serde_json::from_slice(&answer.stdout)?;
    let text = |name: &str| info[name].as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let title = text("title").or_fail("the metadata have no title")?;
    let company = wanted.titles().call_of(&title).or_reject(&format!("{title:?} is no call"))?;
    if let Some(state) =
        text("live_status").filter(|state| matches!(state.as_str(), "is_live" | "is_upcoming" | "post_live"))
    {
        return Err(StageError::retry_later(format!("it isn't whole yet: {state}")));
    }
    let seconds = info["duration"].as_f64().or_fail("the metadata have no duration")?;
    // Whole seconds of a length: neither negative nor beyond a u64.
    let duration_s = seconds.max(0.0).round() as u64;
    if duration_s < length.shortest_s {
        return Err(StageError::reject(format!(
            "{duration_s} s are too short for a call: {} at least",
            length.shortest_s
        )));
    }
    let date = text("upload_date").as_deref().and_then(Date::of);
    let fiscal = company.fiscal_year().or_fail(&format!("fiscal-year-end of {} is no month", company.symbol))?;
    let by_date = date.and_then(|date| date.reported(fiscal));
    let by_title = Quarter::of_title(&title);
    let meta = Meta {
        channel: text("channel"),
        symbol: company.symbol.clone(),
        company: company.name.clone(),
        published: date.map(|date| format!("{:04}-{:02}-{:02}", date.year, date.month, date.day)),
        quarter: by_title.or(by_date),
        duration_s,
        description: text("description").unwrap_or_default(),
        title,
    };
    match (by_title, by_date) {
        (Some(said), Some(derived)) if said != derived => {
            Ok(meta.flag(format!("the title says {said}; by its date it would be about {derived}")))
        }
        _ => Ok(meta.into()),
    }
}

/// Asks a cheap model how much it promises, by what is known of it for nothing.
#[stage]
pub(crate) fn score(meta: &Meta) -> Result<Score> {
    let description: String = meta.description.chars().take(DESCRIPTION_CHARS_MAX).collect();
    let about = format!(
        "Title: {}\nChannel: {}\nPublished: {}\nLength: {} minutes\n\n{description}",
        meta.title,
        meta.channel.as_deref().unwrap_or("not known"),
        meta.published.as_deref().unwrap_or("not known"),
        meta.duration_s.div_ceil(60),
    );
    let company = &meta.company;
    let ask = format!(
        "The document `video` describes a video. How likely is it the whole earnings call of {company} itself, rather than \
         somebody's talk about it?"
    );
    llm::extract(ask).document("video", about).call()
}

/// A day, as yt-dlp writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// `20251025`.
    fn of(text: &str) -> Option<Self> {
        if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Self { year: text[..4].parse().ok()?, month: text[4..6].parse().ok()?, day: text[6..].parse().ok()? })
    }

    fn reported(self, fiscal: FiscalYear) -> Option<Quarter> {
        Quarter::reported_in(self.year, self.month, fiscal)
    }
}

#[cfg(test)]
mod tests {
    use tollgate_sdk::{json, mock};

    use super::*;

    const URL: &str = "https://video.example/watch?v=a";

    fn info(more: &Value) -> Value {
        let mut info = json!({
            "id": "a", "title": "Arlen Alloys ($AA) Earnings Call", "duration": 3_541.5, "upload_date": "20260125",
            "channel": "Calls", "description": "", "live_status": "not_live",
        });
        info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        info
    }

    fn looked(host: &mock::Host, more: &Value) -> Result<With<Meta>> {
        let answer = tools::Output { stdout: info(more).to_string().into_bytes(), ..Default::default() };
        let host = host.clone().tool(Ok(answer));
        let params = json!({"companies": [{"symbol": "AA", "name": "Arlen Alloys"}]});
        let video = Video { id: "a".to_owned(), url: URL.to_owned(), title: String::new() };
        host.run(|| {
            let (wanted, length) = (serde_json::from_value(params)?, serde_json::from_value(json!({}))?);
            meta(&video, &wanted, &length, &Artifacts)
        })
    }

    #[test]
    fn m05_the_metadata_are_kept_and_what_matters_is_taken_out_for_nothing() {
        let host = mock::Host::new();
        let With { output, flags, .. } = looked(&host, &json!({})).unwrap();
        assert_eq!((output.symbol.as_str(), output.company.as_str(), output.duration_s), ("AA", "Arlen Alloys", 3_542));
        assert_eq!((output.published.as_deref(), flags), (Some("2026-01-25"), Vec::<String>::new()));
        assert_eq!(host.tool_runs(), [yt_dlp(URL, &["--skip-download", "--dump-json"])]);
        assert!(host.artifact_body("meta", "info.json").is_some());
        assert!(host.llm_calls().is_empty(), "no model is asked");
    }

    #[test]
    fn p04_what_is_no_call_is_rejected_before_anything_is_paid_for() {
        for (more, why) in [
            (json!({"title": "Arlen Alloys earnings: my reaction"}), "is no call: commentary: \"reaction\""),
            (json!({"title": "A walk along the harbour"}), "is no call: no word of earnings"),
            (json!({"duration": 59}), "59 s are too short"),
        ] {
            let host = mock::Host::new();
            let Err(StageError::Reject(said)) = looked(&host, &more) else { panic!("{more} was taken") };
            assert!(said.contains(why), "{said}");
            assert!(host.artifact_body("meta", "info.json").is_some(), "kept before it is judged");
            assert!(host.llm_calls().is_empty());
        }
    }

    #[test]
    fn what_is_live_still_comes_later() {
        for state in ["is_live", "is_upcoming", "post_live"] {
            let later = looked(&mock::Host::new(), &json!({"live_status": state, "duration": null}));
            assert!(matches!(later, Err(StageError::RetryLater { .. })), "{state}");
        }
    }

    #[test]
    fn q04_a_call_in_january_is_about_the_fourth_quarter_of_the_year_before() {
        let quarter = |more: Value| looked(&mock::Host::new(), &more).unwrap().output.quarter.map(|q| q.to_string());
        assert_eq!(quarter(json!({})).as_deref(), Some("Q4 2025"));
        assert_eq!(quarter(json!({"upload_date": "20260430"})).as_deref(), Some("Q1 2026"));
        assert_eq!(quarter(json!({"upload_date": null})), None);
    }

    #[test]
    fn q04_a_title_is_taken_at_its_word_and_a_doubt_is_flagged() {
        let said = looked(&mock::Host::new(), &json!({"title": "$AA Q2 2025 Earnings Call"})).unwrap();
        assert_eq!(said.output.quarter.map(|q| q.to_string()).as_deref(), Some("Q2 2025"));
        assert_eq!(said.flags, ["the title says Q2 2025; by its date it would be about Q4 2025"]);
    }

    #[test]
    fn p03_a_cheap_model_scores_it_by_what_is_known_for_nothing() {
        let meta = looked(&mock::Host::new(), &json!({"description": "x".repeat(9_000)})).unwrap().output;
        let host = mock::Host::new().llm("{\"value\": 9, \"why\": \"It is the call.\"}");
        assert_eq!(host.run(|| score(&meta)), Ok(Score { value: 9, why: "It is the call.".to_owned() }));
        let calls = host.llm_calls();
        let llm::Content::Text(about) = &calls[0].documents[0].content else { panic!("{calls:?}") };
        assert!(about.contains("Arlen Alloys ($AA)") && about.len() < 2_300, "{} bytes", about.len());
        let value = &calls[0].schema.as_ref().unwrap()["properties"]["value"];
        assert_eq!((&value["minimum"], &value["maximum"]), (&json!(0), &json!(10)));
        assert!(host.tool_runs().is_empty(), "nothing is downloaded for it");
    }
}
