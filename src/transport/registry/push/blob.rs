//! One blob: taken from another repository of the registry, found there, or uploaded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use url::Url;

use super::upload::Upload;
use super::{BlobOutcome, Destination, TransportError, compare_digest, noun};
use crate::digest::Digest;
use crate::http::{Response, Verb};
use crate::transport::outgoing::OutgoingBlob;
use crate::transport::registry::session::{Access, Deed};

/// What a registry made of being asked to mount a blob.
enum Mount {
    /// It has it now.
    Done,
    /// It does not mount it, but has begun an upload, perhaps.
    Missed(Option<Url>),
}

impl Destination {
    /// Sees to it that the repository has a blob; `from` is another repository of the registry that has it, `sent` is told
    /// how many bytes are on their way.
    ///
    /// A registry that mounts needs one request for each layer of the base. One that has refused once is asked whether it
    /// has the blob first, as it probably does when the image is built again.
    pub(super) fn push_blob(
        &self,
        blob: &OutgoingBlob,
        from: Option<&str>,
        sent: &dyn Fn(u64),
    ) -> Result<BlobOutcome, TransportError> {
        let digest = blob.descriptor.digest();
        let step = |verb: &str| {
            let step = format!("{verb} {}", noun(&blob.descriptor));
            let place = self.place();
            move |error: TransportError| TransportError::Push {
                step,
                place,
                error: Box::new(error),
            }
        };
        let mut begun = None;
        let mut checked = false;
        if let Some(from) = from {
            if self.mounts_missed.load(Ordering::Relaxed) {
                if self.has_blob(digest).map_err(step("upload"))? {
                    return Ok(BlobOutcome::Existing);
                }
                checked = true;
            }
            match self.mount(digest, from).map_err(step("mount"))? {
                Mount::Done => return Ok(BlobOutcome::Mounted),
                Mount::Missed(url) => begun = url,
            }
            self.mounts_missed.store(true, Ordering::Relaxed);
        }
        if !checked && self.has_blob(digest).map_err(step("upload"))? {
            if let Some(url) = begun {
                self.cancel(url);
            }
            return Ok(BlobOutcome::Existing);
        }
        Upload::new(self, blob, begun, sent)
            .run()
            .map_err(step("upload"))?;
        Ok(BlobOutcome::Uploaded)
    }

    /// Asks the registry to take a blob from another of its repositories.
    fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, TransportError> {
        let session = Arc::clone(&self.session);
        let repository = self.repository.with(Access::MountFrom(from.to_owned()));
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("mount", digest.as_ref())
            .append_pair("from", from);
        let path = format!("blobs/uploads/?{}", query.finish());
        let what = format!("mount of blob {digest} from {from}");
        let asked = self.wait(async move {
            let url = session.place(&repository, &path, &what).await?;
            let deed = Deed {
                repeatable: true,
                ..Deed::new(Verb::Post, url, &what)
            };
            session.change(&repository, &deed, Bytes::new()).await
        })?;
        let response = match asked {
            Ok(response) => response,
            // A token for both repositories is not to be had: one for this may do.
            Err(TransportError::Refused { .. } | TransportError::NotFound(_)) => {
                return Ok(Mount::Missed(None));
            }
            Err(error) => return Err(error),
        };
        match response.status {
            201 => {
                compare_digest(&response, digest, &format!("blob {digest}"))?;
                Ok(Mount::Done)
            }
            202 => Ok(Mount::Missed(self.next_place(&response)?)),
            _ => Ok(Mount::Missed(None)),
        }
    }

    /// Where an answer says that an upload goes on.
    pub(super) fn next_place(&self, response: &Response) -> Result<Option<Url>, TransportError> {
        let Some(location) = response.header("location").map(str::to_owned) else {
            return Ok(None);
        };
        let session = Arc::clone(&self.session);
        let repository = Arc::clone(&self.repository);
        let asked = response.url.clone();
        let place =
            self.wait(async move { session.upload_place(&repository, &asked, &location).await })??;
        Ok(Some(place))
    }

    /// Does a deed whose body is in memory.
    pub(super) fn change(&self, deed: &Deed, body: Bytes) -> Result<Response, TransportError> {
        let session = Arc::clone(&self.session);
        let repository = Arc::clone(&self.repository);
        let deed = deed.clone();
        self.wait(async move { session.change(&repository, &deed, body).await })?
    }

    /// The address of what stands after `/v2/REPOSITORY/`.
    pub(super) fn address_of(&self, path: &str, what: &str) -> Result<Url, TransportError> {
        let session = Arc::clone(&self.session);
        let repository = Arc::clone(&self.repository);
        let (path, what) = (path.to_owned(), what.to_owned());
        self.wait(async move { session.place(&repository, &path, &what).await })?
    }

    /// Tells the registry that an upload it has begun is not needed. It forgets it by itself some day, too.
    fn cancel(&self, url: Url) {
        let deed = Deed::new(Verb::Delete, url, "end of an upload");
        let _ = self.change(&deed, Bytes::new());
    }
}
