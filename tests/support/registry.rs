//! A registry in this process, over loopback: honest at first, with faults that can be switched on.
//!
//! ```ignore
//! let registry = RegistryServer::start();
//! registry.push("team/app", "1.0", &Pushed::image(&[b"layer"]));
//! registry.change(|behaviour| behaviour.cut_blobs_after = vec![100]);
//! ```

mod uploads;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use futures_util::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use self::uploads::Sessions;
#[allow(unused_imports, reason = "not every test binary pushes")]
pub use self::uploads::{Fault, Mounts, Uploads};
#[path = "registry_referrers.rs"]
mod referrers;

use super::index_server::{base64, sha256};
pub use referrers::Referrers;

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Who may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Who sends this user and password.
    Basic(String, String),
    /// Who has a token of this server, or of the one at `realm`.
    Bearer {
        /// The token server; `None` for this one.
        realm: Option<String>,
        /// Whether tokens are given to who has no credentials.
        anonymous: bool,
    },
}

/// How the server behaves; everything is off at first.
#[derive(Debug, Clone, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches of a test double"
)]
pub struct Behaviour {
    /// Who may ask.
    pub access: Access,
    /// For how many requests a token is good; `None` for ever.
    pub token_uses: Option<u32>,
    /// The user and password to whom the token server gives tokens.
    pub token_user: Option<(String, String)>,
    /// The refresh token for which it gives them.
    pub refresh_token: Option<String>,
    /// Redirect blobs to this origin.
    pub redirect_blobs_to: Option<String>,
    /// Redirect requests for tokens to this address.
    pub redirect_tokens_to: Option<String>,
    /// Break the connection after so many bytes of a blob, one number for each answer.
    pub cut_blobs_after: Vec<usize>,
    /// As `cut_blobs_after`, but the connection stays and is silent.
    pub stall_blobs_after: Vec<usize>,
    /// Send bodies of blobs without their length.
    pub no_length: bool,
    /// Answer requests for ranges with the whole blob.
    pub ignore_range: bool,
    /// `Content-Range` of every part.
    pub content_range: Option<String>,
    /// Answer requests for ranges with this status.
    pub range_status: Option<u16>,
    /// How many requests for manifests and blobs fail from now on.
    pub fail_first: u32,
    /// The status of those that fail; `None` breaks the connection instead.
    pub fail_status: Option<u16>,
    /// Headers of those that fail.
    pub fail_headers: Vec<(&'static str, String)>,
    /// Body of those that fail. `AUTHORIZATION` in it is replaced by what the client sent.
    pub fail_body: String,
    /// Answer HEAD with this status.
    pub head_status: Option<u16>,
    /// `Docker-Content-Digest` of manifests; empty for none.
    pub content_digest: Option<String>,
    /// `Content-Type` of manifests.
    pub content_type: Option<String>,
    /// Serve these bytes as every manifest.
    pub manifest_body: Option<Vec<u8>>,
    /// Tags of a page; `None` for all of them.
    pub page: Option<usize>,
    /// `Link` of every page of tags.
    pub link: Option<String>,
    /// Refuse to list tags.
    pub no_tags: bool,
    /// Whether the referrers API is known, and how; without it, it is answered as something that is not there.
    pub referrers: Option<Referrers>,
    /// Take requests, but never answer.
    pub hang: bool,
    /// How pushes are taken.
    pub uploads: Uploads,
}

/// A request that the server got.
#[derive(Debug, Clone)]
pub struct LoggedRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as text.
    pub body: String,
    /// The body.
    pub bytes: Bytes,
}

impl LoggedRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// An image, or several, as they are pushed.
#[derive(Debug, Clone, Default)]
pub struct Pushed {
    /// What a tag or digest leads to, with its media type.
    pub manifest: (String, Vec<u8>),
    /// Further manifests.
    pub others: Vec<(String, Vec<u8>)>,
    /// Configurations and layers.
    pub blobs: Vec<Vec<u8>>,
}

impl Pushed {
    /// An image for Linux on `amd64` with these blobs as its layers, each its own `diff_id`.
    pub fn image(layers: &[&[u8]]) -> Self {
        Self::image_for("amd64", layers)
    }

    /// An image for an architecture.
    pub fn image_for(architecture: &str, layers: &[&[u8]]) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux",
            "config": {"Env": ["PATH=/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = serde_json::to_vec(&config).expect("JSON");
        let described: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor(OCI_LAYER, layer))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &config), "layers": described,
        });
        let mut blobs = vec![config];
        blobs.extend(layers.iter().map(|layer| layer.to_vec()));
        Self {
            manifest: (
                OCI_MANIFEST.to_owned(),
                serde_json::to_vec(&manifest).expect("JSON"),
            ),
            others: Vec::new(),
            blobs,
        }
    }

    /// An index of images, by architecture.
    pub fn index(images: &[(&str, &Self)]) -> Self {
        let mut pushed = Self::default();
        let mut entries = Vec::new();
        for (architecture, image) in images {
            let mut entry = descriptor(&image.manifest.0, &image.manifest.1);
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entries.push(entry);
            pushed.others.push(image.manifest.clone());
            pushed.others.extend(image.others.iter().cloned());
            pushed.blobs.extend(image.blobs.iter().cloned());
        }
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        pushed.manifest = (
            OCI_INDEX.to_owned(),
            serde_json::to_vec(&index).expect("JSON"),
        );
        pushed
    }

    /// The same with another manifest: what `change` makes of it.
    #[must_use]
    pub fn with_manifest(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut value: Value = serde_json::from_slice(&self.manifest.1).expect("JSON");
        change(&mut value);
        self.manifest.1 = serde_json::to_vec(&value).expect("JSON");
        self
    }

    /// Digest of the manifest.
    pub fn digest(&self) -> String {
        digest(&self.manifest.1)
    }
}

/// `sha256:...` of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// A descriptor of `bytes`.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

#[derive(Debug, Default)]
struct Repository {
    /// By tag and by digest.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    tags: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct State {
    behaviour: Mutex<Behaviour>,
    repositories: Mutex<BTreeMap<String, Repository>>,
    /// Tokens, with how often each may still be used.
    tokens: Mutex<BTreeMap<String, u32>>,
    /// How many tokens there have been.
    issued: Mutex<usize>,
    /// Scopes of tokens, as they were asked for.
    scopes: Mutex<BTreeMap<String, String>>,
    uploads: Mutex<Sessions>,
    log: Mutex<Vec<LoggedRequest>>,
    origin: Mutex<String>,
}

/// A running registry; it ends when it is dropped.
#[derive(Debug)]
pub struct RegistryServer {
    state: Arc<State>,
    address: SocketAddr,
    speaks_tls: bool,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RegistryServer {
    /// Starts an empty, open registry.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts one that speaks TLS.
    pub fn start_tls(tls: Arc<rustls::ServerConfig>) -> Self {
        Self::start_with(Some(TlsAcceptor::from(tls)))
    }

    fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        *state.origin.lock().expect("the origin") =
            format!("{}://{address}", scheme(tls.is_some()));
        let speaks_tls = tls.is_some();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                tokio::spawn(accept(listener, tls, served));
                let _ = stopped.await;
            });
        });
        Self {
            state,
            address,
            speaks_tls,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:port`, as it stands in references.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:port`, or the same with `https`.
    pub fn origin(&self) -> String {
        format!("{}://{}", scheme(self.speaks_tls), self.address)
    }

    /// Stores an image under a tag.
    pub fn push(&self, repository: &str, tag: &str, pushed: &Pushed) {
        let mut repositories = self.state.repositories.lock().expect("the repositories");
        let repository = repositories.entry(repository.to_owned()).or_default();
        for manifest in pushed.others.iter().chain([&pushed.manifest]) {
            let digest = digest(&manifest.1);
            repository.manifests.insert(digest, manifest.clone());
        }
        repository
            .manifests
            .insert(tag.to_owned(), pushed.manifest.clone());
        repository.tags.insert(tag.to_owned());
        for blob in &pushed.blobs {
            repository.blobs.insert(digest(blob), blob.clone());
        }
    }

    /// Stores other bytes under the digest of a blob, or removes it.
    pub fn replace_blob(&self, repository: &str, digest: &str, bytes: Option<&[u8]>) {
        let mut repositories = self.state.repositories.lock().expect("the repositories");
        let blobs = &mut repositories
            .get_mut(repository)
            .expect("a repository")
            .blobs;
        match bytes {
            Some(bytes) => blobs.insert(digest.to_owned(), bytes.to_vec()),
            None => blobs.remove(digest),
        };
    }

    /// Stores bytes under any digest, theirs or not.
    pub fn put_manifest(&self, repository: &str, name: &str, media_type: &str, bytes: &[u8]) {
        let mut repositories = self.state.repositories.lock().expect("the repositories");
        let repository = repositories.entry(repository.to_owned()).or_default();
        let manifest = (media_type.to_owned(), bytes.to_vec());
        repository.manifests.insert(name.to_owned(), manifest);
    }

    /// Changes the behaviour from now on.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.behaviour.lock().expect("the behaviour"));
    }

    /// Makes every token invalid.
    pub fn revoke_tokens(&self) {
        self.state.tokens.lock().expect("the tokens").clear();
    }

    /// The requests so far, those that find out the scheme left out.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        let log = self.state.log.lock().expect("the log");
        log.iter()
            .filter(|request| request.target != "/v2/")
            .cloned()
            .collect()
    }

    /// Method and target of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .map(|request| format!("{} {}", request.method, request.target))
            .collect()
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection that is broken on purpose.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

type Answer = Response<UnsyncBoxBody<Bytes, Broken>>;

fn scheme(speaks_tls: bool) -> &'static str {
    if speaks_tls { "https" } else { "http" }
}

async fn accept(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let state = Arc::clone(&state);
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => serve(stream, state).await,
                // An error is a client that speaks no TLS, does not trust, or is not trusted.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let (parts, body) = request.into_parts();
            let fault = state.fault(&parts.method, parts.uri.path());
            let (mut bytes, whole) = uploads::read_body(body, fault).await;
            uploads::corrupt(&mut bytes, fault);
            let logged = LoggedRequest {
                method: parts.method.to_string(),
                target: parts.uri.to_string(),
                headers: parts.headers,
                body: String::from_utf8_lossy(&bytes).into_owned(),
                bytes: Bytes::from(bytes),
            };
            state.log.lock().expect("the log").push(logged.clone());
            let hangs = {
                let behaviour = state.behaviour.lock().expect("the behaviour");
                let referrers = logged.target.contains("/referrers/");
                let silent = behaviour.referrers.as_ref().is_some_and(|how| how.hangs);
                behaviour.hang || (referrers && silent)
            };
            if hangs || fault == Some(Fault::Hang) {
                std::future::pending::<()>().await;
            }
            if !whole {
                state.take_part(&logged);
                return Err(Broken);
            }
            match fault {
                Some(Fault::Status(status)) => Ok(error(status, "UNAVAILABLE", "on purpose")),
                Some(Fault::StatusAfter(status)) => {
                    state.answer(&parts.method, &logged).ok_or(Broken)?;
                    Ok(error(status, "UNAVAILABLE", "on purpose"))
                }
                Some(Fault::LoseAnswer) => {
                    state.answer(&parts.method, &logged);
                    Err(Broken)
                }
                _ => state.answer(&parts.method, &logged).ok_or(Broken),
            }
        }
    });
    // An error is a connection that this server broke on purpose, or that the client closed.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn body(status: u16, content_type: &str, body: Vec<u8>) -> Answer {
    let body = Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    set(&mut answer, "content-type", content_type);
    answer
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let envelope = json!({"errors": [{"code": code, "message": message, "detail": null}]});
    let bytes = serde_json::to_vec(&envelope).expect("JSON");
    body(status, "application/json", bytes)
}

fn set(answer: &mut Answer, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("a header's value");
    answer.headers_mut().insert(name, value);
}

fn redirect(to: &str) -> Answer {
    let mut answer = body(307, "text/plain", Vec::new());
    set(&mut answer, "location", to);
    answer
}

impl State {
    /// The answer; `None` breaks the connection.
    fn answer(&self, method: &Method, request: &LoggedRequest) -> Option<Answer> {
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        if path == "/token" {
            return Some(self.token(method, request));
        }
        if let Some(refused) = self.refused(request) {
            return Some(refused);
        }
        if path == "/v2/" {
            return Some(body(200, "application/json", b"{}".to_vec()));
        }
        let behaviour = {
            let mut behaviour = self.behaviour.lock().expect("the behaviour");
            if behaviour.fail_first > 0 {
                behaviour.fail_first -= 1;
                let sent = request.header("authorization").unwrap_or_default();
                let text = behaviour.fail_body.replace("AUTHORIZATION", sent);
                let mut answer = body(behaviour.fail_status?, "application/json", text.into());
                for (name, value) in &behaviour.fail_headers {
                    set(&mut answer, name, value);
                }
                return Some(answer);
            }
            behaviour.clone()
        };
        let path = path.strip_prefix("/v2/")?;
        if let Some(answer) = self.change(method, path, query, request, &behaviour) {
            return Some(answer);
        }
        let repositories = self.repositories.lock().expect("the repositories");
        for kind in ["/manifests/", "/blobs/", "/tags/list", "/referrers/"] {
            let Some((repository, rest)) = path.split_once(kind) else {
                continue;
            };
            let Some(found) = repositories.get(repository) else {
                return Some(error(404, "NAME_UNKNOWN", "repository name not known"));
            };
            return Some(match kind {
                "/manifests/" => found.manifest(&behaviour, method, rest),
                "/blobs/" => {
                    if let Some(origin) = &behaviour.redirect_blobs_to {
                        redirect(&format!("{origin}/v2/{path}?signature=s3cr3t"))
                    } else {
                        let range = request.header("range");
                        let mut behaviour = self.behaviour.lock().expect("the behaviour");
                        found.blob(&mut behaviour, rest, range)
                    }
                }
                "/referrers/" => match &behaviour.referrers {
                    None => body(404, "text/plain", b"404 page not found\n".to_vec()),
                    Some(how) => found.referrers(how, rest, query, &format!("/v2/{path}")),
                },
                _ => found.tags(&behaviour, query, &format!("/v2/{path}")),
            });
        }
        None
    }

    /// The answer to who may not ask.
    fn refused(&self, request: &LoggedRequest) -> Option<Answer> {
        let behaviour = self.behaviour.lock().expect("the behaviour");
        let sent = request.header("authorization");
        let challenge = match &behaviour.access {
            Access::Open => return None,
            Access::Basic(user, password) => {
                let pair = base64(format!("{user}:{password}").as_bytes());
                if sent == Some(format!("Basic {pair}").as_str()) {
                    return None;
                }
                "Basic realm=\"Registry Realm\"".to_owned()
            }
            Access::Bearer { realm, .. } => {
                let token = sent.and_then(|sent| sent.strip_prefix("Bearer "));
                let mut tokens = self.tokens.lock().expect("the tokens");
                let allowed = token.is_some_and(|token| {
                    !behaviour.uploads.heeds_scopes || self.is_in_scope(token, request)
                });
                if allowed
                    && let Some(uses) = token.and_then(|token| tokens.get_mut(token))
                    && *uses > 0
                {
                    *uses -= 1;
                    return None;
                }
                let own = format!("{}/token", self.origin.lock().expect("the origin"));
                format!(
                    "Bearer realm=\"{}\",service=\"test, registry\",scope=\"repository:x:pull,push\"",
                    realm.as_ref().unwrap_or(&own)
                )
            }
        };
        let mut answer = error(401, "UNAUTHORIZED", "authentication required");
        set(&mut answer, "www-authenticate", &challenge);
        Some(answer)
    }

    /// The token server.
    fn token(&self, method: &Method, request: &LoggedRequest) -> Answer {
        let behaviour = self.behaviour.lock().expect("the behaviour");
        if let Some(to) = &behaviour.redirect_tokens_to {
            return redirect(to);
        }
        let anonymous = matches!(
            behaviour.access,
            Access::Bearer {
                anonymous: true,
                ..
            }
        );
        let granted = if method == Method::POST {
            let expected = behaviour.refresh_token.as_deref().unwrap_or_default();
            request.body.contains("grant_type=refresh_token")
                && request.body.contains(&format!("refresh_token={expected}&"))
                    | request.body.ends_with(&format!("refresh_token={expected}"))
        } else if let Some((user, password)) = &behaviour.token_user
            && let Some(sent) = request.header("authorization")
        {
            sent == format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
        } else {
            anonymous && request.header("authorization").is_none()
        };
        if !granted {
            return error(401, "UNAUTHORIZED", "incorrect username or password");
        }
        let mut tokens = self.tokens.lock().expect("the tokens");
        let mut issued = self.issued.lock().expect("the tokens");
        *issued += 1;
        let token = format!("token-{issued}-s3cr3t");
        tokens.insert(token.clone(), behaviour.token_uses.unwrap_or(u32::MAX));
        let mut scopes = self.scopes.lock().expect("the scopes");
        scopes.insert(
            token.clone(),
            format!("{} {}", request.target, request.body),
        );
        let name = if method == Method::POST {
            "access_token"
        } else {
            "token"
        };
        let bytes = serde_json::to_vec(&json!({name: token, "expires_in": 60})).expect("JSON");
        body(200, "application/json", bytes)
    }
}

impl Repository {
    fn manifest(&self, behaviour: &Behaviour, method: &Method, name: &str) -> Answer {
        if let Some(status) = behaviour.head_status.filter(|_| method == Method::HEAD) {
            return body(status, "text/plain", Vec::new());
        }
        let Some((media_type, bytes)) = self.manifests.get(name) else {
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown");
        };
        let media_type = behaviour.content_type.as_ref().unwrap_or(media_type);
        let bytes = behaviour.manifest_body.as_ref().unwrap_or(bytes);
        let mut answer = body(200, media_type, bytes.clone());
        set(&mut answer, "etag", &format!("\"{}\"", digest(bytes)));
        match behaviour.content_digest.as_deref() {
            None => set(&mut answer, "docker-content-digest", &digest(bytes)),
            Some("") => {}
            Some(text) => set(&mut answer, "docker-content-digest", text),
        }
        answer
    }

    fn blob(&self, behaviour: &mut Behaviour, name: &str, range: Option<&str>) -> Answer {
        let Some(bytes) = self.blobs.get(name) else {
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let mut start = 0;
        if let Some(range) = range {
            if let Some(status) = behaviour.range_status {
                return body(status, "text/plain", Vec::new());
            }
            if !behaviour.ignore_range {
                let first = range
                    .strip_prefix("bytes=")
                    .and_then(|range| range.strip_suffix('-'));
                start = first.expect("an open range").parse().expect("a position");
            }
        }
        let size = bytes.len();
        if start > size || (start == size && size > 0) {
            return body(416, "text/plain", Vec::new());
        }
        let sent = Bytes::copy_from_slice(&bytes[start..]);
        let take = |list: &mut Vec<usize>| (!list.is_empty()).then(|| list.remove(0));
        let cut = take(&mut behaviour.cut_blobs_after);
        let stall = take(&mut behaviour.stall_blobs_after);
        let length = sent.len();
        let until = cut.or(stall).unwrap_or(length).min(length);
        let first = futures_util::stream::iter([Ok(Frame::data(sent.slice(..until)))]);
        let frames = if cut.is_some() {
            // What has been written goes out before the connection breaks.
            let breaks = futures_util::stream::once(async {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                Err(Broken)
            });
            first.chain(breaks).boxed()
        } else if stall.is_some() {
            first.chain(futures_util::stream::pending()).boxed()
        } else {
            first.boxed()
        };
        let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
        if !behaviour.no_length {
            set(&mut answer, "content-length", &length.to_string());
        }
        if start > 0 {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let honest = format!("bytes {start}-{}/{size}", size - 1);
            let told = behaviour.content_range.clone().unwrap_or(honest);
            set(&mut answer, "content-range", &told);
        }
        answer
    }

    fn tags(&self, behaviour: &Behaviour, query: &str, path: &str) -> Answer {
        if behaviour.no_tags {
            return error(403, "DENIED", "requested access to the resource is denied");
        }
        let last = query
            .split('&')
            .find_map(|part| part.strip_prefix("last="))
            .unwrap_or_default();
        let mut tags = self.tags.iter().filter(|tag| tag.as_str() > last);
        let page: Vec<&String> = match behaviour.page {
            Some(page) => tags.by_ref().take(page).collect(),
            None => tags.by_ref().collect(),
        };
        let named = serde_json::to_vec(&json!({"name": path, "tags": page})).expect("JSON");
        let mut answer = body(200, "application/json", named);
        if let Some(link) = &behaviour.link {
            set(&mut answer, "link", link);
        } else if tags.next().is_some() {
            let last = page.last().expect("a tag");
            set(
                &mut answer,
                "link",
                &format!("<{path}?n=5&last={last}>; rel=\"next\""),
            );
        }
        answer
    }
}
