//! A real program that tests start as a server of their own: on loopback, on a port that nobody else was
//! given, ended by process id.

use std::{io, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    net::{TcpSocket, TcpStream},
    process::{Child, Command},
    sync::mpsc,
};

use crate::wire::reserve;

/// Starts it, and returns once it has said `ready` and takes connections at that port of
/// 127.0.0.1. Dropped, it is killed.
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

/// A port of 127.0.0.1, for a program that is to listen on it: nobody who asks the system for a free one is given it
/// meanwhile, and whoever names it, as the program does, may listen on it.
pub struct HeldPort(TcpSocket);

impl HeldPort {
    /// One that is free.
    ///
    /// # Errors
    /// The system gives none.
    pub fn new() -> io::Result<Self> {
        reserve(([127, 0, 0, 1], 0).into()).map(Self)
    }

    /// Its number.
    ///
    /// # Errors
    /// The system doesn't tell.
    pub fn number(&self) -> io::Result<u16> {
        Ok(self.0.local_addr()?.port())
    }
}
