//! What a model makes of a thesis: whether it is one, and what it says, by one call.

use tollgate_sdk::prelude::*;

use crate::{listing::Idea, thesis::Thesis};

/// What the model is asked for.
#[part]
struct Answer {
    /// Whether the text argues for or against an investment in that very company. News, questions, tables of contents,
    /// pages of signing in and texts about another company don't.
    genuine: bool,
    /// Why it is genuine, or why not, in one sentence.
    why: String,
    /// The thesis in two or three sentences, with its figures. Of one that isn't genuine: what the text is instead.
    summary: String,
    /// What the author would do.
    direction: Direction,
    /// What may make the thesis come true, each in a few words, as the text says it. None where it names none.
    catalysts: Vec<String>,
    /// What may make it wrong, as the text itself says it. None where it names none.
    risks: Vec<String>,
    /// How long the author expects it to take, in months, where the text says so.
    months: Option<u32>,
}

/// What the author of a thesis would do.
#[part]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Buy: it is worth more.
    Long,
    /// Sell short: it is worth less.
    Short,
}

/// What a genuine thesis says.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    summary: String,
    direction: Direction,
    #[may_be_empty]
    catalysts: Vec<String>,
    #[may_be_empty]
    risks: Vec<String>,
    /// How long it is expected to take, in months.
    months: Option<u32>,
}

/// Asks whether it is a thesis about that company at all, and what it says; what is none is rejected.
#[stage]
pub(crate) fn enrich(idea: &Idea, thesis: Thesis) -> Result<Verdict> {
    let company = Some(idea.company.as_str()).filter(|name| !name.is_empty()).or(thesis.company.as_deref());
    let of = company.map_or_else(|| "a company".to_owned(), |name| format!("the company {name:?}"));
    let instruction = format!(
        "Is the document `thesis` an investment thesis about {of}? Say so in `genuine`, and fill in the rest from the \
         document alone: what it doesn't say, leave out."
    );
    let answer: Answer =
        llm::extract(instruction).document("thesis", format!("{}\n\n{}", thesis.title, thesis.text)).call()?;
    if !answer.genuine {
        return Err(StageError::reject(format!("no investment thesis about {of}: {}", answer.why)));
    }
    let Answer { summary, direction, catalysts, risks, months, .. } = answer;
    let said = |texts: Vec<String>| texts.into_iter().filter(|text| !text.trim().is_empty()).collect();
    Ok(Verdict { summary, direction, catalysts: said(catalysts), risks: said(risks), months })
}

#[cfg(test)]
mod tests {
    use tollgate_sdk::{Value, json, mock};

    use super::*;

    fn thesis(company: Option<&str>) -> Thesis {
        Thesis::of_tests("Cheap", company, "It is cheap. And sound.")
    }

    fn answered(genuine: bool) -> Value {
        json!({
            "genuine": genuine, "why": "It argues that Acme is cheap.", "summary": "Acme is cheap.", "direction": "long",
            "catalysts": ["A spin-off", ""], "risks": [], "months": 12,
        })
    }

    fn asked(host: &mock::Host, company: &str, named_in_page: Option<&str>) -> Result<Verdict> {
        let idea = Idea { url: "https://ideas.example/idea/1".to_owned(), company: company.to_owned() };
        host.run(|| enrich(&idea, thesis(named_in_page)))
    }

    #[test]
    fn q08_one_call_asks_whether_it_is_a_thesis_about_that_company_and_what_it_says() {
        let host = mock::Host::new().llm(&answered(true).to_string());
        let verdict = asked(&host, "Acme", Some("Acme plc")).unwrap();
        assert_eq!(
            (verdict.summary.as_str(), verdict.direction, verdict.months),
            ("Acme is cheap.", Direction::Long, Some(12))
        );
        assert_eq!((verdict.catalysts, verdict.risks), (vec!["A spin-off".to_owned()], Vec::new()));
        let calls = host.llm_calls();
        assert_eq!(calls.len(), 1);
        assert!(calls[0].instruction.contains("about the company \"Acme\"?"), "{}", calls[0].instruction);
        assert_eq!(calls[0].documents[0].content, llm::Content::Text("Cheap\n\nIt is cheap. And sound.".to_owned()));
        assert!(!calls[0].documents[0].shared, "one call reads it (M06)");
        let schema = calls[0].schema.as_ref().unwrap();
        assert!(
            schema["properties"]["genuine"]["description"].as_str().unwrap().contains("that very company"),
            "{schema}"
        );
    }

    #[test]
    fn q08_what_is_no_thesis_about_that_company_is_rejected_with_the_models_reason() {
        let host = mock::Host::new().llm(&answered(false).to_string());
        let Err(StageError::Reject(why)) = asked(&host, "Acme", None) else { panic!("it was taken") };
        assert_eq!(why, "no investment thesis about the company \"Acme\": It argues that Acme is cheap.");
    }

    #[test]
    fn q08_without_a_company_in_the_listing_the_pages_own_is_asked_about() {
        for (named, about) in [(Some("Acme plc"), "about the company \"Acme plc\"?"), (None, "about a company?")] {
            let host = mock::Host::new().llm(&answered(true).to_string());
            asked(&host, "", named).unwrap();
            assert!(host.llm_calls()[0].instruction.contains(about), "{named:?}");
        }
    }

    #[test]
    fn s01_an_answer_of_another_shape_is_no_verdict() {
        let host = mock::Host::new().llm("{\"genuine\": true}");
        assert!(matches!(asked(&host, "Acme", None), Err(StageError::Failed(_))));
    }
}
