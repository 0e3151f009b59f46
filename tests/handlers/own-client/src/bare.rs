//! What nobody should do with a client, over WASI's bare bindings.

use wasip2::{
    http::{
        outgoing_handler::{ErrorCode, FutureIncomingResponse, OutgoingRequest, handle},
        types::{Fields, Method, OutgoingBody, Scheme},
    },
    io::streams::{InputStream, StreamError},
};

use crate::client::argument;

/// What went wrong.
type Failed = String;

/// Does what `word` says, if it is one of these.
///
/// | action | what the stage does |
/// |---|---|
/// | `endless URL` | writes a body without end |
/// | `unfinished URL` | begins a body, and waits for the answer without ending it |
/// | `abandoned URL` | begins a body, and drops it |
/// | `without-end URL` | begins requests without end, and keeps them all |
/// | `never URL` | begins a request, and is done |
/// | `let-go N URL URL` | begins N requests to the first address and drops them; then asks for the second |
/// | `let-go-and-wait URL` | begins a request, drops it, and waits for ever |
/// | `half URL` | reads 3 bytes of a body, and drops the rest |
/// | `fields` | makes fields without end |
pub(crate) fn act(word: &str, rest: &str) -> Option<Result<String, Failed>> {
    Some(match word {
        "endless" => endless(rest),
        "unfinished" => unfinished(rest).and_then(|(sent, _body)| wait(&sent)),
        "abandoned" => unfinished(rest).and_then(|(sent, body)| {
            drop(body);
            wait(&sent)
        }),
        "without-end" => {
            let mut open = Vec::new();
            loop {
                match begin(rest) {
                    Ok(sent) => open.push(sent),
                    Err(error) => return Some(Err(error)),
                }
            }
        }
        "never" => begin(rest).map(std::mem::forget).map(|()| word.to_owned()),
        "let-go" => let_go(rest),
        "let-go-and-wait" => begin(rest).map(|sent| {
            sent.subscribe().ready();
            drop(sent);
            wasip2::clocks::monotonic_clock::subscribe_duration(u64::MAX).block();
            word.to_owned()
        }),
        "half" => begin(rest).and_then(|sent| half(&sent)),
        "fields" => {
            let mut all = Vec::new();
            loop {
                all.push(Fields::new());
            }
        }
        _ => return None,
    })
}

fn shown(error: impl std::fmt::Debug) -> Failed {
    format!("{error:?}")
}

/// A request for an address: `http://host/path`.
fn request(url: &str, method: &Method) -> Result<OutgoingRequest, Failed> {
    let (authority, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or("no address")?;
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(method).map_err(shown)?;
    request.set_scheme(Some(&Scheme::Http)).map_err(shown)?;
    request.set_authority(Some(authority)).map_err(shown)?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(shown)?;
    Ok(request)
}

fn begin(url: &str) -> Result<FutureIncomingResponse, Failed> {
    handle(request(url, &Method::Get)?, None).map_err(shown)
}

/// Waits for an answer; gives its status.
fn wait(sent: &FutureIncomingResponse) -> Result<String, Failed> {
    sent.subscribe().block();
    let answer: Result<_, ErrorCode> = sent.get().ok_or("not ready")?.map_err(shown)?;
    answer.map(|response| response.status().to_string()).map_err(shown)
}

/// A request whose body has begun.
fn unfinished(url: &str) -> Result<(FutureIncomingResponse, OutgoingBody), Failed> {
    let request = request(url, &Method::Post)?;
    let body = request.body().map_err(shown)?;
    let sent = handle(request, None).map_err(shown)?;
    body.write().map_err(shown)?.blocking_write_and_flush(b"begun").map_err(shown)?;
    Ok((sent, body))
}

fn endless(url: &str) -> Result<String, Failed> {
    let request = request(url, &Method::Post)?;
    let body = request.body().map_err(shown)?;
    let sent = handle(request, None).map_err(shown)?;
    let part = vec![b'x'; 32 << 10];
    {
        let stream = body.write().map_err(shown)?;
        // It takes no notice of what the host says to that until nothing can be written any more.
        loop {
            stream.subscribe().block();
            let Ok(room) = stream.check_write() else {
                break;
            };
            let part = part.get(..usize::try_from(room).unwrap_or(usize::MAX)).unwrap_or(&part);
            if stream.write(part).is_err() {
                break;
            }
        }
    }
    drop(body);
    wait(&sent)
}

fn let_go(rest: &str) -> Result<String, Failed> {
    let (times, urls) = argument(rest);
    let (first, second) = urls.split_once(' ').ok_or("two addresses")?;
    for _ in 0..times {
        let sent = begin(first)?;
        // Once round the host, so that it is on its way.
        wasip2::clocks::monotonic_clock::subscribe_duration(1_000_000).block();
        drop(sent);
    }
    wait(&begin(second)?)
}

fn half(sent: &FutureIncomingResponse) -> Result<String, Failed> {
    sent.subscribe().block();
    let response = sent.get().ok_or("not ready")?.map_err(shown)?.map_err(shown)?;
    let body = response.consume().map_err(shown)?;
    let stream: InputStream = body.stream().map_err(shown)?;
    let part = stream.blocking_read(3).map_err(|error: StreamError| shown(error))?;
    Ok(String::from_utf8_lossy(&part).into_owned())
}
