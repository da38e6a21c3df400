//! The client: one request, its redirects and retries, and the whole body in memory or the begun body in a stream.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RANGE,
};
use url::Url;

use super::credentials::{CredentialStore, Secret};
use super::error::{HttpError, redacted};
use super::request::{Method, Request, Response};
use super::stream::{Body, Streamed};
use super::{retry, server_certificates, tls};

/// The most redirects that are followed for one request.
pub(super) const MOST_REDIRECTS: usize = 10;

/// How often a request is made again that nobody answered in time: each costs the whole time-out, in which nothing can
/// be shown to the user.
const MOST_SILENT_RETRIES: u32 = 1;

/// The most memory that is set aside for a body before its bytes arrive.
const MOST_RESERVED: u64 = 16 << 20;

/// The wall clock, handed in: milliseconds since the beginning of 1970, in UTC.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How the network is used.
#[derive(Clone)]
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
    /// Folders with certificates of single servers, each in a folder `HOST[:PORT]` (containers-certs.d(5)), in order: the
    /// first that has one for a server counts.
    pub certificate_folders: Vec<PathBuf>,
    /// A netrc file.
    pub netrc: Option<PathBuf>,
    /// Whether to refuse every request.
    pub offline: bool,
    /// Whether bodies that the server compressed on the way are decompressed. Without it bytes are what was sent, whatever
    /// a server says of them.
    pub compression: bool,
    /// The time, for servers that say until when to wait and not what time it is. Without it they are not understood.
    pub clock: Option<Clock>,
}

impl HttpSettings {
    /// How long ago 1970 began.
    pub(super) fn now(&self) -> Option<Duration> {
        let clock = self.clock.as_ref()?;
        Some(Duration::from_millis(clock()))
    }
}

impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSettings")
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("retries", &self.retries)
            .field("back_off", &self.back_off)
            .field("concurrency", &self.concurrency)
            .field("certificates", &self.certificates)
            .field("certificate_folders", &self.certificate_folders)
            .field("netrc", &self.netrc)
            .field("offline", &self.offline)
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
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
            certificate_folders: Vec::new(),
            netrc: None,
            offline: false,
            compression: true,
            clock: None,
        }
    }
}

/// The longest wait for the body of a refusal: the status has said the essential already.
const LONGEST_REFUSAL: Duration = Duration::from_secs(5);

/// The client of one run. Its methods need a tokio runtime; making it needs none.
pub struct HttpClient {
    settings: HttpSettings,
    credentials: Mutex<CredentialStore>,
    pools: OnceLock<Result<Pools, HttpError>>,
    /// For requests that change something: of these the answer comes when all is sent, which may take its time.
    upload_pools: Pools,
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
            pools: OnceLock::new(),
            upload_pools: Pools {
                patient: true,
                ..Pools::default()
            },
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
        let answered = self.ask(request, true).await?;
        Ok(answered.head)
    }

    /// As [`HttpClient::get`], but the body of a success stays where it is, to be read chunk by chunk. Of the body
    /// alone the limit of the request says nothing.
    ///
    /// # Errors
    /// When there is no answer; a status of failure is an answer.
    pub async fn stream(&self, request: Request<'_>) -> Result<Streamed, HttpError> {
        self.ask(request, false).await
    }

    async fn ask(&self, request: Request<'_>, whole: bool) -> Result<Streamed, HttpError> {
        let Some(deadline) = request.deadline else {
            return self.ask_until_answered(request, whole).await;
        };
        tokio::time::timeout(deadline, self.ask_until_answered(request, whole))
            .await
            .unwrap_or_else(|_| {
                Err(HttpError::Timeout {
                    url: redacted(request.url),
                })
            })
    }

    async fn ask_until_answered(
        &self,
        request: Request<'_>,
        whole: bool,
    ) -> Result<Streamed, HttpError> {
        let pools = self.ready(request.url)?;
        let retries = request.retries.unwrap_or(self.settings.retries);
        let mut attempt = 0;
        let mut timeouts = 0;
        loop {
            let (outcome, asked_wait) = self.attempt(pools, &request, whole).await;
            timeouts += u32::from(matches!(outcome, Err(HttpError::Timeout { .. })));
            let transient = match &outcome {
                Ok(answer) => retry::is_transient(answer.head.status),
                Err(error) => error.is_transient() && timeouts <= MOST_SILENT_RETRIES,
            };
            let is_hopeless = asked_wait.is_some_and(retry::is_too_long);
            if !transient || attempt >= retries || is_hopeless {
                return outcome;
            }
            attempt += 1;
            let wait =
                asked_wait.unwrap_or_else(|| retry::back_off(self.settings.back_off, attempt));
            tokio::time::sleep(wait).await;
        }
    }

    /// The connections, where the network may be used at all.
    fn ready(&self, url: &Url) -> Result<&Pools, HttpError> {
        if self.settings.offline {
            return Err(HttpError::Offline { url: redacted(url) });
        }
        let pools = self.pools.get_or_init(|| self.build_pools()).as_ref();
        pools.map_err(Clone::clone)
    }

    pub(super) fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// The connections for requests to `url` that change something.
    pub(super) fn upload_pool(&self, url: &Url) -> Result<reqwest::Client, HttpError> {
        self.ready(url)?;
        self.upload_pools.of(url, &self.settings)
    }

    /// The right to make a request, as long as it is held.
    pub(super) async fn permit(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        // The semaphore is never closed, so an error cannot happen; were it so, the request would go out unbounded.
        self.permits.acquire().await.ok()
    }

    fn build_pools(&self) -> Result<Pools, HttpError> {
        if let Some(netrc) = &self.settings.netrc {
            self.credentials
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .read_netrc(netrc)?;
        }
        Ok(Pools::default())
    }

    /// One attempt, with the wait that a server asked for.
    async fn attempt(
        &self,
        pools: &Pools,
        request: &Request<'_>,
        whole: bool,
    ) -> (Result<Streamed, HttpError>, Option<Duration>) {
        let _permit = self.permit().await;
        let mut url = request.url.clone();
        let mut authorization = request.authorization;
        for _ in 0..=MOST_REDIRECTS {
            let answer = match self.send(pools, request, &url, authorization).await {
                Ok(answer) => answer,
                Err(error) => return (Err(error), None),
            };
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                let wait = retry::retry_after(answer.headers(), || self.settings.now());
                let answer = if whole || !answer.status().is_success() {
                    let limits = (request.limit, request.error_limit);
                    read_answer(answer, url, limits)
                        .await
                        .map(Streamed::without_body)
                } else {
                    let head = head(&answer, url);
                    Ok(Streamed {
                        body: Some(Body::new(answer, head.url.clone())),
                        head,
                    })
                };
                return (answer, wait);
            }
            let next = if let Method::Post(_) = request.method {
                Err("a form, which may hold a secret".to_owned())
            } else {
                let location = answer.headers().get(LOCATION);
                redirected(&url, location.and_then(|value| value.to_str().ok()))
            };
            url = match next {
                Ok(next) => {
                    // Once it has led elsewhere, nothing brings the authorization back.
                    if next.origin() != url.origin() {
                        authorization = None;
                    }
                    next
                }
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
        pools: &Pools,
        request: &Request<'_>,
        url: &Url,
        authorization: Option<&Secret>,
    ) -> Result<reqwest::Response, HttpError> {
        let headers = [
            (ACCEPT, request.accept),
            (RANGE, request.range),
            (IF_NONE_MATCH, request.if_none_match),
            (IF_MODIFIED_SINCE, request.if_modified_since),
            (ACCEPT_ENCODING, request.verbatim.then_some("identity")),
        ];
        let pool = pools.of(url, &self.settings)?;
        let mut builder = match request.method {
            Method::Get => pool.get(url.clone()),
            Method::Head => pool.head(url.clone()),
            Method::Post(form) => pool
                .post(url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.reveal().to_owned()),
        };
        for (name, value) in headers {
            if let Some(value) = value {
                builder = builder.header(name, value);
            }
        }
        self.send_authorized(builder, url, authorization).await
    }

    /// Sends a request to `url` with this authorization, else with the credentials that are known for its host.
    pub(super) async fn send_authorized(
        &self,
        mut builder: reqwest::RequestBuilder,
        url: &Url,
        authorization: Option<&Secret>,
    ) -> Result<reqwest::Response, HttpError> {
        if let Some(authorization) = authorization {
            let mut value =
                HeaderValue::from_str(authorization.reveal()).map_err(|_| HttpError::Setup {
                    reason: format!(
                        "the credentials for {} cannot be sent in a header",
                        redacted(url)
                    ),
                })?;
            value.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, value);
        } else {
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
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        builder
            .send()
            .await
            .map_err(|error| HttpError::from_reqwest(url, error))
    }
}

/// Connections, each kind made when it is first needed: loading the certificates of the machine takes longer than a
/// request to a server on it.
#[derive(Default)]
struct Pools {
    /// To others, through a proxy where the environment names one.
    outside: OnceLock<Result<reqwest::Client, HttpError>>,
    /// To this machine, which no proxy reaches.
    this_machine: OnceLock<Result<reqwest::Client, HttpError>>,
    /// The same without TLS, and so without the certificates of the machine.
    this_machine_plain: OnceLock<Result<reqwest::Client, HttpError>>,
    /// To servers with certificates of their own, by host and port; `None` for those without.
    by_server: Mutex<BTreeMap<String, Option<Result<reqwest::Client, HttpError>>>>,
    /// Whether a connection may be silent for as long as it likes, as somebody else watches it.
    patient: bool,
}

impl Pools {
    fn of(&self, url: &Url, settings: &HttpSettings) -> Result<reqwest::Client, HttpError> {
        let options = |proxies: bool| tls::PoolOptions {
            connect_timeout: settings.connect_timeout,
            read_timeout: (!self.patient).then_some(settings.read_timeout),
            compression: settings.compression,
            proxies,
        };
        let build = |native: bool, proxies: bool, server| {
            let bundle = settings.certificates.as_deref();
            let configuration = tls::configuration(bundle, native, server)?;
            tls::build(configuration, &options(proxies))
        };
        let is_loopback = tls::is_loopback(url);
        let with_certificates = self.of_server(url, settings, |folder| {
            let server = server_certificates::read(folder)?;
            build(true, !is_loopback, Some(server))
        });
        if let Some(pool) = with_certificates {
            return pool;
        }
        let pool = match (is_loopback, url.scheme()) {
            (false, _) => self.outside.get_or_init(|| build(true, true, None)),
            (true, "http") => self
                .this_machine_plain
                .get_or_init(|| build(false, false, None)),
            (true, _) => self.this_machine.get_or_init(|| build(true, false, None)),
        };
        pool.clone()
    }

    /// The connections to a server that has a folder of certificates, which `build` makes.
    fn of_server(
        &self,
        url: &Url,
        settings: &HttpSettings,
        build: impl FnOnce(&Path) -> Result<reqwest::Client, HttpError>,
    ) -> Option<Result<reqwest::Client, HttpError>> {
        if url.scheme() != "https" || settings.certificate_folders.is_empty() {
            return None;
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let server = format!("{}:{port}", url.host_str().unwrap_or_default());
        let mut by_server = self
            .by_server
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let pool = by_server.entry(server).or_insert_with(|| {
            let folder = server_certificates::folder_of(url, &settings.certificate_folders)?;
            Some(build(&folder))
        });
        pool.clone()
    }
}

/// Where a redirect leads, or what is wrong with it.
pub(super) fn redirected(from: &Url, location: Option<&str>) -> Result<Url, String> {
    let location = location.ok_or("without saying where")?;
    let mut to = from.join(location).map_err(|_| "to an invalid address")?;
    // Credentials in a redirect are the server's word, not the user's.
    super::credentials::take_credentials(&mut to);
    match to.scheme() {
        "https" => Ok(to),
        "http" if from.scheme() == "http" => Ok(to),
        _ => Err(format!("to {}, which is not secure", redacted(&to))),
    }
}

/// Everything of an answer but its body.
fn head(answer: &reqwest::Response, url: Url) -> Response {
    let header = |name: HeaderName| {
        answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    Response {
        status: answer.status().as_u16(),
        content_type: header(CONTENT_TYPE),
        content_range: header(CONTENT_RANGE),
        cache_control: header(CACHE_CONTROL),
        etag: header(ETAG),
        last_modified: header(LAST_MODIFIED),
        url,
        body: Vec::new(),
        headers: answer.headers().clone(),
    }
}

/// Reads an answer to its end. `limits` are those of a success and of a refusal.
pub(super) async fn read_answer(
    mut answer: reqwest::Response,
    url: Url,
    (limit, error_limit): (u64, u64),
) -> Result<Response, HttpError> {
    let mut response = head(&answer, url);
    if !response.is_success() {
        if error_limit > 0 {
            let body = read_beginning(answer, error_limit, &mut response.body);
            // What has come by then is enough.
            let _ = tokio::time::timeout(LONGEST_REFUSAL, body).await;
        }
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

/// Reads what comes of a body, up to `limit` bytes.
async fn read_beginning(mut answer: reqwest::Response, limit: u64, body: &mut Vec<u8>) {
    while let Ok(Some(chunk)) = answer.chunk().await {
        let room = usize::try_from(limit).unwrap_or(usize::MAX) - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            return;
        }
    }
}
