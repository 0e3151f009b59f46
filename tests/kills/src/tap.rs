//! What lies between the program and the small internet's proxy: it passes bytes on, counts those of answers, and may
//! keep a tunnel from ever being made.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
};

/// Most bytes of a connection's first words: a request line and its headers.
const HEAD_MAX: usize = 8 << 10;

/// How it stands between them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flow {
    /// Connections that the program or the proxy still has.
    pub(crate) open: usize,
    /// Bytes that came out of tunnels since the start.
    pub(crate) answered: u64,
    /// Tunnels that were asked for since they are kept from being made.
    pub(crate) kept: usize,
}

struct State {
    flow: Arc<watch::Sender<Flow>>,
    /// Whether no tunnel is made.
    is_closed: watch::Sender<bool>,
    proxy: SocketAddr,
}

/// A listener on loopback.
pub(crate) struct Tap {
    state: Arc<State>,
    pub(crate) addr: SocketAddr,
    listening: JoinHandle<()>,
}

impl Tap {
    /// Before that proxy. `flow`: where it is told how it stands.
    pub(crate) async fn start(proxy: SocketAddr, flow: Arc<watch::Sender<Flow>>) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State { flow, is_closed: watch::Sender::new(false), proxy });
        let shared = state.clone();
        let listening = tokio::spawn(async move {
            while let Ok((program, _)) = listener.accept().await {
                let state = shared.clone();
                state.flow.send_modify(|flow| flow.open += 1);
                tokio::spawn(async move {
                    // A connection that breaks is what a kill leaves.
                    drop(pass(&state, program).await);
                    state.flow.send_modify(|flow| flow.open -= 1);
                });
            }
        });
        Ok(Self { state, addr, listening })
    }

    /// From now on tunnels are kept from being made, or are made again.
    pub(crate) fn close(&self, is_closed: bool) {
        self.state.flow.send_modify(|flow| flow.kept = 0);
        self.state.is_closed.send_replace(is_closed);
    }

    /// How it stands, and what it comes to.
    pub(crate) fn flow(&self) -> watch::Receiver<Flow> {
        self.state.flow.subscribe()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn pass(state: &State, mut program: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX {
        if program.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let is_tunnel = head.starts_with(b"CONNECT ");
    if is_tunnel && *state.is_closed.borrow() {
        state.flow.send_modify(|flow| flow.kept += 1);
        // Until the program has gone: it is given no answer.
        while program.read(&mut [0; 64]).await? > 0 {}
        return Ok(());
    }
    let mut proxy = TcpStream::connect(state.proxy).await?;
    // Small pieces go on at once, as they would without it.
    program.set_nodelay(true)?;
    proxy.set_nodelay(true)?;
    proxy.write_all(&head).await?;
    let (from_program, to_program) = program.into_split();
    let (from_proxy, to_proxy) = proxy.into_split();
    let asked = copy(from_program, to_proxy, |_| {});
    let answered = copy(from_proxy, to_program, |bytes| {
        if is_tunnel {
            state.flow.send_modify(|flow| flow.answered += bytes);
        }
    });
    // Each to its own end: what the program had sent before it was killed still reaches the proxy.
    tokio::join!(asked, answered);
    Ok(())
}

/// Passes bytes on until there are no more; those for somebody who has gone are lost.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut passed: impl FnMut(u64)) {
    let mut bytes = vec![0; 16 << 10];
    let mut is_gone = false;
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        is_gone = is_gone || to.write_all(&bytes[..count]).await.is_err();
        passed(count as u64);
    }
    // Whoever has gone needs no goodbye.
    drop(to.shutdown().await);
}
