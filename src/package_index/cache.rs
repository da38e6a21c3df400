//! What is remembered between runs: pages of the index and metadata of wheels.
//!
//! Every entry is a file of its own, written whole under a temporary name and renamed, with a checksum over its
//! content: one that is damaged or of another format is a miss, never an error. A folder that cannot be written ends
//! the caching with one warning and nothing else.
//!
//! ```text
//! {cache}/package-index-v1/pages/ab/cdef...      a page, keyed by index and project, for as long as it is current
//! {cache}/package-index-v1/metadata/ab/cdef...   metadata of a project's wheels, keyed by project and host, for ever; of
//!                                                a wheel without a hash, keyed by its address, as long as a page
//! {cache}/package-index-v1/contents/ab/cdef...   names in a wheel and its metadata, keyed by its host and SHA-256
//! {cache}/package-index-v1/wheels/ab/cdef...     a wheel, byte for byte, named by its SHA-256
//! {cache}/package-index-v1/hashes/ab/cdef...     SHA-256 of a wheel that the index announces without, keyed by its address
//! ```

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use url::Url;

use super::project::Project;
use super::wire::{Reader, Writer};
use crate::cache_folder::{self, CacheLayout, CachePart, NEW};
use crate::packaging::PackageName;
use crate::packaging::simple::IndexFile;

/// Begins every entry; the last digit is the version of the format.
const MAGIC: &[u8; 8] = b"imgtool1";

/// The length of what stands before an entry's content: the magic bytes and the checksum.
const HEADER: usize = MAGIC.len() + 4;

/// The folder of this format's entries, and what kinds of them there are.
pub const CACHE_LAYOUT: CacheLayout = CacheLayout {
    folder: "package-index-v1",
    parts: &[
        CachePart {
            name: "index-pages",
            holds: "pages of the package index",
            folder: "pages",
        },
        CachePart {
            name: "wheel-metadata",
            holds: "metadata of wheels",
            folder: "metadata",
        },
        CachePart {
            name: "wheel-contents",
            holds: "contents of wheels",
            folder: "contents",
        },
        CachePart {
            name: "wheels",
            holds: "wheels",
            folder: "wheels",
        },
        CachePart {
            name: "wheel-hashes",
            holds: "hashes of wheels",
            folder: "hashes",
        },
    ],
};

/// Under which name an entry lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CacheKey {
    kind: &'static str,
    digest: String,
    /// Whether what lies under the key can never change.
    immutable: bool,
}

impl CacheKey {
    /// The key of a project's page on the index at `index`, an address without credentials.
    pub(super) fn page(index: &Url, project: &PackageName) -> Self {
        Self {
            kind: "pages",
            digest: sha256_hex(format!("{index}\n{project}").as_bytes()),
            immutable: false,
        }
    }

    /// The key of a page of links at `page`, an address without credentials.
    pub(super) fn links(page: &Url) -> Self {
        Self {
            kind: "pages",
            // No project has an empty name.
            digest: sha256_hex(format!("{page}\n").as_bytes()),
            immutable: false,
        }
    }

    /// The key of what is remembered of all wheels of `project` that come from where `wheel` does.
    pub(super) fn pack(project: &PackageName, wheel: &IndexFile) -> Self {
        Self {
            kind: "metadata",
            digest: sha256_hex(format!("{}\n{project}", origin(&wheel.url)).as_bytes()),
            immutable: true,
        }
    }

    /// The key of something that is taken from a wheel: `kind` says what.
    pub(super) fn wheel(kind: &'static str, wheel: &IndexFile) -> Self {
        match &wheel.sha256 {
            // With the host: who announces another's hash is not believed about the other's file.
            Some(sha256) => Self {
                kind,
                digest: sha256_hex(format!("{}\n{sha256}", origin(&wheel.url)).as_bytes()),
                immutable: true,
            },
            // Without a hash nothing says that the file behind the address is still the same.
            None => Self {
                kind,
                digest: sha256_hex(wheel.url.as_bytes()),
                immutable: false,
            },
        }
    }
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| host + at);
    &url[..end]
}

/// A page, or the answer that there is none.
#[derive(Debug)]
pub(super) struct PageEntry {
    /// When it was fetched or last confirmed, in milliseconds since the epoch.
    pub(super) fetched_at: u64,
    /// For how long the server said that it is current, in milliseconds.
    pub(super) max_age: Option<u64>,
    /// The server's name for this state of the page.
    pub(super) etag: Option<String>,
    /// When the server says that the page changed last.
    pub(super) last_modified: Option<String>,
    /// The page; `None` when the index does not have the project.
    pub(super) project: Option<Project>,
}

impl PageEntry {
    /// Whether the page is current at `now`, where `freshness` rules if the server was silent.
    pub(super) fn is_fresh(&self, now: u64, freshness: Duration) -> bool {
        let lifetime = self.max_age.unwrap_or_else(|| millis(freshness));
        is_within(self.fetched_at, now, lifetime)
    }
}

/// What `Cache-Control` says about a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CachePolicy {
    /// Whether the page may be kept at all.
    pub(super) store: bool,
    /// For how long it is current, in milliseconds.
    pub(super) max_age: Option<u64>,
}

impl CachePolicy {
    /// Reads the header's value.
    pub(super) fn parse(header: Option<&str>) -> Self {
        let mut policy = Self {
            store: true,
            max_age: None,
        };
        let mut confirm_always = false;
        for directive in header.unwrap_or_default().split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => policy.store = false,
                "no-cache" => confirm_always = true,
                "max-age" => {
                    let seconds = value.trim().trim_matches('"').parse::<u64>().ok();
                    policy.max_age = seconds.map(|seconds| seconds.saturating_mul(1000));
                }
                _ => {}
            }
        }
        if confirm_always {
            policy.max_age = Some(0);
        }
        policy
    }
}

/// The cache of one run.
#[derive(Debug)]
pub(super) struct Cache {
    folder: Option<PathBuf>,
    /// Set when writing failed once: what is broken stays broken for the rest of a run.
    read_only: AtomicBool,
    /// Set when the cache folder has been marked as one in this run.
    is_marked: AtomicBool,
    warnings: Mutex<Vec<String>>,
}

impl Cache {
    /// A cache in `folder`, which need not exist; `None` remembers nothing.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self {
            folder: folder.map(|folder| folder.join(CACHE_LAYOUT.folder)),
            read_only: AtomicBool::new(false),
            is_marked: AtomicBool::new(false),
            warnings: Mutex::default(),
        }
    }

    /// What went wrong so far, for people.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The page under `key`, current or not.
    pub(super) fn read_page(&self, key: &CacheKey) -> Option<PageEntry> {
        let content = self.read(key)?;
        let mut reader = Reader::new(content.get(HEADER..)?);
        let fetched_at = reader.number()?;
        let max_age = reader.number()?.checked_sub(1);
        let etag = Some(reader.text()?.to_owned()).filter(|text| !text.is_empty());
        let last_modified = Some(reader.text()?.to_owned()).filter(|text| !text.is_empty());
        let found = reader.byte()? == 1;
        let position = HEADER + reader.position();
        let project = if found {
            Some(Project::from_bytes(content, position)?)
        } else {
            None
        };
        Some(PageEntry {
            fetched_at,
            max_age,
            etag,
            last_modified,
            project,
        })
    }

    /// Remembers a page.
    pub(super) fn write_page(&self, key: &CacheKey, entry: &PageEntry) {
        if self.folder.is_none() {
            return;
        }
        let mut writer = Writer::default();
        writer.number(entry.fetched_at);
        // One more than the value, so that zero stands for none.
        writer.number(entry.max_age.map_or(0, |age| age.saturating_add(1)));
        writer.text(entry.etag.as_deref().unwrap_or_default());
        writer.text(entry.last_modified.as_deref().unwrap_or_default());
        writer.raw(&[u8::from(entry.project.is_some())]);
        if let Some(project) = &entry.project {
            writer.raw(project.as_bytes());
        }
        self.write(key, writer.bytes());
    }

    /// Bytes taken from a wheel, unless they may have changed: `now` and `freshness` decide, `None` for "always good".
    pub(super) fn read_bytes(
        &self,
        key: &CacheKey,
        limit: Option<(u64, Duration)>,
    ) -> Option<Vec<u8>> {
        let mut content = self.read(key)?;
        let mut reader = Reader::new(content.get(HEADER..)?);
        let fetched_at = reader.number()?;
        let position = HEADER + reader.position();
        if let Some((now, freshness)) = limit
            && !key.immutable
            && !is_within(fetched_at, now, millis(freshness))
        {
            return None;
        }
        content.drain(..position);
        Some(content)
    }

    /// Remembers bytes taken from a wheel at `now`.
    pub(super) fn write_bytes(&self, key: &CacheKey, now: u64, bytes: &[u8]) {
        let mut writer = Writer::default();
        writer.number(now);
        writer.raw(bytes);
        self.write(key, writer.bytes());
    }

    fn path(&self, key: &CacheKey) -> Option<PathBuf> {
        let (shard, rest) = key.digest.split_at_checked(2)?;
        let folder = self.folder.as_ref()?;
        Some(folder.join(key.kind).join(shard).join(rest))
    }

    /// The whole entry, header included, once its checksum has been found right.
    fn read(&self, key: &CacheKey) -> Option<Vec<u8>> {
        let content = std::fs::read(self.path(key)?).ok()?;
        let (magic, rest) = content.split_at_checked(MAGIC.len())?;
        let (sum, body) = rest.split_at_checked(4)?;
        if magic != MAGIC || sum != checksum(body) {
            return None;
        }
        Some(content)
    }

    fn write(&self, key: &CacheKey, body: &[u8]) {
        let Some(path) = self.path(key) else {
            return;
        };
        if self.read_only.load(Ordering::Relaxed) {
            return;
        }
        let written = match write_whole(&path, body) {
            // The folder was there a moment ago: somebody clears the cache.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => write_whole(&path, body),
            written => written,
        };
        match written {
            Ok(()) => self.mark(),
            Err(error) => self.give_up(&error),
        }
    }

    /// Marks the cache folder as one, once in a run.
    pub(super) fn mark(&self) {
        if !self.is_marked.swap(true, Ordering::Relaxed)
            && let Some(folder) = self.folder.as_deref().and_then(Path::parent)
        {
            // A cache that is not marked is backed up; that is all.
            let _ = cache_folder::mark(folder);
        }
    }

    /// Writes nothing more in this run, and says so once.
    pub(super) fn give_up(&self, error: &std::io::Error) {
        if self.read_only.swap(true, Ordering::Relaxed) {
            return;
        }
        let folder = self.folder.clone().unwrap_or_default();
        self.warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(format!(
                "the cache in {} cannot be written, and this run goes on without it: {error}",
                folder.display()
            ));
    }

    /// The folder of wheels; `None` without a cache.
    pub(super) fn wheels(&self) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join("wheels"))
    }

    /// Whether something can be written, as far as is known.
    pub(super) fn is_writable(&self) -> bool {
        self.folder.is_some() && !self.read_only.load(Ordering::Relaxed)
    }
}

fn write_whole(path: &Path, body: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(NEW).tempfile_in(folder)?;
    file.write_all(MAGIC)?;
    file.write_all(&checksum(body))?;
    file.write_all(body)?;
    file.persist(path)?;
    Ok(())
}

/// Tells a damaged entry from a whole one. Against damage, not against malice: who can write the cache can do worse.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// The SHA-256 of `bytes` in lower-case hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether less than `lifetime` has passed; an entry from the future (a clock set back) is not trusted.
fn is_within(fetched_at: u64, now: u64, lifetime: u64) -> bool {
    now.checked_sub(fetched_at)
        .is_some_and(|age| age < lifetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_of_cache_control() {
        let policy = |header| CachePolicy::parse(Some(header));
        assert_eq!(policy("max-age=600, public").max_age, Some(600_000));
        assert_eq!(policy("No-Cache, max-age=600").max_age, Some(0));
        assert!(!policy("private, no-store").store);
        assert_eq!(
            CachePolicy::parse(None),
            CachePolicy {
                store: true,
                max_age: None
            }
        );
    }

    #[test]
    fn age_is_judged_by_the_clock_that_is_given() {
        let entry = |max_age| PageEntry {
            fetched_at: 1000,
            max_age,
            etag: None,
            last_modified: None,
            project: None,
        };
        let freshness = Duration::from_secs(1);
        assert!(entry(None).is_fresh(1999, freshness));
        assert!(!entry(None).is_fresh(2000, freshness));
        assert!(!entry(None).is_fresh(999, freshness));
        assert!(entry(Some(5000)).is_fresh(2000, freshness));
        assert!(!entry(Some(0)).is_fresh(1000, freshness));
    }

    #[test]
    fn every_damage_is_a_miss() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::new(Some(folder.path()));
        let url = Url::parse("https://example.org/simple/").expect("a URL");
        let key = CacheKey::page(&url, &"a".parse().expect("a name"));
        let entry = PageEntry {
            fetched_at: 7,
            max_age: None,
            etag: Some("\"x\"".to_owned()),
            last_modified: None,
            project: Some(Project::new(Vec::new())),
        };
        cache.write_page(&key, &entry);
        let read = cache.read_page(&key).expect("an entry");
        assert_eq!((read.fetched_at, read.etag), (7, entry.etag));
        let path = cache.path(&key).expect("a path");
        let whole = std::fs::read(&path).expect("the entry");
        for length in 0..whole.len() {
            std::fs::File::create(&path)
                .and_then(|mut file| file.write_all(&whole[..length]))
                .expect("written");
            assert!(cache.read_page(&key).is_none(), "{length} bytes");
        }
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x10;
            std::fs::File::create(&path)
                .and_then(|mut file| file.write_all(&damaged))
                .expect("written");
            assert!(cache.read_page(&key).is_none(), "byte {position}");
        }
        assert!(cache.warnings().is_empty());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_one_warning() {
        let folder = tempfile::tempdir().expect("a folder");
        let occupied = folder.path().join("file");
        std::fs::File::create(&occupied).expect("a file");
        let cache = Cache::new(Some(&occupied));
        let url = Url::parse("https://example.org/simple/").expect("a URL");
        for name in ["a", "b"] {
            let key = CacheKey::page(&url, &name.parse().expect("a name"));
            cache.write_bytes(&key, 0, b"x");
            assert!(cache.read_bytes(&key, None).is_none());
        }
        assert_eq!(cache.warnings().len(), 1);
    }
}
