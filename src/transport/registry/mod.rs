//! Images of a registry, over HTTP.
//!
//! Specification: OCI distribution-spec; Docker's "Token Authentication Specification" and its OAuth 2 variant for the
//! login. A client asks nothing before it must: scheme, login and documents are found out by the requests themselves, so
//! that an image whose layers are known costs one request where no login is needed.
//!
//! The parts, from the bottom: `endpoint` (which address a registry's name stands for), `refusal` (what an answer of
//! failure says to a person), `login` (challenges and tokens), `session` (one authorized request), `tags`, `layers`, `push`, `referrers`
//! (what is attached to an image).

mod endpoint;
mod layers;
mod login;
mod push;
mod referrers;
mod refusal;
mod session;
mod tags;

pub use self::push::{BlobOutcome, PushProgress, Pushed, Silent};

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use oci_distribution::Reference;
use oci_spec::image::Descriptor;

use self::layers::RegistryLayers;
use self::session::{Ask, Repository, Session};
use super::credentials::CredentialSettings;
use super::document_cache::DocumentCache;
use super::manifest::{self, ACCEPTED, Documents, LARGEST_DOCUMENT, RootDocument};
use super::platform::OciPlatform;
use super::registries_conf::{BrokenFile, RegistriesConf, RegistriesFiles, Source};
use super::{Image, TransportError};
use crate::digest::{self, Digest};
use crate::http::{HttpSettings, Response, Runtime};

/// How registries are asked.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    /// How the network is used. Its `compression` does not count: what a registry sends is named by its digest.
    pub http: HttpSettings,
    /// Where credentials are looked for when a registry asks for them.
    pub credentials: CredentialSettings,
    /// Registries (`host:port`, or `host` for all its ports) that may be asked without TLS. Those of this machine
    /// always may.
    pub insecure: Vec<String>,
    /// Where it is written at which place a registry is asked for its images.
    pub registries: RegistriesFiles,
    /// The platform that is chosen from an index; `None` for that of this machine.
    pub platform: Option<OciPlatform>,
    /// Where documents are kept between runs.
    pub documents: DocumentCache,
}

/// The registries of one run. It remembers tokens, and keeps connections open.
#[derive(Debug)]
pub struct RegistryClient {
    session: Arc<Session>,
    platform: Option<OciPlatform>,
    documents: DocumentCache,
    files: RegistriesFiles,
    conf: OnceLock<Result<RegistriesConf, BrokenFile>>,
    runtime: OnceLock<Result<Arc<Runtime>, String>>,
}

impl RegistryClient {
    /// A client that has done nothing yet.
    #[must_use]
    pub fn new(settings: RegistrySettings) -> Self {
        let platform = settings.platform.clone();
        let documents = settings.documents.clone();
        let files = settings.registries.clone();
        Self {
            documents,
            files,
            conf: OnceLock::new(),
            session: Arc::new(Session::new(settings)),
            platform,
            runtime: OnceLock::new(),
        }
    }

    /// How many requests went out so far, retries and redirects among them.
    #[must_use]
    pub fn requests_made(&self) -> u64 {
        self.session.http.requests_made()
    }

    /// The image that `reference` names, by its digest where it has one, else by its tag, from the first place that has it.
    /// Manifest and configuration are read and verified, layers are not.
    ///
    /// # Errors
    /// When the registry cannot be asked or refuses; when it has no such image, or none for the platform; when a document
    /// is invalid or another than promised; when `registries.conf` blocks it or cannot be understood.
    pub fn open(&self, reference: &Reference) -> Result<Image, TransportError> {
        let sources = self.sources(reference)?;
        first(&sources, |place| self.open_at(&sources[place..]))
    }

    /// The image at the first of `sources`. Layers that are not there may be at the others.
    fn open_at(&self, sources: &[Source]) -> Result<Image, TransportError> {
        let runtime = self.runtime()?;
        let repositories: Vec<_> = sources
            .iter()
            .map(|source| Arc::new(self.session.repository(source)))
            .collect();
        let (source, repository) = (&sources[0], &repositories[0]);
        let reference = &source.reference;
        let documents = RegistryDocuments {
            session: Arc::clone(&self.session),
            repository: Arc::clone(repository),
            runtime: Arc::clone(&runtime),
            name: format!("docker://{reference}"),
            cache: self.documents.clone(),
        };
        let root = match Self::root(&documents, reference) {
            Err(TransportError::NotFound(reason)) => {
                let reason = self.with_similar_tags(reason, source);
                return Err(TransportError::NotFound(reason));
            }
            root => root?,
        };
        let image = manifest::read_image(&documents, root, self.platform.as_ref())?;
        Ok(Image {
            reference: documents.name,
            digest: Some(image.digest),
            manifest_bytes: Some(image.manifest_bytes),
            config_bytes: image.config_bytes,
            config: image.config,
            layers: image.layers,
            source: Arc::new(RegistryLayers {
                session: Arc::clone(&self.session),
                repositories,
                runtime,
            }),
        })
    }

    /// The manifest or index that `reference` names.
    fn root(
        documents: &RegistryDocuments,
        reference: &Reference,
    ) -> Result<RootDocument, TransportError> {
        // A digest always means the same document; what a tag means, only the registry knows.
        let named: Option<Digest> = reference.digest().and_then(|text| text.parse().ok());
        if let Some(digest) = named
            && let Some(bytes) = documents.cache.read(&digest)
        {
            return Ok(RootDocument {
                bytes,
                media_type: None,
                digest,
            });
        }
        let name = reference.digest().or(reference.tag()).unwrap_or("latest");
        let response = documents.fetch_manifest(name)?;
        let what = format!("the manifest of docker://{reference}");
        let digest = digest_of_root(reference, &response, &what)?;
        documents.cache.write(&digest, &response.body);
        Ok(RootDocument {
            bytes: response.body,
            media_type: response.content_type,
            digest,
        })
    }

    /// Where `reference` is asked for.
    fn sources(&self, reference: &Reference) -> Result<Vec<Source>, TransportError> {
        let conf = self
            .conf
            .get_or_init(|| RegistriesConf::read(&self.files))
            .as_ref();
        let conf = conf.map_err(|broken| TransportError::from(broken.clone()))?;
        conf.sources(reference)
    }

    /// The digest that `reference` has now: that of the manifest or index itself, whatever the platform. One HEAD
    /// request, or a GET where the registry does not answer it with a digest.
    ///
    /// # Errors
    /// When the registry cannot be asked or refuses; when it has no such image.
    pub fn digest_of(&self, reference: &Reference) -> Result<Digest, TransportError> {
        self.probe(reference, None)
    }

    /// As [`RegistryClient::digest_of`], but everything together takes at most `patience`, and nothing is tried twice.
    ///
    /// # Errors
    /// As [`RegistryClient::digest_of`].
    pub fn digest_within(
        &self,
        reference: &Reference,
        patience: Duration,
    ) -> Result<Digest, TransportError> {
        self.probe(reference, Some(patience))
    }

    fn probe(
        &self,
        reference: &Reference,
        patience: Option<Duration>,
    ) -> Result<Digest, TransportError> {
        let sources = self.sources(reference)?;
        // Shared, or a mirror that is silent would leave nothing for the registry.
        let places = u32::try_from(sources.len()).unwrap_or(u32::MAX);
        let patience = patience.map(|patience| patience / places);
        first(&sources, |place| {
            let session = Arc::clone(&self.session);
            let source = sources[place].clone();
            self.wait(async move {
                let repository = session.repository(&source);
                let probe = probe(&session, &repository, &source.reference, patience.is_some());
                let Some(patience) = patience else {
                    return probe.await;
                };
                tokio::time::timeout(patience, probe)
                    .await
                    .unwrap_or_else(|_| Err(repository.too_slow()))
            })?
        })
    }

    /// The tags of the repository of `reference`, in the order of the registry, from the first place that lists them.
    ///
    /// # Errors
    /// When the registry cannot be asked, refuses, or has no such repository; when its list is invalid or endless.
    pub fn tags(&self, reference: &Reference) -> Result<Vec<String>, TransportError> {
        let sources = self.sources(reference)?;
        first(&sources, |place| {
            self.read_tags(&sources[place], tags::MOST_PAGES)
        })
    }

    /// The manifests of the repository of `reference` that are said to have `subject` as their subject; where
    /// `artifact_type` is given, those of this type alone. From the first place that answers. A registry that knows no
    /// referrers has them under a tag that is made from the digest ([`super::referrers::fallback_tag`]).
    ///
    /// # Errors
    /// When the registry cannot be asked within some seconds, or refuses; when its list is invalid or endless.
    pub fn referrers(
        &self,
        reference: &Reference,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, TransportError> {
        let sources = self.sources(reference)?;
        first(&sources, |place| {
            let session = Arc::clone(&self.session);
            let repository = self.session.repository(&sources[place]);
            let subject = subject.clone();
            let artifact_type = artifact_type.map(str::to_owned);
            self.wait(async move {
                referrers::read(&session, &repository, &subject, artifact_type.as_deref()).await
            })?
        })
    }

    fn read_tags(&self, source: &Source, pages: usize) -> Result<Vec<String>, TransportError> {
        let session = Arc::clone(&self.session);
        let repository = self.session.repository(source);
        self.wait(async move { tags::read(&session, &repository, pages).await })?
    }

    /// Adds to the reason for which there is no image what was probably meant.
    fn with_similar_tags(&self, reason: String, source: &Source) -> String {
        let (Some(tag), None) = (source.reference.tag(), source.reference.digest()) else {
            return reason;
        };
        // A hint is worth one request. Without the list there is none.
        match self.read_tags(source, 1) {
            Ok(tags) => {
                let similar = tags::similar(tag, &tags);
                if similar.is_empty() {
                    reason
                } else {
                    format!("{reason}; it has {}", similar.join(", "))
                }
            }
            Err(TransportError::NotFound(about_repository)) => about_repository,
            Err(_) => reason,
        }
    }

    fn runtime(&self) -> Result<Arc<Runtime>, TransportError> {
        let started = self.runtime.get_or_init(|| {
            Runtime::start("registry")
                .map(Arc::new)
                .map_err(|error| error.to_string())
        });
        started.clone().map_err(|reason| TransportError::Io {
            what: "from registries".to_owned(),
            source: std::io::Error::other(reason),
        })
    }

    fn wait<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, TransportError> {
        let runtime = self.runtime()?;
        wait(&runtime, task)
    }
}

/// What the first of `sources` gives that `ask`, which is told its place, has an answer of. The failures of all others are
/// told with that of the last, which is the registry itself.
fn first<T>(
    sources: &[Source],
    mut ask: impl FnMut(usize) -> Result<T, TransportError>,
) -> Result<T, TransportError> {
    let mut failed: Vec<String> = Vec::new();
    for (place, source) in sources.iter().enumerate() {
        let is_last = place + 1 == sources.len();
        let error = match ask(place) {
            Err(error) if error.may_be_elsewhere() => error,
            answer => return answer,
        };
        if is_last {
            return Err(if failed.is_empty() {
                error
            } else {
                TransportError::Mirrored {
                    own: Box::new(error),
                    mirrors: failed.join("; "),
                }
            });
        }
        let host = source.reference.registry();
        failed.push(format!("{host}: {}", error.with_cause()));
    }
    Err(TransportError::NotFound(
        "there is no place to ask for the image".to_owned(),
    ))
}

/// Runs `task` in the background and waits for it.
fn wait<T: Send + 'static>(
    runtime: &Runtime,
    task: impl Future<Output = T> + Send + 'static,
) -> Result<T, TransportError> {
    runtime.submit(task).recv().map_err(|_| TransportError::Io {
        what: "from registries".to_owned(),
        source: std::io::Error::other("the thread that fetches has ended"),
    })
}

/// The digest of the document that `response` brought, compared with what was asked for and what the registry says.
fn digest_of_root(
    reference: &Reference,
    response: &Response,
    what: &str,
) -> Result<Digest, TransportError> {
    let promised = match reference.digest() {
        Some(text) => {
            let digest: Digest = text.parse().map_err(|_| TransportError::Invalid {
                what: format!("docker://{reference}"),
                reason: format!("`{text}` is no digest"),
            })?;
            Some(digest)
        }
        None => None,
    };
    let announced: Option<Digest> = response
        .header("docker-content-digest")
        .and_then(|text| text.parse().ok());
    for digest in promised.iter().chain(&announced) {
        digest::verify(&response.body, digest, None).map_err(|mismatch| {
            TransportError::Mismatch {
                what: what.to_owned(),
                mismatch,
            }
        })?;
    }
    Ok(promised
        .or(announced)
        .unwrap_or_else(|| digest::sha256(&response.body)))
}

async fn probe(
    session: &Session,
    repository: &Repository,
    reference: &Reference,
    quick: bool,
) -> Result<Digest, TransportError> {
    let name = reference.digest().or(reference.tag()).unwrap_or("latest");
    let path = format!("manifests/{name}");
    let ask = Ask {
        accept: Some(ACCEPTED),
        limit: LARGEST_DOCUMENT,
        quick,
        ..Ask::new(&path, repository.what(name))
    };
    let head = Ask {
        head: true,
        ..ask.clone()
    };
    match session.document(repository, &head).await {
        Ok(response) => {
            let digest = response.header("docker-content-digest");
            if let Some(digest) = digest.and_then(|text| text.parse().ok()) {
                return Ok(digest);
            }
        }
        // Registries that do not know HEAD say so in many ways; one that has no such image says it again.
        Err(TransportError::Refused { .. } | TransportError::NotFound(_)) if !quick => {}
        Err(error) => return Err(error),
    }
    let response = session.document(repository, &ask).await?;
    let what = format!("the manifest of docker://{reference}");
    digest_of_root(reference, &response, &what)
}

/// The documents of one image, fetched while the caller waits.
struct RegistryDocuments {
    session: Arc<Session>,
    repository: Arc<Repository>,
    runtime: Arc<Runtime>,
    name: String,
    cache: DocumentCache,
}

impl RegistryDocuments {
    fn fetch(
        &self,
        path: String,
        what: String,
        accept: Option<&'static str>,
    ) -> Result<Response, TransportError> {
        let session = Arc::clone(&self.session);
        let repository = Arc::clone(&self.repository);
        wait(&self.runtime, async move {
            let ask = Ask {
                accept,
                limit: LARGEST_DOCUMENT,
                ..Ask::new(&path, what)
            };
            session.document(&repository, &ask).await
        })?
    }

    /// The document with this digest: the one that is kept, else the one that `fetch` brings.
    fn kept(
        &self,
        digest: &Digest,
        fetch: impl FnOnce() -> Result<Response, TransportError>,
    ) -> Result<Vec<u8>, TransportError> {
        if let Some(bytes) = self.cache.read(digest) {
            return Ok(bytes);
        }
        let bytes = fetch()?.body;
        self.cache.write(digest, &bytes);
        Ok(bytes)
    }

    fn fetch_manifest(&self, name: &str) -> Result<Response, TransportError> {
        let what = self.repository.what(name);
        self.fetch(format!("manifests/{name}"), what, Some(ACCEPTED))
    }
}

impl Documents for RegistryDocuments {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        let digest = descriptor.digest();
        self.kept(digest, || self.fetch_manifest(digest.as_ref()))
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        let digest = descriptor.digest();
        let what = format!("blob {digest} of {}", self.repository.path);
        self.kept(digest, || self.fetch(format!("blobs/{digest}"), what, None))
    }
}
