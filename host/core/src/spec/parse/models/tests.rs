//! What a model may say, and what is said of others.

use std::time::Duration;

use super::*;
use crate::{
    budget::MoneyBudget,
    model::Tokens,
    money::NanoUsd,
    spec::{Allowance, Deployment, Secret, ServiceSpec, parse},
};

fn read(text: &str) -> Result<Deployment, String> {
    parse(text, "jobs.toml").map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

const KEY: &str = "key = { env = \"K\" }\n";

/// A model of OpenAI with a key, and more lines, which begin at 5.
fn model(lines: &str) -> Result<ModelSpec, String> {
    let text = format!("[model.cheap]\nprovider = \"openai\"\nname = \"small\"\n{KEY}{lines}\n");
    read(&text).map(|deployment| deployment.model("cheap").unwrap().clone())
}

const fn nano(micro_dollars: u64) -> NanoUsd {
    NanoUsd(micro_dollars * 1_000)
}

#[test]
fn a_model_is_where_its_provider_is_and_has_no_limits_where_nothing_is_said() {
    for (provider, url) in [
        ("openai", "https://api.openai.com/v1"),
        ("anthropic", "https://api.anthropic.com/"),
        ("gemini", "https://generativelanguage.googleapis.com/"),
    ] {
        let text = format!("[model.m]\nprovider = \"{provider}\"\nname = \"n\"\n{KEY}");
        let deployment = read(&text).unwrap();
        let model = deployment.model("m").unwrap();
        assert_eq!((model.dialect.as_str(), model.service.url.as_str()), (provider, url));
        assert_eq!(model.service.key, Some(Secret::Env("K".to_owned())));
        assert_eq!((model.prices, model.output_max, model.tokens, model.service.requests), (None, None, None, None));
        assert_eq!((model.temperature, model.service.budget), (TemperatureRule::Free, MoneyBudget::default()));
        assert_eq!((model.service.timeout, model.at.line), (Duration::from_mins(3), 1));
    }
}

#[test]
fn every_key_of_a_model_is_read() {
    let text = "[endpoint.box]\nurl = \"http://localhost:11434\"\n[model.a]\nprovider = \"gemini\"\n\
                name = \"models/g\"\n\
                url = \"endpoint://box/v1/\"\ntemperature = \"fixed\"\noutput-max = 8192\nrequests = \"60/min\"\n\
                tokens = \"100000/min\"\ntimeout = \"10min\"\nbudget = { day = \"0 USD\", month = \"7.5 USD\" }\n\
                fall-back = [\"c\", \"b\"]\n\
                [model.b]\nprovider = \"openai\"\nname = \"b\"\nkey = { file = \"k\" }\nfall-back = [\"c\", \"d\"]\n\
                [model.c]\nprovider = \"openai\"\nname = \"c\"\nurl = \"http://127.0.0.1:8000/v1\"\n\
                [model.d]\nprovider = \"openai\"\nname = \"d\"\nurl = \"https://api.groq.com/openai/v1\"\n\
                key = { env = \"G\" }\n";
    let deployment = read(text).unwrap();
    let model = deployment.model("a").unwrap();
    assert_eq!(
        (model.name.as_str(), model.temperature, model.output_max),
        ("models/g", TemperatureRule::Fixed, Some(8_192))
    );
    assert_eq!((model.service.endpoint(), &model.service.key), (Some("box"), &None));
    let stream = model.service.address("v1beta/models/g:streamGenerateContent?alt=sse");
    assert_eq!(stream.as_str(), "endpoint://box/v1/v1beta/models/g:streamGenerateContent?alt=sse");
    let bare = ServiceSpec { url: "endpoint://box".parse().unwrap(), ..model.service.clone() };
    assert_eq!((bare.address("x").as_str(), bare.endpoint()), ("endpoint://box/x", Some("box")));
    let minute = |count| Some(Allowance { count, per: Duration::from_mins(1) });
    assert_eq!((model.service.requests, model.tokens), (minute(60), minute(100_000)));
    assert_eq!(model.service.timeout, Duration::from_mins(10));
    let budget = MoneyBudget { day: Some(NanoUsd::ZERO), month: Some(nano(7_500_000)) };
    assert_eq!(model.service.budget, budget, "nothing is a budget");
    assert_eq!(deployment.model("b").unwrap().service.endpoint(), None);
    let d = &deployment.model("d").unwrap().service;
    assert_eq!(d.address("/chat/completions").as_str(), "https://api.groq.com/openai/v1/chat/completions");
    let chain = |alias| deployment.model_chain(alias).iter().map(|model| model.alias.as_str()).collect::<Vec<_>>();
    assert_eq!((chain("a"), chain("b"), chain("z")), (vec!["a", "c", "b", "d"], vec!["b", "c", "d"], vec![]));
}

#[test]
fn prices_are_of_a_million_tokens_and_what_they_leave_out_is_never_nothing() {
    let prices = |price: &str| model(&format!("price = {price}")).unwrap().prices.unwrap();
    let plain = prices("{ input = \"0.10 USD\", output = \"0.40 USD\" }");
    let of = |input, cache_read, cache_write, cache_write_long, output| {
        let [input, cache_read, cache_write, cache_write_long, output] =
            [input, cache_read, cache_write, cache_write_long, output].map(nano);
        TokenPrices { input, cache_read, cache_write, cache_write_long, output }
    };
    assert_eq!((plain.usual, plain.long), (of(100_000, 100_000, 125_000, 200_000, 400_000), None));
    let whole = prices(
        "{ input = \"1 USD\", output = \"4 USD\", cache-read = \"0 USD\", cache-write = \"2 USD\", \
         cache-write-hour = \"3 USD\", above = 200000, long = { input = \"2 USD\", output = \"8 USD\" } }",
    );
    assert_eq!(whole.usual, of(1_000_000, 0, 2_000_000, 3_000_000, 4_000_000));
    assert_eq!(whole.long, Some((200_000, of(2_000_000, 2_000_000, 2_500_000, 4_000_000, 8_000_000))));
    let anthropic = "[model.m]\nprovider = \"anthropic\"\nname = \"n\"\nkey = { env = \"K\" }\n\
                     price = { input = \"3 USD\", output = \"15 USD\" }\n";
    let anthropic = read(anthropic).unwrap().model("m").unwrap().prices.unwrap().usual;
    assert_eq!(anthropic, of(3_000_000, 300_000, 3_750_000, 6_000_000, 15_000_000), "its cache's prices are known");
    let every = Tokens { input: 1, cache_read: 1, cache_write: 1, cache_write_long: 1, output: 1 };
    assert_eq!(prices("\"free\"").of(&every), NanoUsd::ZERO);
    assert_eq!(prices("{ input = \"0 USD\", output = \"0 USD\" }").of(&every), NanoUsd::ZERO, "0 is a price");
}

#[test]
fn trap04_a_model_without_a_price_is_unpriced_and_half_a_price_is_none() {
    assert_eq!(model("").unwrap().prices, None);
    for (price, at, wanted) in [
        ("{ output = \"0.40 USD\" }", 9, "price has no input\n  write dollars for a million tokens"),
        ("{ input = \"0.40 USD\" }", 9, "price has no output\n"),
        ("{ input = \"0.1\", output = \"0.4 USD\" }", 19, "input is \"0.1\"\n  write dollars for a million tokens"),
        ("{ input = 0, output = \"0.4 USD\" }", 19, "input is 0\n  write dollars"),
        ("{ input = \"1 USD\", output = \"4 EUR\" }", 37, "output is \"4 EUR\"\n"),
        ("{ input = \"1 USD\", output = \"4 USD\", cache-read = \"a\" }", 59, "cache-read is \"a\"\n"),
        ("{ input = \"1 USD\", output = \"4 USD\", cach-read = \"a\" }", 46, "did you mean `cache-read`?"),
        ("{ input = \"1 USD\", output = \"4 USD\", above = 5 }", 9, "`above` and `long` go together\n  write above ="),
        (
            "{ input = \"1 USD\", output = \"4 USD\", long = { input = \"1 USD\", output = \"1 USD\" } }",
            9,
            "go together",
        ),
        (
            "{ input = \"1 USD\", output = \"4 USD\", above = 0, long = { input = \"1 USD\", output = \"1 USD\" } }",
            54,
            "above is 0\n  write a whole number",
        ),
        (
            "{ input = \"1 USD\", output = \"4 USD\", above = 9, long = { input = \"1 USD\" } }",
            64,
            "long has no output",
        ),
        (
            "{ input = \"1 USD\", output = \"4 USD\", above = 9, long = { input = \"1 USD\", output = \"1 USD\", \
             above = 3 } }",
            64,
            "long has a tier of its own",
        ),
        ("\"fre\"", 9, "price is \"fre\"\n  write { input"),
        ("0", 9, "expected \"free\", or { input"),
        ("{}", 9, "price has no input"),
    ] {
        let said = model(&format!("price = {price}")).unwrap_err();
        assert!(said.starts_with(&format!("jobs.toml:5:{at}: ")) && said.contains(wanted), "{price}: {said}");
    }
}

#[test]
fn what_a_model_cannot_be_is_said_with_its_place_and_what_to_do() {
    for (lines, wanted) in [
        ("temperature = 0.2", "5:15: temperature is 0.2\n  write \"fixed\" for a model that takes none"),
        ("temperature = \"free\"", "5:15: temperature is \"free\"\n"),
        ("output-max = 0", "5:14: output-max is 0\n  write a whole number, 1 to 10000000"),
        ("requests = \"60\"", "5:12: requests: \"60\" is no limit; write a whole number and a time"),
        ("requests = \"0/min\"", "5:12: requests: \"0/min\" is no limit"),
        ("tokens = \"1.5/min\"", "5:10: tokens: \"1.5/min\" is no limit"),
        ("timeout = \"0s\"", "5:11: timeout is \"0s\"\n"),
        (
            "budget = { day = \"2 GB\" }",
            "5:18: day is \"2 GB\"\n  write dollars, such as \"5.00 USD\"; \"0 USD\" spends",
        ),
        ("budget = {}", "5:10: a budget without a day and a month says nothing\n  write { day = \"5.00 USD\" }"),
        ("budget = \"5 USD\"", "a budget, such as { day = \"5.00 USD\" }"),
        ("url = \"api.example\"", "5:7: the url of model cheap is no address\n  write its base address"),
        ("url = \"ftp://a\"", "5:7: the url of model cheap is no address"),
        ("url = \"https://me:pw@a.example\"", "5:7: the url of model cheap has a user or password\n  leave it out"),
        ("url = \"https://a.example?key=x\"", "5:7: the url of model cheap has a query or a fragment"),
        ("url = \"endpoint://box\"", "5:7: url: no endpoint is named \"box\"\n  add [endpoint.box] with its url"),
        (
            "url = \"endpoint://olama/v1\"\n[endpoint.ollama]\nurl = \"http://localhost:1\"",
            "5:7: url: no endpoint is named \"olama\"\n  did you mean `ollama`? the endpoints are ollama",
        ),
        ("url = \"endpoint://box:1/v1\"\n[endpoint.box]\nurl = \"http://a\"", "names an endpoint with a port"),
        ("max-tokens = 5", "5:1: unknown key `max-tokens`"),
        ("fall-back = [\"chep\"]", "5:14: fall-back: no model is named \"chep\"\n  add [model.chep] with its provider"),
        ("fall-back = [\"cheap\"]", "5:14: fall-back goes round: cheap, cheap\n  take cheap out of it"),
    ] {
        let said = model(lines).unwrap_err();
        assert!(said.contains(wanted) && said.lines().count() <= 2, "{lines}: {said}");
    }
    for (text, wanted) in [
        ("[model.m]\nprovider = \"openai\"", "missing field `name`"),
        (
            "[model.m]\nprovider = \"opanai\"\nname = \"n\"\nkey = { env = \"K\" }",
            "2:12: provider is \"opanai\"\n  did you mean `openai`? there are openai, anthropic, gemini",
        ),
        ("[model.m]\nprovider = \"openai\"\nname = \"\"\nkey = { env = \"K\" }", "3:8: the name of model m is \"\"\n"),
        (
            "[model.\"gpt-4.1\"]\nprovider = \"openai\"\nname = \"n\"\nkey = { env = \"K\" }",
            "1:1: model \"gpt-4.1\": '.'",
        ),
        ("[model]\ncheap = 3", "a table [model.ALIAS]"),
        ("[modle.cheap]\n", "did you mean `model`?"),
    ] {
        let said = read(text).unwrap_err();
        assert!(said.contains(wanted), "{text}: {said}");
    }
}

#[test]
fn a_key_stands_elsewhere_and_is_never_shown() {
    let of = |lines: &str| read(&format!("[model.m]\nprovider = \"gemini\"\nname = \"n\"\n{lines}\n"));
    let said = of("").unwrap_err();
    assert!(said.starts_with("jobs.toml:1:1: model m has no key\n  add key = { env = \"GEMINI_API_KEY\" }"), "{said}");
    let said = of("url = \"https://far.example\"").unwrap_err();
    assert!(said.contains("has no key"), "{said}");
    let said = of("key = \"sk-secret\"").unwrap_err();
    let wanted = "4:7: the key of model m stands in the file itself\n  write key = { env = \"GEMINI_API_KEY\" }";
    assert!(said.contains(wanted) && !said.contains("sk-secret"), "{said}");
    assert!(of("key = {}").unwrap_err().contains("4:7: key names no place, or two"));
    assert!(of("key = { env = \"\" }").unwrap_err().contains("a variable without a name"));
    let file = of("key = { file = \"k\" }").unwrap();
    assert_eq!(file.model("m").unwrap().service.key, Some(Secret::File("k".into())));
    assert!(of("url = \"http://localhost:8000/v1\"").is_ok(), "a server on this machine may want none");
}

#[test]
fn fall_backs_that_lead_back_are_told_once_with_their_way() {
    let of = |edges: &[(&str, &str)]| {
        let text: String = edges
            .iter()
            .map(|(alias, others)| {
                format!("[model.{alias}]\nprovider = \"openai\"\nname = \"n\"\n{KEY}fall-back = [{others}]\n")
            })
            .collect();
        read(&text)
    };
    assert!(of(&[("a", "\"b\", \"c\""), ("b", "\"c\""), ("c", "")]).is_ok(), "one model by two ways is no circle");
    let said = of(&[("a", "\"b\""), ("b", "\"c\""), ("c", "\"d\", \"b\""), ("d", "")]).unwrap_err();
    assert_eq!(said, "jobs.toml:15:19: fall-back goes round: b, c, b\n  take b out of it");
    let said = of(&[("a", "\"b\", \"b\""), ("b", "")]).unwrap_err();
    assert_eq!(said, "jobs.toml:5:19: fall-back names b twice\n  keep one of them");
    let said = of(&[("cheap", "\"daer\""), ("dear", "")]).unwrap_err();
    assert_eq!(
        said,
        "jobs.toml:5:14: fall-back: no model is named \"daer\"\n  did you mean `dear`? the other models are dear"
    );
}
