//! `http`: requests through the gate; bodies stay with the host until they are asked for.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tollgate_core::http::{HttpError, HttpRequest};
use wasmtime::component::Resource;

use crate::{
    bindings::v0_1::tollgate::handler::{http, types},
    gates::{Fetched, HttpGate},
    guest::Guest,
};

/// Requests of one `fetch-all`: a page's worth of parts.
pub(super) const FETCH_ALL_MAX: usize = 1_000;

/// A response that a guest holds.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct GuestResponse(Arc<dyn Fetched>);

impl Guest {
    fn http_gate(&self) -> Result<Arc<dyn HttpGate>, http::HttpError> {
        let gate = self.gates.http.clone();
        gate.ok_or_else(|| http::HttpError::Denied(format!("http is {}", self.not_granted("http"))))
    }

    fn take_request(&mut self, request: http::Request) -> wasmtime::Result<Result<HttpRequest, http::HttpError>> {
        let headers: usize = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.transfer(request.url.len() + headers + request.body.as_ref().map_or(0, Vec::len))?;
        if let Some(options) = request.options.filter(|options| !is_empty_object(options)) {
            let text = format!("options are {options}, and this host knows none: leave them out");
            return Ok(Err(http::HttpError::InvalidRequest(text)));
        }
        Ok(Ok(HttpRequest {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
            timeout: request.timeout.map(Duration::from_millis),
        }))
    }

    fn hold(
        &mut self,
        answer: Result<Arc<dyn Fetched>, HttpError>,
    ) -> wasmtime::Result<Result<Resource<GuestResponse>, http::HttpError>> {
        match answer {
            Ok(fetched) => {
                let held = self.table.push(GuestResponse(fetched))?;
                self.responses += 1;
                Ok(Ok(held))
            }
            Err(error) => Ok(Err(http_error(error))),
        }
    }

    fn held(&self, response: &Resource<GuestResponse>) -> wasmtime::Result<Arc<dyn Fetched>> {
        Ok(self.table.get(response)?.0.clone())
    }
}

fn is_empty_object(options: &str) -> bool {
    matches!(serde_json::from_str(options), Ok(serde_json::Value::Object(object)) if object.is_empty())
}

impl http::Host for Guest {
    async fn fetch(
        &mut self,
        request: http::Request,
    ) -> wasmtime::Result<Result<Resource<GuestResponse>, http::HttpError>> {
        let (gate, request) = match (self.http_gate(), self.take_request(request)?) {
            (Ok(gate), Ok(request)) => (gate, request),
            (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
        };
        let answer = gate.fetch(request).await;
        self.hold(answer)
    }

    async fn fetch_all(
        &mut self,
        requests: Vec<http::Request>,
    ) -> wasmtime::Result<Vec<Result<Resource<GuestResponse>, http::HttpError>>> {
        if requests.len() > FETCH_ALL_MAX {
            let text = format!("{} requests at once; {FETCH_ALL_MAX} is the limit", requests.len());
            return Ok(requests.iter().map(|_| Err(http::HttpError::InvalidRequest(text.clone()))).collect());
        }
        let mut asked = Vec::with_capacity(requests.len());
        for request in requests {
            asked.push(self.take_request(request)?);
        }
        let gate = self.http_gate();
        let answers = asked.into_iter().map(|request| {
            let gate = gate.clone();
            async move {
                match (gate, request) {
                    (Ok(gate), Ok(request)) => Ok(gate.fetch(request).await),
                    (Err(error), _) | (_, Err(error)) => Err(error),
                }
            }
        });
        let mut held = Vec::new();
        for answer in join_all(answers).await {
            held.push(match answer {
                Ok(answer) => self.hold(answer)?,
                Err(error) => Err(error),
            });
        }
        Ok(held)
    }

    async fn list_zip_members(&mut self, url: String) -> wasmtime::Result<Result<Vec<String>, http::HttpError>> {
        self.transfer(url.len())?;
        let gate = match self.http_gate() {
            Ok(gate) => gate,
            Err(error) => return Ok(Err(error)),
        };
        match gate.zip_members(url).await {
            Ok(names) => {
                self.transfer(names.iter().map(String::len).sum())?;
                Ok(Ok(names))
            }
            Err(error) => Ok(Err(http_error(error))),
        }
    }

    async fn fetch_zip_member(
        &mut self,
        url: String,
        member: String,
    ) -> wasmtime::Result<Result<Resource<GuestResponse>, http::HttpError>> {
        self.transfer(url.len() + member.len())?;
        let gate = match self.http_gate() {
            Ok(gate) => gate,
            Err(error) => return Ok(Err(error)),
        };
        let answer = gate.zip_member(url, member).await;
        self.hold(answer)
    }
}

impl http::HostResponse for Guest {
    async fn status(&mut self, response: Resource<GuestResponse>) -> wasmtime::Result<u16> {
        Ok(self.held(&response)?.status())
    }

    async fn url(&mut self, response: Resource<GuestResponse>) -> wasmtime::Result<String> {
        let url = self.held(&response)?.url().to_owned();
        self.transfer(url.len())?;
        Ok(url)
    }

    async fn header(&mut self, response: Resource<GuestResponse>, name: String) -> wasmtime::Result<Option<String>> {
        let response = self.held(&response)?;
        let found = response.headers().iter().find(|(header, _)| header.eq_ignore_ascii_case(&name));
        let found = found.map(|(_, value)| value.clone());
        self.transfer(found.as_ref().map_or(0, String::len))?;
        Ok(found)
    }

    async fn headers(&mut self, response: Resource<GuestResponse>) -> wasmtime::Result<Vec<(String, String)>> {
        let response = self.held(&response)?;
        self.transfer(response.headers().iter().map(|(name, value)| name.len() + value.len()).sum())?;
        Ok(response.headers().to_vec())
    }

    async fn size(&mut self, response: Resource<GuestResponse>) -> wasmtime::Result<u64> {
        Ok(self.held(&response)?.size())
    }

    async fn bytes(&mut self, response: Resource<GuestResponse>) -> wasmtime::Result<Result<Vec<u8>, http::HttpError>> {
        let response = self.held(&response)?;
        self.transfer(usize::try_from(response.size()).unwrap_or(usize::MAX))?;
        Ok(response.bytes().await.map(Vec::from).map_err(http_error))
    }

    async fn save(
        &mut self,
        response: Resource<GuestResponse>,
        name: String,
    ) -> wasmtime::Result<Result<types::Artifact, http::HttpError>> {
        let saved = self.held(&response)?.save(name).await;
        Ok(saved.map(super::artifacts::artifact).map_err(http_error))
    }

    async fn drop(&mut self, response: Resource<GuestResponse>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        self.responses = self.responses.saturating_sub(1);
        Ok(())
    }
}

fn http_error(error: HttpError) -> http::HttpError {
    let millis = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    match error {
        HttpError::Denied(text) => http::HttpError::Denied(text),
        HttpError::Timeout(text) => http::HttpError::Timeout(text),
        HttpError::Connection(text) => http::HttpError::Connection(text),
        HttpError::RateLimited { after } => http::HttpError::RateLimited(after.map(millis)),
        HttpError::Blocked(text) => http::HttpError::Blocked(text),
        HttpError::LoginRequired(text) => http::HttpError::LoginRequired(text),
        HttpError::NotContent(text) => http::HttpError::NotContent(text),
        HttpError::TooLarge(bytes) => http::HttpError::TooLarge(bytes),
        HttpError::InvalidRequest(text) => http::HttpError::InvalidRequest(text),
        HttpError::Storage(text) => http::HttpError::Storage(text),
        HttpError::Other(text) => http::HttpError::Other(text),
    }
}
