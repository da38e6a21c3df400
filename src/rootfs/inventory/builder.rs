//! The inventory of a layer grows while the layer goes by.
//!
//! What it holds is what an engine finds that unpacks the layer into an empty folder of its own, as those with overlay
//! file systems do: links are followed only where this layer brings them, a path through a link of a lower layer makes a
//! folder that hides the link, and of two entries with one path the later stays.
//!
//! Specification: OCI image-spec `layer.md`, "Whiteouts". The names of aufs beside them (`.wh..wh.plnk`) are no part of
//! an image, but hard links of old layers lead to files below them; so they stay until the layer is read.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufRead};

use super::contents::Contents;
use super::freeze::Unsealed;
use super::{Extent, NONE, OPAQUE, WANTED};
use crate::rootfs::Attributes;
use crate::rootfs::budget::LayerBudget;
use crate::rootfs::executable::ExecutableScanner;
use crate::rootfs::layer_entries::{ArchiveEntry, ArchiveKind, Entries, WalkError, path};
use crate::rootfs::limits::{
    Bounded, LimitExceeded, MAX_LINK_STEPS, MAX_SYMLINKS, MAX_WANTED_FILE,
};
use crate::rootfs::retention::Retention;

/// Before the name of what a whiteout hides.
const WHITEOUT: &[u8] = b".wh.";

/// Before the names that aufs keeps for itself.
pub(super) const WHITEOUT_METADATA: &[u8] = b".wh..wh.";

/// The whiteout of everything that lower layers have in its folder.
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

/// The root among the nodes.
pub(super) const ROOT: u32 = 0;

/// Set on a node that another has taken the place of, with all that lies below.
pub(super) const REPLACED: u8 = 128;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink,
    Other,
    Whiteout,
    HardLink,
}

/// A piece of the text: offset and length.
pub(super) type Span = (u32, u32);

#[derive(Debug, Clone, Copy)]
pub(super) struct BuiltNode {
    pub(super) size: u64,
    pub(super) parent: u32,
    pub(super) name: u32,
    pub(super) text: Span,
    pub(super) contents: u32,
    pub(super) facts: u32,
    pub(super) attributes: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
}

impl BuiltNode {
    fn new(parent: u32, name: u32, kind: Kind) -> Self {
        Self {
            size: 0,
            parent,
            name,
            text: (0, 0),
            contents: NONE,
            facts: NONE,
            attributes: NONE,
            kind,
            flags: 0,
        }
    }
}

/// A name, each of which is stored once.
#[derive(Debug, Clone, Copy)]
struct Name {
    span: Span,
    /// The name before it with the same hash.
    next: u32,
}

/// The attributes that a layer has, each once: few differ.
#[derive(Debug)]
pub(super) struct AttributesTable {
    list: Vec<Attributes>,
    /// Keyed at random, as an image may make up any number of them.
    places: HashMap<Attributes, u32>,
    /// Those of the last entry, which the next one has nearly always.
    last: (Attributes, u32),
}

impl AttributesTable {
    fn new() -> Self {
        Self {
            list: Vec::new(),
            places: HashMap::new(),
            last: (Attributes::IMPLIED, NONE),
        }
    }

    fn place(&mut self, attributes: Attributes) -> Result<u32, Refusal> {
        if self.last.1 == NONE || self.last.0 != attributes {
            let place = if let Some(place) = self.places.get(&attributes) {
                *place
            } else {
                let place = index(self.list.len())?;
                self.list.push(attributes);
                self.places.insert(attributes, place);
                place
            };
            self.last = (attributes, place);
        }
        Ok(self.last.1)
    }

    pub(super) fn list(&self) -> &[Attributes] {
        &self.list
    }
}

/// Which files of a layer are kept.
pub struct Keeping<'a> {
    /// What is kept of the file at a path without a leading slash.
    pub retention: &'a (dyn Fn(&str) -> Retention + Sync),
    /// Paths, without a leading slash, of files that are kept whatever they are called, up to [`MAX_WANTED_FILE`].
    pub wanted: &'a BTreeSet<String>,
}

/// The inventory of a layer that is being read.
pub struct InventoryBuilder<'a> {
    keeping: Keeping<'a>,
    budget: &'a LayerBudget<'a>,
    pub(super) nodes: Vec<BuiltNode>,
    /// Node by folder and name. Its hash is keyed at random: an image cannot make names that collide.
    children: HashMap<(u32, u32), u32>,
    names: Vec<Name>,
    names_by_hash: HashMap<u64, u32>,
    hashes: std::hash::RandomState,
    pub(super) text: Vec<u8>,
    pub(super) extents: Vec<Extent>,
    pub(super) attributes: AttributesTable,
    contents: Contents,
    entries: u64,
    link_steps: u64,
    /// The folder of the last entry and its node: most entries have the same.
    last_folder: (Vec<u8>, u32),
}

impl std::fmt::Debug for InventoryBuilder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InventoryBuilder")
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

/// Why an entry cannot be taken.
enum Refusal {
    Invalid(&'static str),
    Limit(LimitExceeded),
}

impl From<LimitExceeded> for Refusal {
    fn from(limit: LimitExceeded) -> Self {
        Self::Limit(limit)
    }
}

impl<'a> InventoryBuilder<'a> {
    /// An inventory without entries, whose kept files go to `contents`, and which takes from `budget` as it grows.
    #[must_use]
    pub fn new(keeping: Keeping<'a>, budget: &'a LayerBudget<'a>, contents: Contents) -> Self {
        let mut builder = Self {
            keeping,
            budget,
            nodes: Vec::new(),
            children: HashMap::new(),
            names: Vec::new(),
            names_by_hash: HashMap::new(),
            hashes: std::hash::RandomState::new(),
            text: Vec::new(),
            extents: Vec::new(),
            attributes: AttributesTable::new(),
            contents,
            entries: 0,
            link_steps: 0,
            last_folder: (Vec::new(), ROOT),
        };
        builder.names.push(Name {
            span: (0, 0),
            next: NONE,
        });
        builder.nodes.push(BuiltNode::new(ROOT, 0, Kind::Directory));
        builder
    }

    /// Reads all entries of the uncompressed archive `reader`, and the archive to its end.
    ///
    /// # Errors
    /// When the archive is broken, exceeds a limit or cannot be read.
    pub fn read(mut self, reader: impl BufRead) -> Result<Unsealed, WalkError> {
        let mut entries = Entries::new(reader);
        while entries.advance()? {
            self.entries += 1;
            match self.add(entries.entry()) {
                Ok(None) => {}
                Ok(Some(node)) => self.keep(node, &mut entries)?,
                Err(Refusal::Invalid(reason)) => return Err(entries.invalid(reason)),
                Err(Refusal::Limit(limit)) => return Err(entries.limit(limit)),
            }
            self.check().map_err(|limit| entries.limit(limit))?;
        }
        Ok(self.freeze())
    }

    fn check(&self) -> Result<(), LimitExceeded> {
        self.budget
            .entries(self.entries.max(self.nodes.len() as u64))?;
        self.budget.retained(self.retained())
    }

    /// Takes in one entry; a file's node is returned, as its contents are still to come.
    fn add(&mut self, entry: &ArchiveEntry) -> Result<Option<u32>, Refusal> {
        // Names that are not UTF-8 cannot be said by a path of an image, and nothing that Python installs has one.
        if std::str::from_utf8(&entry.path).is_err() {
            return Ok(None);
        }
        if entry.path.is_empty() {
            if entry.kind == ArchiveKind::Directory {
                self.nodes[ROOT as usize].attributes = self.attributes.place(entry.attributes)?;
            }
            return Ok(None);
        }
        let (folder, name) = split(&entry.path);
        if name == OPAQUE_WHITEOUT {
            let parent = self.folder(folder)?;
            self.nodes[parent as usize].flags |= OPAQUE;
            return Ok(None);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT)
            && !name.starts_with(WHITEOUT_METADATA)
        {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(Refusal::Invalid("a whiteout that names nothing"));
            }
            let parent = self.folder(folder)?;
            let name = self.intern(hidden)?;
            match self.children.get(&(parent, name)) {
                Some(node) => self.nodes[*node as usize].flags |= OPAQUE,
                None => {
                    self.insert(BuiltNode::new(parent, name, Kind::Whiteout))?;
                }
            }
            return Ok(None);
        }
        let parent = self.folder(folder)?;
        let name = self.intern(name)?;
        let mut node = BuiltNode::new(parent, name, Kind::Other);
        node.attributes = self.attributes.place(entry.attributes)?;
        match entry.kind {
            ArchiveKind::Directory => node.kind = Kind::Directory,
            ArchiveKind::Other => {}
            ArchiveKind::File => {
                node.kind = Kind::File;
                node.size = entry.size;
            }
            ArchiveKind::Symlink => {
                node.kind = Kind::Symlink;
                node.text = self.store(String::from_utf8_lossy(&entry.link).as_bytes())?;
            }
            ArchiveKind::HardLink => {
                if !self.link(&mut node, &entry.link)? {
                    return Ok(None);
                }
            }
        }
        let id = self.put(node)?;
        Ok((entry.kind == ArchiveKind::File).then_some(id))
    }

    /// Makes `node` another name of what the layer has at `target`, if it has something there; `false` for a link to
    /// itself, which changes nothing.
    fn link(&mut self, node: &mut BuiltNode, target: &[u8]) -> Result<bool, Refusal> {
        let mut normal = Vec::new();
        path::normalize(target, &mut normal);
        path::check(&normal)?;
        let found = self.find(&normal)?;
        let found = found.map(|id| (id, self.nodes[id as usize]));
        match found {
            Some((_, found))
                if (found.parent, found.name) == (node.parent, node.name)
                    && found.kind != Kind::Whiteout =>
            {
                Ok(false)
            }
            Some((id, found)) if !matches!(found.kind, Kind::Directory | Kind::Whiteout) => {
                let (parent, name) = (node.parent, node.name);
                *node = BuiltNode {
                    parent,
                    name,
                    flags: found.flags & WANTED,
                    ..found
                };
                if found.kind == Kind::File && found.contents == NONE && found.text == (0, 0) {
                    let path = self.path_of(id);
                    node.text = self.store(path.as_bytes())?;
                }
                Ok(true)
            }
            _ => {
                node.kind = Kind::HardLink;
                node.attributes = NONE;
                node.text = self.store(String::from_utf8_lossy(&normal).as_bytes())?;
                Ok(true)
            }
        }
    }

    /// What the layer has at `path` so far, links followed in its folders but not at its end.
    fn find(&mut self, path: &[u8]) -> Result<Option<u32>, Refusal> {
        let (folder, name) = split(path);
        if name.is_empty() {
            return Ok(Some(ROOT));
        }
        let Some(parent) = self.walk(folder, false)? else {
            return Ok(None);
        };
        Ok(self
            .name(name)
            .and_then(|name| self.children.get(&(parent, name)).copied()))
    }

    /// The folder at `path`, made where there is none.
    fn folder(&mut self, path: &[u8]) -> Result<u32, Refusal> {
        if self.last_folder.0 == path {
            return Ok(self.last_folder.1);
        }
        let found = self.walk(path, true)?.unwrap_or(ROOT);
        self.last_folder.0.clear();
        self.last_folder.0.extend_from_slice(path);
        self.last_folder.1 = found;
        Ok(found)
    }

    /// Follows `path` through folders and links of this layer; what is missing is made or the end.
    fn walk(&mut self, path: &[u8], make: bool) -> Result<Option<u32>, Refusal> {
        let mut at = ROOT;
        let mut links = 0;
        // What links put before the rest of the path, the next component last.
        let mut pending: Vec<Vec<u8>> = Vec::new();
        let mut rest = path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty());
        loop {
            let popped = pending.pop();
            let component = match &popped {
                Some(component) => component.as_slice(),
                None => match rest.next() {
                    Some(component) => component,
                    None => return Ok(Some(at)),
                },
            };
            if component == b".." {
                at = self.nodes[at as usize].parent;
                continue;
            }
            let name = if make {
                Some(self.intern(component)?)
            } else {
                self.name(component)
            };
            let child = name.and_then(|name| self.children.get(&(at, name)).copied());
            match child.map(|child| self.nodes[child as usize].kind) {
                Some(Kind::Directory) => at = child.unwrap_or(ROOT),
                Some(Kind::Symlink) => {
                    links += 1;
                    if links > MAX_SYMLINKS {
                        return Err(Bounded::Symlinks.at(MAX_SYMLINKS as u64).into());
                    }
                    let (start, length) =
                        child.map_or((0, 0), |child| self.nodes[child as usize].text);
                    let target = &self.text[start as usize..][..length as usize];
                    if target.starts_with(b"/") {
                        at = ROOT;
                    }
                    let before = pending.len();
                    let components = target.rsplit(|byte| *byte == b'/');
                    pending.extend(
                        components
                            .filter(|name| !matches!(*name, b"" | b"."))
                            .map(<[u8]>::to_vec),
                    );
                    self.link_steps += (pending.len() - before) as u64;
                    if self.link_steps > MAX_LINK_STEPS {
                        return Err(Bounded::LinkSteps.at(MAX_LINK_STEPS).into());
                    }
                }
                _ if !make => return Ok(None),
                _ => {
                    let name = name.unwrap_or(0);
                    at = self.put(BuiltNode::new(at, name, Kind::Directory))?;
                }
            }
        }
    }

    /// Puts `node` where its folder and name say. A folder over a folder is the same folder; anything else takes the
    /// place of what was there.
    fn put(&mut self, mut node: BuiltNode) -> Result<u32, Refusal> {
        let Some(&id) = self.children.get(&(node.parent, node.name)) else {
            return self.insert(node);
        };
        let old = &mut self.nodes[id as usize];
        if old.kind == Kind::Directory && node.kind == Kind::Directory {
            // Listed again, or for the first time after something in it.
            old.attributes = node.attributes;
            return Ok(id);
        }
        // The folder that was found last may have been found through this.
        self.last_folder = (Vec::new(), ROOT);
        // A whiteout of this layer beside it holds for whatever the layer brings here in the end.
        node.flags |= if old.kind == Kind::Whiteout {
            OPAQUE
        } else {
            old.flags & OPAQUE
        };
        if old.kind == Kind::Directory {
            // A node of its own: what lies below the folder shall not lie below this.
            old.flags |= REPLACED;
            return self.insert(node);
        }
        *old = node;
        Ok(id)
    }

    fn insert(&mut self, node: BuiltNode) -> Result<u32, Refusal> {
        // Checked here as well, because one entry may imply many folders.
        self.budget.entries(self.nodes.len() as u64)?;
        let id = index(self.nodes.len())?;
        self.nodes.push(node);
        self.children.insert((node.parent, node.name), id);
        Ok(id)
    }

    fn name(&self, name: &[u8]) -> Option<u32> {
        let hash = std::hash::BuildHasher::hash_one(&self.hashes, name);
        let mut id = *self.names_by_hash.get(&hash)?;
        while id != NONE {
            if self.bytes_of(id) == name {
                return Some(id);
            }
            id = self.names[id as usize].next;
        }
        None
    }

    /// The bytes of a name.
    pub(super) fn bytes_of(&self, name: u32) -> &[u8] {
        let (start, length) = self.span_of(name);
        &self.text[start as usize..][..length as usize]
    }

    /// Where a name stands in the text.
    pub(super) fn span_of(&self, name: u32) -> Span {
        self.names[name as usize].span
    }

    fn intern(&mut self, name: &[u8]) -> Result<u32, Refusal> {
        if let Some(id) = self.name(name) {
            return Ok(id);
        }
        let span = self.store(name)?;
        let id = index(self.names.len())?;
        let hash = std::hash::BuildHasher::hash_one(&self.hashes, name);
        let next = self.names_by_hash.insert(hash, id).unwrap_or(NONE);
        self.names.push(Name { span, next });
        Ok(id)
    }

    fn store(&mut self, text: &[u8]) -> Result<Span, Refusal> {
        let start = index(self.text.len())?;
        self.text.extend_from_slice(text);
        Ok((start, index(text.len())?))
    }

    /// The path of a node, without a leading slash.
    fn path_of(&self, id: u32) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while at != ROOT {
            let node = &self.nodes[at as usize];
            names.push(String::from_utf8_lossy(self.bytes_of(node.name)));
            at = node.parent;
        }
        names.reverse();
        names.join("/")
    }

    /// Keeps of the file `id`, at which `entries` stands, what is to be kept.
    fn keep<R: BufRead>(&mut self, id: u32, entries: &mut Entries<R>) -> Result<(), WalkError> {
        let path = self.path_of(id);
        let size = entries.entry().size;
        let wanted = self.keeping.wanted.contains(&path);
        let retention = (self.keeping.retention)(&path);
        let mut limit = match retention {
            Retention::Contents { limit } => Some(limit),
            Retention::Executable | Retention::Nothing => None,
        };
        if wanted {
            limit = limit.max(Some(MAX_WANTED_FILE));
        }
        if wanted {
            self.nodes[id as usize].flags |= WANTED;
        }
        let contents = limit.is_some_and(|limit| size <= limit) && u32::try_from(size).is_ok();
        // Holes are made here, and a file may say that it has any number of them: nobody ships a sparse executable.
        let executable =
            (wanted || retention == Retention::Executable) && !entries.entry().is_sparse;
        if !(contents || executable) || !entries.is_readable() {
            return Ok(());
        }
        if contents {
            self.reserve(size).map_err(|limit| entries.limit(limit))?;
            self.contents.begin();
        }
        let mut scanner = executable.then(ExecutableScanner::new);
        let kept = &mut self.contents;
        entries.read_body(|bytes| {
            if let Some(scanner) = &mut scanner {
                scanner.push(bytes);
            }
            if contents {
                kept.push(bytes)?;
            }
            Ok(())
        })?;
        if contents {
            let extent = self.add_extent().map_err(WalkError::Keep)?;
            self.nodes[id as usize].contents = extent;
        }
        if let Some(scanner) = scanner {
            let facts = serde_json::to_vec(&scanner.finish())
                .map_err(|error| WalkError::Keep(error.into()))?;
            self.reserve(facts.len() as u64)
                .map_err(|limit| entries.limit(limit))?;
            self.contents.begin();
            self.contents.push(&facts).map_err(WalkError::Keep)?;
            self.nodes[id as usize].facts = self.add_extent().map_err(WalkError::Keep)?;
        }
        Ok(())
    }

    fn retained(&self) -> u64 {
        self.contents.length() + self.text.len() as u64
    }

    /// Takes from the budget what so many more bytes need that are to be kept.
    fn reserve(&self, bytes: u64) -> Result<(), LimitExceeded> {
        self.budget.retained(self.retained().saturating_add(bytes))
    }

    fn add_extent(&mut self) -> io::Result<u32> {
        let extent = self.contents.end().ok_or(io::ErrorKind::FileTooLarge)?;
        let id = u32::try_from(self.extents.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.extents.push(extent);
        Ok(id)
    }

    fn freeze(self) -> Unsealed {
        let table = super::freeze::table(&self);
        Unsealed::new(self.contents, table)
    }
}

/// The folder and the name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// An index or an offset as it is stored: the limits keep all of them far below 32 bits.
fn index(number: usize) -> Result<u32, Refusal> {
    u32::try_from(number)
        .ok()
        .filter(|number| *number != NONE)
        .ok_or(Refusal::Limit(Bounded::LayerRetained.at(u64::from(NONE))))
}
