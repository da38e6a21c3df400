//! What is asked, and what is answered.

use std::time::Duration;

use reqwest::header::HeaderMap;
use url::Url;

use super::credentials::Secret;
use super::error::{HttpError, redacted};

/// How something is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'a> {
    /// GET.
    Get,
    /// HEAD: as GET, without the body.
    Head,
    /// POST of this `application/x-www-form-urlencoded` form. It follows no redirect, as the form may hold a secret.
    Post(&'a Secret),
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is asked for.
    pub url: &'a Url,
    /// How.
    pub method: Method<'a>,
    /// `Accept`.
    pub accept: Option<&'a str>,
    /// `Range`, such as `bytes=-1024`.
    pub range: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a str>,
    /// `Authorization`, whole. It is sent to the scheme, host and port of `url` alone, never after a redirect elsewhere.
    pub authorization: Option<&'a Secret>,
    /// Whether the bytes matter as they are, so that the server must not compress them.
    pub verbatim: bool,
    /// The most bytes that the body may have, decompressed.
    pub limit: u64,
    /// The most bytes that are read of the body of a refusal; what goes beyond is cut off.
    pub error_limit: u64,
    /// How often to ask again after a transient failure, where not as often as the client's settings say.
    pub retries: Option<u32>,
    /// How long everything may take, retries and redirects included.
    pub deadline: Option<Duration>,
}

impl<'a> Request<'a> {
    /// A plain GET request for at most `limit` bytes.
    #[must_use]
    pub fn new(url: &'a Url, limit: u64) -> Self {
        Self {
            url,
            method: Method::Get,
            accept: None,
            range: None,
            if_none_match: None,
            if_modified_since: None,
            authorization: None,
            verbatim: false,
            limit,
            error_limit: 0,
            retries: None,
            deadline: None,
        }
    }
}

/// An answer, whatever its status. The body is read for statuses of success, and of others as far as
/// [`Request::error_limit`] says.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Where the answer came from, after redirects, without credentials.
    pub url: Url,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Range`.
    pub content_range: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
    /// The body, decompressed.
    pub body: Vec<u8>,
    /// All headers.
    pub(super) headers: HeaderMap,
}

impl Response {
    /// Whether the status is one of success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The error that a status of failure amounts to.
    #[must_use]
    pub fn status_error(&self) -> HttpError {
        HttpError::Status {
            url: redacted(&self.url),
            status: self.status,
        }
    }

    /// The value of the header `name`, the first one where there are several.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All values of the header `name`.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok())
    }
}
