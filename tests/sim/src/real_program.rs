//! A real program that tests start as a server of their own: on loopback, on a port that nobody else was given, ended by
//! process id.

use std::{
    collections::BTreeSet,
    io,
    process::Stdio,
    sync::{Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    net::{TcpSocket, TcpStream},
    process::{Child, Command},
    sync::mpsc,
};

/// Starts it, and returns once it has said `ready` and takes connections at that port of 127.0.0.1. Dropped, it is killed.
///
/// # Errors
/// The program isn't there, or ends at its start: with what it said.
pub async fn start(command: &mut Command, name: &str, port: u16, ready: &str) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| io::Error::other(format!("{name}: {error}")))?;
    let (said, mut lines) = mpsc::unbounded_channel();
    child.stdout.take().into_iter().for_each(|stdout| listen(stdout, said.clone()));
    child.stderr.take().into_iter().for_each(|stderr| listen(stderr, said.clone()));
    drop(said);
    let mut log = Vec::new();
    while let Some(line) = lines.recv().await {
        let is_ready = line.contains(ready);
        log.push(line);
        if is_ready {
            // squid says so a moment before it is so.
            while child.try_wait()?.is_none() {
                if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                    return Ok(child);
                }
                tokio::task::yield_now().await;
            }
        }
    }
    Err(io::Error::other(format!("{name} ended at its start: {log:#?}")))
}

/// Reads what a program says to its end, so that it never waits for a reader.
fn listen(stream: impl AsyncRead + Send + Unpin + 'static, said: mpsc::UnboundedSender<String>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            // Once it is ready nobody listens any more.
            let _ready = said.send(line);
        }
    });
}

/// A port that was free just now, and that no other test was given, for a program that can't be given one that is taken
/// already.
///
/// # Errors
/// The system gives none.
pub fn free_port() -> io::Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let port = socket.local_addr()?.port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
}
