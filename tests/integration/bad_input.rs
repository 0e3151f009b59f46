//! Bad input to the program: one clear message that says what to do, with its place in the file, a documented exit
//! code, and nothing harmed.

use std::{fs, path::Path, process::Command, sync::Arc};

use redb::{Database, TableDefinition};
use serde_json::Value;
use tollgate_sim::sites::scripted::{Scripted, Step};
use tollgate_store::{RedbStore, Store as _, StoreOptions, schema_version};

use crate::{
    ended::{Ended, run, tollgate},
    world::{SITE, World, outcomes},
};

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
        ("a count below nothing", format!("{PAGES}breaker = -1\n"), &["jobs.toml:13:11", "breaker is -1", "1 to 1000"]),
        (
            "a count that is no whole number",
            format!("{PAGES}[job.shop.stage.fetch]\nattempts = 1e9\n"),
            &["jobs.toml:14:12", "attempts is 1000000000.0", "1 to 1000"],
        ),
        (
            "a size below nothing",
            format!("[site.\"*\"]\nbody-max = \"-5 MB\"\n{PAGES}"),
            &["jobs.toml:10:12", "20 MiB"],
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

/// Params that `pages` can't use: what of them, with what is said. They stand in line 13 and the lines after it.
const PARAMS: [(&str, &str, &[&str]); 13] = [
    (
        "a seed",
        "seeds = [\"https://a.example/\", \"a.example\"]",
        &[":14:32: ", "seeds[1]: \"a.example\" is no http or https address", "\"https://example.com/\""],
    ),
    (
        "a sitemap",
        "sitemap = [\"ftp://a.example/s.xml\"]",
        &[":14:12: ", "sitemap[0]: \"ftp://a.example/s.xml\" is no http"],
    ),
    (
        "a bound",
        "within = [\"https//a.example\"]",
        &[":14:11: ", "within[0]: \"https//a.example\" hasn't the form", "Hosts (`docs.example`)"],
    ),
    ("a selector", "fields.title = \"h1[\"", &[":14:16: ", "fields.title: \"h1[\" is no CSS selector", "a[href]"]),
    (
        "a rule's selector",
        "fields.price = { select = \"..a\", parse = \"number\" }",
        &[":14:27: ", "fields.price.select: \"..a\" is no CSS selector"],
    ),
    ("an empty selector", "fields.text = { text = \"\" }", &[":14:24: ", "fields.text.text: \"\" is no CSS selector"]),
    (
        "a rule's key",
        "fields.a = { select = \"a\", atr = \"href\" }",
        &[":14:34: ", "fields.a.atr: unknown key", "did you mean `attr`?"],
    ),
    (
        "a rule's word",
        "fields.a = { select = \"a\", parse = \"nubmer\" }",
        &[":14:36: ", "fields.a.parse: ", "nubmer", "number"],
    ),
    (
        "a rule",
        "fields.a = { selct = \"a\" }",
        &[":14:12: ", "fields.a: ", "it may be `\"h1\"`: the text of the first element"],
    ),
    ("a field's name", "fields.url = \"h1\"", &[":14:14: ", "fields.url: no key may be called so", "can't be one"]),
    (
        "a list",
        "required = \"title\"",
        &[":14:12: ", "required: \"title\" is not of type \"array\"", "Fields without which"],
    ),
    ("a param", "sedes = [\"https://a.example/\"]", &[":14:9: ", "sedes: unknown key", "did you mean `seeds`?"]),
    ("a depth", "max-depth = -1", &[":14:13: ", "max-depth: -1 is less than"]),
];

#[tokio::test]
async fn bad_params_are_told_before_anything_runs_each_with_its_own_place() {
    let world = World::new(vec![]).await;
    let data = world.path("data");
    world.jobs(PAGES);
    run(&world, &data, &["run", "--until-idle"]).is("a good start", 0, &[]);
    for (what, params, words) in PARAMS {
        world.jobs(&format!("{PAGES}[job.shop.params]\n{params}\n"));
        let checked = run(&world, &data, &["check"]);
        checked.is(what, 2, words);
        assert_eq!(checked.said.matches("jobs.toml:").count(), 1, "{what}: once: {}", checked.said);
    }
    // Of a stage's own params, too, and a job that ran before is paused with the reason.
    world.jobs(&format!("{PAGES}[job.shop.stage.extract.params.fields]\ntitle = \"h1\"\nprice = \".a >\"\n"));
    run(&world, &data, &["run", "--until-idle"]).is("a bad selector at `run`", 5, &["at a standstill: shop"]);
    let job = run(&world, &data, &["job", "show", "shop", "-o", "json"]);
    let job: Value = serde_json::from_str(&job.printed).unwrap();
    let evidence = job["job"]["pause"]["evidence"].as_str().unwrap_or_default();
    assert!(evidence.contains("jobs.toml:15:9: params of stage extract: fields.price: \".a >\" is no CSS"), "{job}");
    world.jobs(PAGES);
    run(&world, &data, &["run", "--until-idle"]).is("mended, it goes on", 0, &[]);
}

/// Texts at the edges of what is an address.
const ADDRESSES: [&str; 16] = [
    "https://a.example/",
    "http://a.example",
    " https://a.example/x ",
    "HTTPS://A.EXAMPLE",
    "https:a.example",
    "https://a.example/ü?ä#ö",
    "https://[::1]:80/",
    "https://u:p@a.example/",
    "https://",
    "//a.example/",
    "/x",
    "a.example",
    "",
    "ftp://a.example/",
    "mailto:a@a.example",
    "https://a.example:99999/",
];
/// Texts at the edges of what is a selector.
const SELECTORS: [&str; 18] = [
    "h1",
    "a[href]",
    "a[href^='/x']",
    "h1[",
    "..a",
    "",
    " ",
    "a, b",
    "a,",
    "a > b",
    "a >",
    ":not(.a)",
    ":has(> a)",
    ":nth-child(2n+1)",
    ":nope",
    "a::before",
    "*",
    "ü",
];

#[tokio::test]
async fn what_check_takes_for_addresses_and_selectors_is_what_the_sdk_takes() {
    let world = World::new(vec![]).await;
    let fields: Vec<String> = (0..).zip(SELECTORS).map(|(n, text)| format!("f{n} = {text:?}\n")).collect();
    let params = format!("seeds = {ADDRESSES:?}\n[job.shop.params.fields]\n{}", fields.concat());
    world.jobs(&format!("{PAGES}[job.shop.params]\n{params}"));
    let said = run(&world, &world.path("data"), &["check"]).said;
    for (n, text) in (0..).zip(ADDRESSES) {
        let refused = tollgate_sdk::links::absolute(text, None).is_none();
        assert_eq!(said.contains(&format!(" seeds[{n}]: {text:?} is no")), refused, "{text:?}: {said}");
    }
    for (n, text) in (0..).zip(SELECTORS) {
        let refused = tollgate_sdk::html::selector(text).is_err();
        assert_eq!(said.contains(&format!(" fields.f{n}: {text:?} is no")), refused, "{text:?}: {said}");
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
    let component = |text: &str| wat::parse_str(format!("(component {text})")).unwrap();
    let stages = |version: &str| format!("(instance $i) (export \"tollgate:handler/stages@{version}\" (instance $i))");
    file("world", &component("(instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i))"));
    file("nothing", &component(""));
    file("newer", &component(&stages("0.2.0")));
    file("mixed", &component(&format!("(import \"tollgate:handler/http@0.2.0\" (instance)) {}", stages("0.1.0"))));
    file("foreign", &component(&format!("(import \"other:thing/api@1.0.0\" (instance)) {}", stages("0.1.0"))));
    file("hollow", &component(&stages("0.1.0")));
    for (name, words) in [
        ("text", &["text.wasm", "component"][..]),
        ("module", &["module.wasm", "wasm32-wasip2"]),
        ("native", &["native.wasm", "native code"]),
        ("short", &["short.wasm"]),
        ("zeros", &["zeros.wasm", "629145600", "67108864"]),
        (
            "world",
            &["world.wasm", "no tollgate:handler/stages@0.1.0", "it exports wasi:cli/run@0.2.0", "the world `handler`"],
        ),
        ("nothing", &["nothing.wasm", "no tollgate:handler/stages@0.1.0", "it exports nothing"]),
        ("newer", &["newer.wasm", "tollgate:handler/stages@0.2.0", "offers 0.1.0", "build it against that version"]),
        ("mixed", &["mixed.wasm", "tollgate:handler/http@0.2.0", "offers 0.1.0", "build it against that version"]),
        ("foreign", &["foreign.wasm", "imports other:thing/api@1.0.0", "may import tollgate:handler and WASI"]),
        ("hollow", &["hollow.wasm", "describe", "wit/0.1.0"]),
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

    let other = RedbStore::open(&data, StoreOptions::default()).unwrap();
    for command in [&["run", "--until-idle"][..], &["status"], &["store", "verify"]] {
        run(&world, &data, command).is("another host has it", 3, &["in use by another host; stop it", "[host] data"]);
    }
    other.close().await.unwrap();

    let known = schema_version();
    set_version(&data, known + 1);
    let newer = format!("schema version {}, newer than {known}; run the Tollgate that wrote it", known + 1);
    for command in [&["run", "--until-idle"][..], &["status"], &["store", "verify"]] {
        run(&world, &data, command).is("of a newer Tollgate", 1, &[&newer]);
    }
    set_version(&data, known);
    run(&world, &data, &["run", "--until-idle"]).is("as it was", 0, &[]);

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

/// A site of one page, and a store in which that is done.
async fn crawled() -> (World, std::path::PathBuf) {
    let site = Scripted::new().path("/", [Step::ok("<h1>A page</h1>".repeat(1_000))]);
    let world = World::new(vec![(SITE, Arc::new(site))]).await;
    world.jobs(&format!(
        "[job.shop]\nkind = \"backfill\"\nhandler = \"pages\"\ngrant = [\"http {SITE}\", \"artifacts\"]\n\
         discover = \"once\"\nparams = {{ seeds = [\"http://{SITE}/\"] }}\n"
    ));
    let data = world.path("data");
    run(&world, &data, &["run", "--until-idle"]).is("a good start", 0, &[]);
    (world, data)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_middle_is_overwritten_is_one_error_and_is_left_as_it_is() {
    let (world, data) = crawled().await;
    for name in ["queue.redb", "content.redb"] {
        let torn = world.path(name).with_extension("torn");
        fs::create_dir(&torn).unwrap();
        for file in ["queue.redb", "ledger.wal", "content.redb"] {
            fs::copy(data.join(file), torn.join(file)).unwrap();
        }
        // The head is whole, so that it passes for a good one.
        let mut bytes = fs::read(torn.join(name)).unwrap();
        bytes[4_096..].fill(0xa5);
        fs::write(torn.join(name), &bytes).unwrap();
        for command in [&["run", "--until-idle"][..], &["status"], &["store", "verify"]] {
            let ended = run(&world, &torn, command);
            assert_eq!(ended.code, Some(1), "{name}, {command:?}: {}", ended.said);
            let errors = ended.said.lines().filter(|line| line.starts_with("error: ")).count();
            assert_eq!(errors, 1, "{name}, {command:?}: {}", ended.said);
            for word in [name, "backup"] {
                assert!(ended.said.contains(word), "{name}, {command:?}: {word:?} is missing in: {}", ended.said);
            }
            assert_eq!(fs::read(torn.join(name)).unwrap(), bytes, "{name}, {command:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledgers_log_that_is_gone_or_spoilt_is_told_with_the_way_on() {
    let (world, data) = crawled().await;
    let log = data.join("ledger.wal");
    let whole = fs::read(&log).unwrap();
    let cases =
        [("gone", None), ("cut short", Some(whole[..4_096].to_vec())), ("written over", Some(vec![0xa5; whole.len()]))];
    for (number, (what, bytes)) in cases.into_iter().enumerate() {
        match &bytes {
            Some(bytes) => fs::write(&log, bytes).unwrap(),
            None => fs::remove_file(&log).unwrap(),
        }
        for command in [&["run", "--until-idle"][..], &["status"], &["store", "verify"]] {
            run(&world, &data, command).is(what, 1, &["ledger.wal", what, "a backup", "tollgate store set-log-aside"]);
            assert_eq!(fs::read(&log).ok(), bytes, "{what}: it is left as it is");
        }
        let ended = run(&world, &data, &["store", "set-log-aside"]);
        ended.is(what, 0, &[]);
        let aside = ["", "ledger.wal.aside", "ledger.wal.aside-2"][number];
        let kept = if aside.is_empty() { "there was no ledger.wal".to_owned() } else { format!("kept as {aside}:") };
        assert!(ended.printed.contains(&kept) && ended.printed.contains("0 problems"), "{what}: {}", ended.printed);
        if let Some(bytes) = bytes {
            assert_eq!(fs::read(data.join(aside)).unwrap(), bytes, "{what}: nothing is thrown away");
        }
        run(&world, &data, &["run", "--until-idle"]).is(what, 0, &[]);
    }
}

/// Binds the data folder over itself, for reading only, and runs commands there.
const READ_ONLY: &str = r#"
set -u
mount --bind "$DATA" "$DATA" && mount -o remount,bind,ro "$DATA" || exit 99
for command in "run --until-idle" "status" "store verify"; do
  "$@" $command >>"$OUT" 2>&1
  echo "$command ended with $?" >>"$OUT"
done
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_data_folder_is_named_and_left_as_it_is() {
    if !Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("NOT TESTED: a read-only data folder; this system lets nobody make a namespace");
        return;
    }
    let (world, data) = crawled().await;
    let (before, out) = (fs::read(data.join("queue.redb")).unwrap(), world.path("said"));
    let program = tollgate(&world, &data, &[]);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", READ_ONLY, "sh"]).arg(program.get_program()).args(program.get_args());
    command.env("DATA", &data).env("OUT", &out);
    Ended::of(command).is("the script itself", 0, &[]);
    let said = fs::read_to_string(&out).unwrap();
    for command in ["run --until-idle", "status", "store verify"] {
        assert!(said.contains(&format!("{command} ended with 1")), "{said}");
    }
    assert_eq!(said.matches("error: ").count(), 3, "{said}");
    assert!(said.contains("Read-only file system") && !said.contains("panicked"), "{said}");
    assert_eq!(fs::read(data.join("queue.redb")).unwrap(), before);
    run(&world, &data, &["store", "verify"]).is("as it was", 0, &[]);
}

/// Writes the version of a stopped store, as a program of that version would have it.
fn set_version(data: &Path, version: u32) {
    let queue = Database::open(data.join("queue.redb")).unwrap();
    let transaction = queue.begin_write().unwrap();
    let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    transaction.open_table(meta).unwrap().insert("schema", u64::from(version)).unwrap();
    transaction.commit().unwrap();
}
