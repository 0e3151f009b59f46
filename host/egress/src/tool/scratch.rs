//! The scratch folder of a run: what is laid into it, and what is found there afterwards.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tollgate_core::{
    artifact::ARTIFACT_NAME_BYTES_MAX,
    spec::ToolSpec,
    task::clean_message,
    tool::{ToolContent, ToolInput},
};

use super::ToolFile;

/// How scratch folders are named, so that those of a process that was killed can be swept.
pub(crate) const PREFIX: &str = "tool-";
/// Files that one run may leave: as many artifacts as a stage can well name.
const FILES_MAX: usize = 100;
/// Doubtful things of a folder that are told.
const TOLD_MAX: usize = 20;

/// A folder of one run, gone when dropped.
#[derive(Debug)]
pub(super) struct Scratch(TempDir);

impl Scratch {
    /// Makes a folder with these files in it, and a cookie file beside them. Blocks.
    pub(super) fn new(within: &Path, inputs: &[ToolInput], cookies: Option<&str>) -> io::Result<Self> {
        let scratch = Self(tempfile::Builder::new().prefix(PREFIX).tempdir_in(std::path::absolute(within)?)?);
        for folder in [scratch.files(), scratch.home(), scratch.temporary()] {
            fs::create_dir(folder)?;
        }
        if let Some(cookies) = cookies {
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o600).open(scratch.cookies())?.write_all(cookies.as_bytes())?;
        }
        for input in inputs {
            let path = scratch.files().join(&input.name);
            match &input.content {
                ToolContent::Bytes(bytes) => fs::write(path, bytes)?,
                // Its own copy: what a tool does to it must not touch what the host keeps.
                ToolContent::File(from) => fs::write(&path, []).and_then(|()| copy(from, &path))?,
            }
        }
        Ok(scratch)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where it runs.
    pub(super) fn files(&self) -> PathBuf {
        self.0.path().join("files")
    }

    /// The cookies of its site's session, beside the files that become artifacts.
    pub(super) fn cookies(&self) -> PathBuf {
        self.0.path().join("cookies.txt")
    }

    /// Removes the cookies, as soon as the run is over.
    pub(super) fn forget_cookies(&self) -> io::Result<()> {
        match fs::remove_file(self.cookies()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Its `HOME`: nobody's settings are found there.
    pub(super) fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    /// Its `TMPDIR`.
    pub(super) fn temporary(&self) -> PathBuf {
        self.0.path().join("temporary")
    }
}

/// The bytes alone: the host's files may be read-only, and the tool's are its own.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    io::copy(&mut fs::File::open(from)?, &mut fs::File::create(to)?).map(|_| ())
}

/// What a run left.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) files: Vec<ToolFile>,
    /// What was left out, and why.
    pub(super) left_out: Vec<String>,
    /// More than a run may leave.
    pub(super) too_much: Option<String>,
}

/// Collects the regular files at the folder's top, by name, without those that were laid there. Blocks.
pub(super) fn collect(folder: &Path, tool: &ToolSpec, inputs: &[String]) -> io::Result<Left> {
    let (mut left, mut bytes, mut doubtful) = (Left::default(), 0_u64, 0_usize);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let shown = clean_message(&entry.file_name().to_string_lossy());
        let mut leave_out = |why: &str| {
            doubtful += 1;
            if doubtful <= TOLD_MAX {
                left.left_out.push(format!("left out {shown:?}: {why}"));
            }
        };
        // Of the entry itself: a link is never followed.
        let found = entry.metadata()?;
        let Some(name) = entry.file_name().into_string().ok().filter(|name| is_artifact_name(name)) else {
            leave_out("its name can't be an artifact's");
            continue;
        };
        if inputs.contains(&name) || tool.is_unfinished(&name) {
            continue;
        }
        if !found.is_file() {
            leave_out("it is no regular file");
            continue;
        }
        if found.len() == 0 {
            leave_out("it is empty");
            continue;
        }
        bytes = bytes.saturating_add(found.len());
        if left.files.len() >= FILES_MAX {
            left.too_much = Some(format!("it left more than {FILES_MAX} files"));
            return Ok(left);
        }
        left.files.push(ToolFile { name, path: entry.path(), bytes: found.len() });
    }
    if doubtful > TOLD_MAX {
        left.left_out.push(format!("left out {} more", doubtful - TOLD_MAX));
    }
    if bytes > tool.output_max {
        let limit = tool.output_max;
        left.too_much = Some(format!("it left {bytes} bytes of files; `output-max` is {limit}"));
    }
    left.files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(left)
}

/// As the artifacts of a stage are named.
fn is_artifact_name(name: &str) -> bool {
    name.len() <= ARTIFACT_NAME_BYTES_MAX && !name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\'))
}
