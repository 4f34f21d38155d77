//! What a handler answers.

use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};

/// An answer: status, type, further headers, body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Its Content-Type.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// Text.
    pub fn text(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            content_type: "text/plain; charset=utf-8",
            headers: vec![("x-content-type-options", "nosniff".to_owned())],
            body: body.into(),
        }
    }

    /// JSON, with the status of a probe: 200 or 503.
    pub fn json(healthy: bool, body: impl Into<String>) -> Self {
        Self {
            status: if healthy { 200 } else { 503 },
            content_type: "application/json",
            ..Self::text(body)
        }
    }

    /// What Go's server answers to an unknown path.
    pub fn not_found() -> Self {
        Self { status: 404, ..Self::text("404 page not found\n") }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        let status = StatusCode::from_u16(self.status);
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}
