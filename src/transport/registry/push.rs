//! An image on its way into a registry: blobs first, several at a time, then the manifests in order, the tag last.
//!
//! The tag is moved by the last request but those that mend what others overwrote, so whatever goes wrong before leaves it
//! where it was, and a second push sends only what the registry does not have yet. Where something is attached, the root
//! is put under its digest first, what is attached after it (a referrer's subject must be there for every registry to
//! accept and to keep it), and then the tag: whoever sees the new image sees what is attached to it.
//!
//! A push goes to the registry itself, at the `location` that `registries.conf` gives its name, never to a mirror: what a
//! mirror has is the registry's business.
//!
//! Specification: OCI distribution-spec, "Push". The parts, from the bottom: `content` (the bytes of a blob, verified as
//! they are sent), `upload` (an upload session, gone on with where it breaks), `blob` (mount, check, upload),
//! `manifests` (manifests, referrers and their tag).

mod blob;
mod content;
mod manifests;
mod upload;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use oci_distribution::Reference;
use oci_spec::image::Descriptor;

use super::session::{Access, Ask, Repository, Session};
use super::{RegistryClient, TransportError, endpoint, wait};
use crate::digest::{self, Digest, Mismatch};
use crate::http::{Response, Runtime};
use crate::transport::outgoing::{BlobContent, Outgoing, OutgoingBlob, OutgoingManifest};

/// The most blobs that are under way at a time: enough to bridge round trips; more would only share the line.
const MOST_AT_A_TIME: usize = 4;

/// What became of an image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Digest of the root manifest or index.
    pub digest: Digest,
    /// The image as a person would name it: `docker://HOST/REPOSITORY:TAG`.
    pub reference: String,
    /// Bytes of blobs that were sent, those that had to be sent again included.
    pub uploaded: u64,
    /// Blobs that were uploaded.
    pub blobs_uploaded: usize,
    /// Blobs that the registry took from another of its repositories.
    pub blobs_mounted: usize,
    /// Blobs that were there.
    pub blobs_existing: usize,
    /// The part of `uploaded` that belongs to layers of the base.
    pub base_bytes_sent: u64,
}

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobOutcome {
    /// It was sent.
    Uploaded,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was there.
    Existing,
}

/// Told how far a push has come. Called from several threads at once.
pub trait PushProgress: Sync {
    /// The blob `index` of `total` is about to be looked for.
    fn started(&self, index: usize, total: usize, blob: &Descriptor);
    /// The first `position` bytes of the blob are on their way. It goes back where they must be sent again.
    fn sent(&self, index: usize, position: u64);
    /// The registry has the blob.
    fn finished(&self, index: usize, outcome: BlobOutcome);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl PushProgress for Silent {
    fn started(&self, _: usize, _: usize, _: &Descriptor) {}
    fn sent(&self, _: usize, _: u64) {}
    fn finished(&self, _: usize, _: BlobOutcome) {}
}

/// Where a push goes, and what has been learned of the registry there.
#[derive(Debug)]
struct Destination {
    session: Arc<Session>,
    repository: Arc<Repository>,
    runtime: Arc<Runtime>,
    /// Whether the registry has refused to mount a blob: it is asked whether it has the next one first.
    mounts_missed: AtomicBool,
    /// Whether a blob in the request that begins its upload was not taken.
    takes_no_single_post: AtomicBool,
    /// Whether blobs cannot be sent in parts.
    takes_no_parts: AtomicBool,
    /// The largest part of a blob in bytes; 0 for the whole.
    part: AtomicU64,
    /// Whether another part of the push has failed.
    stopped: AtomicBool,
    uploaded: AtomicU64,
    base_bytes_sent: AtomicU64,
}

impl Destination {
    /// Host and repository, for people.
    fn place(&self) -> String {
        format!("{}/{}", self.repository.registry.host, self.repository.path)
    }

    fn wait<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, TransportError> {
        wait(&self.runtime, task)
    }

    /// Whether the repository has a blob.
    fn has_blob(&self, digest: &Digest) -> Result<bool, TransportError> {
        let session = Arc::clone(&self.session);
        let repository = Arc::clone(&self.repository);
        let digest = digest.clone();
        self.wait(async move { has_blob(&session, &repository, &digest).await })?
    }

    /// The error that an answer of failure amounts to.
    fn refusal(&self, what: &str, response: Response) -> TransportError {
        let session = Arc::clone(&self.session);
        let repository = Arc::clone(&self.repository);
        let what = what.to_owned();
        self.wait(async move { session.refusal(&repository, &what, &response).await })
            .unwrap_or_else(|error| error)
    }
}

async fn has_blob(
    session: &Session,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool, TransportError> {
    let what = format!("blob {digest} of {}", repository.path);
    let ask = Ask {
        head: true,
        ..Ask::new(&format!("blobs/{digest}"), what)
    };
    match session.document(repository, &ask).await {
        Ok(_) => Ok(true),
        Err(TransportError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Compares the digest that an answer tells, where it tells one, with that of what was sent.
fn compare_digest(
    response: &Response,
    expected: &Digest,
    what: &str,
) -> Result<(), TransportError> {
    let told: Option<Digest> = response
        .header("docker-content-digest")
        .and_then(|text| text.parse().ok());
    match told {
        // A registry may name things by another algorithm.
        Some(found) if found.algorithm() == expected.algorithm() && found != *expected => {
            Err(TransportError::Mismatch {
                what: format!("what the registry stored as {what}"),
                mismatch: Mismatch::Digest {
                    expected: expected.clone(),
                    found,
                },
            })
        }
        _ => Ok(()),
    }
}

impl RegistryClient {
    /// Pushes an image with all that belongs to it under the tag of `target`, or under its digest where it has one.
    ///
    /// # Errors
    /// When the registry cannot be asked or refuses, with the step ([`TransportError::Push`]); when a manifest or blob is
    /// not what its descriptor promises. The tag is as it was then, whatever else has arrived; only where the list of what is
    /// attached could not be put right again after others wrote it, the tag has moved.
    pub fn push(
        &self,
        target: &Reference,
        outgoing: &Outgoing,
        progress: &dyn PushProgress,
    ) -> Result<Pushed, TransportError> {
        let root = root_of(target, outgoing)?;
        let destination = self.destination(target)?;
        let outcomes = self.push_blobs(&destination, outgoing, progress)?;
        let count = |outcome| outcomes.iter().filter(|one| **one == outcome).count();
        destination.put_manifests(target, outgoing)?;
        Ok(Pushed {
            digest: root.descriptor.digest().clone(),
            reference: format!("docker://{target}"),
            uploaded: destination.uploaded.load(Ordering::Relaxed),
            blobs_uploaded: count(BlobOutcome::Uploaded),
            blobs_mounted: count(BlobOutcome::Mounted),
            blobs_existing: count(BlobOutcome::Existing),
            base_bytes_sent: destination.base_bytes_sent.load(Ordering::Relaxed),
        })
    }

    /// Whether the repository of `reference` has a blob. The registry itself is asked, not its mirrors.
    ///
    /// # Errors
    /// When the registry cannot be asked or refuses.
    pub fn has_blob(&self, reference: &Reference, digest: &Digest) -> Result<bool, TransportError> {
        let mut destination = self.destination(reference)?;
        destination.repository = Arc::new(destination.repository.with(Access::Pull));
        destination.has_blob(digest)
    }

    /// The registry itself, where `reference` is.
    fn destination(&self, reference: &Reference) -> Result<Destination, TransportError> {
        let source = self.sources(reference)?.pop();
        let source = source.ok_or_else(|| {
            TransportError::NotFound("there is no place to push the image to".to_owned())
        })?;
        let repository = self.session.repository(&source).with(Access::Push);
        Ok(Destination {
            session: Arc::clone(&self.session),
            repository: Arc::new(repository),
            runtime: self.runtime()?,
            mounts_missed: AtomicBool::new(false),
            takes_no_single_post: AtomicBool::new(false),
            takes_no_parts: AtomicBool::new(false),
            part: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            uploaded: AtomicU64::new(0),
            base_bytes_sent: AtomicU64::new(0),
        })
    }

    /// All blobs, several at a time. Of several failures that of the first blob is told.
    fn push_blobs(
        &self,
        destination: &Destination,
        outgoing: &Outgoing,
        progress: &dyn PushProgress,
    ) -> Result<Vec<BlobOutcome>, TransportError> {
        let blobs = &outgoing.blobs;
        let next = AtomicUsize::new(0);
        let outcomes = Mutex::new(Vec::with_capacity(blobs.len()));
        let work = || {
            while !destination.stopped.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(blob) = blobs.get(index) else {
                    return;
                };
                progress.started(index, blobs.len(), &blob.descriptor);
                let from = self.mountable_from(destination, blob);
                let outcome = destination.push_blob(blob, from.as_deref(), &|position| {
                    progress.sent(index, position);
                });
                match &outcome {
                    Ok(outcome) => progress.finished(index, *outcome),
                    Err(_) => destination.stopped.store(true, Ordering::Relaxed),
                }
                let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                outcomes.push((index, outcome));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..blobs.len().min(MOST_AT_A_TIME) {
                scope.spawn(work);
            }
            work();
        });
        let mut outcomes = outcomes
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_by_key(|(index, _)| *index);
        // Those that were stopped because of another say nothing.
        let real = outcomes
            .iter()
            .position(|(_, outcome)| outcome.as_ref().is_err_and(|error| !is_stopped(error)));
        if let Some(at) = real {
            return Err(match outcomes.swap_remove(at).1 {
                Err(error) => error,
                Ok(_) => stopped(),
            });
        }
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// The other repository of the same registry from which a blob can be taken.
    fn mountable_from(&self, destination: &Destination, blob: &OutgoingBlob) -> Option<String> {
        let BlobContent::Base {
            repository: Some(base),
            ..
        } = &blob.content
        else {
            return None;
        };
        let place = self.sources(base).ok()?.pop()?.reference;
        let own = &destination.repository;
        let is_there = endpoint::canonical(place.registry()) == own.registry.host
            && place.repository() != own.path;
        is_there.then(|| place.repository().to_owned())
    }
}

/// The manifest that the tag is to lead to, once everything is known to be what it should be.
fn root_of<'a>(
    target: &Reference,
    outgoing: &'a Outgoing,
) -> Result<&'a OutgoingManifest, TransportError> {
    for manifest in outgoing.manifests.iter().chain(&outgoing.referrers) {
        let descriptor = &manifest.descriptor;
        digest::verify(
            &manifest.bytes,
            descriptor.digest(),
            Some(descriptor.size()),
        )
        .map_err(|mismatch| TransportError::Mismatch {
            what: format!("the manifest {}", descriptor.digest()),
            mismatch,
        })?;
    }
    let root = outgoing
        .manifests
        .last()
        .ok_or_else(|| TransportError::Invalid {
            what: format!("the image for docker://{target}"),
            reason: "it has no manifest".to_owned(),
        })?;
    let digest = root.descriptor.digest();
    if target
        .digest()
        .is_some_and(|named| named != digest.as_ref())
    {
        return Err(TransportError::Invalid {
            what: format!("the image for docker://{target}"),
            reason: format!("its digest is {digest}"),
        });
    }
    Ok(root)
}

/// What a blob is, for people.
fn noun(descriptor: &Descriptor) -> String {
    let media_type = descriptor.media_type().to_string();
    let noun = if media_type.contains("config") || media_type.contains("container.image") {
        "configuration"
    } else if media_type.contains("layer") || media_type.contains("rootfs") {
        "layer"
    } else {
        "blob"
    };
    format!("{noun} {}", descriptor.digest())
}

/// What a part of a push ends with when another has failed.
fn stopped() -> TransportError {
    TransportError::Io {
        what: "what is left of the push".to_owned(),
        source: std::io::ErrorKind::Interrupted.into(),
    }
}

fn is_stopped(error: &TransportError) -> bool {
    matches!(error.own(), TransportError::Io { source, .. } if source.kind() == std::io::ErrorKind::Interrupted)
}
