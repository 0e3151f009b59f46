//! The pinned table, and how names are found in it.

use std::time::Duration;

use tollgate_core::model::Tokens;

use super::*;

/// Dollars that no model costs for a million tokens: more is a slip of the point.
const DEAREST: NanoUsd = NanoUsd(200 * 1_000_000_000);

fn pinned() -> Prices {
    Prices::pinned().unwrap()
}

#[test]
fn the_pinned_table_says_when_and_whence_and_each_of_its_prices_is_sane() {
    let prices = pinned();
    assert_eq!(prices.checked().len(), "2026-11-28".len());
    assert!(!prices.sources().is_empty() && prices.models.len() > 50);
    for ((provider, name), facts) in &prices.models {
        let usual = facts.prices.usual;
        let long = facts.prices.long;
        for tier in long.iter().map(|(_, tier)| tier).chain([&usual]) {
            let is_sane = tier.input > NanoUsd::ZERO
                && tier.output >= tier.input
                && tier.output <= DEAREST
                && tier.cache_read > NanoUsd::ZERO
                && tier.cache_read <= tier.input
                && tier.cache_write >= tier.input
                && tier.cache_write_long >= tier.cache_write
                && tier.cache_write_long.0 <= 2 * tier.input.0.max(tier.cache_write.0);
            assert!(is_sane, "{provider} {name}: {tier:?}");
        }
        assert!(long.is_none_or(|(above, tier)| above >= 100_000 && tier.input > usual.input), "{provider} {name}");
        assert!(facts.output_max.is_some_and(|max| (4_096..=1_048_576).contains(&max)), "{provider} {name}");
        assert!(facts.cached_min.is_none_or(|min| (512..=4_096).contains(&min)), "{provider} {name}");
        assert!(provider != "anthropic" || facts.cached_min.is_some(), "{name}");
    }
}

#[test]
fn trap04_a_name_is_found_as_it_is_written_or_not_at_all() {
    let prices = pinned();
    let is_priced = |provider, name| prices.model(provider, name).is_some();
    for (provider, name) in [
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-2024-08-06"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("gemini", "models/gemini-2.5-pro"),
        ("groq", "openai/gpt-oss-120b"),
    ] {
        assert!(is_priced(provider, name), "{provider} {name}");
    }
    for (provider, name) in [
        ("openai", "gpt-4o-2031-01-01"),
        ("openai", "gpt-4o-mni"),
        ("openai", "GPT-4o"),
        ("openai", "gpt-4"),
        ("openai", "models/gpt-4o"),
        ("anthropic", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5-2025"),
        ("gemini", "gemini-2.5"),
        ("nobody", "gpt-4o"),
        ("openai", ""),
    ] {
        assert!(!is_priced(provider, name), "{provider} {name}");
    }
    let old = prices.model("openai", "gpt-4o-2024-05-13").unwrap();
    assert_ne!(old.prices, prices.model("openai", "gpt-4o").unwrap().prices, "a date with a price of its own");
    assert!(prices.model_names("groq").any(|name| name == "openai/gpt-oss-20b"));
}

#[test]
fn a_provider_is_known_by_its_host() {
    let prices = pinned();
    assert_eq!(prices.provider_at(Dialect::OpenAi, "api.groq.com"), Some("groq"));
    assert_eq!(prices.provider_at(Dialect::OpenAi, "API.OpenAI.com"), Some("openai"));
    assert_eq!(prices.provider_at(Dialect::Anthropic, "api.openai.com"), None);
    assert_eq!(prices.provider_at(Dialect::OpenAi, "api.openai.com.example"), None);
}

#[test]
fn long_calls_cost_the_long_tier_and_cached_tokens_their_own_price() {
    let prices = pinned();
    let gemini = prices.model("gemini", "gemini-2.5-pro").unwrap();
    let of = |input, cache_read| gemini.prices.of(&Tokens { input, cache_read, output: 1_000, ..Tokens::default() });
    assert_eq!(of(100_000, 100_000), NanoUsd(125_000_000 + 12_500_000 + 10_000_000));
    assert_eq!(of(100_001, 100_000), NanoUsd(250_002_500 + 25_000_000 + 15_000_000));
    let claude = prices.model("anthropic", "claude-sonnet-4-5").unwrap();
    let tokens = Tokens { input: 1_000, cache_read: 1_000, cache_write: 1_000, cache_write_long: 1_000, output: 1_000 };
    assert_eq!(claude.prices.of(&tokens), NanoUsd(3_000_000 + 300_000 + 3_750_000 + 6_000_000 + 15_000_000));
    let wire = claude.wire(Dialect::Anthropic, "claude-sonnet-4-5");
    assert_eq!((wire.output_max, wire.temperature), (Some(64_000), TemperatureRule::Free));
    assert_eq!(prices.model("openai", "gpt-5").unwrap().temperature, TemperatureRule::Fixed);
}

#[test]
fn p05_speech_costs_by_the_second_and_search_by_the_credit() {
    let prices = pinned();
    let whisper = prices.speech("openai", "whisper-1").unwrap();
    assert_eq!(whisper.of(Duration::from_mins(1)), NanoUsd(6_000_000));
    assert_eq!(whisper.of(Duration::from_millis(1_001)), NanoUsd(200_000));
    let groq = prices.speech("groq", "whisper-large-v3").unwrap();
    assert_eq!(groq.of(Duration::from_secs(2)), groq.of(Duration::from_secs(10)));
    assert_eq!(groq.of(Duration::from_hours(1)), NanoUsd(111_000_000));
    assert_eq!(prices.speech("openai", "whisper-2"), None);
    let serper = prices.search("serper").unwrap();
    assert_eq!([0, 1, 10, 11].map(|results| serper.of_results(results).0), [1, 1, 1, 2].map(|n| n * 1_000_000));
    assert_eq!(serper.of_credits(3), NanoUsd(3_000_000));
}

#[test]
fn trap04_a_table_with_a_slip_is_refused() {
    let with = |more: &str| Prices::parse(&format!("{PINNED}\n{more}"));
    let model = |rest: &str| format!("[[model]]\nprovider = \"openai\"\n{rest}");
    let usual = "usual = { input = \"1 USD\", output = \"1 USD\" }";
    assert!(with(&model(&format!("name = \"new\"\n{usual}"))).is_ok());
    assert_eq!(with(&model(&format!("name = \"gpt-4o\"\n{usual}"))), Err(PricesError::Twice("gpt-4o".to_owned())));
    let dated = model(&format!("name = \"gpt-4o-2024-08-06\"\n{usual}"));
    assert_eq!(with(&dated), Err(PricesError::Twice("gpt-4o-2024-08-06".to_owned())));
    let half = with(&model(&format!("name = \"new\"\n{usual}\nabove = 1")));
    assert!(matches!(half, Err(PricesError::Form(said)) if said.contains("go together")));
    for bad in ["name = \"new\"\nusual = { input = \"1\", output = \"1 USD\" }", "name = \"new\"\nprice = 1"] {
        assert!(matches!(with(&model(bad)), Err(PricesError::Form(_))), "{bad}");
    }
    assert!(matches!(
        with("[[speech]]\nprovider = \"x\"\nname = \"y\"\nminute = \"1 USD\""),
        Err(PricesError::Form(_))
    ));
    let foreign = format!("[[model]]\nprovider = \"opneai\"\nname = \"new\"\n{usual}");
    assert_eq!(with(&foreign), Err(PricesError::Provider("opneai".to_owned())));
}
