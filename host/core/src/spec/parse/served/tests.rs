//! Which services a job's stages and checks are served by, and what is said of those that it can't use.

use crate::{
    budget::MoneyBudget,
    handler::Capability,
    ids::StageName,
    money::NanoUsd,
    spec::{Deployment, JobSpec, Services, parse},
};

fn read(text: &str) -> Result<Deployment, String> {
    parse(text, "jobs.toml").map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// Two models, two searches and a speech; a job's lines begin at 4, after its head.
fn job(lines: &str) -> Result<JobSpec, String> {
    let mut text = format!("[job.a]\nkind = \"backfill\"\nhandler = \"a\"\n{lines}\n");
    for alias in ["cheap", "dear"] {
        text += &format!("[model.{alias}]\nprovider = \"openai\"\nname = \"n\"\nkey = {{ env = \"K\" }}\n");
    }
    for name in ["brave", "serper"] {
        text += &format!("[search.{name}]\nprovider = \"{name}\"\nkey = {{ env = \"K\" }}\n");
    }
    text += "[speech.whisper]\nprovider = \"openai\"\nname = \"w\"\nkey = { env = \"K\" }\n";
    read(&text).map(|deployment| deployment.job("a").unwrap().clone())
}

fn served(job: &JobSpec, stage: &str) -> [Option<String>; 3] {
    let Services { model, search, speech } = job.stage(&StageName::new(stage).unwrap()).services;
    [model, search, speech]
}

fn some(names: [&str; 3]) -> [Option<String>; 3] {
    names.map(|name| (!name.is_empty()).then(|| name.to_owned()))
}

#[test]
fn a_stage_is_served_by_its_own_word_else_the_jobs_else_the_only_one_that_is_granted() {
    let lines = "grant = [\"llm cheap dear\", \"search\", \"speech\"]\nmodel = \"cheap\"\nsearch = \"brave\"\n\
                 budget = { day = \"0 USD\" }\n\
                 [job.a.stage.b]\nmodel = \"dear\"\nsearch = \"serper\"\n[job.a.stage.c]\nconcurrency = 1\n";
    let spec = job(lines).unwrap();
    assert_eq!(served(&spec, "b"), some(["dear", "serper", "whisper"]));
    assert_eq!(served(&spec, "c"), some(["cheap", "brave", "whisper"]), "it says nothing of it");
    assert_eq!(served(&spec, "d"), some(["cheap", "brave", "whisper"]), "jobs.toml says nothing of the stage");
    assert_eq!(spec.budget, MoneyBudget { day: Some(NanoUsd::ZERO), month: None });
    assert_eq!(served(&job("grant = [\"llm dear\"]").unwrap(), "b"), some(["dear", "", ""]), "the only one granted");
    assert_eq!(served(&job("grant = [\"llm\"]").unwrap(), "b"), some(["", "", ""]), "of two a call has to say which");
    assert_eq!(served(&job("").unwrap(), "b"), some(["", "", ""]), "nothing is granted");
}

#[test]
fn a_grant_without_names_is_for_all_and_one_with_names_for_those() {
    let all = job("grant = [\"llm\"]").unwrap();
    let one = job("grant = [\"llm dear\"]").unwrap();
    let may = |job: &JobSpec, alias| job.is_granted(Capability::Llm, alias);
    assert!(may(&all, "cheap") && may(&all, "dear") && may(&one, "dear") && !may(&one, "cheap"));
    assert!(!may(&job("").unwrap(), "cheap") && !all.is_granted(Capability::Speech, "whisper"));
    assert_eq!(one.granted(Capability::Llm), Some(vec!["dear".to_owned()]));
}

#[test]
fn trap04_a_service_that_there_isn_t_or_that_isn_t_granted_is_said_with_what_to_write() {
    for (lines, wanted) in [
        (
            "grant = [\"llm chaep\"]",
            "4:10: grant: no model is named \"chaep\"\n  did you mean `cheap`? the models are cheap, dear",
        ),
        ("grant = [\"speech whispr\"]", "4:10: grant: no speech is named \"whispr\"\n  did you mean `whisper`?"),
        ("grant = [\"search brave\"]", "4:10: grant: search takes no names"),
        ("model = \"chaep\"", "4:9: no model is named \"chaep\"\n  did you mean `cheap`?"),
        (
            "grant = [\"llm\"]\n[job.a.stage.b]\nmodel = \"deer\"",
            "6:9: no model is named \"deer\"\n  did you mean `dear`?",
        ),
        ("grant = [\"speech\"]\nspeech = \"x\"", "5:10: no speech is named \"x\"\n  the speeches are whisper"),
        ("grant = [\"search\"]\nsearch = \"sreper\"", "5:10: no search is named \"sreper\"\n  did you mean `serper`?"),
        ("model = \"cheap\"", "4:9: job a isn't granted llm cheap\n  write: grant = [\"llm cheap\"]"),
        (
            "grant = [\"http a.example\", \"llm cheap\"]\n[job.a.stage.b]\nmodel = \"dear\"",
            "6:9: job a isn't granted llm dear\n  write: grant = [\"http a.example\", \"llm cheap dear\"]",
        ),
        (
            "grant = [\"state\"]\n[job.a.stage.b]\nsearch = \"serper\"",
            "6:10: job a isn't granted search\n  write: grant = [\"state\", \"search\"]",
        ),
        ("speech = \"whisper\"", "4:10: job a isn't granted speech whisper\n  write: grant = [\"speech whisper\"]"),
        (
            "grant = [\"search\"]",
            "4:10: there are several searches: brave, serper\n  write search = \"NAME\" in [job.a], or in its stages",
        ),
        ("budget = { day = \"1 GB\" }", "4:18: day is \"1 GB\"\n  write dollars, such as \"5.00 USD\""),
        ("modle = \"cheap\"", "4:1: unknown key `modle`\n  did you mean `model`?"),
    ] {
        let said = job(lines).unwrap_err();
        assert!(said.contains(wanted) && said.lines().count() <= 2, "{lines}: {said}");
    }
    assert!(job("grant = [\"search\"]\n[job.a.stage.b]\nsearch = \"serper\"").is_ok(), "the stage that searches says");
    for (grant, wanted) in [
        ("llm", "grant: there is no model\n  add [model.NAME] with its provider, name and key"),
        ("llm cheap", "grant: no model is named \"cheap\"\n  add [model.cheap] with its provider, name and key"),
        ("search", "grant: there is no search\n  add [search.NAME] with its provider and key"),
        ("speech", "grant: there is no speech\n  add [speech.NAME]"),
    ] {
        let said =
            read(&format!("[job.a]\nkind = \"backfill\"\nhandler = \"a\"\ngrant = [\"{grant}\"]\n")).unwrap_err();
        assert!(said.starts_with("jobs.toml:4:10: ") && said.contains(wanted), "{grant}: {said}");
    }
}

#[test]
fn q08_a_check_asks_a_model_that_there_is_without_a_grant() {
    let check = |lines: &str| {
        let of = "of = \"fetch/page.html\"\nask = \"Is it one?\"\n";
        job(&format!("{lines}[job.a.check.sane]\n{of}")).map(|job| job.checks[0].model.clone())
    };
    assert_eq!(check("grant = [\"llm dear\"]\n"), Ok(Some("dear".to_owned())), "the job's");
    let said = check("").unwrap_err();
    let wanted = "4:1: check sane doesn't say which model it asks\n  add model = \"NAME\"; the models are cheap, dear";
    assert_eq!(said, format!("jobs.toml:{wanted}"));
    let with = |model: &str| {
        let lines = format!("[job.a.check.sane]\nof = \"fetch/p\"\nask = \"Is it?\"\nmodel = \"{model}\"");
        job(&lines).map(|job| job.checks[0].model.clone())
    };
    assert_eq!(with("cheap"), Ok(Some("cheap".to_owned())));
    assert!(with("chaep").unwrap_err().contains("7:9: no model is named \"chaep\"\n  did you mean `cheap`?"));
}

#[test]
fn a03_the_budget_of_everything_is_money_and_nothing_is_one() {
    let budget = |lines: &str| read(&format!("[budget]\n{lines}\n")).map(|deployment| deployment.budget);
    let nothing = MoneyBudget { day: Some(NanoUsd::ZERO), month: None };
    assert_eq!(budget("day = \"0 USD\""), Ok(nothing));
    let both = MoneyBudget { day: Some(NanoUsd(5_000_000_000)), month: Some(NanoUsd(100_000_000_000)) };
    assert_eq!(budget("day = \"5.00 USD\"\nmonth = \"100 USD\""), Ok(both));
    assert_eq!(read("").unwrap().budget, MoneyBudget::default());
    for (lines, wanted) in [
        (
            "day = \"2 GB\"",
            "2:7: day is \"2 GB\"\n  write dollars, such as \"5.00 USD\"; \"0 USD\" spends nothing, and bytes",
        ),
        ("day = 0", "2:7: day is 0\n  write dollars"),
        ("month = \"5 EUR\"", "2:9: month is \"5 EUR\"\n"),
        ("", "1:1: a budget without a day and a month says nothing"),
        ("week = \"5 USD\"", "2:1: unknown key `week`"),
    ] {
        let said = budget(lines).unwrap_err();
        assert!(said.starts_with("jobs.toml:") && said.contains(wanted), "{lines}: {said}");
    }
}

#[test]
fn the_models_of_the_shipped_example_are_read() {
    let text = "[model.cheap]\nprovider = \"gemini\"\nname = \"gemini-flash-lite\"\n\
                key = { env = \"GEMINI_API_KEY\" }\n\
                [budget]\nday = \"5.00 USD\"\n[job.ideas]\nkind = \"backfill\"\nhandler = \"ideas\"\n\
                grant = [\"http ideas.example\", \"llm cheap\", \"artifacts\"]\nbudget = { day = \"1.00 USD\" }\n\
                discover = { every = \"6h\" }\n[job.ideas.stage.enrich]\nwhen = \"extract.words >= 200\"\n\
                model = \"cheap\"\n";
    let deployment = read(text).unwrap();
    assert_eq!(served(&deployment.jobs[0], "enrich"), some(["cheap", "", ""]));
    assert_eq!(deployment.jobs[0].budget.day, Some(NanoUsd(1_000_000_000)));
}
