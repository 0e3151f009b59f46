//! What may go wrong with a site before its first request: its port, its certificate, its handshake.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of the client's first words that a site without TLS looks at before it answers.
const FIRST_WORDS: usize = 512;

/// How a site receives a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reception {
    /// As it should.
    #[default]
    Fine,
    /// Nobody listens on its port: the proxy can't connect.
    Refused,
    /// Its certificate is of an authority that nobody was told of.
    Untrusted,
    /// Its certificate is for another name.
    OtherName,
    /// Its certificate was good until the year 2000.
    Expired,
    /// It answers a handshake in plain HTTP.
    NotTls,
    /// It closes the connection in the middle of the handshake.
    HangsUp,
    /// It never says a word to a handshake.
    Silent,
}

impl Reception {
    /// Receives the client's handshake in its own way. False: there is nothing to be said against TLS.
    pub(crate) async fn spoils<S>(self, stream: &mut S) -> io::Result<bool>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut words = [0; FIRST_WORDS];
        match self {
            Self::NotTls => {
                let _read = stream.read(&mut words).await?;
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await?;
                stream.shutdown().await?;
            }
            Self::HangsUp => {
                let _read = stream.read(&mut words).await?;
            }
            Self::Silent => while stream.read(&mut words).await? > 0 {},
            Self::Fine | Self::Refused | Self::Untrusted | Self::OtherName | Self::Expired => return Ok(false),
        }
        Ok(true)
    }
}
