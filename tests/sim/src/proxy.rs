//! The proxy: absolute-form requests and CONNECT, answered by the sites themselves.

use crate::answer::Answer;
use crate::body::AnswerBody;
use crate::handshake::Reception;
use crate::raw::{RawIo, RawSlot};
use crate::serve::{Entry, World, answer, ended, respond, tls};
use crate::site::{Scheme, Via};
use crate::speech::Trouble;
use crate::wire::{Listening, Wire, reserve};
use http::header::{HeaderValue, PROXY_AUTHORIZATION};
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpSocket;

/// The proxy's port, open or closed.
pub(crate) struct Proxy {
    world: Arc<World>,
    addr: SocketAddr,
    state: tokio::sync::Mutex<State>,
}

enum State {
    Up(Listening),
    /// The port is kept but not listened on: connections are refused, and it can't be taken meanwhile.
    Down(TcpSocket),
    /// Between the two, or the port was lost.
    Lost,
}

impl Proxy {
    pub(crate) fn start(world: Arc<World>, addr: SocketAddr) -> io::Result<Self> {
        let listening = listen(world.clone(), reserve(addr)?)?;
        Ok(Self { world, addr: listening.addr(), state: tokio::sync::Mutex::new(State::Up(listening)) })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the port and cuts every connection. Nothing to do when it is down.
    pub(crate) async fn down(&self) -> io::Result<()> {
        let mut state = self.state.lock().await;
        *state = match std::mem::replace(&mut *state, State::Lost) {
            State::Up(listening) => {
                listening.stop().await;
                State::Down(reserve(self.addr)?)
            }
            State::Down(socket) => State::Down(socket),
            State::Lost => State::Down(reserve(self.addr)?),
        };
        Ok(())
    }

    /// Listens again on the same port. Nothing to do when it is up.
    pub(crate) async fn up(&self) -> io::Result<()> {
        let mut state = self.state.lock().await;
        *state = match std::mem::replace(&mut *state, State::Lost) {
            State::Up(listening) => State::Up(listening),
            State::Down(socket) => State::Up(listen(self.world.clone(), socket)?),
            State::Lost => State::Up(listen(self.world.clone(), reserve(self.addr)?)?),
        };
        Ok(())
    }
}

fn listen(world: Arc<World>, socket: TcpSocket) -> io::Result<Listening> {
    Listening::start(socket, move |wire| connection(world.clone(), wire))
}

/// What CONNECT leaves for the connection's own task to go on with.
type Tunnel = Mutex<Option<(OnUpgrade, Arc<Entry>)>>;

async fn connection(world: Arc<World>, wire: Wire) {
    let flag = wire.reset_flag();
    let (tunnel, raw) = (Arc::new(Tunnel::default()), RawSlot::default());
    {
        let service = service_fn(|request| {
            let (world, tunnel, raw) = (world.clone(), tunnel.clone(), raw.clone());
            async move { handle(&world, &tunnel, request, &raw).await }
        });
        let io = TokioIo::new(RawIo::new(wire, &raw));
        let connection = http1::Builder::new().serve_connection(io, service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        ended(connection.as_mut().await, &flag);
    }
    // The tunnel runs in this same task, so that it ends with the listener like every other connection.
    let opened = tunnel.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((upgrade, entry)) = opened {
        match upgrade.await {
            Ok(upgraded) => tls(world, entry, Via::Proxy, TokioIo::new(upgraded), flag).await,
            Err(error) => tracing::debug!(%error, "tunnel ended before it began"),
        }
    }
}

async fn handle(
    world: &World,
    tunnel: &Tunnel,
    mut request: http::Request<Incoming>,
    raw: &RawSlot,
) -> Result<Response<AnswerBody>, io::Error> {
    if let Some(expected) = &world.proxy_auth
        && request.headers().get(PROXY_AUTHORIZATION) != Some(expected)
    {
        world.counter.refused_auth();
        let has_some = request.headers().contains_key(PROXY_AUTHORIZATION);
        let trouble = if has_some { Trouble::OtherCredentials } else { Trouble::Credentials };
        return respond(world.proxy_kind.says(trouble));
    }
    // What is for the proxy never reaches a site.
    request.headers_mut().remove(PROXY_AUTHORIZATION);
    let Some(host) = request.uri().host() else {
        return respond(Answer::text(StatusCode::BAD_REQUEST, "a proxy takes absolute URLs and CONNECT only\n"));
    };
    let Some(entry) = world.entry(host) else {
        world.counter.unknown_host();
        return respond(world.proxy_kind.says(Trouble::NoSuchHost));
    };
    if entry.reception == Reception::Refused {
        world.counter.refused_host();
        return respond(world.proxy_kind.says(Trouble::Refused));
    }
    if request.method() == Method::CONNECT {
        let entry = entry.clone();
        world.counter.connect();
        *tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some((hyper::upgrade::on(&mut request), entry));
        return Ok(Response::new(AnswerBody::whole("")));
    }
    if request.uri().scheme_str() != Some("http") {
        return respond(Answer::text(StatusCode::BAD_REQUEST, "https goes through CONNECT\n"));
    }
    answer(world, entry, (Scheme::Http, Via::Proxy), request, raw).await
}

/// The header value that a client with these credentials sends.
pub(crate) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let mut value = String::from("Basic ");
    base64(format!("{user}:{password}").as_bytes(), &mut value);
    HeaderValue::from_str(&value).ok()
}

fn base64(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = (word >> (18 - 6 * place)) & 63;
            out.push(if place <= group.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::basic;

    #[test]
    fn basic_credentials_are_encoded_with_padding() {
        for (user, password, expected) in
            [("u", "p", "Basic dTpw"), ("user", "pass", "Basic dXNlcjpwYXNz"), ("a", "bc", "Basic YTpiYw==")]
        {
            assert_eq!(basic(user, password).expect("a header value"), expected);
        }
    }
}
