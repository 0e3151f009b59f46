//! Bad input to the program: one clear message that says what to do, with its place in the file, a documented exit
//! code, and nothing harmed.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::world::{World, outcomes, program};

/// What a command said and how it ended.
struct Ended {
    code: Option<i32>,
    said: String,
}

fn run(world: &World, data: &Path, args: &[&str]) -> Ended {
    let mut command = Command::new(program("tollgate"));
    command.arg("--file").arg(world.path("jobs.toml")).arg("--data").arg(data).args(args).stdin(Stdio::null());
    let output = command.output().unwrap();
    Ended { code: output.status.code(), said: String::from_utf8_lossy(&output.stderr).into_owned() }
}

impl Ended {
    /// It ended with that code, and said all that.
    fn is(&self, what: &str, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{what}: {}", self.said);
        for word in words {
            assert!(self.said.contains(word), "{what}: {word:?} is missing in: {}", self.said);
        }
        assert!(!self.said.contains("panicked"), "{what}: {}", self.said);
    }
}

const PAGES: &str = "[job.shop]\nkind = \"backfill\"\nhandler = \"pages\"\ngrant = [\"http\", \"artifacts\"]\n";

#[tokio::test]
async fn a_bad_jobs_toml_is_refused_with_file_line_and_what_to_do() {
    let world = World::new(vec![]).await;
    let seeds = "params = { seeds = [\"https://a.example/\"] }\n";
    for (what, jobs, words) in [
        ("an unknown key", format!("{PAGES}breakre = 3\n"), &["jobs.toml:13:1", "did you mean `breaker`"][..]),
        ("a wrong type", format!("{PAGES}breaker = \"ten\"\n"), &["jobs.toml:13:", "breaker"]),
        ("no TOML", format!("{PAGES}params = {{\n"), &["jobs.toml:13:"]),
        ("a missing handler", PAGES.replace("pages", "pagse"), &["jobs.toml:11:", "pagse.wasm", "tollgate build"]),
        ("a bad duration", format!("{PAGES}[job.shop.stage.fetch]\ntimeout = \"soon\"\n"), &["jobs.toml:14:", "soon"]),
        ("a bad size", format!("[site.\"*\"]\nbody-max = \"much\"\n{PAGES}"), &["jobs.toml:10:", "much"]),
        ("a bad rate", format!("[site.\"*\"]\nrate = \"5 a day\"\n{PAGES}"), &["jobs.toml:10:", "5 a day"]),
        ("an unknown stage", format!("{PAGES}[job.shop.stage.fetsh]\n"), &["jobs.toml:13:", "fetsh", "fetch"]),
        (
            "a circle of stages",
            format!("{PAGES}{seeds}[job.shop.stage.fetch]\nneeds = [\"extract\"]\n"),
            &["jobs.toml:", "circle", "fetch"],
        ),
        (
            "a condition that is none",
            format!("{PAGES}{seeds}[job.shop.stage.extract]\nwhen = \"fetch.size >\"\n"),
            &["jobs.toml:15:", "fetch.size >"],
        ),
        ("a bad proxy", format!("[proxy.other]\nurl = \"not a url\"\n{PAGES}"), &["jobs.toml:10:", "url"]),
    ] {
        world.jobs(&jobs);
        let data = world.path("data");
        run(&world, &data, &["check"]).is(what, 2, words);
        let ended = run(&world, &data, &["run", "--until-idle"]);
        assert!(matches!(ended.code, Some(2 | 5)), "{what}: {:?} {}", ended.code, ended.said);
    }
}

#[tokio::test]
async fn a_bad_handler_file_is_refused_with_its_name() {
    let world = World::new(vec![]).await;
    let handlers = world.path("drop");
    fs::create_dir(&handlers).unwrap();
    let good = fs::read(crate::world::handlers().join("pages.wasm")).unwrap();
    let file = |name: &str, bytes: &[u8]| fs::write(handlers.join(format!("{name}.wasm")), bytes).unwrap();
    file("text", b"hello");
    file("module", b"\0asm\x01\0\0\0");
    file("native", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file("short", &good[..good.len() / 2]);
    file("zeros", b"");
    fs::File::options().write(true).open(handlers.join("zeros.wasm")).unwrap().set_len(600 << 20).unwrap();
    for (name, words) in [
        ("text", &["text.wasm", "component"][..]),
        ("module", &["module.wasm", "wasm32-wasip2"]),
        ("native", &["native.wasm", "native code"]),
        ("short", &["short.wasm"]),
        ("zeros", &["zeros.wasm", "600"]),
    ] {
        let job = format!(
            "[host]\nhandlers = {:?}\n{}",
            handlers.display().to_string(),
            PAGES.replace("\"pages\"", &format!("{name:?}"))
        );
        fs::write(world.path("jobs.toml"), job).unwrap();
        run(&world, &world.path("data"), &["check"]).is(name, 2, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_cannot_be_used_is_named_and_left_as_it_is() {
    let world = World::new(vec![]).await;
    world.jobs(&outcomes(""));
    let data = world.path("data");
    run(&world, &data, &["run", "--until-idle"]).is("a good start", 0, &[]);

    let file = world.path("a-file");
    fs::write(&file, "mine").unwrap();
    run(&world, &file, &["run", "--until-idle"]).is("a file in its place", 1, &["a-file"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    // Not even root makes a folder there.
    let fixed = Path::new("/sys/tollgate-data");
    run(&world, fixed, &["run", "--until-idle"]).is("a place that takes nothing", 1, &["/sys/tollgate-data"]);

    for (what, length) in [("torn", 3_000_u64), ("empty", 0)] {
        let torn = world.path(what);
        fs::create_dir(&torn).unwrap();
        fs::copy(data.join("queue.redb"), torn.join("queue.redb")).unwrap();
        fs::File::options().write(true).open(torn.join("queue.redb")).unwrap().set_len(length).unwrap();
        let before = fs::read(torn.join("queue.redb")).unwrap();
        let ended = run(&world, &torn, &["run", "--until-idle"]);
        ended.is(what, 1, &["queue.redb", "backup"]);
        assert_eq!(fs::read(torn.join("queue.redb")).unwrap(), before, "{what}: it is left as it is");
    }
}
