//! Pushes into the registry of the tests: upload sessions, mounts, manifests with what they name, and faults at any step.

use std::collections::BTreeMap;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method};
use serde_json::Value;

use super::{
    Answer, Behaviour, LoggedRequest, RegistryServer, Repository, State, body, digest, error, set,
};

/// What becomes of wishes to mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mounts {
    /// 201 where the other repository has the blob, else 202 and an upload.
    #[default]
    WhereThere,
    /// 202 and an upload, always.
    Never,
    /// This status.
    Status(u16),
}

/// What becomes of a part that does not begin where the last one ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Chunks {
    /// 416.
    #[default]
    InOrder,
    /// It is added, as if it did.
    Anyhow,
}

/// How pushes are taken: at first as the specification wants it.
#[derive(Debug, Clone, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches of a test double"
)]
pub struct Uploads {
    /// `Location` without scheme and host.
    pub relative: bool,
    /// The origin of every `Location`.
    pub at: Option<String>,
    /// Wishes to mount.
    pub mounts: Mounts,
    /// Take a blob with the request that begins its upload.
    pub single_post: bool,
    /// Parts out of order.
    pub chunks: Chunks,
    /// `Location` holds how far the upload is, and one that is wrong ends it; as docker-registry has it.
    pub offset_in_location: bool,
    /// Forget what arrived of a part that broke off.
    pub drops_broken: bool,
    /// Status of every PATCH.
    pub patch_status: Option<u16>,
    /// The largest body; 413 for more.
    pub largest_body: Option<usize>,
    /// `OCI-Chunk-Min-Length`; smaller parts that are not the last make the upload fail at its end.
    pub smallest_chunk: Option<usize>,
    /// Know of referrers (`OCI-Subject`).
    pub referrers: bool,
    /// Heed `If-Match` and `If-None-Match`.
    pub heeds_conditions: bool,
    /// The largest manifest; 4 MiB where it is not set.
    pub largest_manifest: Option<usize>,
    /// Check what tokens are good for.
    pub heeds_scopes: bool,
    /// `Docker-Content-Digest` of what is put; empty for none.
    pub put_digest: Option<String>,
    /// What happens to the request with this number from now on, counted from 0.
    pub fault: Option<(usize, Fault)>,
    /// How many requests are still answered before every connection breaks.
    pub gone_after: Option<usize>,
    /// What happens to requests with this method, one after the other.
    pub faults_of: Vec<(&'static str, Fault)>,
}

impl Uploads {
    /// As docker-registry 2.8 does.
    pub fn docker_registry() -> Self {
        Self {
            chunks: Chunks::Anyhow,
            offset_in_location: true,
            ..Self::default()
        }
    }

    /// As ferro-oci-server does.
    pub fn ferro() -> Self {
        Self {
            relative: true,
            mounts: Mounts::Never,
            single_post: true,
            drops_broken: true,
            referrers: true,
            ..Self::default()
        }
    }
}

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks after so many bytes of the body.
    Cut(usize),
    /// The server does what it is asked to, and the connection breaks before it says so.
    LoseAnswer,
    /// This status, and nothing is done.
    Status(u16),
    /// This status, although it is done.
    StatusAfter(u16),
    /// A byte of the body, counted from its beginning and again from there, is another.
    Corrupt(usize),
    /// No answer.
    Hang,
}

/// The uploads under way.
#[derive(Debug, Default)]
pub struct Sessions {
    next: usize,
    open: BTreeMap<String, Session>,
}

#[derive(Debug)]
struct Session {
    repository: String,
    bytes: Vec<u8>,
    too_small: bool,
    last_was_small: bool,
}

impl Session {
    fn of(repository: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            bytes: Vec::new(),
            too_small: false,
            last_was_small: false,
        }
    }
}

/// Reads a body, or the part of it before the connection is to break.
pub(super) async fn read_body(mut body: Incoming, fault: Option<Fault>) -> (Vec<u8>, bool) {
    let most = match fault {
        Some(Fault::Cut(most)) => Some(most),
        _ => None,
    };
    let mut bytes = Vec::new();
    loop {
        if let Some(most) = most.filter(|most| bytes.len() >= *most) {
            bytes.truncate(most);
            return (bytes, false);
        }
        match body.frame().await {
            Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Some(Err(_)) => return (bytes, false),
            // A body that is shorter: the connection breaks all the same.
            None => return (bytes, most.is_none()),
        }
    }
}

pub(super) fn corrupt(bytes: &mut [u8], fault: Option<Fault>) {
    if let (Some(Fault::Corrupt(at)), false) = (fault, bytes.is_empty()) {
        let at = at % bytes.len();
        bytes[at] ^= 1;
    }
}

impl RegistryServer {
    /// Whether a repository has a blob, whatever its bytes.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        let repositories = self.state.repositories.lock().expect("the repositories");
        repositories.get(repository)?.blobs.get(digest).cloned()
    }

    /// Media type and bytes of what a tag or digest leads to.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        let repositories = self.state.repositories.lock().expect("the repositories");
        repositories.get(repository)?.manifests.get(name).cloned()
    }

    /// Every blob of every repository: its digest and its bytes.
    pub fn blobs(&self) -> Vec<(String, Vec<u8>)> {
        let repositories = self.state.repositories.lock().expect("the repositories");
        let blobs = repositories.values().flat_map(|one| &one.blobs);
        blobs
            .map(|(digest, bytes)| (digest.clone(), bytes.clone()))
            .collect()
    }

    /// How many uploads are under way.
    pub fn open_uploads(&self) -> usize {
        self.state.uploads.lock().expect("the uploads").open.len()
    }

    /// Begins an upload, as for somebody else; its name ends in `upload-1` for the first.
    pub fn begin_upload(&self, repository: &str) {
        let mut sessions = self.state.uploads.lock().expect("the uploads");
        sessions.next += 1;
        let id = format!("upload-{}", sessions.next);
        sessions.open.insert(id, Session::of(repository));
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.state.log.lock().expect("the log").clear();
    }
}

impl State {
    /// What is to go wrong with the next request.
    pub(super) fn fault(&self, method: &Method, path: &str) -> Option<Fault> {
        if path == "/v2/" {
            return None;
        }
        let mut behaviour = self.behaviour.lock().expect("the behaviour");
        let uploads = &mut behaviour.uploads;
        match &mut uploads.gone_after {
            Some(0) => return Some(Fault::Cut(0)),
            Some(left) => *left -= 1,
            None => {}
        }
        if let Some((first, fault)) = uploads.faults_of.first().copied()
            && first == method.as_str()
        {
            uploads.faults_of.remove(0);
            return Some(fault);
        }
        match uploads.fault {
            Some((0, fault)) => {
                uploads.fault = None;
                Some(fault)
            }
            Some((after, fault)) => {
                uploads.fault = Some((after - 1, fault));
                None
            }
            None => None,
        }
    }

    /// Whether the scopes of a token, as they were asked for, are enough for a request.
    pub(super) fn is_in_scope(&self, token: &str, request: &LoggedRequest) -> bool {
        let scopes = self.scopes.lock().expect("the scopes");
        let Some(scopes) = scopes.get(token) else {
            return false;
        };
        let path = request.target.strip_prefix("/v2/").unwrap_or_default();
        let Some(repository) = ["/manifests/", "/blobs/", "/tags/"]
            .iter()
            .find_map(|kind| Some(path.split_once(kind)?.0))
        else {
            return true;
        };
        let has = |name: &str, actions: &str| {
            let scope = format!("repository:{name}:{actions}");
            let encoded: String = url::form_urlencoded::byte_serialize(scope.as_bytes()).collect();
            scopes.contains(&encoded)
        };
        let from = query(&request.target, "from");
        let writes = !matches!(request.method.as_str(), "GET" | "HEAD");
        (has(repository, "pull,push") || (!writes && has(repository, "pull")))
            && from.is_none_or(|from| has(&from, "pull"))
    }

    /// What arrived of a request that broke off.
    pub(super) fn take_part(&self, request: &LoggedRequest) {
        let behaviour = self.behaviour.lock().expect("the behaviour").clone();
        let (path, _) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        let id = path.rsplit('/').next().unwrap_or_default();
        let mut uploads = self.uploads.lock().expect("the uploads");
        if let Some(session) = uploads.open.get_mut(id)
            && !behaviour.uploads.drops_broken
        {
            session.bytes.extend_from_slice(&request.bytes);
        }
    }

    /// The answer to a request that changes something, or asks for an upload.
    pub(super) fn change(
        &self,
        method: &Method,
        path: &str,
        asked: &str,
        request: &LoggedRequest,
        behaviour: &Behaviour,
    ) -> Option<Answer> {
        let largest = behaviour.uploads.largest_body.unwrap_or(usize::MAX);
        if request.bytes.len() > largest {
            return Some(error(413, "SIZE_INVALID", "request entity too large"));
        }
        if let Some((repository, id)) = path.split_once("/blobs/uploads/") {
            return Some(if id.is_empty() {
                self.begin(repository, request, behaviour)
            } else {
                self.go_on(method, repository, id, request, behaviour)
            });
        }
        if let (&Method::PUT, Some((repository, name))) = (method, path.split_once("/manifests/")) {
            debug_assert!(asked.is_empty(), "{asked}");
            return Some(self.put(repository, name, request, behaviour));
        }
        None
    }

    fn begin(&self, repository: &str, request: &LoggedRequest, behaviour: &Behaviour) -> Answer {
        let mut repositories = self.repositories.lock().expect("the repositories");
        let uploads = &behaviour.uploads;
        if let (Some(mount), Some(from)) = (
            query(&request.target, "mount"),
            query(&request.target, "from"),
        ) {
            if let Mounts::Status(status) = uploads.mounts {
                return error(status, "UNSUPPORTED", "the operation is unsupported");
            }
            let other = repositories.get(&from);
            let there = other.and_then(|other| other.blobs.get(&mount)).cloned();
            if let (Some(bytes), Mounts::WhereThere) = (there, uploads.mounts) {
                let own = repositories.entry(repository.to_owned()).or_default();
                own.blobs.insert(mount.clone(), bytes);
                return created(&mount, behaviour);
            }
        }
        let own = repositories.entry(repository.to_owned()).or_default();
        if let Some(named) = query(&request.target, "digest")
            && uploads.single_post
        {
            return own.store(&named, request.bytes.to_vec(), behaviour);
        }
        let mut sessions = self.uploads.lock().expect("the uploads");
        sessions.next += 1;
        let id = format!("upload-{}", sessions.next);
        let session = Session::of(repository);
        let mut answer = self.under_way(202, &id, &session, request, uploads);
        if let Some(smallest) = uploads.smallest_chunk {
            set(&mut answer, "oci-chunk-min-length", &smallest.to_string());
        }
        sessions.open.insert(id, session);
        answer
    }

    fn go_on(
        &self,
        method: &Method,
        repository: &str,
        id: &str,
        request: &LoggedRequest,
        behaviour: &Behaviour,
    ) -> Answer {
        let uploads = &behaviour.uploads;
        let mut sessions = self.uploads.lock().expect("the uploads");
        let unknown = || {
            error(
                404,
                "BLOB_UPLOAD_UNKNOWN",
                "blob upload unknown to registry",
            )
        };
        let Some(session) = sessions.open.get_mut(id) else {
            return unknown();
        };
        if session.repository != repository {
            return unknown();
        }
        let offset = query(&request.target, "_state");
        if uploads.offset_in_location && offset != Some(session.bytes.len().to_string()) {
            sessions.open.remove(id);
            return error(400, "BLOB_UPLOAD_INVALID", "blob upload invalid");
        }
        match *method {
            Method::GET => self.under_way(204, id, session, request, uploads),
            Method::DELETE => {
                sessions.open.remove(id);
                body(204, "text/plain", Vec::new())
            }
            Method::PATCH => {
                if let Some(status) = uploads.patch_status {
                    return error(status, "UNSUPPORTED", "the operation is unsupported");
                }
                if !is_next(&request.headers, session, uploads.chunks) {
                    return self.under_way(416, id, session, request, uploads);
                }
                session.too_small |= session.last_was_small;
                let smallest = uploads.smallest_chunk.unwrap_or(0);
                session.last_was_small = request.bytes.len() < smallest;
                session.bytes.extend_from_slice(&request.bytes);
                self.under_way(202, id, session, request, uploads)
            }
            Method::PUT => {
                let named = query(&request.target, "digest").expect("a digest");
                let mut session = sessions.open.remove(id).expect("it was there");
                if session.too_small {
                    return error(400, "BLOB_UPLOAD_INVALID", "a part was too small");
                }
                session.bytes.extend_from_slice(&request.bytes);
                let mut repositories = self.repositories.lock().expect("the repositories");
                let own = repositories.entry(repository.to_owned()).or_default();
                own.store(&named, session.bytes, behaviour)
            }
            _ => error(405, "UNSUPPORTED", "the operation is unsupported"),
        }
    }

    /// The answer that tells where an upload goes on and how far it is.
    fn under_way(
        &self,
        status: u16,
        id: &str,
        session: &Session,
        request: &LoggedRequest,
        uploads: &Uploads,
    ) -> Answer {
        let mut answer = body(status, "text/plain", Vec::new());
        let mut location = format!("/v2/{}/blobs/uploads/{id}", session.repository);
        let length = session.bytes.len();
        if uploads.offset_in_location {
            location = format!("{location}?_state={length}");
        }
        // The server by the name that the client knows it by: it may stand behind a proxy.
        let own = self.origin.lock().expect("the origin").clone();
        let (scheme, _) = own.split_once("://").expect("a scheme");
        let own = format!("{scheme}://{}", request.header("host").expect("a host"));
        let origin = match &uploads.at {
            Some(origin) => origin.as_str(),
            None if uploads.relative => "",
            None => &own,
        };
        set(&mut answer, "location", &format!("{origin}{location}"));
        set(
            &mut answer,
            "range",
            &format!("0-{}", length.saturating_sub(1)),
        );
        answer
    }

    fn put(
        &self,
        repository: &str,
        name: &str,
        request: &LoggedRequest,
        behaviour: &Behaviour,
    ) -> Answer {
        let uploads = &behaviour.uploads;
        let bytes = request.bytes.to_vec();
        if bytes.len() > uploads.largest_manifest.unwrap_or(4 << 20) {
            return error(400, "MANIFEST_INVALID", "manifest invalid");
        }
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else {
            return error(400, "MANIFEST_INVALID", "manifest invalid");
        };
        let own_digest = digest(&bytes);
        if name.contains(':') && name != own_digest {
            return error(400, "DIGEST_INVALID", "provided digest did not match");
        }
        let mut repositories = self.repositories.lock().expect("the repositories");
        let own = repositories.entry(repository.to_owned()).or_default();
        let there = own.manifests.get(name).map(|(_, bytes)| digest(bytes));
        if uploads.heeds_conditions {
            let matches = request.header("if-match").is_none_or(|wanted| {
                there
                    .as_ref()
                    .is_some_and(|there| wanted == format!("\"{there}\""))
            });
            let absent = request.header("if-none-match").is_none() || there.is_none();
            if !matches || !absent {
                return error(412, "DENIED", "precondition failed");
            }
        }
        if let Some(missing) = own.missing(&value) {
            return error(
                400,
                "MANIFEST_BLOB_UNKNOWN",
                &format!("blob unknown: {missing}"),
            );
        }
        let media_type = request
            .header("content-type")
            .unwrap_or_default()
            .to_owned();
        let manifest = (media_type, bytes);
        own.manifests.insert(own_digest.clone(), manifest.clone());
        if !name.contains(':') {
            own.manifests.insert(name.to_owned(), manifest);
            own.tags.insert(name.to_owned());
        }
        let mut answer = created(&own_digest, behaviour);
        let subject = value["subject"]["digest"].as_str();
        if let (true, Some(subject)) = (uploads.referrers, subject) {
            set(&mut answer, "oci-subject", subject);
        }
        answer
    }
}

impl Repository {
    fn store(&mut self, named: &str, bytes: Vec<u8>, behaviour: &Behaviour) -> Answer {
        if digest(&bytes) != named {
            return error(
                400,
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
            );
        }
        self.blobs.insert(named.to_owned(), bytes);
        created(named, behaviour)
    }

    /// What a manifest names that is not there.
    fn missing(&self, manifest: &Value) -> Option<String> {
        let named = |value: &Value| value["digest"].as_str().unwrap_or_default().to_owned();
        let list = |name: &str| manifest[name].as_array().cloned().unwrap_or_default();
        let mut blobs: Vec<Value> = list("layers");
        blobs.extend(manifest.get("config").cloned());
        let manifests = list("manifests");
        blobs
            .iter()
            .map(named)
            .find(|digest| !self.blobs.contains_key(digest))
            .or_else(|| {
                let mut named = manifests.iter().map(named);
                named.find(|digest| !self.manifests.contains_key(digest))
            })
    }
}

fn created(digest: &str, behaviour: &Behaviour) -> Answer {
    let mut answer = body(201, "text/plain", Vec::new());
    match behaviour.uploads.put_digest.as_deref() {
        None => set(&mut answer, "docker-content-digest", digest),
        Some("") => {}
        Some(other) => set(&mut answer, "docker-content-digest", other),
    }
    answer
}

/// Whether a part begins where the upload is.
fn is_next(headers: &HeaderMap, session: &Session, chunks: Chunks) -> bool {
    let range = headers
        .get("content-range")
        .and_then(|value| value.to_str().ok());
    let first = range.and_then(|range| range.split('-').next()?.parse::<usize>().ok());
    chunks == Chunks::Anyhow || first.is_none_or(|first| first == session.bytes.len())
}

/// The value of a field of the query.
fn query(target: &str, name: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let mut fields = url::form_urlencoded::parse(query.as_bytes());
    fields
        .find(|(field, _)| field == name)
        .map(|(_, value)| value.into_owned())
}
