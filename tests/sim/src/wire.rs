//! Loopback listeners and their connections: a listener ends with all that came through it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Connections open at once on one listener; more wait in the backlog. Far above what a host under test may open.
const CONNECTIONS_MAX: usize = 4_096;
/// Waiting connections the system keeps for a listener.
const BACKLOG: u32 = 1_024;

/// Says that a connection is to end with a TCP reset rather than a close.
#[derive(Clone, Default)]
pub(crate) struct ResetFlag(Arc<AtomicBool>);

impl ResetFlag {
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A TCP stream that can be made to end with a reset by someone who no longer holds it.
pub(crate) struct Wire {
    stream: TcpStream,
    reset: ResetFlag,
}

impl Wire {
    pub(crate) fn reset_flag(&self) -> ResetFlag {
        self.reset.clone()
    }

    /// Whether the client begins with a TLS handshake. Waits for its first byte.
    pub(crate) async fn begins_with_tls(&self) -> io::Result<bool> {
        const HANDSHAKE: u8 = 0x16;
        let mut first = [0];
        Ok(self.stream.peek(&mut first).await? == 1 && first[0] == HANDSHAKE)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.0.load(Ordering::Relaxed)
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::warn!(%error, "connection closes instead of resetting");
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Takes a port without listening on it: connections to it are refused, and nobody else gets it.
pub(crate) fn reserve(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// A listener at work. Dropped, it and its connections end soon; [`Listening::stop`] waits for that.
pub(crate) struct Listening {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Listening {
    /// Serves each connection with `serve`, in a task that ends with the listener.
    pub(crate) fn start<F, S>(socket: TcpSocket, serve: S) -> io::Result<Self>
    where
        S: Fn(Wire) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = socket.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, stopped, serve));
        Ok(Self { addr, stop: Some(stop), task })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the port and every connection, and returns once they are closed.
    pub(crate) async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // A failed send means that the task has ended already.
            let _ended = stop.send(());
        }
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "listener's task failed");
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<F, S>(listener: TcpListener, mut stopped: oneshot::Receiver<()>, serve: S)
where
    S: Fn(Wire) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "connection's task failed");
                }
            }
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::warn!(%error, "failed to set nodelay");
                    }
                    connections.spawn(serve(Wire { stream, reset: ResetFlag::default() }));
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    // Out of file descriptors, most likely: give connections time to end rather than spin.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
        }
    }
    // A process that another test is starting has it too, for as long as it isn't the new program yet: closed here
    // alone, the port would still be listened on.
    if let Err(error) = socket2::SockRef::from(&listener).shutdown(std::net::Shutdown::Both) {
        tracing::warn!(%error, "the listener can't be shut down");
    }
    drop(listener);
    connections.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[tokio::test]
    async fn what_has_stopped_refuses_though_another_process_has_inherited_its_socket() {
        let socket = reserve(([127, 0, 0, 1], 0).into()).unwrap();
        // As a process has it that was forked, and isn't the new program yet.
        let inherited = socket.as_fd().try_clone_to_owned().unwrap();
        let listening = Listening::start(socket, |_| async {}).unwrap();
        let addr = listening.addr();
        TcpStream::connect(addr).await.unwrap();
        listening.stop().await;
        let refused = TcpStream::connect(addr).await.expect_err("nobody is to listen");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        Listening::start(reserve(addr).unwrap(), |_| async {}).unwrap();
        drop(inherited);
    }
}
