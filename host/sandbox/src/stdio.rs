//! stdout and stderr of a guest: lines into its log.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

use crate::{gates::LogLevel, guest::LogBudget};

/// Longest line: a longer one is logged in pieces.
const LINE_BYTES_MAX: usize = 8_000;
/// Bytes that a guest may write at once.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// One of the two streams.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    log: Arc<LogBudget>,
    level: LogLevel,
}

impl GuestOutput {
    pub(crate) fn new(log: Arc<LogBudget>, level: LogLevel) -> Self {
        Self { log, level }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Lines { output: self.clone(), pending: Vec::new() })
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // WASI 0.3's way in, which isn't linked.
        Box::new(tokio::io::sink())
    }
}

/// Puts lines together.
struct Lines {
    output: GuestOutput,
    pending: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> StreamResult<()> {
        if self.output.level == LogLevel::Warn {
            // At once: a guest that ends here may not end its line.
            self.output.log.stderr(bytes);
        }
        let before = self.pending.len();
        let taken = self.lines(bytes);
        self.output.log.waits(self.pending.len(), before);
        taken
    }

    fn lines(&mut self, bytes: &[u8]) -> StreamResult<()> {
        for &byte in bytes {
            if byte == b'\n' || self.pending.len() >= LINE_BYTES_MAX {
                self.end_line()?;
            }
            if byte != b'\n' {
                self.pending.push(byte);
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> StreamResult<()> {
        let line = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        self.output.log.line(self.output.level, &line).map_err(|limit| StreamError::Trap(wasmtime::Error::new(limit)))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.pending.is_empty()
            && let Err(error) = self.end_line()
        {
            tracing::debug!(%error, "the last line of a guest's output is over its budget");
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}
