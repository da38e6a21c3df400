//! What is remembered of layers between runs: their inventories, each in a file under the digest of its uncompressed
//! archive (`diff_id`).
//!
//! A file is written under a temporary name in the same folder and renamed once its layer is verified; so processes can
//! share the folder, and a kill leaves a temporary file, which `imgtool cache prune` removes. A file that is damaged
//! or of another format is a miss. A folder that cannot be written ends the caching with one warning and nothing else.
//!
//! ```text
//! {cache}/layers-v2/sha256-abcd...        the inventory of the layer with this diff_id
//! {cache}/layers-v2/sha256-abcd....blob   the diff_id and size of the blob that has this digest, as text
//! {cache}/layers-v2/.new-...              an inventory that is being written
//! ```

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::NamedTempFile;

use super::cache_layout::CACHE_LAYOUT;
use super::inventory::{Contents, Inventory};
use crate::cache_folder::{self, NEW};
use crate::digest::{self, Digest};

/// Ends the names of the files that lead from a blob to its `diff_id`.
const ALIAS: &str = ".blob";

/// The time of a file that is read is set anew when it is older than this, and not with every read.
const TOUCHED_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest alias, in bytes of text: what is longer is damage.
const LONGEST_ALIAS: u64 = 1024;

/// The cache of layers' inventories.
#[derive(Debug)]
pub struct InventoryCache {
    /// The folder of all caches.
    cache: PathBuf,
    /// The folder of this format.
    folder: PathBuf,
    /// The time of this run, since the epoch.
    now: Duration,
    /// Set when writing failed once: what is broken stays broken for the rest of a run.
    read_only: AtomicBool,
    warnings: Mutex<Vec<String>>,
}

impl InventoryCache {
    /// A cache below the folder `cache`, which need not exist; `now` is the time since the epoch.
    #[must_use]
    pub fn new(cache: &Path, now: Duration) -> Self {
        Self {
            cache: cache.to_owned(),
            folder: cache.join(CACHE_LAYOUT.folder),
            now,
            read_only: AtomicBool::new(false),
            warnings: Mutex::default(),
        }
    }

    /// The folder in which the inventories lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What went wrong so far, for people.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The inventory of the layer `diff_id`.
    #[must_use]
    pub fn read(&self, diff_id: &Digest) -> Option<Inventory> {
        let path = self.path(diff_id);
        let inventory = Inventory::open(&path, diff_id)?;
        self.touch(&path);
        Some(inventory)
    }

    /// What the blob with the digest `blob` was found to be when it was read and verified: the layer's `diff_id`, and the
    /// blob's size in bytes. Damage is a miss.
    #[must_use]
    pub fn known_blob(&self, blob: &Digest) -> Option<(Digest, u64)> {
        let path = self.alias(blob);
        let mut text = String::new();
        let file = File::open(&path).ok()?;
        file.take(LONGEST_ALIAS).read_to_string(&mut text).ok()?;
        let mut words = text.split(' ');
        let diff_id: Digest = words.next()?.parse().ok()?;
        let size = words.next()?.parse().ok()?;
        if text != alias_text(blob, &diff_id, size) {
            return None;
        }
        self.touch(&path);
        Some((diff_id, size))
    }

    /// Where the kept files of a layer that is about to be read go: to a file of the cache, or to memory where there can
    /// be none.
    pub(super) fn contents(&self) -> Contents {
        if self.read_only.load(Ordering::Relaxed) {
            return Contents::in_memory();
        }
        self.temporary()
            .and_then(Contents::in_file)
            .unwrap_or_else(|error| {
                self.warn(&error);
                Contents::in_memory()
            })
    }

    /// The name that an inventory gets.
    pub(super) fn path(&self, diff_id: &Digest) -> PathBuf {
        self.folder.join(file_name(diff_id))
    }

    /// Remembers that the blob with the digest `blob` and this size is the layer `diff_id`, which has been verified.
    pub(super) fn write_alias(&self, blob: &Digest, diff_id: &Digest, size: u64) {
        if self.read_only.load(Ordering::Relaxed) {
            return;
        }
        let written = self.temporary().and_then(|mut file| {
            file.write_all(alias_text(blob, diff_id, size).as_bytes())?;
            file.persist(self.alias(blob))?;
            Ok(())
        });
        if let Err(error) = written {
            self.warn(&error);
        }
    }

    /// Ends the caching of this run, with one warning.
    pub(super) fn warn(&self, error: &io::Error) {
        if !self.read_only.swap(true, Ordering::Relaxed) {
            self.warnings
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(format!(
                    "the cache in {} cannot be written, and this run goes on without it: {error}",
                    self.folder.display()
                ));
        }
    }

    fn temporary(&self) -> io::Result<NamedTempFile> {
        fs::create_dir_all(&self.folder)?;
        // A cache that is not marked is backed up; that is all.
        let _ = cache_folder::mark(&self.cache);
        tempfile::Builder::new()
            .prefix(NEW)
            .tempfile_in(&self.folder)
    }

    fn alias(&self, blob: &Digest) -> PathBuf {
        self.folder.join(format!("{}{ALIAS}", file_name(blob)))
    }

    /// Sets the time of a file that was read, so that `imgtool cache prune` leaves it.
    fn touch(&self, path: &Path) {
        let aged = fs::metadata(path).is_ok_and(|metadata| self.age(&metadata) > TOUCHED_EVERY);
        if aged && let Ok(file) = File::options().append(true).open(path) {
            // A cache that may only be read is of use as well.
            let _ = file.set_modified(UNIX_EPOCH + self.now);
        }
    }

    /// How long ago a file was written or read; nothing for one from the future.
    fn age(&self, metadata: &Metadata) -> Duration {
        let modified = metadata.modified().ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        self.now.saturating_sub(since.unwrap_or_default())
    }
}

/// A digest as the name of a file. Of its characters only the colon is none that every file system takes.
fn file_name(digest: &Digest) -> String {
    digest.to_string().replace(':', "-")
}

/// What stands in the file of a blob: its layer, its size, and a checksum that also names the blob.
fn alias_text(blob: &Digest, diff_id: &Digest, size: u64) -> String {
    let text = format!("{diff_id} {size}");
    let checksum = digest::sha256(format!("{blob} {text}").as_bytes());
    format!("{text} {checksum}\n")
}
