//! A folder of this machine, seen as a root file system.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::executable::{ExecutableFacts, ExecutableScanner};
use super::{Attributes, Entry, EntryKind, FileFacts, ListedEntry, RootFs, RootFsError, resolve};
use crate::image_path::ImagePath;

/// How much of an executable is read at a time, in bytes.
const EXECUTABLE_CHUNK: usize = 128 << 10;
/// How much of one is read at a time where only its header is wanted, in bytes.
const HEADER_CHUNK: usize = 4096;

/// Folders of a root that hold its C library or the folder of its architecture.
const LIBRARY_FOLDERS: [&str; 4] = ["lib", "lib64", "usr/lib", "usr/lib64"];

/// Names, in one of [`LIBRARY_FOLDERS`], that only a C library or its loader has: glibc where architectures are
/// not kept apart (Fedora, Arch), musl, and glibc in Debian's multiarch folders.
const C_LIBRARIES: [&str; 17] = [
    "libc.so.6",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
    "ld-musl-x86_64.so.1",
    "ld-musl-aarch64.so.1",
    "ld-musl-i386.so.1",
    "ld-musl-armhf.so.1",
    "ld-musl-powerpc64le.so.1",
    "ld-musl-s390x.so.1",
    "ld-musl-riscv64.so.1",
    "x86_64-linux-gnu/libc.so.6",
    "aarch64-linux-gnu/libc.so.6",
    "i386-linux-gnu/libc.so.6",
    "arm-linux-gnueabihf/libc.so.6",
    "powerpc64le-linux-gnu/libc.so.6",
    "s390x-linux-gnu/libc.so.6",
    "riscv64-linux-gnu/libc.so.6",
];

/// A folder of this machine as a root file system.
#[derive(Debug, Clone)]
pub struct DirectoryRoot {
    folder: PathBuf,
}

impl DirectoryRoot {
    /// Takes the folder `path` as a root.
    ///
    /// # Errors
    /// When `path` does not exist, is no folder, or may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = path.canonicalize()?;
        // Also tells a folder that may not be read, while the user's name for it is still known.
        fs::read_dir(&folder)?;
        Ok(Self { folder })
    }

    /// The root that `path` lies in, and its path in there: the nearest folder above it, or itself, that holds a C
    /// library. That is `/` for what is installed on this machine, and the unpacked root for a folder inside one.
    /// Where no folder holds a C library, `/`.
    ///
    /// # Errors
    /// As [`DirectoryRoot::open`].
    pub fn enclosing(path: &Path) -> io::Result<(Self, ImagePath)> {
        let folder = Self::open(path)?.folder;
        let root = folder
            .ancestors()
            .map(|ancestor| Self {
                folder: ancestor.to_owned(),
            })
            .find(Self::is_root_file_system)
            .unwrap_or_else(|| Self {
                folder: PathBuf::from("/"),
            });
        let mut inside = ImagePath::root();
        let relative = folder.strip_prefix(&root.folder).unwrap_or(Path::new(""));
        for component in relative.components() {
            if let Component::Normal(name) = component {
                inside.push(name.to_str().ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "its path is not UTF-8")
                })?);
            }
        }
        Ok((root, inside))
    }

    /// The root that `path` is, or lies in, and whether it is that root itself.
    ///
    /// # Errors
    /// As [`DirectoryRoot::open`].
    pub fn around(path: &Path) -> io::Result<(Self, bool)> {
        let itself = Self::open(path)?;
        if itself.is_root_file_system() {
            return Ok((itself, true));
        }
        let (root, _) = Self::enclosing(path)?;
        Ok((root, false))
    }

    /// Whether the folder is a root file system: it holds a C library where a root has it, or says which
    /// distribution it is (`os-release(5)`), as a root with static executables alone does.
    #[must_use]
    pub fn is_root_file_system(&self) -> bool {
        // Where /lib is a link to usr/lib, /usr looks like a root of its own; but only a root has /usr.
        if self.folder.ends_with("usr") && !self.holds("usr") {
            return false;
        }
        if self.holds("etc/os-release") || self.holds("usr/lib/os-release") {
            return true;
        }
        LIBRARY_FOLDERS.iter().any(|folder| {
            let found = resolve::resolve(self, &ImagePath::new(folder));
            let Ok(Some(library_folder)) = found else {
                return false;
            };
            C_LIBRARIES
                .iter()
                .any(|name| self.holds(library_folder.path.join(name).as_str()))
        })
    }

    fn holds(&self, path: &str) -> bool {
        matches!(resolve::resolve(self, &ImagePath::new(path)), Ok(Some(_)))
    }

    fn on_this_machine(&self, path: &ImagePath) -> PathBuf {
        self.folder.join(path.as_str().trim_start_matches('/'))
    }

    /// Hands the file to `scanner`, `chunk` bytes at a time, until it knows all it wants.
    fn scan(
        &self,
        path: &ImagePath,
        mut scanner: ExecutableScanner,
        chunk: usize,
    ) -> Result<ExecutableFacts, RootFsError> {
        let (mut file, _) = self.open_file(path)?;
        let mut buffer = vec![0; chunk];
        while !scanner.is_done() {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => scanner.push(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(classify(path, error)),
            }
        }
        Ok(scanner.finish())
    }

    /// Opens a regular file and nothing else: opening a pipe would wait for its other end.
    fn open_file(&self, path: &ImagePath) -> Result<(File, u64), RootFsError> {
        let location = self.on_this_machine(path);
        let metadata = fs::symlink_metadata(&location).map_err(|error| classify(path, error))?;
        if !metadata.is_file() {
            return Err(RootFsError::NotAFile(path.clone()));
        }
        let file = File::open(&location).map_err(|error| classify(path, error))?;
        Ok((file, metadata.len()))
    }
}

fn classify(path: &ImagePath, source: io::Error) -> RootFsError {
    match source.kind() {
        // A file where a folder was expected: the path leads nowhere.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            RootFsError::NotFound(path.clone())
        }
        _ => RootFsError::Io {
            path: path.clone(),
            source,
        },
    }
}

fn kind_of(file_type: fs::FileType) -> EntryKind {
    if file_type.is_file() {
        EntryKind::File
    } else if file_type.is_dir() {
        EntryKind::Directory
    } else if file_type.is_symlink() {
        EntryKind::Symlink
    } else {
        EntryKind::Other
    }
}

#[cfg(unix)]
fn attributes_of(metadata: &fs::Metadata) -> Attributes {
    use std::os::unix::fs::MetadataExt as _;
    Attributes {
        mode: metadata.mode() & 0o7777,
        uid: u64::from(metadata.uid()),
        gid: u64::from(metadata.gid()),
    }
}

/// Where files have no such permissions, those that a file of root's usually has.
#[cfg(not(unix))]
fn attributes_of(metadata: &fs::Metadata) -> Attributes {
    let mode = if metadata.is_dir() { 0o755 } else { 0o644 };
    Attributes {
        mode,
        uid: 0,
        gid: 0,
    }
}

impl RootFs for DirectoryRoot {
    fn entry(&self, path: &ImagePath) -> Result<Option<Entry>, RootFsError> {
        let location = self.on_this_machine(path);
        let metadata = match fs::symlink_metadata(&location) {
            Ok(metadata) => metadata,
            Err(error) => {
                return match classify(path, error) {
                    RootFsError::NotFound(_) => Ok(None),
                    error => Err(error),
                };
            }
        };
        Ok(Some(match kind_of(metadata.file_type()) {
            EntryKind::File => Entry::File,
            EntryKind::Directory => Entry::Directory,
            EntryKind::Other => Entry::Other,
            EntryKind::Symlink => {
                let target = fs::read_link(&location).map_err(|error| classify(path, error))?;
                Entry::Symlink(target.to_string_lossy().into_owned())
            }
        }))
    }

    fn read(&self, path: &ImagePath, limit: u64) -> Result<Vec<u8>, RootFsError> {
        let (file, size) = self.open_file(path)?;
        let too_large = |size| RootFsError::TooLarge {
            path: path.clone(),
            size,
            limit,
        };
        if size > limit {
            return Err(too_large(size));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        // Files of /proc say that they are empty and are not: the limit holds for what is read as well. Of all others
        // no more than their size is read, which saves asking a second time.
        let length = if size == 0 {
            limit.saturating_add(1)
        } else {
            size
        };
        file.take(length)
            .read_to_end(&mut bytes)
            .map_err(|error| classify(path, error))?;
        let read = bytes.len() as u64;
        if read > limit {
            return Err(too_large(read));
        }
        Ok(bytes)
    }

    fn read_range(
        &self,
        path: &ImagePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, RootFsError> {
        let (mut file, size) = self.open_file(path)?;
        // No offset beyond the end is an error, however large.
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(left)];
        if offset > 0 && !bytes.is_empty() {
            file.seek(SeekFrom::Start(offset))
                .map_err(|error| classify(path, error))?;
        }
        // One call in all but the strangest cases; `read_to_end` would make three, and feel its way.
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read(&mut bytes[filled..]) {
                // It was cut short meanwhile.
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(classify(path, error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn file_facts(&self, path: &ImagePath) -> Result<Option<FileFacts>, RootFsError> {
        match fs::symlink_metadata(self.on_this_machine(path)) {
            Ok(metadata) if metadata.is_file() => Ok(Some(FileFacts {
                size: metadata.len(),
                layer: None,
            })),
            Ok(_) => Ok(None),
            Err(error) => match classify(path, error) {
                RootFsError::NotFound(_) => Ok(None),
                error => Err(error),
            },
        }
    }

    fn executable_facts(&self, path: &ImagePath) -> Result<ExecutableFacts, RootFsError> {
        self.scan(path, ExecutableScanner::new(), EXECUTABLE_CHUNK)
    }

    fn header_facts(&self, path: &ImagePath) -> Result<ExecutableFacts, RootFsError> {
        self.scan(path, ExecutableScanner::for_header(), HEADER_CHUNK)
    }

    fn attributes(&self, path: &ImagePath) -> Result<Option<Attributes>, RootFsError> {
        match fs::symlink_metadata(self.on_this_machine(path)) {
            Ok(metadata) => Ok(Some(attributes_of(&metadata))),
            Err(error) => match classify(path, error) {
                RootFsError::NotFound(_) => Ok(None),
                error => Err(error),
            },
        }
    }

    fn list(&self, path: &ImagePath) -> Result<Vec<ListedEntry>, RootFsError> {
        let location = self.on_this_machine(path);
        let io_error = |source| classify(path, source);
        let metadata = fs::symlink_metadata(&location).map_err(io_error)?;
        if !metadata.is_dir() {
            return Err(RootFsError::NotADirectory(path.clone()));
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(&location).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            let kind = kind_of(entry.file_type().map_err(io_error)?);
            // See `ImagePath`: such a name cannot be said, and is nothing that Python installs.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(ListedEntry { name, kind });
            }
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        File::create(path).expect("a file");
    }

    #[test]
    fn a_listing_is_sorted_and_does_not_follow_links() {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("b"));
        write(&folder.path().join("a/x"));
        symlink("b", folder.path().join("c")).expect("a link");
        let root = DirectoryRoot::open(folder.path()).expect("a root");
        let listed: Vec<_> = root
            .list(&ImagePath::root())
            .expect("a listing")
            .into_iter()
            .map(|entry| (entry.name, entry.kind))
            .collect();
        assert_eq!(
            listed,
            [
                ("a".to_owned(), EntryKind::Directory),
                ("b".to_owned(), EntryKind::File),
                ("c".to_owned(), EntryKind::Symlink),
            ]
        );
        assert!(matches!(
            root.read(&ImagePath::new("/c"), 10),
            Err(RootFsError::NotAFile(_))
        ));
        assert!(matches!(
            root.list(&ImagePath::new("/b")),
            Err(RootFsError::NotADirectory(_))
        ));
    }

    #[test]
    fn permissions_and_owners_are_those_of_the_machine() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::create_dir(&path).expect("a folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o2751)).expect("set");
        let own = fs::metadata(&path).expect("a folder");
        let root = DirectoryRoot::open(folder.path()).expect("a root");
        let told = root.attributes(&ImagePath::new("/a")).expect("an answer");
        let expected = Attributes {
            mode: 0o2751,
            uid: u64::from(own.uid()),
            gid: u64::from(own.gid()),
        };
        assert_eq!(told, Some(expected));
        let none = root.attributes(&ImagePath::new("/b")).expect("an answer");
        assert_eq!(none, None);
    }

    #[test]
    fn the_enclosing_root_is_the_nearest_with_a_c_library() {
        let folder = tempfile::tempdir().expect("a folder");
        let rootfs = folder.path().join("rootfs");
        write(&rootfs.join("usr/lib/x86_64-linux-gnu/libc.so.6"));
        symlink("/usr/lib", rootfs.join("lib")).expect("a link");
        write(&rootfs.join("opt/conda/bin/python"));
        let (root, inside) = DirectoryRoot::enclosing(&rootfs.join("opt/conda")).expect("a root");
        assert_eq!(inside.as_str(), "/opt/conda");
        assert!(root.folder.ends_with("rootfs"));
        // /usr holds the library as well, but is no root.
        let (root, inside) = DirectoryRoot::enclosing(&rootfs.join("usr")).expect("a root");
        assert_eq!(inside.as_str(), "/usr");
        assert!(root.folder.ends_with("rootfs"));
    }

    #[test]
    fn musl_is_a_c_library() {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("lib/ld-musl-x86_64.so.1"));
        let root = DirectoryRoot::open(folder.path()).expect("a root");
        assert!(root.is_root_file_system());
    }
}
