//! Metadata of wheels, remembered for ever: all wheels of one project in one file.
//!
//! A solver that backs off through a hundred versions of a project asks for the metadata of a hundred wheels. In a file
//! each, opening them was a third of the time of a run that the cache could answer.
//!
//! A pack belongs to a project *and* to the host that its wheels come from: an index that announces somebody else's
//! SHA-256 with metadata of its own invention must not be believed about the other's wheels.
//!
//! What is new is written when the client ends: the pack is read again, in case another process has added to it, and
//! replaced whole. Of two processes that do so at the same moment one loses what it has added, and fetches it again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use super::cache::{Cache, CacheKey};
use super::wire::{Reader, Writer};
use crate::packaging::PackageName;
use crate::packaging::simple::IndexFile;

/// The packs that a run has looked into.
#[derive(Debug, Default)]
pub(super) struct Packs {
    open: Mutex<FxHashMap<CacheKey, Pack>>,
}

/// The metadata of a project's wheels by the wheels' SHA-256.
#[derive(Debug, Default)]
struct Pack {
    content: Vec<u8>,
    known: BTreeMap<String, Range<usize>>,
    new: BTreeMap<String, Vec<u8>>,
}

impl Packs {
    /// The remembered metadata of `wheel`, which belongs to `project`; `None` where there is none, or where the wheel
    /// has no hash by which to recognize it.
    pub(super) fn get(
        &self,
        cache: &Cache,
        project: &PackageName,
        wheel: &IndexFile,
    ) -> Option<Vec<u8>> {
        let sha256 = wheel.sha256.as_ref()?;
        let mut open = self.lock();
        let key = CacheKey::pack(project, wheel);
        let pack = open
            .entry(key)
            .or_insert_with_key(|key| Pack::read(cache, key));
        if let Some(new) = pack.new.get(sha256) {
            return Some(new.clone());
        }
        let range = pack.known.get(sha256)?;
        Some(pack.content[range.clone()].to_vec())
    }

    /// Remembers the metadata of `wheel`, which belongs to `project`; says whether it could be: a wheel without a hash
    /// cannot.
    pub(super) fn insert(
        &self,
        cache: &Cache,
        project: &PackageName,
        wheel: &IndexFile,
        metadata: &[u8],
    ) -> bool {
        let Some(sha256) = &wheel.sha256 else {
            return false;
        };
        let key = CacheKey::pack(project, wheel);
        self.lock()
            .entry(key)
            .or_insert_with_key(|key| Pack::read(cache, key))
            .new
            .insert(sha256.clone(), metadata.to_vec());
        true
    }

    /// Writes what is new.
    pub(super) fn write(&self, cache: &Cache) {
        let mut open: Vec<(CacheKey, Pack)> = self
            .lock()
            .drain()
            .filter(|(_, pack)| !pack.new.is_empty())
            .collect();
        open.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, pack) in open {
            let mut now = Pack::read(cache, &key);
            now.new.extend(pack.new);
            cache.write_bytes(&key, 0, &now.to_bytes());
        }
    }

    /// Locks; every change is one insertion, so a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, FxHashMap<CacheKey, Pack>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pack {
    /// The pack under `key`; an empty one where there is none that can be read.
    fn read(cache: &Cache, key: &CacheKey) -> Self {
        let Some(content) = cache.read_bytes(key, None) else {
            return Self::default();
        };
        let mut known = BTreeMap::new();
        let mut reader = Reader::new(&content);
        while reader.position() < content.len() {
            let entry = (|| {
                let sha256 = reader.text()?.to_owned();
                let length = usize::try_from(reader.number()?).ok()?;
                let start = reader.position();
                reader.raw(length)?;
                Some((sha256, start..start + length))
            })();
            // The checksum was right, so this is of a later version: what was understood is true all the same.
            let Some((sha256, range)) = entry else {
                break;
            };
            known.insert(sha256, range);
        }
        Self {
            content,
            known,
            new: BTreeMap::new(),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let known = self
            .known
            .iter()
            .map(|(sha256, range)| (sha256, &self.content[range.clone()]));
        let new = self
            .new
            .iter()
            .map(|(sha256, metadata)| (sha256, metadata.as_slice()));
        let all: BTreeMap<&String, &[u8]> = known.chain(new).collect();
        let mut writer = Writer::default();
        for (sha256, metadata) in all {
            writer.text(sha256);
            writer.number(metadata.len() as u64);
            writer.raw(metadata);
        }
        writer.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(host: &str, sha256: Option<&str>) -> IndexFile {
        IndexFile {
            filename: "a-1.0-py3-none-any.whl".to_owned(),
            url: format!("https://{host}/files/a-1.0-py3-none-any.whl"),
            sha256: sha256.map(str::to_owned),
            size: None,
            requires_python: None,
            yanked: None,
            core_metadata: None,
            upload_time: None,
        }
    }

    #[test]
    fn packs_are_merged_and_kept_apart_by_host() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::new(Some(folder.path()));
        let name: PackageName = "a".parse().expect("a name");
        let (one, two) = (Packs::default(), Packs::default());
        let (first, second) = (
            wheel("x.invalid", Some("aa")),
            wheel("x.invalid", Some("bb")),
        );
        assert!(one.insert(&cache, &name, &first, b"first"));
        assert!(two.insert(&cache, &name, &second, b"second"));
        assert_eq!(
            one.get(&cache, &name, &first).as_deref(),
            Some(&b"first"[..])
        );
        one.write(&cache);
        two.write(&cache);

        let later = Packs::default();
        assert_eq!(
            later.get(&cache, &name, &first).as_deref(),
            Some(&b"first"[..])
        );
        assert_eq!(
            later.get(&cache, &name, &second).as_deref(),
            Some(&b"second"[..])
        );
        let forged = wheel("y.invalid", Some("aa"));
        assert_eq!(later.get(&cache, &name, &forged), None);
        assert!(!later.insert(&cache, &name, &wheel("x.invalid", None), b"?"));
    }
}
