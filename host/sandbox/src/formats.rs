//! Formats that a params schema may ask for, so that a text that can't be used is found before anything runs.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;
use url::Url;

/// A format of ours, beside those of JSON Schema itself.
pub(crate) struct Format {
    /// As schemas name it.
    name: &'static str,
    /// Whether a text can be used. It takes exactly what the SDK takes: a test holds that.
    takes: fn(&str) -> bool,
    /// What a text is that can't.
    pub(crate) wrong: &'static str,
    /// What to write.
    pub(crate) help: &'static str,
}

static FORMATS: [Format; 2] = [
    Format {
        name: "css-selector",
        takes: |text| scraper::Selector::parse(text).is_ok(),
        wrong: "is no CSS selector",
        help: "write one such as \"h1\", \".price\", \"a[href]\" or \"article > p\"",
    },
    Format {
        name: "web-address",
        takes: |text| Url::parse(text.trim()).is_ok_and(|url| matches!(url.scheme(), "http" | "https")),
        wrong: "is no http or https address",
        help: "write a whole one, such as \"https://example.com/\"",
    },
];

impl Format {
    /// The format of ours of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.name == name)
    }
}

/// A validator of params: formats are demanded, and those that nobody knows are passed over, as JSON Schema has it.
///
/// # Errors
/// It is no JSON Schema, or refers elsewhere.
pub(crate) fn validator(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    // Patterns are a handler's: no engine that may take for ever over a few bytes.
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
    let mut options = options.should_validate_formats(true);
    for format in &FORMATS {
        options = options.with_format(format.name, format.takes);
    }
    options.build(schema)
}
