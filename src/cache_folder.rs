//! The folder that is kept between runs. What lies in it is told by whoever keeps it there, as a [`CacheLayout`], so
//! that `imgtool cache` can measure and clear it without knowing a single format.

use std::io::{self, Write as _};
use std::path::Path;

/// The file that tells backup programs to pass the folder over (<https://bford.info/cachedir/>).
pub const TAG: &str = "CACHEDIR.TAG";

/// What stands in [`TAG`]. Its first line is the one that the convention demands.
pub const TAG_CONTENT: &str = "\
Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of imgtool: `imgtool cache clean` empties it.
";

/// What names of files that are being written begin with.
pub const NEW: &str = ".new-";

/// What names of temporary files begin with: they are never an entry, and one that is old was left behind by a kill.
pub const TEMPORARY: char = '.';

/// What one module keeps in the cache folder: a folder of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLayout {
    /// Name of the folder, which ends in `-v` and the version of its format: `package-index-v1`.
    pub folder: &'static str,
    /// The kinds of entries in it.
    pub parts: &'static [CachePart],
}

/// One kind of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePart {
    /// Its name for programs, such as `index-pages`.
    pub name: &'static str,
    /// What it holds, in the plural: `pages of the package index`.
    pub holds: &'static str,
    /// The folder of its entries below that of the layout, at any depth; empty for the layout's folder itself.
    pub folder: &'static str,
}

impl CacheLayout {
    /// The version of the format that the folder `name` has, where it is this layout's in any version.
    #[must_use]
    pub fn version_in(&self, name: &str) -> Option<u32> {
        let (family, _) = self.folder.rsplit_once("-v")?;
        let digits = name.strip_prefix(family)?.strip_prefix("-v")?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok())?
    }

    /// The version of the format that this program reads.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version_in(self.folder).unwrap_or_default()
    }
}

/// Marks `folder` as a cache, unless it is marked.
///
/// # Errors
/// When the mark cannot be written.
pub fn mark(folder: &Path) -> io::Result<()> {
    let tag = folder.join(TAG);
    if tag.exists() {
        return Ok(());
    }
    let mut file = tempfile::Builder::new().prefix(NEW).tempfile_in(folder)?;
    file.write_all(TAG_CONTENT.as_bytes())?;
    file.persist(tag)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_its_version() {
        let layout = CacheLayout {
            folder: "layers-v3",
            parts: &[],
        };
        assert_eq!(layout.version(), 3);
        for (name, version) in [
            ("layers-v1", Some(1)),
            ("layers-v12", Some(12)),
            ("layers-v", None),
            ("layers-v1x", None),
            ("layers-v+1", None),
            ("layers", None),
            ("my-layers-v1", None),
        ] {
            assert_eq!(layout.version_in(name), version, "{name}");
        }
    }

    #[test]
    fn a_mark_is_written_once() {
        let folder = tempfile::tempdir().expect("a folder");
        mark(folder.path()).expect("written");
        mark(folder.path()).expect("there");
        let tag = std::fs::read_to_string(folder.path().join(TAG)).expect("a tag");
        assert_eq!(tag, TAG_CONTENT);
        assert!(mark(&folder.path().join("absent")).is_err());
    }
}
