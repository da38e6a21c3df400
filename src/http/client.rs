//! The client: one request, its redirects and retries, and the whole body in memory.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RANGE,
};
use url::Url;

use super::credentials::{CredentialStore, Secret};
use super::error::{HttpError, redacted};
use super::{retry, tls};

/// The most redirects that are followed for one request.
const MOST_REDIRECTS: usize = 10;

/// How often a request is made again that nobody answered in time: each costs the whole time-out, in which nothing can
/// be shown to the user.
const MOST_SILENT_RETRIES: u32 = 1;

/// The most memory that is set aside for a body before its bytes arrive.
const MOST_RESERVED: u64 = 16 << 20;

/// How the network is used.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a connection may be silent.
    pub read_timeout: Duration,
    /// How often a request is made again after a transient failure.
    pub retries: u32,
    /// The wait before the first retry; it doubles with each.
    pub back_off: Duration,
    /// The most requests at one time.
    pub concurrency: usize,
    /// A PEM file of certificate authorities to trust beside the machine's own.
    pub certificates: Option<PathBuf>,
    /// A netrc file.
    pub netrc: Option<PathBuf>,
    /// Whether to refuse every request.
    pub offline: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            retries: 3,
            back_off: Duration::from_millis(250),
            concurrency: 32,
            certificates: None,
            netrc: None,
            offline: false,
        }
    }
}

/// A GET request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is asked for.
    pub url: &'a Url,
    /// `Accept`.
    pub accept: Option<&'a str>,
    /// `Range`, such as `bytes=-1024`.
    pub range: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a str>,
    /// Whether the bytes matter as they are, so that the server must not compress them.
    pub verbatim: bool,
    /// The most bytes that the body may have, decompressed.
    pub limit: u64,
}

impl<'a> Request<'a> {
    /// A plain request for at most `limit` bytes.
    #[must_use]
    pub fn new(url: &'a Url, limit: u64) -> Self {
        Self {
            url,
            accept: None,
            range: None,
            if_none_match: None,
            if_modified_since: None,
            verbatim: false,
            limit,
        }
    }
}

/// An answer, whatever its status. The body is read for statuses of success alone.
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
}

/// The client of one run. Its methods need a tokio runtime; making it needs none.
pub struct HttpClient {
    settings: HttpSettings,
    credentials: Mutex<CredentialStore>,
    pool: OnceLock<Result<reqwest::Client, HttpError>>,
    permits: tokio::sync::Semaphore,
    requests: AtomicU64,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("settings", &self.settings)
            .field("requests", &self.requests_made())
            .finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client that has done nothing yet: bad settings are reported by the first request.
    #[must_use]
    pub fn new(settings: HttpSettings) -> Self {
        Self {
            permits: tokio::sync::Semaphore::new(settings.concurrency.max(1)),
            settings,
            credentials: Mutex::default(),
            pool: OnceLock::new(),
            requests: AtomicU64::new(0),
        }
    }

    /// Sends these credentials with every request to the scheme, host and port of `url`.
    pub fn add_credentials(&self, url: &Url, user: Secret, password: Secret) {
        self.credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(url.clone(), user, password);
    }

    /// How many requests went out, retries and redirects among them.
    #[must_use]
    pub fn requests_made(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Asks and reads the answer, following redirects and trying again after transient failures.
    ///
    /// # Errors
    /// When there is no answer; a status of failure is an answer.
    pub async fn get(&self, request: Request<'_>) -> Result<Response, HttpError> {
        if self.settings.offline {
            return Err(HttpError::Offline {
                url: redacted(request.url),
            });
        }
        let pool = self.pool.get_or_init(|| self.build_pool()).as_ref();
        let pool = pool.map_err(Clone::clone)?;
        let mut attempt = 0;
        let mut timeouts = 0;
        loop {
            let (outcome, asked_wait) = self.attempt(pool, &request).await;
            timeouts += u32::from(matches!(outcome, Err(HttpError::Timeout { .. })));
            let transient = match &outcome {
                Ok(response) => retry::is_transient(response.status),
                Err(error) => error.is_transient() && timeouts <= MOST_SILENT_RETRIES,
            };
            if !transient || attempt >= self.settings.retries {
                return outcome;
            }
            attempt += 1;
            let wait =
                asked_wait.unwrap_or_else(|| retry::back_off(self.settings.back_off, attempt));
            tokio::time::sleep(wait).await;
        }
    }

    fn build_pool(&self) -> Result<reqwest::Client, HttpError> {
        if let Some(netrc) = &self.settings.netrc {
            self.credentials
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .read_netrc(netrc)?;
        }
        tls::build(
            self.settings.certificates.as_deref(),
            self.settings.connect_timeout,
            self.settings.read_timeout,
        )
    }

    /// One attempt, with the wait that a server asked for.
    async fn attempt(
        &self,
        pool: &reqwest::Client,
        request: &Request<'_>,
    ) -> (Result<Response, HttpError>, Option<Duration>) {
        // The semaphore is never closed, so an error cannot happen; were it so, the request would go out unbounded.
        let _permit = self.permits.acquire().await.ok();
        let mut url = request.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = match self.send(pool, request, &url).await {
                Ok(answer) => answer,
                Err(error) => return (Err(error), None),
            };
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                let wait = retry::retry_after(answer.headers());
                return (read_answer(answer, url, request.limit).await, wait);
            }
            url = match redirected(&url, &answer) {
                Ok(next) => next,
                Err(reason) => {
                    let url = redacted(&url);
                    return (Err(HttpError::Redirect { url, reason }), None);
                }
            };
        }
        let error = HttpError::Redirect {
            url: redacted(request.url),
            reason: format!("more than {MOST_REDIRECTS} times"),
        };
        (Err(error), None)
    }

    async fn send(
        &self,
        pool: &reqwest::Client,
        request: &Request<'_>,
        url: &Url,
    ) -> Result<reqwest::Response, HttpError> {
        let headers = [
            (ACCEPT, request.accept),
            (RANGE, request.range),
            (IF_NONE_MATCH, request.if_none_match),
            (IF_MODIFIED_SINCE, request.if_modified_since),
            (ACCEPT_ENCODING, request.verbatim.then_some("identity")),
        ];
        let mut builder = pool.get(url.clone());
        for (name, value) in headers {
            if let Some(value) = value {
                builder = builder.header(name, value);
            }
        }
        // Looked up anew for every hop: a redirect to another host leaves the credentials behind.
        let credentials = self
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .of(url)
            .cloned();
        if let Some(credentials) = credentials {
            builder = builder.basic_auth(
                credentials.user.reveal(),
                Some(credentials.password.reveal()),
            );
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        builder
            .send()
            .await
            .map_err(|error| HttpError::from_reqwest(url, error))
    }
}

/// Where a redirect leads, or what is wrong with it.
fn redirected(from: &Url, answer: &reqwest::Response) -> Result<Url, String> {
    let location = answer
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or("without saying where")?;
    let mut to = from.join(location).map_err(|_| "to an invalid address")?;
    // Credentials in a redirect are the server's word, not the user's.
    super::credentials::take_credentials(&mut to);
    match to.scheme() {
        "https" => Ok(to),
        "http" if from.scheme() == "http" => Ok(to),
        _ => Err(format!("to {}, which is not secure", redacted(&to))),
    }
}

async fn read_answer(
    mut answer: reqwest::Response,
    url: Url,
    limit: u64,
) -> Result<Response, HttpError> {
    let header = |name: HeaderName| {
        answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let mut response = Response {
        status: answer.status().as_u16(),
        content_type: header(CONTENT_TYPE),
        content_range: header(CONTENT_RANGE),
        cache_control: header(CACHE_CONTROL),
        etag: header(ETAG),
        last_modified: header(LAST_MODIFIED),
        url,
        body: Vec::new(),
    };
    if !response.is_success() {
        return Ok(response);
    }
    let too_large = |url: &Url| HttpError::TooLarge {
        url: redacted(url),
        limit,
    };
    if let Some(length) = answer.content_length() {
        if length > limit {
            return Err(too_large(&response.url));
        }
        // The header is the server's word: reserving all that it claims could end the process.
        let reserved = usize::try_from(length.min(MOST_RESERVED)).unwrap_or(0);
        response.body.reserve(reserved);
    }
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => {
                if (response.body.len() + chunk.len()) as u64 > limit {
                    return Err(too_large(&response.url));
                }
                response.body.extend_from_slice(&chunk);
            }
            Ok(None) => return Ok(response),
            Err(error) => return Err(HttpError::from_reqwest(&response.url, error)),
        }
    }
}
