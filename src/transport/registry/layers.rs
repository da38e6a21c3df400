//! Layers of an image in a registry.
//!
//! Layers that a registry may not distribute (`foreign` at Docker, `nondistributable` at OCI) name addresses elsewhere.
//! These are not followed, as whoever wrote the manifest could make us ask anybody, and such a layer is refused without
//! asking the registry either: an image of which a part lies elsewhere is not one that can be read where it is.

use std::io::Read;
use std::sync::Arc;

use super::TransportError;
use super::session::{Ask, Repository, Session};
use super::wait;
use crate::digest::{Digest, Mismatch};
use crate::http::{OpenAt, Resume, Runtime, Streamed, read_resuming};
use crate::transport::referrers::ReferrerSource;
use crate::transport::{Layer, LayerSource};

/// The blobs of one image.
#[derive(Debug)]
pub(super) struct RegistryLayers {
    pub(super) session: Arc<Session>,
    /// Where they may be: the repository that the manifest came from, and those that would have been asked next.
    pub(super) repositories: Vec<Arc<Repository>>,
    pub(super) runtime: Arc<Runtime>,
}

/// One blob, to be asked for again where it breaks off: with a new login, where the old one has run out by then.
struct Blob {
    session: Arc<Session>,
    repository: Arc<Repository>,
    path: String,
    what: String,
}

impl OpenAt for Blob {
    type Error = TransportError;

    async fn open_at(&self, offset: u64) -> Result<Streamed, TransportError> {
        let ask = Ask {
            range: (offset > 0).then(|| format!("bytes={offset}-")),
            ..Ask::new(&self.path, self.what.clone())
        };
        self.session.stream(&self.repository, &ask).await
    }
}

impl RegistryLayers {
    /// The blob with this digest, and its answer, from the first repository that has it.
    fn first(&self, digest: &Digest) -> Result<(Blob, Streamed), TransportError> {
        let mut failure = None;
        for repository in &self.repositories {
            let blob = Blob {
                session: Arc::clone(&self.session),
                repository: Arc::clone(repository),
                path: format!("blobs/{digest}"),
                what: format!("blob {digest} of {}", repository.path),
            };
            let (blob, first) = wait(&self.runtime, async move {
                let first = blob.open_at(0).await;
                (blob, first)
            })?;
            match first {
                Ok(first) => return Ok((blob, first)),
                Err(error) if error.may_be_elsewhere() => {
                    // What the place says that the manifest came from tells most.
                    failure.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            TransportError::NotFound(format!("there is no place to ask for blob {digest}"))
        }))
    }
}

impl LayerSource for RegistryLayers {
    fn referrer_source(&self) -> Option<&dyn ReferrerSource> {
        Some(self)
    }

    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        let Some(digest) = &layer.digest else {
            return Err(TransportError::Invalid {
                what: format!("layer {}", layer.index),
                reason: "it has no digest".to_owned(),
            });
        };
        if is_foreign(&layer.media_type) {
            return Err(TransportError::NotFound(format!(
                "layer {digest} is a foreign one ({}), which must be had from elsewhere: push the image again with its \
                 foreign layers",
                layer.media_type
            )));
        }
        let (blob, first) = self.first(digest)?;
        if let (Some(expected), Some(found)) = (layer.size, first.length())
            && expected != found
            && first.head.status == 200
        {
            return Err(TransportError::Mismatch {
                what: blob.what,
                mismatch: Mismatch::Size { expected, found },
            });
        }
        let resume = Resume {
            expected: layer.size,
            attempts: self.session.settings.retries,
            back_off: self.session.settings.back_off,
        };
        Ok(Box::new(read_resuming(&self.runtime, first, blob, resume)))
    }
}

/// Whether a layer may not be distributed by registries; told as where layers are read.
fn is_foreign(media_type: &str) -> bool {
    let media_type = media_type.to_ascii_lowercase();
    media_type.contains(".foreign") || media_type.contains(".nondistributable")
}
