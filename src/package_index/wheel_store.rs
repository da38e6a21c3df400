//! Whole wheels, for who installs them: fetched as a stream into the cache folder, and never held in memory.
//!
//! A wheel is named by its SHA-256 when every byte of it has been hashed, by a rename: what has the name is whole. One
//! that is in the cache already is hashed once in a run before it is used, as what lies on a disk for months may be
//! damaged; a damaged one is fetched again. Without a cache folder, or where it cannot be written, wheels lie in a
//! folder of temporary files that goes away with the last [`StoredWheel`].

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::{NamedTempFile, TempDir};
use url::Url;

use super::cache::CacheKey;
use super::client::{IndexClient, Shared};
use super::error::IndexError;
use super::local;
use super::metadata::{MOST_FILE, WheelSource};
use super::project::is_local;
use crate::cache_folder::NEW;
use crate::digest::Hasher;
use crate::http::{HttpError, OpenAt, Request, Resume, Streamed, read_resuming};
use crate::packaging::simple::IndexFile;

/// How many bytes are read at a time.
const BLOCK: usize = 1 << 17;

/// How many wheels are fetched at a time: more do not come faster over one line, and each writes to the same disk.
const AT_A_TIME: usize = 4;

/// Told how far wheels have come. Called from several threads at once.
pub trait FetchProgress: Sync {
    /// The wheel `index` of `total` is about to be fetched; `size` is in bytes, where it is known.
    fn started(&self, index: usize, total: usize, file_name: &str, size: Option<u64>);
    /// So many more bytes of it have come.
    fn advanced(&self, index: usize, bytes: u64);
    /// The wheel is there; `cached` where nothing had to be fetched.
    fn finished(&self, index: usize, cached: bool);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl FetchProgress for Unwatched {
    fn started(&self, _: usize, _: usize, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: usize, _: u64) {}
    fn finished(&self, _: usize, _: bool) {}
}

/// A whole wheel on this machine, verified in this run.
#[derive(Debug, Clone)]
pub struct StoredWheel {
    /// Name of the wheel, which is not that of the file: the cache names by hash.
    pub file_name: String,
    /// Where its bytes are. Not to be written to: other runs use the same file.
    pub path: PathBuf,
    /// SHA-256 of the bytes in lower-case hexadecimal.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
    /// The folder of temporary files that it lies in, where it does.
    run: Option<Arc<TempDir>>,
}

impl StoredWheel {
    /// Whether the wheel goes away with the run that fetched it.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.run.is_some()
    }
}

/// What a client knows of wheels on this machine.
#[derive(Debug, Default)]
pub(super) struct WheelStore {
    /// Hashes of wheels of the cache that were verified in this run.
    verified: Mutex<BTreeSet<String>>,
    /// Where wheels lie that the cache does not have.
    run: Mutex<Option<Arc<TempDir>>>,
}

/// Where a wheel is written, and by whom it is kept there.
struct Place {
    folder: PathBuf,
    run: Option<Arc<TempDir>>,
}

/// A wheel, to be asked for again where it breaks off.
struct Asking {
    shared: Arc<Shared>,
    url: Url,
    limit: u64,
}

impl OpenAt for Asking {
    type Error = HttpError;

    async fn open_at(&self, offset: u64) -> Result<Streamed, HttpError> {
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        let request = Request {
            range: range.as_deref(),
            // The hash is that of the file, not of a form that a server chose for the way.
            verbatim: true,
            ..Request::new(&self.url, self.limit)
        };
        self.shared.http.stream(request).await
    }
}

impl IndexClient {
    /// The wheel as a file on this machine, verified against the SHA-256 and the size that are announced. Nothing is
    /// asked for where the cache has it; one on this machine is used where it lies.
    ///
    /// # Errors
    /// When the wheel cannot be fetched or stored, or is another than announced.
    pub fn fetch_wheel(
        &self,
        file: &IndexFile,
        progress: &dyn FetchProgress,
    ) -> Result<StoredWheel, IndexError> {
        self.fetch_one(file, (0, 1), progress)
    }

    /// As [`Self::fetch_wheel`], of several wheels at the same time. The result has their order.
    ///
    /// # Errors
    /// Those of the first wheel that cannot be had; no other is begun then.
    pub fn fetch_wheels(
        &self,
        files: &[IndexFile],
        progress: &dyn FetchProgress,
    ) -> Result<Vec<StoredWheel>, IndexError> {
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let mut outcomes: Vec<(usize, Result<StoredWheel, IndexError>)> =
            std::thread::scope(|scope| {
                let fetch = || {
                    let mut fetched = Vec::new();
                    while !failed.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(file) = files.get(index) else {
                            break;
                        };
                        let outcome = self.fetch_one(file, (index, files.len()), progress);
                        failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
                        fetched.push((index, outcome));
                    }
                    fetched
                };
                let others: Vec<_> = (1..files.len().min(AT_A_TIME))
                    .map(|_| scope.spawn(fetch))
                    .collect();
                let mut outcomes = fetch();
                for other in others {
                    match other.join() {
                        Ok(fetched) => outcomes.extend(fetched),
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
                outcomes
            });
        outcomes.sort_by_key(|(index, _)| *index);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn fetch_one(
        &self,
        file: &IndexFile,
        (index, total): (usize, usize),
        progress: &dyn FetchProgress,
    ) -> Result<StoredWheel, IndexError> {
        if is_local(&file.url) {
            let (path, sha256, size) = local::measured(file)?;
            check_size(file, size)?;
            progress.started(index, total, &file.filename, Some(size));
            progress.finished(index, true);
            return Ok(StoredWheel {
                file_name: file.filename.clone(),
                path,
                sha256,
                size,
                run: None,
            });
        }
        progress.started(index, total, &file.filename, file.size);
        if let Some(stored) = self.stored(file) {
            progress.finished(index, true);
            return Ok(stored);
        }
        let stored = self.download_wheel(file, &mut |bytes| progress.advanced(index, bytes))?;
        progress.finished(index, false);
        Ok(stored)
    }

    /// The wheel from the cache, or from this run's temporary files.
    fn stored(&self, file: &IndexFile) -> Option<StoredWheel> {
        let sha256 = match &file.sha256 {
            Some(sha256) => sha256.clone(),
            None => self.remembered_hash(file)?,
        };
        let run = lock(&self.wheels.run).clone();
        let in_run = run.map(|run| (path_of(run.path(), &sha256), Some(run)));
        let in_cache = self
            .shared
            .cache
            .wheels()
            .map(|folder| (path_of(&folder, &sha256), None));
        let found = |(path, run): (PathBuf, Option<Arc<TempDir>>)| {
            let mut opened = File::open(&path).ok()?;
            let size = opened
                .metadata()
                .ok()
                .filter(std::fs::Metadata::is_file)?
                .len();
            if file.size.is_some_and(|announced| announced != size) {
                return None;
            }
            let is_verified = run.is_some() || lock(&self.wheels.verified).contains(&sha256);
            if !is_verified {
                if hash_of(&mut opened).ok()? != sha256 {
                    return None;
                }
                lock(&self.wheels.verified).insert(sha256.clone());
            }
            Some(StoredWheel {
                file_name: file.filename.clone(),
                path,
                sha256: sha256.clone(),
                size,
                run,
            })
        };
        in_run.and_then(found).or_else(|| in_cache.and_then(found))
    }

    /// The hash that a wheel had when it was fetched, where nobody announces one and that is not too long ago.
    fn remembered_hash(&self, file: &IndexFile) -> Option<String> {
        let key = CacheKey::wheel("hashes", file);
        let bytes = self
            .shared
            .cache
            .read_bytes(&key, self.shared.freshness())?;
        String::from_utf8(bytes)
            .ok()
            .filter(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }

    fn download_wheel(
        &self,
        file: &IndexFile,
        advanced: &mut dyn FnMut(u64),
    ) -> Result<StoredWheel, IndexError> {
        let shared = &self.shared;
        let source = WheelSource {
            http: &shared.http,
            wheel: file,
        };
        let asking = Asking {
            shared: Arc::clone(shared),
            url: source.url()?,
            limit: file.size.unwrap_or(MOST_FILE).min(MOST_FILE),
        };
        let limit = asking.limit;
        let runtime = self.runtime(&file.filename)?;
        let answer = runtime
            .submit(async move {
                let first = asking.open_at(0).await;
                (asking, first)
            })
            .recv();
        let (asking, first) = answer.map_err(|_| IndexError::Interrupted {
            item: file.filename.clone(),
            reason: "the thread that fetches has ended".to_owned(),
        })?;
        let first = first.map_err(|error| source.network(error))?;
        if first.head.status != 200 {
            return Err(source.failed(&first.head));
        }
        if let Some(length) = first.length() {
            check_size(file, length)?;
            check_limit(file, length, limit)?;
        }
        let resume = Resume {
            expected: file.size.or(first.length()),
            attempts: shared.settings.retries,
            back_off: shared.settings.back_off,
        };
        let mut body = read_resuming(&runtime, first, asking, resume);
        let place = self.place(file)?;
        let (written, sha256, size) = write(file, &place, &mut body, limit, advanced)?;
        check_size(file, size)?;
        if let Some(expected) = &file.sha256
            && *expected != sha256
        {
            return Err(IndexError::HashMismatch {
                file: file.filename.clone(),
                expected: expected.clone(),
                found: sha256,
            });
        }
        let path = path_of(&place.folder, &sha256);
        name(written, &path).map_err(|error| not_stored(file, &place.folder, &error))?;
        if place.run.is_none() {
            shared.cache.mark();
            lock(&self.wheels.verified).insert(sha256.clone());
            if file.sha256.is_none() {
                let key = CacheKey::wheel("hashes", file);
                shared
                    .cache
                    .write_bytes(&key, (shared.clock)(), sha256.as_bytes());
            }
        }
        Ok(StoredWheel {
            file_name: file.filename.clone(),
            path,
            sha256,
            size,
            run: place.run,
        })
    }

    /// Where to write a wheel: the cache, and where there is none that can be written the folder of this run.
    fn place(&self, file: &IndexFile) -> Result<Place, IndexError> {
        let cache = &self.shared.cache;
        if let Some(folder) = cache.wheels().filter(|_| cache.is_writable()) {
            // Whether a folder can be written is known by trying; who clears the cache may take it away meanwhile.
            let tried = std::fs::create_dir_all(&folder)
                .and_then(|()| tempfile::Builder::new().prefix(NEW).tempfile_in(&folder));
            match tried {
                Ok(_) => return Ok(Place { folder, run: None }),
                Err(error) => cache.give_up(&error),
            }
        }
        let mut run = lock(&self.wheels.run);
        let folder = if let Some(folder) = &*run {
            Arc::clone(folder)
        } else {
            let made = tempfile::Builder::new()
                .prefix("imgtool-wheels-")
                .tempdir()
                .map_err(|error| IndexError::Store {
                    file: file.filename.clone(),
                    folder: "the folder of temporary files".to_owned(),
                    reason: error.to_string(),
                })?;
            Arc::clone(run.insert(Arc::new(made)))
        };
        Ok(Place {
            folder: folder.path().to_owned(),
            run: Some(folder),
        })
    }
}

/// The place of the wheel with this hash in a folder of wheels.
fn path_of(folder: &Path, sha256: &str) -> PathBuf {
    let (shard, rest) = sha256.split_at_checked(2).unwrap_or((sha256, "_"));
    folder.join(shard).join(rest)
}

/// Writes what `body` gives to a temporary file, with the hash and the number of its bytes.
fn write(
    file: &IndexFile,
    place: &Place,
    body: &mut impl Read,
    limit: u64,
    advanced: &mut dyn FnMut(u64),
) -> Result<(NamedTempFile, String, u64), IndexError> {
    let cannot = |error: io::Error| not_stored(file, &place.folder, &error);
    let mut written = tempfile::Builder::new()
        .prefix(NEW)
        .tempfile_in(&place.folder)
        .map_err(cannot)?;
    let mut hasher = Hasher::sha256();
    let mut size = 0;
    let mut block = vec![0; BLOCK];
    loop {
        let length = match body.read(&mut block) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken_off(file, error)),
        };
        size += length as u64;
        check_limit(file, size, limit)?;
        hasher.update(&block[..length]);
        written.write_all(&block[..length]).map_err(cannot)?;
        advanced(length as u64);
    }
    Ok((written, hasher.finish().digest().to_owned(), size))
}

/// Gives a complete file its name. Another process may have had the same idea: then its file is replaced by an equal one.
fn name(mut written: NamedTempFile, path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    written.as_file_mut().flush()?;
    written.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn hash_of(opened: &mut File) -> io::Result<String> {
    let mut hasher = Hasher::sha256();
    let mut block = vec![0; BLOCK];
    loop {
        match opened.read(&mut block) {
            Ok(0) => return Ok(hasher.finish().digest().to_owned()),
            Ok(length) => hasher.update(&block[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn check_size(file: &IndexFile, found: u64) -> Result<(), IndexError> {
    match file.size {
        Some(expected) if expected != found => Err(IndexError::SizeMismatch {
            file: file.filename.clone(),
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

fn check_limit(file: &IndexFile, size: u64, limit: u64) -> Result<(), IndexError> {
    if size <= limit {
        return Ok(());
    }
    check_size(file, size)?;
    let url = Url::parse(&file.url).map(|url| crate::http::redacted(&url));
    Err(IndexError::File {
        file: file.filename.clone(),
        source: HttpError::TooLarge {
            url: url.unwrap_or_default(),
            limit,
        },
    })
}

fn not_stored(file: &IndexFile, folder: &Path, error: &io::Error) -> IndexError {
    IndexError::Store {
        file: file.filename.clone(),
        folder: folder.display().to_string(),
        reason: error.to_string(),
    }
}

/// What a reader of a body says, which carries the error of the network.
fn broken_off(file: &IndexFile, error: io::Error) -> IndexError {
    let reason = error.to_string();
    let network = error
        .into_inner()
        .and_then(|inner| inner.downcast::<HttpError>().ok());
    match network {
        Some(source) => IndexError::File {
            file: file.filename.clone(),
            source: *source,
        },
        None => IndexError::Interrupted {
            item: file.filename.clone(),
            reason,
        },
    }
}

/// Locks; what is changed under the locks of this module is changed by one insertion.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheels_lie_under_their_hash() {
        let path = path_of(Path::new("wheels"), &"ab".repeat(32));
        assert_eq!(path, Path::new("wheels/ab").join("ab".repeat(31)));
    }

    #[test]
    fn what_broke_off_says_what_the_network_says() {
        let file = IndexFile {
            filename: "a-1-py3-none-any.whl".to_owned(),
            url: "https://u:secret@example.org/a-1-py3-none-any.whl?token=secret".to_owned(),
            sha256: None,
            size: None,
            requires_python: None,
            yanked: None,
            core_metadata: None,
            upload_time: None,
        };
        let status = HttpError::Status {
            url: "https://example.org/".to_owned(),
            status: 502,
        };
        let error = broken_off(&file, io::Error::other(status));
        assert_eq!(
            error.to_string(),
            "cannot fetch `a-1-py3-none-any.whl`: https://example.org/ answered with status 502"
        );
        let error = broken_off(&file, io::Error::other("gone"));
        assert!(matches!(error, IndexError::Interrupted { .. }), "{error}");
        let error = check_limit(&file, 9, 8).expect_err("too large");
        assert!(error.to_string().contains("larger than 8 bytes"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
