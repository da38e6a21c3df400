//! A package index in this process: the simple API over loopback, with faults that can be switched on.
//!
//! ```ignore
//! let server = IndexServer::builder()
//!     .project("alpha").wheel("1.0", "Requires-Dist: beta")
//!     .project("beta").wheel("2.0", "")
//!     .start();
//! server.change(|behaviour| behaviour.html_only = true);
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::wheel;

/// How the server behaves; everything is off at first, which makes it a plain index with JSON pages.
#[derive(Debug, Clone, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches of a test double"
)]
pub struct Behaviour {
    /// Serve `.metadata` files, and say so in the pages.
    pub pep658: bool,
    /// Say so in the pages, but do not serve them.
    pub pep658_missing: bool,
    /// Announce a wrong hash of the metadata files.
    pub wrong_metadata_hash: bool,
    /// Announce a wrong hash of the wheels.
    pub wrong_file_hash: bool,
    /// Announce no hashes.
    pub no_hashes: bool,
    /// Announce no sizes.
    pub no_sizes: bool,
    /// Serve HTML even to who prefers JSON.
    pub html_only: bool,
    /// Answer requests for ranges with the whole file.
    pub ignore_range: bool,
    /// Answer requests for ranges with this status.
    pub range_status: Option<u16>,
    /// How many requests from now on fail.
    pub fail_first: u32,
    /// The status of those that fail; `None` breaks the connection instead.
    pub fail_status: Option<u16>,
    /// `Retry-After` of those that fail.
    pub retry_after: Option<String>,
    /// The user and password without which there is status 401.
    pub basic_auth: Option<(String, String)>,
    /// Redirect requests for files to this origin (`http://host:port`).
    pub redirect_files_to: Option<String>,
    /// Take requests, but never answer.
    pub hang: bool,
    /// Redirect pages to themselves, for ever.
    pub redirect_loop: bool,
    /// Name the state of pages by `ETag`, and answer 304 to who knows it.
    pub etag: bool,
    /// Say `Last-Modified` of pages, and answer 304 to who knows it.
    pub last_modified: bool,
    /// `Cache-Control` of pages.
    pub cache_control: Option<String>,
    /// Serve these bytes as every page, as JSON.
    pub page_body: Option<String>,
}

/// A request that the server got.
#[derive(Debug, Clone)]
pub struct LoggedRequest {
    /// The method.
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
}

impl LoggedRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A file of a project.
#[derive(Debug, Clone, Default)]
pub struct ServedFile {
    /// Name of the file.
    pub filename: String,
    /// The file; `None` is described in the page but answers 404.
    pub bytes: Option<Vec<u8>>,
    /// The metadata file beside it.
    pub metadata: Option<Vec<u8>>,
    /// What the page says of it, URL, hashes, size and metadata apart.
    pub page: Value,
}

/// Collects what a server will serve.
#[derive(Debug, Default)]
pub struct Builder {
    behaviour: Behaviour,
    projects: BTreeMap<String, Vec<ServedFile>>,
    current: String,
}

impl Builder {
    /// Begins a project, or goes on with it: the calls that follow add files to it.
    #[must_use]
    pub fn project(mut self, name: &str) -> Self {
        name.clone_into(&mut self.current);
        self.projects.entry(name.to_owned()).or_default();
        self
    }

    /// Adds a wheel for every platform. `headers` are further lines of its `METADATA`.
    #[must_use]
    pub fn wheel(self, version: &str, headers: &str) -> Self {
        let filename = format!(
            "{}-{version}-py3-none-any.whl",
            self.current.replace('-', "_")
        );
        let metadata = wheel::metadata(&self.current, version, headers);
        self.wheel_file(&filename, metadata, json!({}))
    }

    /// Adds a wheel that is too large to be fetched whole for its metadata, which stands first or last in it.
    #[must_use]
    pub fn large_wheel(self, version: &str, headers: &str, metadata_first: bool) -> Self {
        let filename = format!(
            "{}-{version}-py3-none-any.whl",
            self.current.replace('-', "_")
        );
        let metadata = wheel::metadata(&self.current, version, headers);
        let bytes = wheel::synthesize(&filename, &metadata, 400_000, metadata_first);
        self.file(ServedFile {
            filename,
            bytes: Some(bytes),
            metadata: Some(metadata),
            page: json!({}),
        })
    }

    /// Adds a wheel with this name and `METADATA`; `page` is what the page says of it, such as
    /// `{"requires-python": ">=3.9", "yanked": "broken"}`.
    #[must_use]
    pub fn wheel_file(self, filename: &str, metadata: Vec<u8>, page: Value) -> Self {
        let bytes = wheel::synthesize(filename, &metadata, 0, false);
        self.file(ServedFile {
            filename: filename.to_owned(),
            bytes: Some(bytes),
            metadata: Some(metadata),
            page,
        })
    }

    /// Adds a file as it is.
    #[must_use]
    pub fn file(mut self, file: ServedFile) -> Self {
        self.projects
            .entry(self.current.clone())
            .or_default()
            .push(file);
        self
    }

    /// Adds the recorded projects of `folder`: `<project>.json` (PEP 691), and `files/<wheel>.metadata`, of which wheels
    /// are made. Files without recorded metadata stay in the page, but answer 404.
    #[must_use]
    pub fn recorded(mut self, folder: &Path) -> Self {
        let entries = std::fs::read_dir(folder).expect("the folder of recorded pages");
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let page: Value =
                serde_json::from_slice(&std::fs::read(&path).expect("a page")).expect("JSON");
            let name = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .expect("a name");
            self = self.project(name);
            for file in page["files"].as_array().expect("files") {
                let filename = file["filename"].as_str().expect("a name");
                let metadata =
                    std::fs::read(folder.join(format!("files/{filename}.metadata"))).ok();
                let bytes = metadata
                    .as_ref()
                    .map(|metadata| wheel::synthesize(filename, metadata, 0, false));
                self = self.file(ServedFile {
                    filename: filename.to_owned(),
                    bytes,
                    metadata,
                    page: file.clone(),
                });
            }
        }
        self
    }

    /// Sets how the server behaves.
    #[must_use]
    pub fn behaviour(mut self, change: impl FnOnce(&mut Behaviour)) -> Self {
        change(&mut self.behaviour);
        self
    }

    /// Starts serving.
    pub fn start(self) -> IndexServer {
        IndexServer::start(self)
    }
}

#[derive(Debug)]
struct State {
    behaviour: Mutex<Behaviour>,
    projects: Mutex<BTreeMap<String, Vec<ServedFile>>>,
    log: Mutex<Vec<LoggedRequest>>,
}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct IndexServer {
    state: Arc<State>,
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl IndexServer {
    /// Begins to describe a server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn start(builder: Builder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            behaviour: Mutex::new(builder.behaviour),
            projects: Mutex::new(builder.projects),
            log: Mutex::default(),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                tokio::spawn(accept(listener, served));
                let _ = stopped.await;
            });
        });
        Self {
            state,
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// `http://127.0.0.1:port`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of the index.
    pub fn index_url(&self) -> String {
        format!("{}/simple/", self.origin())
    }

    /// The address of the index with credentials in it.
    pub fn index_url_with(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}/simple/", self.address)
    }

    /// Changes the behaviour from now on.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.behaviour.lock().expect("the behaviour"));
    }

    /// Changes what is served from now on.
    pub fn change_projects(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<ServedFile>>)) {
        change(&mut self.state.projects.lock().expect("the projects"));
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.state.log.lock().expect("the log").clone()
    }

    /// The paths of the requests so far.
    pub fn paths(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .map(|request| request.path)
            .collect()
    }

    /// How many requests there were for `path`.
    pub fn count(&self, path: &str) -> usize {
        self.paths().iter().filter(|asked| *asked == path).count()
    }
}

impl Drop for IndexServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move {
                    let answer = state.answer(&request).ok_or(Broken);
                    if state.behaviour.lock().expect("the behaviour").hang {
                        std::future::pending::<()>().await;
                    }
                    answer
                }
            });
            // An error is a connection that this server broke on purpose, or that the client closed.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
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

type Answer = Response<Full<Bytes>>;

fn status(status: u16) -> Answer {
    body(status, "text/plain", Vec::new())
}

fn body(status: u16, content_type: &str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    set(&mut answer, "content-type", content_type);
    answer
}

fn set(answer: &mut Answer, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("a header's value");
    answer.headers_mut().insert(name, value);
}

impl State {
    /// The answer; `None` breaks the connection.
    fn answer(&self, request: &Request<Incoming>) -> Option<Answer> {
        let path = request.uri().path().to_owned();
        self.log.lock().expect("the log").push(LoggedRequest {
            method: request.method().to_string(),
            path: path.clone(),
            headers: request.headers().clone(),
        });
        let behaviour = {
            let mut behaviour = self.behaviour.lock().expect("the behaviour");
            if behaviour.fail_first > 0 {
                behaviour.fail_first -= 1;
                let mut answer = status(behaviour.fail_status?);
                if let Some(wait) = &behaviour.retry_after {
                    set(&mut answer, "retry-after", wait);
                }
                return Some(answer);
            }
            behaviour.clone()
        };
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        if let Some((user, password)) = &behaviour.basic_auth {
            let expected = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
            if header("authorization") != Some(expected.as_str()) {
                return Some(status(401));
            }
        }
        if let Some(project) = path.strip_prefix("/simple/") {
            if behaviour.redirect_loop {
                let mut answer = status(302);
                set(&mut answer, "location", &path);
                return Some(answer);
            }
            return Some(self.page(&behaviour, project.trim_end_matches('/'), header));
        }
        let Some(filename) = path.strip_prefix("/files/") else {
            return Some(status(404));
        };
        if let Some(origin) = &behaviour.redirect_files_to {
            let mut answer = status(302);
            set(&mut answer, "location", &format!("{origin}{path}"));
            return Some(answer);
        }
        Some(self.file(&behaviour, filename, header("range")))
    }

    fn file(&self, behaviour: &Behaviour, filename: &str, range: Option<&str>) -> Answer {
        let wanted = filename.strip_suffix(".metadata");
        let projects = self.projects.lock().expect("the projects");
        let Some(file) = projects
            .values()
            .flatten()
            .find(|file| file.filename == wanted.unwrap_or(filename))
        else {
            return status(404);
        };
        if wanted.is_some() {
            return match &file.metadata {
                Some(metadata) if behaviour.pep658 => body(200, "text/plain", metadata.clone()),
                _ => status(404),
            };
        }
        let Some(bytes) = &file.bytes else {
            return status(404);
        };
        match range {
            Some(_) if behaviour.range_status.is_some() => {
                status(behaviour.range_status.expect("a status"))
            }
            Some(range) if !behaviour.ignore_range => part(bytes, range),
            _ => body(200, "application/octet-stream", bytes.clone()),
        }
    }

    fn page<'a>(
        &self,
        behaviour: &Behaviour,
        project: &str,
        header: impl Fn(&str) -> Option<&'a str>,
    ) -> Answer {
        let projects = self.projects.lock().expect("the projects");
        let Some(files) = projects.get(project) else {
            let mut answer = status(404);
            if let Some(value) = &behaviour.cache_control {
                set(&mut answer, "cache-control", value);
            }
            return answer;
        };
        let entries: Vec<Value> = files.iter().map(|file| entry(behaviour, file)).collect();
        let json =
            header("accept").is_some_and(|accept| accept.contains("+json")) && !behaviour.html_only;
        let mut answer = if let Some(text) = &behaviour.page_body {
            body(
                200,
                "application/vnd.pypi.simple.v1+json",
                text.clone().into_bytes(),
            )
        } else if json {
            let page = json!({"meta": {"api-version": "1.1"}, "name": project, "files": entries});
            body(
                200,
                "application/vnd.pypi.simple.v1+json",
                serde_json::to_vec(&page).expect("JSON"),
            )
        } else {
            body(
                200,
                "text/html; charset=utf-8",
                html(project, &entries).into_bytes(),
            )
        };
        let etag = format!("\"{}\"", sha256(format!("{entries:?}").as_bytes()));
        let date = "Thu, 01 Jan 1970 00:00:00 GMT";
        if (behaviour.etag && header("if-none-match") == Some(etag.as_str()))
            || (behaviour.last_modified && header("if-modified-since") == Some(date))
        {
            answer = status(304);
        }
        if behaviour.etag {
            set(&mut answer, "etag", &etag);
        }
        if behaviour.last_modified {
            set(&mut answer, "last-modified", date);
        }
        if let Some(value) = &behaviour.cache_control {
            set(&mut answer, "cache-control", value);
        }
        answer
    }
}

/// What a page says of one file.
fn entry(behaviour: &Behaviour, file: &ServedFile) -> Value {
    let mut entry = file.page.clone();
    entry["filename"] = json!(file.filename);
    entry["url"] = json!(format!("../../files/{}", file.filename));
    if let Some(bytes) = &file.bytes {
        let hash = if behaviour.wrong_file_hash {
            "0".repeat(64)
        } else {
            sha256(bytes)
        };
        entry["hashes"] = json!({ "sha256": hash });
        entry["size"] = json!(bytes.len());
    }
    if behaviour.no_hashes || entry.get("hashes").is_none() {
        entry["hashes"] = json!({});
    }
    let fields = entry.as_object_mut().expect("an entry");
    for recorded in [
        "core-metadata",
        "dist-info-metadata",
        "data-dist-info-metadata",
    ] {
        fields.remove(recorded);
    }
    if behaviour.no_sizes {
        fields.remove("size");
    }
    if let Some(metadata) = &file.metadata
        && (behaviour.pep658 || behaviour.pep658_missing)
    {
        let hash = if behaviour.wrong_metadata_hash {
            "0".repeat(64)
        } else {
            sha256(metadata)
        };
        entry["core-metadata"] = json!({ "sha256": hash });
    }
    entry
}

/// The page as PEP 503 has it.
fn html(project: &str, entries: &[Value]) -> String {
    let mut page = format!("<!DOCTYPE html>\n<html><body><h1>Links for {project}</h1>\n");
    for entry in entries {
        let text = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            text.replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
        };
        let _ = write!(page, "<a href=\"{}", text(&entry["url"]));
        if let Some(hash) = entry["hashes"]["sha256"].as_str() {
            let _ = write!(page, "#sha256={hash}");
        }
        page.push('"');
        if entry["requires-python"].is_string() {
            let _ = write!(
                page,
                " data-requires-python=\"{}\"",
                text(&entry["requires-python"])
            );
        }
        if entry["yanked"].is_string() || entry["yanked"] == true {
            let _ = write!(page, " data-yanked=\"{}\"", text(&entry["yanked"]));
        }
        if let Some(hash) = entry["core-metadata"]["sha256"].as_str() {
            let _ = write!(page, " data-core-metadata=\"sha256={hash}\"");
        }
        let _ = writeln!(page, ">{}</a><br>", text(&entry["filename"]));
    }
    page.push_str("</body></html>\n");
    page
}

/// The answer to a request for a range.
fn part(bytes: &[u8], range: &str) -> Answer {
    let size = bytes.len();
    let spec = range.strip_prefix("bytes=").expect("a range of bytes");
    let (first, last) = spec.split_once('-').expect("a range");
    let (start, end) = if first.is_empty() {
        let length: usize = last.parse().expect("a length");
        (size - length.min(size), size)
    } else {
        let last: usize = last.parse().expect("a position");
        (first.parse().expect("a position"), size.min(last + 1))
    };
    if start >= end {
        let mut answer = status(416);
        set(&mut answer, "content-range", &format!("bytes */{size}"));
        return answer;
    }
    let mut answer = body(206, "application/octet-stream", bytes[start..end].to_vec());
    set(
        &mut answer,
        "content-range",
        &format!("bytes {start}-{}/{size}", end - 1),
    );
    answer
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// Base64 with padding, for basic authentication.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let index = (bits >> (18 - 6 * position)) & 63;
            text.push(if position > chunk.len() {
                '='
            } else {
                char::from(ALPHABET[index as usize])
            });
        }
    }
    text
}
