//! What a search and a speech may say, and what is said of others.

use super::*;
use crate::{
    budget::MoneyBudget,
    spec::{Deployment, parse},
};

fn read(text: &str) -> Result<Deployment, String> {
    parse(text, "jobs.toml").map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn every_key_of_a_search_is_read() {
    let text = "[search.web]\nprovider = \"brave\"\nkey = { env = \"B\" }\nprice = \"0.005 USD\"\nrate = \"1/s\"\n\
                timeout = \"5s\"\nbudget = { day = \"1 USD\" }\n\
                [search.plain]\nprovider = \"serper\"\nkey = { file = \"k\" }\n\
                [search.own]\nprovider = \"serper\"\nurl = \"http://localhost:9/s\"\nprice = \"free\"\n";
    let deployment = read(text).unwrap();
    let web = deployment.search("web").unwrap();
    assert_eq!((web.provider, web.price), (SearchProvider::Brave, Some(NanoUsd(5_000_000))));
    assert_eq!(web.service.requests, Some(Allowance { count: 1, per: Duration::from_secs(1) }));
    assert_eq!((web.service.timeout, web.service.budget.month), (Duration::from_secs(5), None));
    assert_eq!(web.service.address("web/search").as_str(), "https://api.search.brave.com/res/v1/web/search");
    let plain = deployment.search("plain").unwrap();
    assert_eq!((plain.price, plain.service.timeout), (None, Duration::from_secs(30)), "unpriced isn't free");
    assert_eq!(plain.service.address("search").as_str(), "https://google.serper.dev/search");
    let own = deployment.search("own").unwrap();
    assert_eq!((own.price, own.service.address("search").path()), (Some(NanoUsd::ZERO), "/s/search"));
}

#[test]
fn every_key_of_a_speech_is_read_and_each_second_that_began_is_paid() {
    let text = "[speech.whisper]\nprovider = \"openai\"\nname = \"large\"\nurl = \"https://api.groq.com/openai/v1\"\n\
                key = { env = \"G\" }\nprice = \"0.036 USD/h\"\npart = \"5min\"\nrequests = \"20/min\"\n\
                timeout = \"1min\"\n\
                budget = { month = \"0 USD\" }\n\
                [speech.own]\nprovider = \"openai\"\nname = \"s\"\nurl = \"http://127.0.0.1:9/v1\"\nprice = \"free\"\n";
    let deployment = read(text).unwrap();
    let whisper = deployment.speech("whisper").unwrap();
    assert_eq!((whisper.name.as_str(), whisper.part, whisper.at.line), ("large", Duration::from_mins(5), 1));
    assert_eq!(whisper.service.timeout, Duration::from_mins(1));
    assert_eq!(whisper.service.budget, MoneyBudget { day: None, month: Some(NanoUsd::ZERO) });
    let price = whisper.price.unwrap();
    assert_eq!(price, AudioPrice { money: NanoUsd(36_000_000), seconds: 3_600, seconds_min: 0 });
    assert_eq!(price.of(Duration::from_hours(2)), NanoUsd(72_000_000));
    assert_eq!(price.of(Duration::from_millis(1_001)), NanoUsd(20_000));
    let own = deployment.speech("own").unwrap();
    assert_eq!((own.part, own.price.unwrap().of(Duration::from_hours(1))), (PART_DEFAULT, NanoUsd::ZERO));
}

#[test]
fn what_a_search_or_a_speech_cannot_be_is_said_with_its_place_and_what_to_do() {
    let search = "[search.s]\nprovider = \"serper\"\nkey = { env = \"K\" }\n";
    let speech = "[speech.w]\nprovider = \"openai\"\nname = \"n\"\nkey = { env = \"K\" }\n";
    for (head, lines, wanted) in [
        (
            search,
            "price = \"1 EUR\"",
            "4:9: price is \"1 EUR\"\n  write what a query costs, such as \"0.001 USD\", or \"free\"",
        ),
        (search, "price = 0", "4:9: price is 0\n"),
        (search, "rate = \"fast\"", "4:8: rate: \"fast\" is no limit"),
        (search, "budget = { day = \"1 MB\" }", "4:18: day is \"1 MB\"\n  write dollars"),
        (search, "url = \"endpoint://none\"", "4:7: url: no endpoint is named \"none\""),
        (search, "name = \"x\"", "unknown key `name`"),
        (
            "[search.s]\nprovider = \"seper\"\nkey = { env = \"K\" }",
            "",
            "did you mean `serper`? there are serper, brave",
        ),
        ("[search.s]\nprovider = \"brave\"", "", "1:1: search s has no key\n  add key = { env = \"BRAVE_API_KEY\" }"),
        ("[search.s]\nprovider = \"serper\"\nkey = \"abc\"", "", "3:7: the key of search s stands in the file itself"),
        (speech, "price = \"0.04 USD\"", "5:9: price is \"0.04 USD\"\n  write what an hour of audio costs"),
        (speech, "price = \"0.04 USD/d\"", "5:9: price is \"0.04 USD/d\"\n"),
        (speech, "part = \"4h\"", "5:8: part is \"4h\"\n  write 1s to 3h"),
        (speech, "part = \"10ms\"", "5:8: part is \"10ms\"\n"),
        (speech, "tokens = \"1/min\"", "unknown key `tokens`"),
        (
            "[speech.w]\nprovider = \"gemini\"\nname = \"n\"\nkey = { env = \"K\" }",
            "",
            "provider is \"gemini\"\n  there are openai",
        ),
        ("[speech.\"W\"]\nprovider = \"openai\"\nname = \"n\"\nkey = { env = \"K\" }", "", "1:1: speech \"W\": 'W'"),
    ] {
        let said = read(&format!("{head}{lines}\n")).unwrap_err();
        assert!(said.contains(wanted) && said.lines().count() <= 2, "{head}{lines}: {said}");
    }
}
