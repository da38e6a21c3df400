//! Version 1 of the JSON shapes of the cache. Fields may be added; none is renamed, removed or changes its meaning.

use std::path::Path;

use serde::Serialize;

use crate::report::cache_usage::CacheUsage;

#[derive(Serialize)]
struct Folder {
    /// Always `imgtool.cache-dir/v1`.
    schema: &'static str,
    folder: String,
}

#[derive(Serialize)]
struct Usage {
    /// `imgtool.cache-size/v1`, `imgtool.cache-prune/v1` or `imgtool.cache-clean/v1`: what is there, or was removed.
    schema: &'static str,
    folder: String,
    /// Every kind of files, those without one included.
    parts: Vec<Part>,
    total: Total,
}

#[derive(Serialize)]
struct Part {
    name: &'static str,
    description: &'static str,
    files: u64,
    /// Bytes.
    size: u64,
}

#[derive(Serialize)]
struct Total {
    files: u64,
    /// Bytes.
    size: u64,
}

/// What was asked of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// How large it is.
    Size,
    /// To remove what is old.
    Prune,
    /// To remove everything.
    Clean,
}

/// Where the cache lies, as one JSON document with a final newline.
#[must_use]
pub fn dir(folder: &Path) -> String {
    super::document(&Folder {
        schema: "imgtool.cache-dir/v1",
        folder: folder.display().to_string(),
    })
}

/// What the cache holds, or what was removed from it, as one JSON document with a final newline.
#[must_use]
pub fn usage(action: Action, usage: &CacheUsage) -> String {
    let (files, size) = usage.total();
    super::document(&Usage {
        schema: match action {
            Action::Size => "imgtool.cache-size/v1",
            Action::Prune => "imgtool.cache-prune/v1",
            Action::Clean => "imgtool.cache-clean/v1",
        },
        folder: usage.folder.display().to_string(),
        parts: usage
            .parts
            .iter()
            .map(|part| Part {
                name: part.name,
                description: part.holds,
                files: part.entries,
                size: part.bytes,
            })
            .collect(),
        total: Total { files, size },
    })
}
