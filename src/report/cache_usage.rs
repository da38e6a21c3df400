//! What the cache holds, or what was removed from it.

use std::path::PathBuf;

/// Entries of the cache by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// The cache folder, which need not exist.
    pub folder: PathBuf,
    /// Each kind, in a fixed order, those without an entry included.
    pub parts: Vec<PartUsage>,
}

/// Entries of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartUsage {
    /// Its name for programs.
    pub name: &'static str,
    /// What it is, in the plural, for people.
    pub holds: &'static str,
    /// Number of files.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

impl CacheUsage {
    /// Number of files and their size in bytes, of all kinds together.
    #[must_use]
    pub fn total(&self) -> (u64, u64) {
        self.parts.iter().fold((0, 0), |(entries, bytes), part| {
            (entries + part.entries, bytes + part.bytes)
        })
    }
}
