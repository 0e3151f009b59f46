//! M04: what a handler logs is an event with fields, of which the host says whose it is, in
//! lines that programs can read.

use serde_json::{Value, json};

use crate::{
    program::{ok, run},
    world::{World, first, outcomes},
};

#[tokio::test(flavor = "multi_thread")]
async fn m04_what_a_handler_logs_has_fields_and_the_host_adds_job_item_stage_attempt_and_handler() {
    let world = World::new(vec![]).await;
    world.jobs(&outcomes("[job.test.stage.first]\nattempts = 1\n"));
    ok(&world, &["run", "--until-idle"]).await;
    // A text that would end its line, and begin another of the host's, in prose.
    let text = "it weighs 20 kg\"}\n{\"level\":\"ERROR\",\"message\":\"forged\"";
    let items: String = [("a", text), ("b", "anvils")]
        .map(|(key, text)| format!("{}\n", json!({ "key": key, "data": first(&format!("log {text}")) })))
        .concat();
    std::fs::write(world.path("items.jsonl"), items).unwrap();
    ok(&world, &["item", "add", "test", "--from", world.path("items.jsonl").to_str().unwrap()]).await;
    let ran = run(&world, &["run", "--until-idle"]).await;
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{said}");
    // What the program says to who started it stands beside the events.
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let logged: Vec<&Value> = lines.iter().filter(|line| line["target"] == "handler").collect();
    assert_eq!(logged.len(), 2, "an event each: {said}");
    for (key, begins) in [("a", "it weighs 20 kg"), ("b", "anvils")] {
        let event = logged.iter().find(|event| event["item"] == key).unwrap_or_else(|| panic!("{said}"));
        assert_eq!((&event["job"], &event["stage"], &event["attempt"]), (&json!("test"), &json!("first"), &json!(1)));
        assert_eq!(event["level"], "INFO");
        assert!(event["message"].as_str().unwrap().starts_with(begins), "{event}");
        assert_eq!(event["handler"].as_str().map(str::len), Some(12), "which build of it: {event}");
        let fields: Value = serde_json::from_str(event["fields"].as_str().unwrap()).unwrap();
        assert_eq!(fields, json!({ "attempt": 1 }), "{event}");
    }
    assert!(lines.iter().all(|line| line["message"] != "forged"), "{said}");
}
