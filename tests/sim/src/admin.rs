//! The sim's own endpoint, for tests and people outside the process: counts, bill, reset, proxy up and down.

use crate::answer::Answer;
use crate::body::AnswerBody;
use crate::proxy::Proxy;
use crate::serve::{World, ended, respond};
use crate::sites::bill::sum;
use crate::wire::{Listening, Wire, reserve};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The largest body the endpoint reads, in bytes: its one body is a line of JSON.
const BODY_MAX: usize = 4_096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProxyWish {
    up: bool,
}

pub(crate) fn start(world: Arc<World>, proxy: Arc<Proxy>, addr: SocketAddr) -> io::Result<Listening> {
    Listening::start(reserve(addr)?, move |wire| connection(world.clone(), proxy.clone(), wire))
}

async fn connection(world: Arc<World>, proxy: Arc<Proxy>, wire: Wire) {
    let flag = wire.reset_flag();
    let service = service_fn(|request| {
        let (world, proxy) = (world.clone(), proxy.clone());
        async move { handle(&world, &proxy, request).await }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(wire), service);
    let mut connection = std::pin::pin!(connection);
    ended(connection.as_mut().await, &flag);
}

async fn handle(
    world: &World,
    proxy: &Proxy,
    request: http::Request<Incoming>,
) -> Result<Response<AnswerBody>, io::Error> {
    let answer = match (request.method(), request.uri().path()) {
        (&Method::GET, "/_sim/counts") => {
            let json = serde_json::to_vec(&world.counter.snapshot()).map_err(io::Error::other)?;
            Answer::whole(StatusCode::OK, "application/json", json)
        }
        (&Method::GET, "/_sim/bill") => {
            let rows = world.bill();
            let bill = serde_json::json!({"sum": sum(&rows), "rows": rows});
            Answer::whole(StatusCode::OK, "application/json", bill.to_string())
        }
        (&Method::GET, "/_sim/ca.pem") => Answer::whole(StatusCode::OK, "application/x-pem-file", world.ca_pem.clone()),
        (&Method::POST, "/_sim/reset") => {
            world.reset();
            Answer::text(StatusCode::OK, "reset\n")
        }
        (&Method::POST, "/_sim/proxy") => {
            let body = Limited::new(request.into_body(), BODY_MAX).collect().await.map_err(io::Error::other)?;
            match serde_json::from_slice::<ProxyWish>(&body.to_bytes()) {
                Ok(wish) => turn(proxy, wish.up).await,
                Err(error) => Answer::text(StatusCode::BAD_REQUEST, format!("not {{\"up\": true|false}}: {error}\n")),
            }
        }
        _ => Answer::text(
            StatusCode::NOT_FOUND,
            "GET /_sim/counts, GET /_sim/bill, GET /_sim/ca.pem, POST /_sim/reset, POST /_sim/proxy \
             {\"up\": true|false}\n",
        ),
    };
    respond(answer)
}

async fn turn(proxy: &Proxy, up: bool) -> Answer {
    let turned = if up { proxy.up().await } else { proxy.down().await };
    match turned {
        Ok(()) => Answer::text(StatusCode::OK, if up { "up\n" } else { "down\n" }),
        Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to turn the proxy: {error}\n")),
    }
}
