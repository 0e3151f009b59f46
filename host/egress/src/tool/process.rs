//! One run of a program: no shell, nothing of our environment, a process group of its own, bounded in time and output.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rustix::{
    io::{Errno, retry_on_intr},
    process::{
        Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, prlimit,
        waitid,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::Instant,
};

/// Bytes of stderr kept, the last ones: errors come at the end.
const STDERR_BYTES_MAX: usize = 256 << 10;
/// Bytes that any file of a tool may have at least, however little it may give: caches and the like.
const FILE_BYTES_MIN: u64 = 64 << 20;
/// Bytes read at once.
const CHUNK_BYTES: usize = 16 << 10;

/// What is run, and where.
pub(super) struct Program<'a> {
    pub(super) path: &'a Path,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) folder: &'a Path,
    pub(super) stdin: Option<&'a [u8]>,
    /// Bytes of stdout, and of any file.
    pub(super) output_max: u64,
    /// Counts the bytes of stdout as they are read.
    pub(super) heard: &'a AtomicU64,
    pub(super) deadline: Instant,
}

/// A run that ended by itself.
#[derive(Debug)]
pub(super) struct Ran {
    /// The exit status; 128 and its number for one that a signal ended, as shells have it.
    pub(super) exit_code: i32,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why a run came to no end of its own.
#[derive(Debug)]
pub(super) enum RunError {
    /// It couldn't be started.
    Start(io::Error),
    /// Its time was over.
    Deadline,
    /// It wrote more to stdout than it may.
    TooMuch,
    /// Its pipes broke.
    Pipe(io::Error),
}

/// A process and its group. Dropped, all that is left of the group is killed.
struct Group {
    child: Child,
    pid: Pid,
    /// Once it is reaped its number may be another's, and nothing may be sent there.
    is_reaped: bool,
}

impl Group {
    /// Kills whoever is left of it: the process itself, its children and theirs.
    fn kill(&self) {
        match kill_process_group(self.pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::error!(group = self.pid.as_raw_nonzero(), %error, "a tool's group can't be killed"),
        }
    }

    /// Kills the group and takes the process's status. Until then its number stays its own.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        let status = self.child.wait().await?;
        self.is_reaped = true;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill();
        }
    }
}

/// Finds a program: by its path, relative to `base`, or by its name on the host's `PATH`.
pub(super) fn find(command: &str, base: &Path) -> Option<PathBuf> {
    let is_program = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let found = if command.contains('/') {
        Some(base.join(command)).filter(|path| is_program(path))
    } else {
        let folders = std::env::var_os("PATH")?;
        std::env::split_paths(&folders).map(|folder| folder.join(command)).find(|path| is_program(path))
    };
    // The run has a folder of its own: a relative path would be another there.
    found.and_then(|path| std::path::absolute(path).ok())
}

/// Runs a program to its end.
pub(super) async fn run(program: Program<'_>) -> Result<Ran, RunError> {
    let deadline = program.deadline;
    let mut command = Command::new(program.path);
    command
        .args(&program.args)
        .env_clear()
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .current_dir(program.folder)
        .process_group(0)
        .stdin(if program.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().map_err(RunError::Start)?;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let pid = id.ok_or_else(|| RunError::Start(io::Error::other("the process has no number")))?;
    let mut group = Group { child, pid, is_reaped: false };
    limit(pid, program.output_max.max(FILE_BYTES_MIN)).map_err(RunError::Start)?;
    let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| RunError::Start(error.into()))?;
    let told = tokio::time::timeout_at(deadline, talk(&mut group, &program, ended)).await;
    let status = group.end().await.map_err(RunError::Pipe)?;
    let (stdout, stderr) = told.map_err(|_| RunError::Deadline)??;
    let exit_code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(Ran { exit_code, stdout, stderr })
}

/// What may be written to one file, and no core dumps. It may have ended before: then there is nothing to limit.
fn limit(pid: Pid, file_bytes_max: u64) -> io::Result<()> {
    for (resource, most) in [(Resource::Fsize, file_bytes_max), (Resource::Core, 0)] {
        match prlimit(Some(pid), resource, Rlimit { current: Some(most), maximum: Some(most) }) {
            Ok(_) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Feeds it and hears it out, all at once, so that no pipe is left full. Once the process itself has ended, so must
/// what it started: else a child that stays behind would hold the pipes open.
async fn talk(group: &mut Group, program: &Program<'_>, ended: OwnedFd) -> Result<(Vec<u8>, Vec<u8>), RunError> {
    let (stdin, stdout, stderr) = (group.child.stdin.take(), group.child.stdout.take(), group.child.stderr.take());
    let feed = async {
        let (Some(mut pipe), Some(bytes)) = (stdin, program.stdin) else {
            return Ok(());
        };
        match pipe.write_all(bytes).await {
            // Not every program reads all that it is given.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(RunError::Pipe(error)),
            _ => Ok(()),
        }
    };
    let group = &*group;
    let end = async {
        // Seen, and not reaped. Where this is dropped the group is killed, so that the thread doesn't stay.
        let wait = move || {
            retry_on_intr(|| waitid(WaitId::PidFd(ended.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT))
        };
        let seen = tokio::task::spawn_blocking(wait).await.map_err(|error| RunError::Pipe(io::Error::other(error)))?;
        seen.map_err(|error| RunError::Pipe(error.into()))?;
        group.kill();
        Ok(())
    };
    let ((), (), stdout, stderr) = tokio::try_join!(
        feed,
        end,
        read(stdout, Full::Refuse(program.output_max, program.heard)),
        read(stderr, Full::KeepLast)
    )?;
    Ok((stdout, stderr))
}

/// What to do with more than there is room for.
#[derive(Clone, Copy)]
enum Full<'a> {
    /// It is refused; what is read is counted there.
    Refuse(u64, &'a AtomicU64),
    KeepLast,
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, full: Full<'_>) -> Result<Vec<u8>, RunError> {
    let Some(mut pipe) = pipe else {
        return Ok(Vec::new());
    };
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
    loop {
        let read = pipe.read(&mut chunk).await.map_err(RunError::Pipe)?;
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&chunk[..read]);
        if let Full::Refuse(_, heard) = full {
            heard.fetch_add(read as u64, Relaxed);
        }
        match full {
            Full::Refuse(most, _) if bytes.len() as u64 > most => return Err(RunError::TooMuch),
            Full::KeepLast if bytes.len() > 2 * STDERR_BYTES_MAX => keep_last(&mut bytes),
            _ => {}
        }
    }
    if matches!(full, Full::KeepLast) {
        keep_last(&mut bytes);
    }
    Ok(bytes)
}

/// Keeps the last lines, whole ones: a piece of one may be the end of a secret, by which nobody would know it.
fn keep_last(bytes: &mut Vec<u8>) {
    let Some(cut) = bytes.len().checked_sub(STDERR_BYTES_MAX).filter(|cut| *cut > 0) else {
        return;
    };
    let rest = bytes[cut - 1..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    bytes.drain(..rest.map_or(bytes.len(), |at| cut + at));
}
