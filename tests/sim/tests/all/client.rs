//! A client as bare as can be: no pool, no redirects, no retries, so that a test sees what the sim did.

use bytes::Bytes;
use http::header::{HOST, HeaderMap};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate_sim::Sim;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A whole response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("the header is text"))
    }
}

/// A connection on which requests follow each other.
pub(crate) struct Connection {
    send: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(crate) async fn over<S>(stream: S) -> Result<Self, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (send, connection) = handshake(TokioIo::new(stream)).await?;
        // Its errors come out at the request, too.
        drop(tokio::spawn(connection));
        Ok(Self { send })
    }

    /// The head of the answer, and its body still to come.
    pub(crate) async fn open(&mut self, request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>, Failure> {
        self.send.ready().await?;
        Ok(self.send.send_request(request).await?)
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let (head, body) = self.open(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: head.status, headers: head.headers, body })
    }
}

pub(crate) fn request(method: Method, host: &str, target: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(target).header(HOST, host);
    request.body(Full::default()).expect("the request is well-formed")
}

pub(crate) fn get(host: &str, target: &str) -> Request<Full<Bytes>> {
    request(Method::GET, host, target)
}

/// Knows a sim's proxy and trusts its authority.
pub(crate) struct Client {
    pub(crate) proxy: SocketAddr,
    tls: TlsConnector,
}

impl Client {
    pub(crate) fn new(sim: &Sim) -> Self {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(sim.ca_pem().as_bytes()).expect("the authority is PEM");
        roots.add(ca).expect("the authority can be trusted");
        Self { proxy: sim.proxy_addr(), tls: connector(roots) }
    }

    /// A client of the same sim that trusts nobody.
    pub(crate) fn distrusting(sim: &Sim) -> Self {
        Self { proxy: sim.proxy_addr(), tls: connector(RootCertStore::empty()) }
    }

    /// A connection to the proxy, for absolute-form requests.
    pub(crate) async fn plain(&self) -> Result<Connection, Failure> {
        Connection::over(TcpStream::connect(self.proxy).await?).await
    }

    /// A connection to a host under TLS, in a tunnel through the proxy.
    pub(crate) async fn tunnel(&self, host: &str) -> Result<Connection, Failure> {
        let mut stream = TcpStream::connect(self.proxy).await?;
        let (status, head) = connect(&mut stream, host, "").await?;
        if status != 200 {
            return Err(head.into());
        }
        Connection::over(self.under_tls(host, stream).await?).await
    }

    pub(crate) async fn under_tls(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
        Ok(self.tls.connect(ServerName::try_from(host.to_owned())?, stream).await?)
    }

    /// One URL over a connection of its own, through the proxy.
    pub(crate) async fn get(&self, url: &str) -> Result<Reply, Failure> {
        match url.strip_prefix("https://") {
            Some(rest) => {
                let (host, _) = rest.split_once('/').expect("the URL has a path");
                self.tunnel(host).await?.send(get(host, &rest[host.len()..])).await
            }
            None => {
                let uri: http::Uri = url.parse()?;
                self.plain().await?.send(get(uri.host().unwrap_or(""), url)).await
            }
        }
    }
}

fn connector(roots: RootCertStore) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(config.expect("TLS is available").with_root_certificates(roots).with_no_client_auth()).into()
}

/// Asks for a tunnel, with more header lines if wanted; the status and the whole head of the answer.
pub(crate) async fn connect(stream: &mut TcpStream, host: &str, more: &str) -> Result<(u16, String), Failure> {
    let head = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    let answer = String::from_utf8(answer)?;
    let status = answer.split(' ').nth(1).ok_or("no status")?.parse()?;
    Ok((status, answer))
}
