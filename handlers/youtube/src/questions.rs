//! What a call comes to: two questions to a model about one transcript, which the second reads from the provider's
//! cache.

use tollgate_sdk::{prelude::*, stage::Output};

use crate::{
    metadata::Meta,
    transcript::{Captions, Transcript, Whisper},
};

/// The name by which the instructions speak of it.
const DOCUMENT: &str = "transcript";

/// What a model is asked for about the call as a whole.
#[part]
struct Told {
    /// The call in five to ten sentences, with its figures.
    summary: String,
    /// What was new in it, each in a sentence.
    highlights: Vec<String>,
    /// What the company expects of the time to come, as it says it; absent where it says nothing.
    guidance: Option<String>,
    /// What analysts asked about, each in a few words. None where there were no questions.
    questions: Vec<String>,
}

/// A call as a whole.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Digest {
    /// Of what it was made: `manual`, `automatic` or `whisper`.
    source: String,
    summary: String,
    highlights: Vec<String>,
    guidance: Option<String>,
    #[may_be_empty]
    questions: Vec<String>,
}

/// A figure of a call.
#[part]
#[derive(PartialEq)]
pub(crate) struct Figure {
    /// Of what: `revenue`, `operating margin`.
    name: String,
    /// As it was said, with its unit: `4.2 billion USD`, `31 %`.
    value: String,
    /// Of which time: `Q3 2025`, `fiscal 2026`; absent where it isn't said.
    period: Option<String>,
    /// Whether the company expects it, rather than reports it.
    is_expected: bool,
}

/// What a model is asked for about the figures.
#[part]
struct Counted {
    /// Every figure that the company itself gives, in their order. Figures that analysts mention aren't its own.
    figures: Vec<Figure>,
}

/// The figures of a call.
#[output]
#[derive(Debug, PartialEq)]
pub(crate) struct Figures {
    /// Of what they were made: `manual`, `automatic` or `whisper`.
    source: String,
    #[may_be_empty]
    figures: Vec<Figure>,
}

/// Asks what the call comes to.
#[stage]
pub(crate) fn digest(meta: &Meta, said: Either<Captions, Whisper>) -> Result<With<Digest>> {
    let transcript = Transcript::from(&said);
    let call =
        llm::extract::<Told>(format!("Say what the call in the document `{DOCUMENT}` comes to: {}.", about(meta)));
    let (told, cut) = asked(call, &transcript)?;
    let filled = |texts: Vec<String>| texts.into_iter().filter(|text| !text.trim().is_empty()).collect();
    let Told { summary, highlights, guidance, questions } = told;
    let (source, guidance) = (transcript.source.to_owned(), guidance.filter(|text| !text.trim().is_empty()));
    let digest = Digest { source, summary, highlights: filled(highlights), guidance, questions: filled(questions) };
    Ok(flagged(digest, cut))
}

/// Asks for its figures. It reads what `digest` reads: run after it, it reads that from the provider's cache.
#[stage]
pub(crate) fn figures(meta: &Meta, said: Either<Captions, Whisper>) -> Result<With<Figures>> {
    let transcript = Transcript::from(&said);
    let call =
        llm::extract::<Counted>(format!("List the figures of the call in the document `{DOCUMENT}`: {}.", about(meta)));
    let (Counted { figures }, cut) = asked(call, &transcript)?;
    Ok(flagged(Figures { source: transcript.source.to_owned(), figures }, cut))
}

/// Which call it is, for an instruction: what is said of it stands behind the document, which is the same for both.
fn about(meta: &Meta) -> String {
    let quarter = meta.quarter.map_or_else(String::new, |quarter| format!(" for {quarter}"));
    format!("the earnings call of {} ({}){quarter}", meta.company, meta.symbol)
}

/// The answer, and whether the transcript was cut for it.
fn asked<T>(call: llm::Call<T>, transcript: &Transcript<'_>) -> Result<(T, bool)> {
    let (answer, completion) = call.shared_document(DOCUMENT, transcript.text).call_in_full()?;
    Ok((answer, !completion.cut_documents.is_empty()))
}

/// A cut is told where people see it (Q09).
fn flagged<T: Output>(output: T, is_cut: bool) -> With<T> {
    if is_cut { output.flag("the transcript was cut to the size limit: its end wasn't read") } else { output.into() }
}

#[cfg(test)]
mod tests {
    use tollgate_sdk::{Value, json, mock, serde_json};

    use super::*;

    fn meta() -> Meta {
        serde_json::from_value(json!({
            "title": "$AA earnings call", "channel": null, "symbol": "AA", "company": "Arlen Alloys",
            "published": "2026-01-25", "quarter": {"year": 2025, "number": 4}, "duration_s": 100, "description": "",
        }))
        .unwrap()
    }

    fn by(source: &str) -> Either<Captions, Whisper> {
        let text = "Revenue rose by 9 percent.";
        let of = |value: Value| serde_json::from_value(value).unwrap();
        if source == "whisper" {
            let of = |value: Value| serde_json::from_value(value).unwrap();
            return Either::Second(of(json!({"model": "large", "seconds": 100.0, "text": text, "words": 5})));
        }
        Either::First(of(json!({
            "source": source, "language": "en", "artifact": "x.en.vtt", "text": text, "words": 5,
        })))
    }

    fn told() -> String {
        json!({"summary": "It went well.", "highlights": ["Growth", " "], "guidance": "", "questions": []}).to_string()
    }

    fn counted() -> String {
        json!({"figures": [{"name": "growth", "value": "9 %", "period": null, "is_expected": false}]}).to_string()
    }

    #[test]
    fn m06_both_questions_share_one_document_that_stands_before_them() {
        let host = mock::Host::new().llm(&told()).llm(&counted());
        host.run(|| {
            digest(&meta(), by("manual")).unwrap();
            figures(&meta(), by("manual")).unwrap();
        });
        let calls = host.llm_calls();
        assert_eq!(calls.len(), 2);
        assert!(calls[0].documents[0].shared);
        assert_eq!(calls[0].documents, calls[1].documents, "the same to the byte, or no cache finds it");
        assert_ne!(calls[0].instruction, calls[1].instruction);
        for call in &calls {
            assert!(call.instruction.contains("of Arlen Alloys (AA) for Q4 2025"), "{}", call.instruction);
            assert!(call.schema.is_some(), "at temperature 0 (M03)");
        }
    }

    #[test]
    fn p05_the_output_says_where_the_transcript_came_from() {
        for source in ["manual", "automatic", "whisper"] {
            let host = mock::Host::new().llm(&told()).llm(&counted());
            let (digest, figures) = host
                .run(|| (digest(&meta(), by(source)).unwrap().output, figures(&meta(), by(source)).unwrap().output));
            assert_eq!((digest.source.as_str(), figures.source.as_str()), (source, source));
            assert_eq!(
                (digest.highlights, digest.guidance),
                (vec!["Growth".to_owned()], None),
                "what is empty is absent"
            );
            assert_eq!(figures.figures[0].value, "9 %");
        }
    }

    #[test]
    fn q09_a_transcript_that_was_cut_is_flagged() {
        let cut =
            |text: String| llm::Completion { text, cut_documents: vec![DOCUMENT.to_owned()], ..Default::default() };
        let host = mock::Host::new().llm_answer(Ok(cut(told()))).llm_answer(Ok(cut(counted())));
        let flags = host.run(|| {
            [digest(&meta(), by("manual")).unwrap().flags, figures(&meta(), by("manual")).unwrap().flags].concat()
        });
        assert_eq!(flags.len(), 2);
        assert!(flags.iter().all(|flag| flag.contains("was cut")), "{flags:?}");
    }
}
