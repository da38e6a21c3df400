//! Following symbolic links without ever leaving the root, as the kernel would after `chroot`.

use super::{Entry, EntryKind, ListedEntry, RootFs, RootFsError};
use crate::image_path::ImagePath;

/// How many symbolic links one path may lead through: what Linux allows (`MAXSYMLINKS`, see `path_resolution(7)`).
const MAX_SYMLINKS: usize = 40;

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The real path: no component of it is a symbolic link.
    pub path: ImagePath,
    /// What lies there; never [`EntryKind::Symlink`].
    pub kind: EntryKind,
}

impl Resolved {
    /// Whether a regular file lies there.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == EntryKind::File
    }

    /// Whether a folder lies there.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == EntryKind::Directory
    }
}

/// Follows every symbolic link of `path`; `None` where it leads nowhere.
///
/// # Errors
/// [`RootFsError::SymlinkLoop`], [`RootFsError::Io`].
pub fn resolve(root: &dyn RootFs, path: &ImagePath) -> Result<Option<Resolved>, RootFsError> {
    resolve_from(root, &ImagePath::root(), path.as_str())
}

/// Follows `target` as a symbolic link in the real folder `directory` would be followed: an absolute target begins
/// at the root, `..` is the real parent and ends at the root. `None` where it leads nowhere.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_from(
    root: &dyn RootFs,
    directory: &ImagePath,
    target: &str,
) -> Result<Option<Resolved>, RootFsError> {
    let mut real = start_of(directory, target);
    let mut kind = EntryKind::Directory;
    let mut links = 0;
    // What is still to be walked, the next component last.
    let mut pending: Vec<String> = components(target);
    while let Some(name) = pending.pop() {
        if kind != EntryKind::Directory {
            return Ok(None);
        }
        if name == ".." {
            real.pop();
            continue;
        }
        real.push(&name);
        match root.entry(&real)? {
            None => return Ok(None),
            Some(Entry::File) => kind = EntryKind::File,
            Some(Entry::Other) => kind = EntryKind::Other,
            Some(Entry::Directory) => {}
            Some(Entry::Symlink(target)) => {
                links += 1;
                if links > MAX_SYMLINKS {
                    return Err(RootFsError::SymlinkLoop(directory.join(&target)));
                }
                real.pop();
                real = start_of(&real, &target);
                pending.extend(components(&target));
            }
        }
    }
    Ok(Some(Resolved { path: real, kind }))
}

/// Where a folder will be that need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prospect {
    /// Once it is made.
    Folder {
        /// Its real path.
        path: ImagePath,
        /// The real path of the last folder on the way that exists; `path` itself where that does.
        nearest: ImagePath,
    },
    /// Something on the way is neither a folder nor a link to one.
    Obstructed(ImagePath),
}

/// Where the folder `path` is, or will be once what is missing of it is made. Links are followed as far as folders
/// exist; what `is_gone` names, a real path, counts as missing.
///
/// # Errors
/// As [`resolve`].
pub fn prospect(
    root: &dyn RootFs,
    path: &ImagePath,
    is_gone: &dyn Fn(&ImagePath) -> bool,
) -> Result<Prospect, RootFsError> {
    let mut real = ImagePath::root();
    let mut nearest = None;
    for name in path.as_str().split('/').filter(|name| !name.is_empty()) {
        let next = real.join(name);
        let found = match &nearest {
            Some(_) => None,
            None if is_gone(&next) => None,
            None => root.entry(&next)?,
        };
        match found {
            None => {
                nearest.get_or_insert(real);
                real = next;
            }
            Some(Entry::Directory) => real = next,
            Some(Entry::Symlink(_)) => match resolve(root, &next)? {
                Some(found) if found.is_directory() => real = found.path,
                _ => return Ok(Prospect::Obstructed(next)),
            },
            Some(Entry::File | Entry::Other) => return Ok(Prospect::Obstructed(next)),
        }
    }
    Ok(Prospect::Folder {
        nearest: nearest.unwrap_or_else(|| real.clone()),
        path: real,
    })
}

fn start_of(directory: &ImagePath, target: &str) -> ImagePath {
    if target.starts_with('/') {
        ImagePath::root()
    } else {
        directory.clone()
    }
}

fn components(target: &str) -> Vec<String> {
    target
        .split('/')
        .rev()
        .filter(|name| !matches!(*name, "" | "."))
        .map(ToOwned::to_owned)
        .collect()
}

/// The contents of the file that `path` leads to, of at most `limit` bytes; `None` where there is none.
///
/// # Errors
/// As [`RootFs::read`] and [`resolve`].
pub fn read_file(
    root: &dyn RootFs,
    path: &ImagePath,
    limit: u64,
) -> Result<Option<Vec<u8>>, RootFsError> {
    match resolve(root, path)? {
        Some(found) if found.is_file() => root.read(&found.path, limit).map(Some),
        _ => Ok(None),
    }
}

/// The contents of the file `name` of the real folder `directory`, links followed; `None` where there is none.
/// Cheaper than [`read_file`], as the folder needs no resolving.
///
/// # Errors
/// As [`read_file`].
pub fn read_file_in(
    root: &dyn RootFs,
    directory: &ImagePath,
    name: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, RootFsError> {
    match root.read(&directory.join(name), limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(RootFsError::NotFound(_)) => Ok(None),
        Err(RootFsError::NotAFile(_)) => match resolve_from(root, directory, name)? {
            Some(found) if found.is_file() => root.read(&found.path, limit).map(Some),
            _ => Ok(None),
        },
        Err(error) => Err(error),
    }
}

/// The folder that `path` leads to, with its entries; `None` where there is none.
///
/// # Errors
/// As [`RootFs::list`] and [`resolve`].
pub fn list_directory(
    root: &dyn RootFs,
    path: &ImagePath,
) -> Result<Option<(ImagePath, Vec<ListedEntry>)>, RootFsError> {
    match resolve(root, path)? {
        Some(found) if found.is_directory() => {
            let entries = root.list(&found.path)?;
            Ok(Some((found.path, entries)))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::DirectoryRoot;
    use super::*;

    fn real(root: &DirectoryRoot, path: &str) -> Option<String> {
        resolve(root, &ImagePath::new(path))
            .expect("resolves")
            .map(|found| found.path.to_string())
    }

    #[test]
    fn links_stay_inside_the_root() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("usr/lib")).expect("a folder");
        fs::File::create(at("usr/lib/file")).expect("a file");
        symlink("usr/lib", at("lib")).expect("a link");
        symlink("/usr/lib/file", at("absolute")).expect("a link");
        symlink("../../../../lib/file", at("usr/escape")).expect("a link");
        symlink("/etc/passwd", at("outside")).expect("a link");
        symlink("b", at("a")).expect("a link");
        symlink("a", at("b")).expect("a link");
        let root = DirectoryRoot::open(folder.path()).expect("a root");

        assert_eq!(real(&root, "/lib/file").as_deref(), Some("/usr/lib/file"));
        assert_eq!(real(&root, "/absolute").as_deref(), Some("/usr/lib/file"));
        assert_eq!(real(&root, "/usr/escape").as_deref(), Some("/usr/lib/file"));
        assert_eq!(real(&root, "/outside"), None);
        assert_eq!(real(&root, "/lib/file/below"), None);
        assert!(matches!(
            resolve(&root, &ImagePath::new("/a")),
            Err(RootFsError::SymlinkLoop(_))
        ));
        // `..` after a link is the parent of what the link leads to.
        let found = resolve_from(&root, &ImagePath::root(), "lib/..").expect("resolves");
        assert_eq!(found.expect("a folder").path.as_str(), "/usr");
    }

    #[test]
    fn folders_that_do_not_exist_have_a_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("usr/lib")).expect("a folder");
        fs::File::create(at("usr/lib/file")).expect("a file");
        symlink("usr/lib", at("lib")).expect("a link");
        symlink("nowhere", at("dangling")).expect("a link");
        let root = DirectoryRoot::open(folder.path()).expect("a root");
        let at = |path: &str, gone: &str| {
            let found = prospect(&root, &ImagePath::new(path), &|path| path.as_str() == gone);
            match found.expect("an answer") {
                Prospect::Folder { path, nearest } => format!("{path} from {nearest}"),
                Prospect::Obstructed(path) => format!("not past {path}"),
            }
        };
        assert_eq!(at("/lib", ""), "/usr/lib from /usr/lib");
        assert_eq!(at("/lib/a/b", ""), "/usr/lib/a/b from /usr/lib");
        assert_eq!(at("/lib/file/b", ""), "not past /usr/lib/file");
        assert_eq!(
            at("/lib/file/b", "/usr/lib/file"),
            "/usr/lib/file/b from /usr/lib"
        );
        assert_eq!(at("/lib/a", "/lib"), "/lib/a from /");
        assert_eq!(at("/dangling/a", ""), "not past /dangling");
        assert_eq!(at("/", ""), "/ from /");
    }

    #[test]
    fn files_are_read_through_links_and_within_limits() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("d")).expect("a folder");
        let mut file = fs::File::create(folder.path().join("d/file")).expect("a file");
        std::io::Write::write_all(&mut file, b"0123456789").expect("written");
        symlink("d/file", folder.path().join("link")).expect("a link");
        let root = DirectoryRoot::open(folder.path()).expect("a root");
        let read = |path: &str, limit| read_file(&root, &ImagePath::new(path), limit);
        assert_eq!(
            read("/link", 10).expect("read").as_deref(),
            Some(&b"0123456789"[..])
        );
        assert_eq!(read("/d", 10).expect("read"), None);
        assert_eq!(read("/none", 10).expect("read"), None);
        assert!(matches!(
            read("/link", 9),
            Err(RootFsError::TooLarge {
                size: 10,
                limit: 9,
                ..
            })
        ));
        let linked = read_file_in(&root, &ImagePath::root(), "link", 10).expect("read");
        assert_eq!(linked.as_deref(), Some(&b"0123456789"[..]));
        let middle = root.read_range(&ImagePath::new("/d/file"), 8, 10);
        assert_eq!(middle.expect("read"), b"89");
    }
}
