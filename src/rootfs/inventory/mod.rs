//! What one layer contributes to an image: its paths, whiteouts and links, and the small files that matter.
//!
//! An [`Inventory`] is one run of bytes, the same in memory and on disk, and is used where it lies. Its table is read
//! and checked as a whole; the contents of files are read one by one when somebody asks for them.
//!
//! ```text
//! header    magic and version; place and size of the table; checksums
//! contents  kept files and facts of executables, in the order in which the layer had them
//! table     records of RECORD bytes, the root first; the children of a folder lie together, sorted by name, behind it
//!           extents of EXTENT bytes: offset, length, checksum of something in the contents
//!           attributes of ATTRIBUTES bytes: mode, owner, group; each once, records point to them
//!           text that records point to: names, targets of links
//! ```
//!
//! Numbers are little-endian. A file that is damaged, cut, or of another version is no inventory, never a wrong one: the
//! table's checksum covers the digest of the layer as well, and each extent has one of its own.

pub mod builder;
mod contents;
mod freeze;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Attributes;
use super::executable::ExecutableFacts;
use crate::digest::Digest;

pub use builder::InventoryBuilder;
pub use contents::Contents;
pub use freeze::Unsealed;

/// Begins every inventory; the last byte is the version of the format.
const MAGIC: &[u8; 8] = b"imglayr2";

/// Bytes of the header.
const HEADER: usize = 48;

/// Bytes of a record.
const RECORD: usize = 36;

/// Bytes of an extent.
const EXTENT: usize = 16;

/// Bytes of attributes.
const ATTRIBUTES: usize = 20;

/// The most that a table may have, in bytes; what the limits of layers allow is less.
const MAX_TABLE: u64 = 1 << 30;

/// Stands in a record for no extent and for no attributes.
const NONE: u32 = u32::MAX;

/// Set on what hides everything that lower layers have at its path: opaque folders, and whatever has a whiteout beside it.
const OPAQUE: u8 = 1;

/// Set on a file that is kept because it was asked for by its path.
const WANTED: u8 = 2;

/// What lies at a path of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A folder, listed in the layer or only implied by what lies in it.
    Directory {
        /// Whether it hides what lower layers have in it.
        opaque: bool,
    },
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A device or a pipe.
    Other,
    /// Nothing, and nothing that lower layers have here.
    Whiteout,
    /// Another name of a file that this layer did not have when the link came; its text is the path from the root.
    HardLink,
}

/// A place in an inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// The root of a layer.
    pub const ROOT: Self = Self(0);
}

/// One record, read.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// Its name; empty for the root.
    pub name: &'a [u8],
    /// What it is.
    pub kind: NodeKind,
    /// Size of a file in bytes.
    pub size: u64,
    /// Target of a link; for a file whose contents were not kept and that is a hard link, the path of the file that it
    /// links to, which is what must be asked for.
    pub text: &'a [u8],
    contents: u32,
    facts: u32,
    attributes: u32,
    wanted: bool,
}

impl Node<'_> {
    /// Whether its contents were kept.
    #[must_use]
    pub fn has_contents(&self) -> bool {
        self.contents != NONE
    }
}

/// Why something kept cannot be had.
#[derive(Debug)]
pub enum ContentsError {
    /// It was not kept, or what was kept is damaged.
    Missing,
    /// The machine failed.
    Io(io::Error),
}

#[derive(Debug)]
enum Storage {
    Memory(Vec<u8>),
    File {
        file: File,
        path: PathBuf,
        /// Where the contents end.
        end: u64,
    },
}

/// What one layer contributes.
#[derive(Debug)]
pub struct Inventory {
    table: Vec<u8>,
    records: u32,
    extents: u32,
    attributes: u32,
    storage: Storage,
}

/// The fields of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    table: u64,
    table_length: u64,
    records: u32,
    extents: u32,
    attributes: u32,
}

impl Header {
    /// The header of a table whose bytes are `table`, of the layer `diff_id`.
    fn to_bytes(self, diff_id: &Digest, table: &[u8]) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.table.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.table_length.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.records.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.extents.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.attributes.to_le_bytes());
        let sum = table_sum(&bytes[..36], diff_id, table);
        bytes[36..40].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header and the checksum that it holds.
    fn parse(bytes: &[u8; HEADER]) -> Option<(Self, u32)> {
        if bytes[..8] != *MAGIC || bytes[40..].iter().any(|byte| *byte != 0) {
            return None;
        }
        let header = Self {
            table: u64_at(bytes, 8)?,
            table_length: u64_at(bytes, 16)?,
            records: u32_at(bytes, 24)?,
            extents: u32_at(bytes, 28)?,
            attributes: u32_at(bytes, 32)?,
        };
        let fixed = u64::from(header.records) * RECORD as u64
            + u64::from(header.extents) * EXTENT as u64
            + u64::from(header.attributes) * ATTRIBUTES as u64;
        let whole = header.table_length <= MAX_TABLE && fixed <= header.table_length;
        (header.records > 0 && whole).then_some((header, u32_at(bytes, 36)?))
    }
}

fn table_sum(header: &[u8], diff_id: &Digest, table: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(header);
    crc.update(diff_id.to_string().as_bytes());
    crc.update(table);
    crc.sum()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*bytes))
}

impl Inventory {
    /// The inventory of the layer `diff_id` in `bytes`; `None` where they are none.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>, diff_id: &Digest) -> Option<Self> {
        let (header, sum) = Header::parse(bytes.first_chunk()?)?;
        let start = usize::try_from(header.table).ok()?;
        let end = start.checked_add(usize::try_from(header.table_length).ok()?)?;
        if start < HEADER || end != bytes.len() {
            return None;
        }
        let mut bytes = bytes;
        let table = bytes.split_off(start);
        Self::new(header, sum, diff_id, table, Storage::Memory(bytes))
    }

    /// The inventory of the layer `diff_id` in the file at `path`; `None` where there is none.
    #[must_use]
    pub fn open(path: &Path, diff_id: &Digest) -> Option<Self> {
        Self::from_file(File::open(path).ok()?, path, diff_id)
    }

    fn from_file(mut file: File, path: &Path, diff_id: &Digest) -> Option<Self> {
        let mut bytes = [0; HEADER];
        file.seek(SeekFrom::Start(0)).ok()?;
        file.read_exact(&mut bytes).ok()?;
        let (header, sum) = Header::parse(&bytes)?;
        let end = header.table.checked_add(header.table_length)?;
        if file.metadata().ok()?.len() != end || header.table < HEADER as u64 {
            return None;
        }
        let mut table = vec![0; usize::try_from(header.table_length).ok()?];
        file.seek(SeekFrom::Start(header.table)).ok()?;
        file.read_exact(&mut table).ok()?;
        let storage = Storage::File {
            file,
            path: path.to_owned(),
            end: header.table,
        };
        Self::new(header, sum, diff_id, table, storage)
    }

    fn new(
        header: Header,
        sum: u32,
        diff_id: &Digest,
        table: Vec<u8>,
        storage: Storage,
    ) -> Option<Self> {
        let bytes = header.to_bytes(diff_id, &table);
        (u32_at(&bytes, 36) == Some(sum)).then_some(Self {
            table,
            records: header.records,
            extents: header.extents,
            attributes: header.attributes,
            storage,
        })
    }

    /// How many paths it has, the root and implied folders among them.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::from(self.records)
    }

    /// Never: the root is always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of names and contents, as the limits count them.
    #[must_use]
    pub fn retained(&self) -> u64 {
        let texts = self.table.len().saturating_sub(self.texts()) as u64;
        let contents = (0..self.extents)
            .filter_map(|extent| self.extent(extent))
            .map(|extent| u64::from(extent.length));
        contents.fold(texts, u64::saturating_add)
    }

    fn record(&self, id: NodeId) -> Option<&[u8; RECORD]> {
        if id.0 >= self.records {
            return None;
        }
        self.table.get(id.0 as usize * RECORD..)?.first_chunk()
    }

    /// Where the attributes begin in the table.
    fn attributes_start(&self) -> usize {
        self.records as usize * RECORD + self.extents as usize * EXTENT
    }

    /// Where the text begins in the table.
    fn texts(&self) -> usize {
        self.attributes_start() + self.attributes as usize * ATTRIBUTES
    }

    /// Permissions and owner of `node`; `None` for a folder that the layer does not list, and for whiteouts and links to
    /// other layers.
    #[must_use]
    pub fn attributes(&self, node: &Node<'_>) -> Option<Attributes> {
        if node.attributes >= self.attributes {
            return None;
        }
        let at = self.attributes_start() + node.attributes as usize * ATTRIBUTES;
        Some(Attributes {
            mode: u32_at(&self.table, at)? & 0o7777,
            uid: u64_at(&self.table, at + 4)?,
            gid: u64_at(&self.table, at + 12)?,
        })
    }

    fn text(&self, offset: u32, length: usize) -> Option<&[u8]> {
        let start = self.texts().checked_add(offset as usize)?;
        self.table.get(start..start.checked_add(length)?)
    }

    fn name(&self, record: &[u8; RECORD]) -> Option<&[u8]> {
        let length = u16::from_le_bytes([record[4], record[5]]);
        self.text(u32_at(record, 0)?, usize::from(length))
    }

    /// The record at `id`; `None` where there is none that can be read.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<Node<'_>> {
        let record = self.record(id)?;
        let flags = record[7];
        let kind = match record[6] {
            0 => NodeKind::Directory {
                opaque: flags & OPAQUE != 0,
            },
            1 => NodeKind::File,
            2 => NodeKind::Symlink,
            3 => NodeKind::Other,
            4 => NodeKind::Whiteout,
            5 => NodeKind::HardLink,
            _ => return None,
        };
        Some(Node {
            name: self.name(record)?,
            kind,
            size: match kind {
                NodeKind::File => u64_at(record, 8)?,
                _ => 0,
            },
            text: self.text(u32_at(record, 16)?, u32_at(record, 20)? as usize)?,
            contents: u32_at(record, 24)?,
            facts: u32_at(record, 28)?,
            attributes: u32_at(record, 32)?,
            wanted: flags & WANTED != 0,
        })
    }

    /// The children of the folder `id`, sorted by the bytes of their names; none of what is no folder.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + use<> {
        let range = self.child_range(id).unwrap_or(0..0);
        range.map(NodeId)
    }

    fn child_range(&self, id: NodeId) -> Option<std::ops::Range<u32>> {
        let record = self.record(id)?;
        if record[6] != 0 {
            return None;
        }
        let first = u32_at(record, 8)?;
        let end = first.checked_add(u32_at(record, 12)?)?;
        // Behind their folder: so no walk goes in circles, whatever the bytes say.
        (first > id.0 && end <= self.records).then_some(first..end)
    }

    /// The child `name` of the folder `id`.
    #[must_use]
    pub fn child(&self, id: NodeId, name: &[u8]) -> Option<NodeId> {
        let mut range = self.child_range(id)?;
        while !range.is_empty() {
            let middle = range.start + (range.end - range.start) / 2;
            match self.name(self.record(NodeId(middle))?)?.cmp(name) {
                std::cmp::Ordering::Equal => return Some(NodeId(middle)),
                std::cmp::Ordering::Less => range.start = middle + 1,
                std::cmp::Ordering::Greater => range.end = middle,
            }
        }
        None
    }

    /// What lies at `path`, which has no leading slash, links not followed.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<NodeId> {
        path.split('/')
            .filter(|name| !name.is_empty())
            .try_fold(NodeId::ROOT, |id, name| self.child(id, name.as_bytes()))
    }

    /// The kept contents of the file `node`.
    ///
    /// # Errors
    /// When they were not kept, are damaged, or the machine fails.
    pub fn contents(&self, node: &Node<'_>) -> Result<Vec<u8>, ContentsError> {
        self.read(node.contents)
    }

    /// What the file `node` says of itself as an executable; `Missing` also of one that never was looked at.
    ///
    /// # Errors
    /// As [`Inventory::contents`].
    pub fn facts(&self, node: &Node<'_>) -> Result<ExecutableFacts, ContentsError> {
        let bytes = self.read(node.facts)?;
        serde_json::from_slice(&bytes).map_err(|_| ContentsError::Missing)
    }

    /// Whether reading the layer again would bring contents of the file at `path` that are not here.
    pub(super) fn lacks(&self, path: &str) -> bool {
        let node = self.at(path).and_then(|id| self.node(id));
        node.is_some_and(|node| node.kind == NodeKind::File && !node.has_contents() && !node.wanted)
    }

    /// Paths of the files that are kept because they were asked for.
    pub(super) fn wanted(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting = vec![(NodeId::ROOT, String::new())];
        while let Some((folder, path)) = waiting.pop() {
            for id in self.children(folder) {
                let Some(node) = self.node(id) else { continue };
                let Ok(name) = std::str::from_utf8(node.name) else {
                    continue;
                };
                match node.kind {
                    NodeKind::Directory { .. } => waiting.push((id, format!("{path}{name}/"))),
                    NodeKind::File if node.wanted => found.push(format!("{path}{name}")),
                    _ => {}
                }
            }
        }
        found
    }

    fn extent(&self, extent: u32) -> Option<Extent> {
        if extent >= self.extents {
            return None;
        }
        let at = self.records as usize * RECORD + extent as usize * EXTENT;
        Some(Extent {
            offset: u64_at(&self.table, at)?,
            length: u32_at(&self.table, at + 8)?,
            sum: u32_at(&self.table, at + 12)?,
        })
    }

    fn read(&self, extent: u32) -> Result<Vec<u8>, ContentsError> {
        let extent = self.extent(extent).ok_or(ContentsError::Missing)?;
        let bytes = match &self.storage {
            Storage::Memory(bytes) => usize::try_from(extent.offset)
                .ok()
                .and_then(|start| bytes.get(start..start.checked_add(extent.length as usize)?))
                .ok_or(ContentsError::Missing)?
                .to_vec(),
            Storage::File { file, end, .. } => {
                // Only so much is allocated as there is, and read in one call: `read_to_end` would feel its way.
                let behind = extent.offset.saturating_add(u64::from(extent.length));
                let mut bytes = vec![
                    0;
                    if behind > *end {
                        0
                    } else {
                        extent.length as usize
                    }
                ];
                match read_exact_at(file, &mut bytes, extent.offset) {
                    Ok(()) => bytes,
                    // It was cut short meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Vec::new(),
                    Err(error) => return Err(ContentsError::Io(error)),
                }
            }
        };
        if bytes.len() != extent.length as usize || checksum(&bytes) != extent.sum {
            // Whoever reads the layer again shall not find the damaged file.
            if let Storage::File { path, .. } = &self.storage {
                let _ = std::fs::remove_file(path);
            }
            return Err(ContentsError::Missing);
        }
        Ok(bytes)
    }
}

/// Where something lies in the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    offset: u64,
    length: u32,
    sum: u32,
}

/// Fills `bytes` with what begins at `offset`. Threads may do so at the same time: the file's own position is left alone.
#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Fills `bytes` with what begins at `offset`. A file has one position here, so threads take turns.
#[cfg(not(unix))]
fn read_exact_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::sync::{Mutex, PoisonError};
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
