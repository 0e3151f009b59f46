//! Commands of the program, run to their end: how they ended and what they said.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::world::{World, program};

/// What a command said and how it ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// On standard error.
    pub(crate) said: String,
    /// On standard output.
    pub(crate) printed: String,
}

/// The program with the world's jobs.toml, on a data folder.
pub(crate) fn tollgate(world: &World, data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program("tollgate"));
    command.arg("--file").arg(world.path("jobs.toml")).arg("--data").arg(data).args(args);
    command
}

/// Runs the program to its end.
pub(crate) fn run(world: &World, data: &Path, args: &[&str]) -> Ended {
    Ended::of(tollgate(world, data, args))
}

impl Ended {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), said: text(&output.stderr), printed: text(&output.stdout) }
    }

    /// It ended with that code, and said all that.
    pub(crate) fn is(&self, what: &str, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{what}: {}", self.said);
        for word in words {
            assert!(self.said.contains(word), "{what}: {word:?} is missing in: {}", self.said);
        }
        assert!(!self.said.contains("panicked"), "{what}: {}", self.said);
    }
}
