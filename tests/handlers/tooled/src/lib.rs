//! A test handler that runs a tool as its item says, in two stages: the second gives it a file that the first one left.

use tollgate_sdk::prelude::*;

/// A run: the tool's name, its arguments, and the address that it acts for.
#[data]
struct Asked {
    tool: String,
    args: Vec<String>,
    url: Option<String>,
    /// Arguments of a run over the file `left.txt`; none: there is no such run.
    then: Option<Vec<String>>,
}

/// What a run gave.
#[output]
#[derive(Debug, PartialEq)]
struct Made {
    stdout: String,
    profile: String,
    #[may_be_empty]
    warnings: Vec<String>,
    #[may_be_empty]
    files: Vec<String>,
}

/// What the second run gave.
#[output]
#[derive(Debug, PartialEq)]
struct Again {
    stdout: String,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the tool.
#[stage]
fn run(item: &Asked) -> Result<Made> {
    let mut run = item.args.iter().fold(tools::run(&item.tool), |run, arg| run.arg(arg.as_str()));
    if let Some(url) = &item.url {
        run = run.url(url.as_str());
    }
    let output = run.call()?;
    Ok(Made {
        stdout: text(&output.stdout),
        profile: output.profile,
        warnings: output.warnings,
        files: output.files.iter().map(|file| file.name.clone()).collect(),
    })
}

/// Runs it again, over what the first run left.
#[stage]
fn again(item: &Asked, _before: Made) -> Result<Again> {
    let args = item.then.as_deref().or_nothing("there is no second run")?;
    let run = args.iter().fold(tools::run(&item.tool), |run, arg| run.arg(arg.as_str()));
    let output = run.file(&Artifact::of("run", "left.txt")).call()?;
    Ok(Again { stdout: text(&output.stdout) })
}

handler!(stages: [run, again]);
