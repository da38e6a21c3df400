//! Manifests and configurations of registries that have been read before: what is named by its digest never changes, so
//! it need not be asked for again.
//!
//! ```text
//! {cache}/image-documents-v1/sha256-abcd...        the document with this digest, byte for byte
//! ```

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::cache_folder::{self, CacheLayout, CachePart, NEW};
use crate::digest::{self, Digest};

use super::manifest::LARGEST_DOCUMENT;

/// The folder of documents.
pub const CACHE_LAYOUT: CacheLayout = CacheLayout {
    folder: "image-documents-v1",
    parts: &[CachePart {
        name: "image-documents",
        holds: "manifests and configurations of images",
        folder: "",
    }],
};

/// The documents that are kept in a folder, or none.
#[derive(Debug, Clone, Default)]
pub struct DocumentCache {
    /// The folder of all caches.
    cache: Option<PathBuf>,
}

impl DocumentCache {
    /// A cache below the folder `cache`, which need not exist; without one, nothing is kept.
    #[must_use]
    pub fn new(cache: Option<&Path>) -> Self {
        Self {
            cache: cache.map(Path::to_owned),
        }
    }

    /// The document with this digest. What is damaged is a miss.
    #[must_use]
    pub fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path(digest)?)
            .ok()?
            .take(LARGEST_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .ok()?;
        digest::verify(&bytes, digest, None).ok()?;
        Some(bytes)
    }

    /// Keeps a document, if it is the one with this digest. A cache that cannot be written is none.
    pub fn write(&self, digest: &Digest, bytes: &[u8]) {
        let (Some(cache), Some(path)) = (&self.cache, self.path(digest)) else {
            return;
        };
        if digest::verify(bytes, digest, None).is_err() {
            return;
        }
        let folder = cache.join(CACHE_LAYOUT.folder);
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&folder)?;
            let mut file = tempfile::Builder::new().prefix(NEW).tempfile_in(&folder)?;
            file.write_all(bytes)?;
            file.persist(&path)?;
            cache_folder::mark(cache)
        };
        // It is asked for again, then.
        let _ = write();
    }

    fn path(&self, digest: &Digest) -> Option<PathBuf> {
        let name = digest.to_string().replace(':', "-");
        Some(self.cache.as_ref()?.join(CACHE_LAYOUT.folder).join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_kept_under_its_digest_and_damage_is_a_miss() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = DocumentCache::new(Some(folder.path()));
        let digest = digest::sha256(b"{}");
        assert_eq!(cache.read(&digest), None);
        cache.write(&digest, b"other");
        assert_eq!(cache.read(&digest), None);
        cache.write(&digest, b"{}");
        assert_eq!(cache.read(&digest).as_deref(), Some(&b"{}"[..]));
        let path = cache.path(&digest).expect("a path");
        File::create(path)
            .and_then(|mut file| file.write_all(b"{ "))
            .expect("written");
        assert_eq!(cache.read(&digest), None);
        let none = DocumentCache::new(None);
        none.write(&digest, b"{}");
        assert_eq!(none.read(&digest), None);
    }
}
