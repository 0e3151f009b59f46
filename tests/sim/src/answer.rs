//! What a site may answer: a response, or nothing but a connection's end.

use crate::body::AnswerBody;
use crate::raw::Raw;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};

/// How a site answers.
#[derive(Debug)]
pub enum Answer {
    /// With a response.
    Respond(Response<AnswerBody>),
    /// By closing the connection without a byte.
    HangUp,
    /// By resetting the connection (TCP RST) without a byte.
    Reset,
    /// With these bytes, whatever they are, and then a close.
    Raw(Raw),
}

impl Answer {
    /// A response with a whole body. `content_type` must be a valid header value.
    pub fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(AnswerBody::whole(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self::Respond(response)
    }

    /// A page with status 200.
    pub fn html(body: impl Into<Bytes>) -> Self {
        Self::whole(StatusCode::OK, "text/html; charset=utf-8", body)
    }

    /// A short text with a status.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::whole(status, "text/plain; charset=utf-8", body)
    }

    /// A redirect. A target that can't stand in a header is the site's mistake and answers 500.
    pub fn redirect(status: StatusCode, target: &str) -> Self {
        match HeaderValue::from_str(target) {
            Ok(target) => Self::text(status, "moved\n").with(LOCATION, target),
            Err(_) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, "redirect target is not a header value\n"),
        }
    }

    /// The same answer with a header set.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if let Self::Respond(response) = &mut self {
            response.headers_mut().insert(name, value);
        }
        self
    }
}
