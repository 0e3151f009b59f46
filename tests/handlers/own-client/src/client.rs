//! What people do with a client: the one of `wstd`, as its examples have it.

use std::time::Duration;

use wstd::{
    http::{Body, Client, Request, Response},
    runtime::{block_on, spawn},
};

/// What went wrong, in the client's own words.
type Failed = String;

/// Headers that are the host's own, as a careless client sets them.
const HOST_HEADERS: [&str; 11] = [
    "authorization",
    "connection",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// Does what `word` says, if it is one of these.
///
/// | action | what the stage does |
/// |---|---|
/// | `get URL` | asks for a page; `text` is its status and its body |
/// | `get-within MS URL` | the same, with so much time for its first byte |
/// | `with-headers URL` | asks for a page with the host's own headers, and with `x-mine` |
/// | `post N URL` | sends N bytes |
/// | `side-by-side N URL` | asks N times at once; `text` says how many answered with 200 |
/// | `swallow URL` | asks, and ends with an error of its own at any |
/// | `breach URL` | asks, and makes an output that breaks its contract at any error |
/// | `refused URL` | `text` is the error, as the client shows it |
pub(crate) fn act(word: &str, rest: &str) -> Option<Result<String, Failed>> {
    Some(match word {
        "get" => block_on(get(&Client::new(), rest)),
        "get-within" => {
            let (millis, url) = argument(rest);
            let mut client = Client::new();
            client.set_first_byte_timeout(Duration::from_millis(millis));
            block_on(get(&client, url))
        }
        "with-headers" => block_on(with_headers(rest)),
        "post" => {
            let (bytes, url) = argument(rest);
            let body = vec![b'x'; usize::try_from(bytes).unwrap_or(usize::MAX)];
            block_on(async move {
                let request = Request::post(url).body(Body::from(body)).map_err(shown)?;
                said(Client::new().send(request).await.map_err(shown)?).await
            })
        }
        "side-by-side" => block_on(side_by_side(argument(rest))),
        "swallow" => block_on(get(&Client::new(), rest)).map_err(|_| "something went wrong".to_owned()),
        "breach" => Ok(block_on(get(&Client::new(), rest)).unwrap_or_default()),
        "refused" => block_on(async {
            match get(&Client::new(), rest).await {
                Ok(said) => Err(said),
                Err(error) => Ok(error),
            }
        }),
        _ => return None,
    })
}

/// A number, and what follows it; 0 where there is none.
pub(crate) fn argument(rest: &str) -> (u64, &str) {
    let (number, rest) = rest.split_once(' ').unwrap_or(("", rest));
    (number.parse().unwrap_or(0), rest)
}

fn shown(error: impl std::fmt::Debug) -> Failed {
    format!("{error:?}")
}

async fn said(response: Response<Body>) -> Result<String, Failed> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    Ok(format!("{status} {}", body.str_contents().await.map_err(shown)?))
}

async fn get(client: &Client, url: &str) -> Result<String, Failed> {
    let request = Request::get(url).body(Body::empty()).map_err(shown)?;
    said(client.send(request).await.map_err(shown)?).await
}

async fn with_headers(url: &str) -> Result<String, Failed> {
    let request = HOST_HEADERS.iter().fold(Request::get(url), |request, name| request.header(*name, "a.example"));
    let request = request.header("x-mine", "mine").body(Body::empty()).map_err(shown)?;
    said(Client::new().send(request).await.map_err(shown)?).await
}

async fn side_by_side((times, url): (u64, &str)) -> Result<String, Failed> {
    let asked: Vec<_> = (0..times)
        .map(|_| {
            let url = url.to_owned();
            spawn(async move { get(&Client::new(), &url).await })
        })
        .collect();
    let mut fine = 0;
    for one in asked {
        fine += u64::from(one.await?.starts_with("200 "));
    }
    Ok(fine.to_string())
}
