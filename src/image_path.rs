//! Paths inside a root: absolute, `/`-separated, whatever the machine that reads them.

use std::fmt;

/// An absolute path inside a root file system, without `.`, `..`, empty components or a trailing slash.
///
/// It says nothing about symbolic links: [`crate::rootfs::resolve`] follows them. Names that are not UTF-8 cannot be
/// said in one; nothing that Python installs has such a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImagePath(String);

impl ImagePath {
    /// The root itself, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Reads a path as seen from the root. `..` takes away the component before it and never leaves the root; this
    /// is done on the text, so of a path that may have links before a `..` resolve the text instead.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::root().join(text)
    }

    /// The path as text, beginning with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This path followed by `relative`, whose leading slash, if any, means nothing. `..` is read as in
    /// [`ImagePath::new`].
    #[must_use]
    pub fn join(&self, relative: &str) -> Self {
        let mut joined = Self(String::with_capacity(self.0.len() + relative.len() + 1));
        joined.0.push_str(&self.0);
        for component in relative.split('/') {
            match component {
                "" | "." => {}
                ".." => joined.pop(),
                name => joined.push(name),
            }
        }
        joined
    }

    /// Appends one component, which the caller has split off at slashes.
    pub(crate) fn push(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push('/');
        }
        self.0.push_str(name);
    }

    /// Takes away the last component; the root stays what it is.
    pub(crate) fn pop(&mut self) {
        let end = self.0.rfind('/').unwrap_or(0);
        self.0.truncate(end.max(1));
    }

    /// The folder that holds this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        (!self.is_root()).then(|| {
            let mut parent = self.clone();
            parent.pop();
            parent
        })
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// Whether `folder` is this path or holds it, at any depth.
    #[must_use]
    pub fn starts_with(&self, folder: &Self) -> bool {
        folder.is_root()
            || self
                .0
                .strip_prefix(&folder.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_never_leaves_its_root() {
        for (text, path) in [
            ("", "/"),
            ("/", "/"),
            ("opt/conda", "/opt/conda"),
            ("/opt//./conda/", "/opt/conda"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/opt/../..", "/"),
        ] {
            assert_eq!(ImagePath::new(text).as_str(), path);
        }
        assert_eq!(ImagePath::new("/a/b").join("../c").as_str(), "/a/c");
    }

    #[test]
    fn parts_of_a_path() {
        let path = ImagePath::new("/opt/conda");
        assert_eq!(path.file_name(), "conda");
        assert_eq!(path.parent(), Some(ImagePath::new("/opt")));
        assert_eq!(
            path.parent().and_then(|opt| opt.parent()),
            Some(ImagePath::root())
        );
        assert_eq!(ImagePath::root().parent(), None);
        assert_eq!(ImagePath::root().file_name(), "");
        assert!(path.starts_with(&ImagePath::new("/opt")));
        assert!(path.starts_with(&ImagePath::root()));
        assert!(!path.starts_with(&ImagePath::new("/op")));
    }
}
