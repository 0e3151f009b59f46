//! Answers that no HTTP library would write: a test's own bytes in place of what hyper says.

use bytes::{Buf, Bytes};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes as they go out, after which the connection closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// At first, once.
    pub first: Bytes,
    /// Then this again and again, until the client goes away; nothing, where it is empty.
    pub again: Bytes,
}

/// What a connection is to say from now on in place of all else.
#[derive(Clone, Default)]
pub(crate) struct RawSlot(Arc<Mutex<Option<Raw>>>);

impl RawSlot {
    // Nothing that could panic half-way happens under the lock.
    fn lock(&self) -> MutexGuard<'_, Option<Raw>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, raw: Raw) {
        *self.lock() = Some(raw);
    }
}

/// A stream whose writer is overruled once its slot has bytes.
pub(crate) struct RawIo<S> {
    stream: S,
    slot: RawSlot,
}

impl<S> RawIo<S> {
    pub(crate) fn new(stream: S, slot: &RawSlot) -> Self {
        Self { stream, slot: slot.clone() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RawIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RawIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, slot } = self.get_mut();
        let mut slot = slot.lock();
        let Some(raw) = &mut *slot else {
            drop(slot);
            return Pin::new(stream).poll_write(cx, buf);
        };
        loop {
            if raw.first.is_empty() {
                raw.first = raw.again.clone();
            }
            if raw.first.is_empty() {
                // Said: what was to be written instead is swallowed.
                return Poll::Ready(Ok(buf.len()));
            }
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &raw.first))?;
            raw.first.advance(written);
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
