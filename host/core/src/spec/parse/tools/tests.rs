//! `[tool.NAME]`: what is read, and what is said of mistakes, with their places.

use std::time::Duration;

use crate::spec::parse;
use crate::spec::{
    Place, ToolSpec,
    tools::{OutputKind, ToolOutcome},
};

/// jobs.toml as it ships.
const SHIPPED: &str = include_str!("../../../../../../jobs.toml");

fn tool(lines: &str) -> ToolSpec {
    let text = format!("[tool.a]\ncommand = \"a\"\noutput = \"json\"\n{lines}\n");
    parse(&text, "jobs.toml").unwrap().tool("a").unwrap().clone()
}

#[test]
fn r04_the_shipped_tools_are_read_with_all_they_need() {
    let deployment = parse(SHIPPED, "jobs.toml").unwrap();
    let yt_dlp = deployment.tool("yt-dlp").unwrap();
    assert!(yt_dlp.args.windows(2).any(|args| args == ["--remote-components", "ejs:github"]));
    let profiles: Vec<&str> = yt_dlp.profiles.iter().map(|profile| profile.name.as_str()).collect();
    assert_eq!(profiles, ["android", "tv", "web"]);
    assert_eq!(yt_dlp.try_next_on, [ToolOutcome::Blocked, ToolOutcome::Failed]);
    let network = yt_dlp.network.as_ref().unwrap();
    assert!(network.proxy_args.is_empty() && network.proxy_env.len() == 4, "no password in arguments");
    assert_eq!(yt_dlp.rules[0].wait, Some(Duration::from_mins(30)));
    assert_eq!(network.cookies_args.as_deref(), Some(&["--cookies".to_owned(), "{cookies}".to_owned()][..]));
    let ffmpeg = deployment.tool("ffmpeg").unwrap();
    assert!(ffmpeg.network.is_none() && ffmpeg.strict_exit);
    let granted: Vec<&str> =
        deployment.jobs.iter().filter(|job| job.tools().is_some()).map(|job| job.name.as_str()).collect();
    assert_eq!(granted, ["youtube"], "nothing is granted that nobody asked for");
}

#[test]
fn p10_the_shipped_tool_writes_captions_under_the_name_of_who_wrote_them_and_nothing_less_will_do() {
    let deployment = parse(SHIPPED, "jobs.toml").unwrap();
    let yt_dlp = deployment.tool("yt-dlp").unwrap();
    let accept = |args: &str| {
        let args: Vec<String> = args.split(' ').map(ToOwned::to_owned).collect();
        yt_dlp.accept(&args).map_err(ToOwned::to_owned)
    };
    for (write, by) in [("--write-subs", "manual"), ("--write-auto-subs", "automatic")] {
        let args = format!("--skip-download {write} --sub-langs en-GB --sub-format vtt --output subtitle:{by}.%(ext)s");
        assert_eq!(accept(&args), Ok(vec![OutputKind::Files]), "{args}");
    }
    assert_eq!(accept("--flat-playlist --dump-single-json --playlist-items 1:100"), Ok(vec![OutputKind::Json]));
    assert_eq!(accept("--skip-download --dump-json"), Ok(vec![OutputKind::Json]));
    assert_eq!(accept("--format worstaudio/bestaudio"), Ok(vec![OutputKind::Files]));
    for other in ["--output media.%(ext)s", "--output subtitle:../x.%(ext)s", "--skip-download --write-subs --output x"]
    {
        assert_eq!(accept(other), Err("--output".to_owned()), "{other}: where a file goes is the entry's to say");
    }
}

#[test]
fn r04_what_a_handler_may_add_is_a_row_of_forms() {
    let tool = tool(
        "network = false\naccepts = [\"-i {file}\", \"-ss {number}\", \"--langs {text}\", \
         { args = \"--audio\", output = \"files\" }]",
    );
    let accept = |args: &[&str]| {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        tool.accept(&args).map_err(ToOwned::to_owned)
    };
    assert_eq!(accept(&[]), Ok(vec![OutputKind::Json]));
    assert_eq!(accept(&["-i", "a.mp4", "-ss", "00:01:30.5", "--langs", "en,de"]), Ok(vec![OutputKind::Json]));
    assert_eq!(accept(&["--audio", "-i", "a.mp4"]), Ok(vec![OutputKind::Files]));
    let long = "x".repeat(5_000);
    for (args, refused) in [
        (&["-i"][..], "-i"),
        (&["-i", "../a"], "-i"),
        (&["-i", "a.mp4", "b.mp4"], "b.mp4"),
        (&["-ss", "-1"], "-ss"),
        (&["--langs", "--exec"], "--langs"),
        (&["--langs", "http://a.example/"], "--langs"),
        (&["--langs", &long], "--langs"),
        (&["--langs="], "--langs="),
        (&[""], ""),
    ] {
        assert_eq!(accept(args), Err(refused.to_owned()), "{args:?}");
    }
}

#[test]
fn a_mistake_in_a_tool_is_said_with_its_place_and_the_nearest_word() {
    let network = "proxy-env = [\"http_proxy\"]";
    for (line, rest, wanted) in [
        ("outptu = \"json\"", network, "unknown key `outptu`\n  did you mean `output`?"),
        ("timeout = \"0s\"", network, "timeout is \"0s\"\n"),
        ("output-max = \"9999 GiB\"", network, "output-max is"),
        ("accepts = [\"{flie}\"]", network, "\"{flie}\" is no placeholder\n  did you mean `{file}`?"),
        ("accepts = [\"--a={text}\"]", network, "is no placeholder"),
        ("accepts = [\" \"]", network, "accepts: an empty text"),
        ("accepts = [{ args = \"-x\", output = \"flies\" }]", network, "did you mean `files`?"),
        ("accepts = [3]", network, "a text, or { args ="),
        ("env = { \"A=B\" = \"x\" }", network, "can't name a variable"),
        ("env = { A = { var = \"x\" } }", network, "unknown key `var`"),
        ("unfinished = [\"*\"]", network, "unfinished: \"*\" is no pattern"),
        ("rules = [{ stderr = [\"x\"], outcome = \"bloked\" }]", network, "did you mean `blocked`?"),
        ("rules = [{ outcome = \"failed\" }]", network, "a rule that looks at nothing"),
        ("rules = [{ stderr = [\"\"], outcome = \"failed\" }]", network, "an empty text, which is in everything"),
        ("rules = [{ stderr = [\"x\"], outcome = \"failed\", for = \"1h\" }]", network, "failed takes no `for`"),
        ("rules = [{ exit = 300, outcome = \"failed\" }]", network, "exit is 300\n  write a whole number, 0 to 255"),
        ("rules = [{ exit = 1, outcome = \"warning\" }]", network, "warnings are lines of stderr"),
        ("rules = [{ stderr = [\"x\"], outcome = \"blocked\" }]", "network = false", "reaches no site"),
        ("profiles = [{ name = \"a\" }, { name = \"a\" }]", network, "there twice"),
        ("profiles = [{ name = \"a\" }, { name = \"b\" }]", network, "nothing says when the next is tried"),
        ("try-next-on = [\"blocked\"]", network, "there is no next profile"),
        ("proxy-args = [\"--proxy\"]", network, "proxy-args has no {proxy}"),
        ("url-args = [\"--\"]", network, "url-args has no {url}"),
        ("proxy-env = [\"http_proxy\"]", "network = false", "reaches no network, and has proxy-env"),
        ("cookies-args = [\"--cookies\"]", network, "cookies-args has no {cookies}"),
        ("cookies-args = [\"{cookies}\"]", "network = false", "reaches no network, and has cookies-args"),
    ] {
        let more = if line.starts_with("outptu") { "output = \"json\"\n" } else { "output = \"text\"\n" };
        let text = format!("[tool.a]\ncommand = \"a\"\n{more}{rest}\n{line}\n");
        let found = parse(&text, "jobs.toml").unwrap_err();
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said.contains(wanted)), "{line}: {said:?}");
        let at = Place::of(&text, text.find(line).unwrap()).line;
        assert!(found.iter().any(|found| found.at.line == at), "{line}: {said:?}");
    }
}

#[test]
fn a_tool_that_is_named_in_a_grant_and_nowhere_else_is_told() {
    let job = "[job.talks]\nkind = \"backfill\"\nhandler = \"talks\"\ngrant = [\"tools ytdlp\"]\n";
    let found = parse(&format!("{SHIPPED}\n{job}"), "jobs.toml").unwrap_err();
    assert!(found[0].to_string().contains("did you mean `yt-dlp`?"), "{}", found[0]);
    let found = parse(job, "jobs.toml").unwrap_err();
    assert!(found[0].to_string().contains("add [tool.ytdlp]"), "{}", found[0]);
    let good = parse(&format!("{SHIPPED}\n{}", job.replace("ytdlp", "yt-dlp")), "jobs.toml").unwrap();
    assert_eq!(good.job("talks").unwrap().tools(), Some(vec!["yt-dlp".to_owned()]));
}
