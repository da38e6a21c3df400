//! One read-only view of a root file system, whether it comes from a folder or from the layers of an image.
//!
//! An implementation of [`RootFs`] never follows a symbolic link: it says what lies at a path and no more. Links are
//! followed in one place, [`resolve`], which keeps them inside the root.

pub mod budget;
pub mod cache_layout;
pub mod directory;
pub mod executable;
pub mod inventory;
pub mod inventory_cache;
pub mod layer_entries;
mod layer_stream;
pub mod layers;
pub mod limits;
pub mod overlay;
mod pipeline;
pub mod progress;
pub mod resolve;
pub mod retention;

use crate::image_path::ImagePath;

pub use directory::DirectoryRoot;
pub use executable::{ElfFacts, ExecutableFacts};
pub use inventory_cache::InventoryCache;
pub use layers::{LayerError, ReadImage, ReadSettings, read_image};
pub use limits::Limits;
pub use overlay::{Overlay, WantedFiles};
pub use progress::{LayerProgress, Silent};
pub use resolve::Resolved;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link and the text of its target, which may be absolute and may lead nowhere.
    Symlink(String),
    /// A device, socket or pipe: never opened.
    Other,
}

/// What a folder's listing tells of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe.
    Other,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// Its name in the folder.
    pub name: String,
    /// What it is, links not followed.
    pub kind: EntryKind,
}

/// What a file system knows of a regular file without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Its size in bytes.
    pub size: u64,
    /// The layer that brought it, from 0, lowest first; `None` in a folder, which has no layers.
    pub layer: Option<usize>,
}

/// Permissions and owner of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// Permission bits, set-user-id, set-group-id and sticky bit among them: at most `0o7777`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u64,
    /// Numeric group.
    pub gid: u64,
}

impl Attributes {
    /// Those of a folder that no layer lists.
    pub const IMPLIED: Self = Self {
        mode: 0o755,
        uid: 0,
        gid: 0,
    };
}

/// What kept a file system from answering.
#[derive(Debug, thiserror::Error)]
pub enum RootFsError {
    /// Nothing lies at the path.
    #[error("`{0}` does not exist")]
    NotFound(ImagePath),
    /// Something else than a regular file lies at the path.
    #[error("`{0}` is not a regular file")]
    NotAFile(ImagePath),
    /// Something else than a folder lies at the path.
    #[error("`{0}` is not a folder")]
    NotADirectory(ImagePath),
    /// A file is larger than its reader is ready to take.
    #[error("`{path}` has {size} bytes, more than the {limit} that are read of such a file")]
    TooLarge {
        /// The file.
        path: ImagePath,
        /// Its size in bytes.
        size: u64,
        /// The most that would have been read, in bytes.
        limit: u64,
    },
    /// Symbolic links that lead in a circle, or to one another too many times.
    #[error("`{0}` leads through too many symbolic links")]
    SymlinkLoop(ImagePath),
    /// A file of a layer whose contents were not kept when the layer was read: reading the layer again with this path
    /// among the wanted ones helps.
    #[error("the contents of `{0}` were not kept")]
    NotRetained(ImagePath),
    /// The machine refused.
    #[error("cannot read `{path}`")]
    Io {
        /// What was to be read.
        path: ImagePath,
        /// Why it was not.
        #[source]
        source: std::io::Error,
    },
}

impl RootFsError {
    /// The error and what caused it, in one line: for notes, which have no chain of sources.
    #[must_use]
    pub fn with_cause(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}

/// A read-only root file system.
///
/// Every path that is handed in must be *real*: none of its folders is a symbolic link, as is true of what
/// [`resolve::resolve`] returns and of what [`RootFs::list`] finds there.
pub trait RootFs: Send + Sync {
    /// What lies at the real path `path`; `None` where nothing does.
    ///
    /// # Errors
    /// [`RootFsError::Io`].
    fn entry(&self, path: &ImagePath) -> Result<Option<Entry>, RootFsError>;

    /// The contents of the file at the real path `path`, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`RootFsError::NotFound`]; [`RootFsError::NotAFile`], also for a symbolic link; [`RootFsError::TooLarge`];
    /// [`RootFsError::Io`].
    fn read(&self, path: &ImagePath, limit: u64) -> Result<Vec<u8>, RootFsError>;

    /// Up to `length` bytes of the file at the real path `path`, from `offset` on; fewer where the file ends.
    ///
    /// # Errors
    /// As [`RootFs::read`], without a limit on the file.
    fn read_range(
        &self,
        path: &ImagePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, RootFsError>;

    /// Size and layer of the file at the real path `path`; `None` where no regular file lies.
    ///
    /// # Errors
    /// [`RootFsError::Io`].
    fn file_facts(&self, path: &ImagePath) -> Result<Option<FileFacts>, RootFsError>;

    /// What the file at the real path `path` says of itself as an executable. Of layers this is told while they are
    /// read, so it is there where the contents are not.
    ///
    /// # Errors
    /// As [`RootFs::read`], without a limit on the file.
    fn executable_facts(&self, path: &ImagePath) -> Result<ExecutableFacts, RootFsError>;

    /// The same for who does not want the versions: where the file itself is at hand, its first few hundred bytes tell
    /// the rest.
    ///
    /// # Errors
    /// As [`RootFs::executable_facts`].
    fn header_facts(&self, path: &ImagePath) -> Result<ExecutableFacts, RootFsError> {
        self.executable_facts(path)
    }

    /// Permissions and owner of what lies at the real path `path`; `None` where nothing does. Of a folder that is in no
    /// layer but implied by what lies in it, what engines make of it: `0o755`, owned by root.
    ///
    /// # Errors
    /// [`RootFsError::Io`].
    fn attributes(&self, path: &ImagePath) -> Result<Option<Attributes>, RootFsError>;

    /// The entries of the folder at the real path `path`, sorted by name.
    ///
    /// # Errors
    /// [`RootFsError::NotFound`]; [`RootFsError::NotADirectory`], also for a symbolic link; [`RootFsError::Io`].
    fn list(&self, path: &ImagePath) -> Result<Vec<ListedEntry>, RootFsError>;
}
