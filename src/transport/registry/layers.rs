//! Layers of an image in a registry.
//!
//! Layers that a registry may not distribute (`foreign` at Docker, `nondistributable` at OCI) name addresses elsewhere.
//! These are not followed: whoever wrote the manifest could make us ask anybody. Many registries hold such layers
//! nevertheless, so the registry is asked as for any other.

use std::io::Read;
use std::sync::Arc;

use super::TransportError;
use super::session::{Ask, Repository, Session};
use super::wait;
use crate::digest::Mismatch;
use crate::http::{OpenAt, Resume, Runtime, Streamed, read_resuming};
use crate::transport::{Layer, LayerSource};

/// The blobs of one repository.
#[derive(Debug)]
pub(super) struct RegistryLayers {
    pub(super) session: Arc<Session>,
    pub(super) repository: Arc<Repository>,
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

impl LayerSource for RegistryLayers {
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        let Some(digest) = &layer.digest else {
            return Err(TransportError::Invalid {
                what: format!("layer {} of {}", layer.index, self.repository.path),
                reason: "it has no digest".to_owned(),
            });
        };
        let blob = Blob {
            session: Arc::clone(&self.session),
            repository: Arc::clone(&self.repository),
            path: format!("blobs/{digest}"),
            what: format!("blob {digest} of {}", self.repository.path),
        };
        let (blob, first) = wait(&self.runtime, async move {
            let first = blob.open_at(0).await;
            (blob, first)
        })?;
        let first = first.map_err(|error| match error {
            TransportError::NotFound(reason) if is_foreign(&layer.media_type) => {
                TransportError::NotFound(format!(
                    "{reason}: it is a foreign layer, which must be had from elsewhere; push the image again with its \
                     foreign layers"
                ))
            }
            error => error,
        })?;
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

fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".foreign.") || media_type.contains("nondistributable")
}
