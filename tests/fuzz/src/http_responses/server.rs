//! A server on loopback that says the same to everyone, and then no more.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Time for a client to go away once everything was said to it.
const LINGER: Duration = Duration::from_secs(1);

/// What a client begins with that takes us for a SOCKS proxy.
const SOCKS: u8 = 5;
/// Bytes of the two answers of such a proxy, RFC 1928: what comes before its time is no answer to the request.
const SOCKS_BYTES: [usize; 2] = [2, 10];
/// Time for a client to say the next thing.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) struct Server {
    port: u16,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), answer: Arc::default() };
        let answer = server.answer.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let answer = answer.lock().unwrap().clone();
                // A client that went away early heard enough.
                tokio::spawn(async move { serve(client, &answer).await.ok() });
            }
        });
        server
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn says(&self, answer: &[u8]) {
        *self.answer.lock().unwrap() = answer.to_vec();
    }
}

async fn serve(mut client: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut asked = [0; 4_096];
    if client.read(&mut asked).await? == 0 {
        return Ok(());
    }
    let steps = if asked[0] == SOCKS { &SOCKS_BYTES[..] } else { &[] };
    let mut left = answer;
    for step in steps {
        let (now, rest) = left.split_at(left.len().min(*step));
        client.write_all(now).await?;
        left = rest;
        // It goes on, unless it waits for more than an honest server says here.
        tokio::time::timeout(PAUSE, client.read(&mut asked)).await.ok();
    }
    client.write_all(left).await?;
    client.shutdown().await?;
    // What it still says is read, or the system would take the answer back from it.
    let rest = async { while client.read(&mut asked).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(LINGER, rest).await.ok();
    Ok(())
}
