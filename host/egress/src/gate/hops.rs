//! A request hop by hop: each hop decided anew, let through by its site, its endpoint, its proxy
//! and its budgets, and sent.

use std::time::Duration;

use reqwest::{
    Method,
    header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION},
};
use url::Url;

use super::{Answer, Caller, Gate, Hop, Told};
use crate::{
    Refused,
    address::{self, Address, Named},
    endpoint,
    exchange::{self, ExchangeError, ExchangeLimits, Incoming, Outgoing},
    headers,
    receive::Receive,
    session::Stopped,
    site::Trying,
    ways,
};

/// Hops of one request: what browsers allow is 20, and honest sites need few.
const HOPS_MAX: u32 = 10;

impl Gate {
    /// Sends a request hop by hop, each decided anew and sent with its own site's session. `receive` takes
    /// the body of the last one.
    pub(crate) async fn hops(
        &self,
        caller: &Caller,
        url: Url,
        mut outgoing: Outgoing,
        shorter: Option<Duration>,
        told: Told<'_>,
        receive: &mut dyn Receive,
    ) -> Result<Answer, Stopped> {
        let asked = url.to_string();
        let mut address = address::decide(&self.deployment(), caller, url, Named::Caller)?;
        let (mut hops, mut received) = (0, 0);
        loop {
            let lease = self.lease(caller, &address, told).await.map_err(|refused| refused.after(received))?;
            let cookies = lease.as_ref().and_then(|lease| lease.cookies.clone());
            let incoming = self.hop((caller, &address), outgoing.clone(), cookies, shorter, told, receive).await;
            let incoming = self.sift(lease, &address, incoming).await.map_err(|stopped| stopped.after(received))?;
            hops += 1;
            received += incoming.received;
            let Some(location) = location(&incoming) else {
                let Incoming { status, headers, body, .. } = incoming;
                return Ok(Answer { address, status, headers, received, body });
            };
            if hops >= HOPS_MAX {
                let text = format!("{asked} redirected {HOPS_MAX} times");
                return Err(Refused::transport(&address.authority, text).after(received).into());
            }
            let next = address::next(&self.deployment(), caller, &address, &location);
            let next = next.map_err(|refused| refused.after(received))?;
            outgoing = follow(outgoing, incoming.status);
            address = next;
        }
    }

    /// One request and its answer, with those cookies. The route is looked at first: where it is shut, nothing waits
    /// for a turn. It is taken last, since the turn may be long in coming.
    pub(crate) async fn hop(
        &self,
        (caller, address): (&Caller, &Address),
        mut request: Outgoing,
        cookies: Option<HeaderValue>,
        shorter: Option<Duration>,
        told: Told<'_>,
        receive: &mut dyn Receive,
    ) -> Result<Incoming, Refused> {
        told(Hop::Waits(address.url.as_str()));
        let clock = &*self.options.clock;
        let ways = self.ways(address)?;
        headers::of_site(&mut request.headers, &address.site, &self.options.base)?;
        if let Some(cookies) = cookies {
            request.headers.insert(COOKIE, cookies);
        }
        let site = self.sites.get(&address.authority, &address.site, clock.now());
        let mut slot = site.enter(&address.site, clock, caller.held.attempt()).await?;
        let standing = self.endpoints.admit(address, clock.now())?;
        let mut refused = ways::none(address);
        for way in ways {
            let (admitted, passage) = match self.admit(&way, address, way.around(address)) {
                Ok(let_through) => let_through,
                Err(shut) => {
                    refused = refused.or_sooner(shut);
                    continue;
                }
            };
            slot.sent();
            told(Hop::Runs);
            let limits = ExchangeLimits {
                time: shorter.map_or(address.site.timeout, |shorter| shorter.min(address.site.timeout)),
                body_max: address.site.body_max,
                via: way.via,
                login_bytes: way.login_bytes,
            };
            let answer = exchange::run(&way.client, address, request.clone(), limits, &passage, receive).await;
            let answer = endpoint::judge(standing.as_ref(), answer, clock.now()).await;
            match (answer, admitted) {
                // It was not even reached: nothing was sent, and another may do it.
                (Err((ExchangeError::Proxy(reason), _)), Some(admitted)) => {
                    refused = refused.or_sooner(admitted.failed(&reason, clock.now()));
                }
                (answer, admitted) => {
                    // Its place is another's only then: else one who waits for it would be let in after a refusal.
                    let incoming = self.answered(address, &site, way.via, admitted, answer).await?;
                    slot.end().into_iter().for_each(Trying::answered);
                    told(Hop::Answered(&address.authority));
                    return Ok(incoming);
                }
            }
        }
        Err(refused)
    }
}

/// Where an answer sends us, if it does.
pub(crate) fn location(incoming: &Incoming) -> Option<String> {
    let redirects = matches!(incoming.status, 301 | 302 | 303 | 307 | 308);
    let location = incoming.headers.get(LOCATION).filter(|_| redirects)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// The request of the next hop: 303, and a POST over 301 or 302, become a GET without a body (RFC 9110 section 15.4).
fn follow(mut request: Outgoing, status: u16) -> Outgoing {
    let becomes_get = (status == 303 && request.method != Method::HEAD)
        || (matches!(status, 301 | 302) && request.method == Method::POST);
    if becomes_get {
        request.method = Method::GET;
        request.body = None;
        drop_body_headers(&mut request.headers);
    }
    request
}

fn drop_body_headers(headers: &mut HeaderMap) {
    headers.remove(CONTENT_TYPE);
    headers.remove(CONTENT_LENGTH);
}
