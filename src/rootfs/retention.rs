//! Which files of a layer are kept for whoever reads its environment, and in which form.
//!
//! A layer goes by once. What is not kept can be had by reading the layer again, so this is a list of what is wanted
//! nearly always, not of what may ever be wanted.

/// What is kept of a file beside its place, kind and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Its contents, where they have at most this many bytes.
    Contents {
        /// The most bytes that are kept; a larger file is not kept at all.
        limit: u64,
    },
    /// What [`super::executable::ExecutableScanner`] tells of it.
    Executable,
    /// Nothing more.
    Nothing,
}

/// What is kept of the file at `path`, which has no leading slash.
#[must_use]
pub fn retention(path: &str) -> Retention {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name == "METADATA" {
        Retention::Contents { limit: 16 << 20 }
    } else {
        Retention::Nothing
    }
}
