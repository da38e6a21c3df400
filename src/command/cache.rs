//! `imgtool cache`: where the cache lies, how large it is, and how it gets smaller.
//!
//! Nothing is removed that imgtool did not write: of a folder only names that a [`CacheLayout`] knows are touched, and a
//! folder that has none of them is refused. Other processes may use the cache at the same time: entries are files that
//! are read whole, so one that goes away is a miss for who comes later and nothing for who has opened it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::cache_folder::{CacheLayout, NEW, TAG, TAG_CONTENT, TEMPORARY};
use crate::package_index::{self, Clock};
use crate::report::cache_usage::{CacheUsage, PartUsage};
use crate::report::{json, text};
use crate::rootfs;
use crate::transport::document_cache;

use super::{Answer, CommandError, ExitStatus, Talk};

pub use crate::report::json::cache::Action;

/// Everybody who keeps something.
const LAYOUTS: &[CacheLayout] = &[
    package_index::CACHE_LAYOUT,
    rootfs::cache_layout::CACHE_LAYOUT,
    document_cache::CACHE_LAYOUT,
];

/// What folders that are being removed are called, so that a kill leaves nothing that looks like an entry.
const REMOVED: &str = ".imgtool-removed-";

/// A temporary file that nobody has written to for so long belongs to no process that still runs, milliseconds: no
/// layer takes a day to read.
const ABANDONED: u64 = DAY;

const DAY: u64 = 24 * 60 * 60 * 1000;

/// What `imgtool cache` was asked.
#[derive(Clone)]
pub struct CacheSettings {
    /// The cache folder; `None` where this machine has no place for one.
    pub folder: Option<PathBuf>,
    /// Whether the answer is JSON.
    pub json: bool,
    /// The time, which tells how old an entry is.
    pub clock: Clock,
    /// Width of the terminal in cells; `None` where there is none.
    pub width: Option<usize>,
}

/// What cannot be done with the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Nothing says where the cache lies.
    #[error("there is no folder for a cache: the home folder is not known")]
    NoFolder,
    /// Somebody else's folder.
    #[error("`{}` is not a cache of imgtool, so nothing in it is touched", _0.display())]
    NotOurs(PathBuf),
    /// This machine refuses.
    #[error("cannot {action} `{}`: {error}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
}

impl CacheError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoFolder => Some("name one with `--cache-dir` or IMGTOOL_CACHE_DIR".to_owned()),
            Self::NotOurs(_) => {
                let names: Vec<String> = LAYOUTS
                    .iter()
                    .map(|layout| format!("`{}`", layout.folder))
                    .collect();
                Some(format!(
                    "a cache holds {} or a {TAG} of imgtool; `imgtool cache dir` says where yours lies",
                    names.join(", ")
                ))
            }
            Self::Io { .. } => None,
        }
    }
}

/// Says where the cache lies.
///
/// # Errors
/// When there is no place for one.
pub fn dir(settings: &CacheSettings) -> Result<Answer, CommandError> {
    let folder = settings.folder.as_ref().ok_or(CacheError::NoFolder)?;
    let data = if settings.json {
        json::cache::dir(folder)
    } else {
        format!("{}\n", folder.display())
    };
    Ok(Answer {
        data,
        talk: Vec::new(),
        status: ExitStatus::Success,
    })
}

/// Says how large the cache is.
///
/// # Errors
/// When there is no place for one, the folder is not ours, or it cannot be read.
pub fn size(settings: &CacheSettings) -> Result<Answer, CommandError> {
    let found = Found::read(settings)?;
    let mut usage = Tally::new(&found.folder);
    for file in &found.files {
        usage.count(file);
    }
    Ok(answer(Action::Size, &usage.usage, found.talk, settings))
}

/// Removes what this version does not read, what was left behind half-written, and entries that nobody has used for
/// `days` days.
///
/// # Errors
/// As [`size`], and when something cannot be removed.
pub fn prune(settings: &CacheSettings, days: u32) -> Result<Answer, CommandError> {
    let found = Found::read(settings)?;
    let now = (settings.clock)();
    let mut usage = Tally::new(&found.folder);
    for file in &found.files {
        let age = now.saturating_sub(file.used_at);
        let is_removed = match file.kind {
            Kind::Entry(_) | Kind::Other => age >= u64::from(days) * DAY,
            Kind::Temporary => age >= ABANDONED,
            Kind::Former => true,
        };
        if is_removed && remove_file(&file.path)? {
            usage.count(file);
        }
    }
    // Folders stay where a running process may be about to write: only what no version of now reads goes whole.
    for folder in &found.former {
        remove_folder(folder)?;
    }
    Ok(answer(Action::Prune, &usage.usage, found.talk, settings))
}

/// Removes all that imgtool wrote, and nothing else.
///
/// # Errors
/// As [`prune`].
pub fn clean(settings: &CacheSettings) -> Result<Answer, CommandError> {
    let found = Found::read(settings)?;
    let mut usage = Tally::new(&found.folder);
    for file in &found.files {
        usage.count(file);
    }
    for folder in found.former.iter().chain(&found.present) {
        // Out of the way first: whoever starts now finds an empty cache, not one that vanishes piece by piece.
        let aside = tempfile::Builder::new()
            .prefix(REMOVED)
            .tempdir_in(&found.folder)
            .map_err(|error| failed("write to", &found.folder, error))?;
        match fs::rename(folder, aside.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", folder, error).into());
            }
            _ => remove_folder(aside.path())?,
        }
    }
    let tag = found.folder.join(TAG);
    if fs::read(&tag).is_ok_and(|content| content == TAG_CONTENT.as_bytes()) {
        remove_file(&tag)?;
    }
    Ok(answer(Action::Clean, &usage.usage, found.talk, settings))
}

fn answer(action: Action, usage: &CacheUsage, talk: Vec<Talk>, settings: &CacheSettings) -> Answer {
    let data = match action {
        _ if settings.json => json::cache::usage(action, usage),
        Action::Size => text::cache::size(usage, settings.width),
        Action::Prune | Action::Clean => text::cache::removed(usage, settings.width),
    };
    Answer {
        data,
        talk,
        status: ExitStatus::Success,
    }
}

/// What kind of file something in the cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An entry of the part with this name.
    Entry(&'static str),
    /// A file in a folder of ours that is no entry of a known part.
    Other,
    /// A file that was being written when it was looked at, or when its writer was killed.
    Temporary,
    /// A file in a folder of a format that this version does not read.
    Former,
}

/// One file of the cache.
struct CachedFile {
    path: PathBuf,
    kind: Kind,
    bytes: u64,
    /// When it was last read or written, in milliseconds since the epoch.
    used_at: u64,
}

/// What is in the cache folder and ours.
struct Found {
    folder: PathBuf,
    files: Vec<CachedFile>,
    /// Folders of formats that this version does not read, and of removals that were cut short.
    former: Vec<PathBuf>,
    /// Folders of present formats, and of ones that are newer than this version.
    present: Vec<PathBuf>,
    talk: Vec<Talk>,
}

impl Found {
    /// Looks through the cache folder; one that does not exist is empty.
    fn read(settings: &CacheSettings) -> Result<Self, CacheError> {
        let folder = settings.folder.clone().ok_or(CacheError::NoFolder)?;
        let mut found = Self {
            files: Vec::new(),
            former: Vec::new(),
            present: Vec::new(),
            talk: Vec::new(),
            folder,
        };
        let names = list(&found.folder)?;
        // What another process is about to name tells of nobody else.
        let is_new = |name: &OsString| name.to_str().is_some_and(|name| name.starts_with(NEW));
        let mut is_ours = names.iter().all(|(name, _)| is_new(name));
        for (name, metadata) in &names {
            let path = found.folder.join(name);
            let name = name.to_str().unwrap_or_default();
            let known = LAYOUTS
                .iter()
                .find_map(|layout| Some((layout, layout.version_in(name)?)));
            let is_removed = name.starts_with(REMOVED);
            if name == TAG {
                is_ours |= match fs::read(&path) {
                    Ok(tag) => tag == TAG_CONTENT.as_bytes(),
                    // It has just been taken away by who clears the cache, too.
                    Err(error) => error.kind() == io::ErrorKind::NotFound,
                };
            }
            if known.is_none() && !is_removed {
                continue;
            }
            is_ours = true;
            if !metadata.is_dir() {
                // A link may lead to anything.
                found.talk.push(Talk::Note(format!(
                    "`{}` is not a folder and is left alone",
                    path.display()
                )));
                continue;
            }
            match known {
                Some((layout, version)) if version == layout.version() => {
                    for part in layout.parts {
                        found.walk(&path.join(part.folder), Kind::Entry(part.name))?;
                    }
                    found.rest(&path, layout)?;
                    found.present.push(path);
                }
                Some((layout, version)) if version > layout.version() => {
                    found.walk(&path, Kind::Other)?;
                    found.present.push(path);
                }
                _ => {
                    found.walk(&path, Kind::Former)?;
                    found.former.push(path);
                }
            }
        }
        if is_ours {
            Ok(found)
        } else {
            Err(CacheError::NotOurs(found.folder))
        }
    }

    /// Takes in all files below `folder`. Links are neither followed nor touched.
    fn walk(&mut self, folder: &Path, kind: Kind) -> Result<(), CacheError> {
        let mut waiting = vec![folder.to_owned()];
        while let Some(folder) = waiting.pop() {
            for (name, metadata) in list(&folder)? {
                let path = folder.join(&name);
                if metadata.is_dir() {
                    waiting.push(path);
                } else if metadata.is_file() {
                    self.take(path, &name, &metadata, kind);
                }
            }
        }
        Ok(())
    }

    /// Takes in what lies in the folder of a layout beside its parts.
    fn rest(&mut self, folder: &Path, layout: &CacheLayout) -> Result<(), CacheError> {
        if layout.parts.iter().any(|part| part.folder.is_empty()) {
            return Ok(());
        }
        for (name, metadata) in list(folder)? {
            let is_part = layout
                .parts
                .iter()
                .any(|part| OsStr::new(part.folder) == name);
            let path = folder.join(&name);
            if metadata.is_dir() && !is_part {
                self.walk(&path, Kind::Other)?;
            } else if metadata.is_file() {
                self.take(path, &name, &metadata, Kind::Other);
            }
        }
        Ok(())
    }

    fn take(&mut self, path: PathBuf, name: &OsStr, metadata: &Metadata, kind: Kind) {
        let is_temporary = name.to_string_lossy().starts_with(TEMPORARY);
        self.files.push(CachedFile {
            path,
            kind: if is_temporary && kind != Kind::Former {
                Kind::Temporary
            } else {
                kind
            },
            bytes: metadata.len(),
            used_at: used_at(metadata),
        });
    }
}

/// When a file was last read or written: the times of the file system, which may be a day late for reading
/// (`relatime`) and know of no reading at all under `noatime`.
fn used_at(metadata: &Metadata) -> u64 {
    [metadata.accessed(), metadata.modified()]
        .into_iter()
        .filter_map(Result::ok)
        .filter_map(|time| time.duration_since(UNIX_EPOCH).ok())
        .filter_map(|passed| u64::try_from(passed.as_millis()).ok())
        .max()
        .unwrap_or(0)
}

/// The entries of a folder, sorted; none of one that is not there, or goes away meanwhile.
fn list(folder: &Path) -> Result<Vec<(OsString, Metadata)>, CacheError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read", folder, error)),
    };
    let mut listed = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed("read", folder, error))?;
        match entry.metadata() {
            Ok(metadata) => listed.push((entry.file_name(), metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("read", &entry.path(), error)),
        }
    }
    listed.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(listed)
}

/// Removes a file; says whether it was there.
fn remove_file(path: &Path) -> Result<bool, CacheError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("remove", path, error)),
    }
}

/// Removes a folder and all in it, links as links.
fn remove_folder(path: &Path) -> Result<(), CacheError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}

fn failed(action: &'static str, path: &Path, error: io::Error) -> CacheError {
    CacheError::Io {
        action,
        path: path.to_owned(),
        error,
    }
}

/// Counts files by kind.
struct Tally {
    usage: CacheUsage,
}

impl Tally {
    fn new(folder: &Path) -> Self {
        let parts = LAYOUTS
            .iter()
            .flat_map(|layout| layout.parts)
            .map(|part| (part.name, part.holds))
            .chain([
                ("other", "files of a newer imgtool"),
                ("temporary-files", "temporary files"),
                ("former-formats", "files that this version does not read"),
            ])
            .map(|(name, holds)| PartUsage {
                name,
                holds,
                ..PartUsage::default()
            })
            .collect();
        Self {
            usage: CacheUsage {
                folder: folder.to_owned(),
                parts,
            },
        }
    }

    fn count(&mut self, file: &CachedFile) {
        let name = match file.kind {
            Kind::Entry(part) => part,
            Kind::Other => "other",
            Kind::Temporary => "temporary-files",
            Kind::Former => "former-formats",
        };
        if let Some(part) = self.usage.parts.iter_mut().find(|part| part.name == name) {
            part.entries += 1;
            part.bytes += file.bytes;
        }
    }
}
