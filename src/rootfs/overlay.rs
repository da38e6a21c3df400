//! The layers of an image as one root file system: nothing is merged beforehand, each question walks down the stack.
//!
//! Specification: OCI image-spec `layer.md`; the kernel's `overlayfs.rst`. A name belongs to the highest layer that has
//! it; a folder is merged with the folders of that name below, down to one that is opaque, to a whiteout, or to something
//! that is no folder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::executable::{ExecutableFacts, ExecutableScanner};
use super::inventory::{ContentsError, Inventory, Node, NodeId, NodeKind};
use super::limits::{MAX_HARD_LINK_STEPS, MAX_SYMLINKS};
use super::{Attributes, Entry, EntryKind, FileFacts, ListedEntry, RootFs, RootFsError};
use crate::digest::Digest;
use crate::image_path::ImagePath;

/// Files whose contents were asked for and not there, by the `diff_id` of the layer that has them: what
/// [`read_image`](super::layers::read_image) is to keep when it reads the image again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedFiles(BTreeMap<String, BTreeSet<String>>);

impl WantedFiles {
    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the file at `path` of the layer `diff_id`; `false` where it was there already.
    pub fn insert(&mut self, diff_id: &Digest, path: &ImagePath) -> bool {
        self.insert_text(diff_id, path.as_str().trim_start_matches('/'))
    }

    pub(super) fn insert_text(&mut self, diff_id: &Digest, path: &str) -> bool {
        let paths = self.0.entry(diff_id.to_string()).or_default();
        paths.insert(path.to_owned())
    }

    /// Adds all of `other`; `false` where that adds nothing, so that asking again would bring nothing new.
    pub fn extend(&mut self, other: &Self) -> bool {
        let mut added = false;
        for (diff_id, paths) in &other.0 {
            let own = self.0.entry(diff_id.clone()).or_default();
            for path in paths {
                added |= own.insert(path.clone());
            }
        }
        added
    }

    /// Paths in any layer, without a leading slash.
    pub(super) fn all(&self) -> BTreeSet<String> {
        self.0.values().flatten().cloned().collect()
    }

    /// Paths in the layer `diff_id`, without a leading slash.
    #[must_use]
    pub fn of(&self, diff_id: &Digest) -> BTreeSet<String> {
        self.0
            .get(&diff_id.to_string())
            .cloned()
            .unwrap_or_default()
    }
}

/// The root file system of an image.
#[derive(Debug)]
pub struct Overlay {
    /// Lowest first.
    layers: Vec<(Digest, Arc<Inventory>)>,
    missed: Mutex<WantedFiles>,
    links: Mutex<Links>,
}

/// A place in one of the layers.
type Place = (usize, NodeId);

/// What a path leads to in some of the layers.
enum Found {
    /// Folders of that name, the highest first, each a layer and a place in it.
    Folders(Vec<Place>),
    /// Anything else.
    Leaf(usize, NodeId),
}

/// A file, links between layers followed.
struct FoundFile<'a> {
    /// The layer that brought the path.
    named_in: usize,
    /// The layer that has the contents.
    layer: usize,
    node: Node<'a>,
    /// The path under which that layer has it, without a leading slash.
    path: String,
}

impl Overlay {
    /// The root file system of the layers `layers`, the lowest first, each with its `diff_id`.
    #[must_use]
    pub fn new(layers: Vec<(Digest, Arc<Inventory>)>) -> Self {
        Self {
            layers,
            missed: Mutex::default(),
            links: Mutex::new(Links::new(MAX_HARD_LINK_STEPS)),
        }
    }

    /// The files that somebody wanted to read so far and whose contents were not kept.
    #[must_use]
    pub fn missed(&self) -> WantedFiles {
        self.missed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// All layers.
    fn whole(&self) -> View<'_> {
        View {
            overlay: self,
            height: self.layers.len(),
        }
    }

    fn not_retained(&self, file: &FoundFile<'_>, path: &ImagePath) -> RootFsError {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((diff_id, _)) = self.layers.get(file.layer) {
            missed.insert_text(diff_id, &file.path);
        }
        RootFsError::NotRetained(path.clone())
    }

    fn contents(&self, file: &FoundFile<'_>, path: &ImagePath) -> Result<Vec<u8>, RootFsError> {
        let Some((_, inventory)) = self.layers.get(file.layer) else {
            return Err(self.not_retained(file, path));
        };
        inventory
            .contents(&file.node)
            .map_err(|error| self.no_contents(error, file, path))
    }

    fn no_contents(
        &self,
        error: ContentsError,
        file: &FoundFile<'_>,
        path: &ImagePath,
    ) -> RootFsError {
        match error {
            ContentsError::Missing => self.not_retained(file, path),
            ContentsError::Io(source) => RootFsError::Io {
                path: path.clone(),
                source,
            },
        }
    }
}

/// The path that has the contents of `node`, which lies at `path`: a link inside its layer whose contents were not kept
/// is asked for under the name that has them.
fn path_of_contents(node: &Node<'_>, path: String) -> Option<String> {
    match node.kind {
        NodeKind::File if !node.text.is_empty() => {
            std::str::from_utf8(node.text).ok().map(ToOwned::to_owned)
        }
        _ => Some(path),
    }
}

/// Where hard links to other layers lead, each followed once.
///
/// A link needs what the layers below have, or other links of its own layer, never a link of a layer above: so whoever
/// waits for a link that waits for him does so in one layer and leads nowhere, in whatever order links are asked for.
/// Links wait on a stack of their own, since a chain of them can be as long as a layer.
#[derive(Debug)]
struct Links {
    known: BTreeMap<Place, Link>,
    /// What is left of [`MAX_HARD_LINK_STEPS`].
    steps: u64,
}

#[derive(Debug)]
enum Link {
    /// Being followed.
    Waiting,
    Nowhere,
    To(Target),
}

/// What a hard link leads to, no hard link itself.
#[derive(Debug, Clone)]
struct Target {
    place: Place,
    /// The path under which the layer has its contents, without a leading slash.
    path: Arc<str>,
}

/// Why a hard link was not followed to its end.
enum Stop {
    Nowhere,
    /// Another must be followed first.
    Needs(Place),
}

impl Links {
    fn new(steps: u64) -> Self {
        Self {
            known: BTreeMap::new(),
            steps,
        }
    }

    /// Where the hard link at `link` leads; `None` where it leads to nothing that can be linked to.
    fn follow(&mut self, overlay: &Overlay, link: Place) -> Option<Target> {
        match self.known(link) {
            Ok(target) => return Some(target),
            Err(Stop::Nowhere) => return None,
            Err(Stop::Needs(_)) => {}
        }
        self.known.insert(link, Link::Waiting);
        let mut waiting = vec![link];
        while let Some(&last) = waiting.last() {
            if !matches!(self.known.get(&last), Some(Link::Waiting)) {
                waiting.pop();
                continue;
            }
            match self.attempt(overlay, last) {
                Ok(target) => {
                    self.known.insert(last, Link::To(target));
                }
                Err(Stop::Nowhere) => {
                    self.known.insert(last, Link::Nowhere);
                }
                // A circle.
                Err(Stop::Needs(needed)) if self.known.contains_key(&needed) => {
                    self.known.insert(needed, Link::Nowhere);
                }
                Err(Stop::Needs(needed)) => {
                    self.known.insert(needed, Link::Waiting);
                    waiting.push(needed);
                }
            }
        }
        self.known(link).ok()
    }

    fn attempt(&mut self, overlay: &Overlay, (layer, id): Place) -> Result<Target, Stop> {
        let whole = overlay.whole();
        let node = whole.node(layer, id).ok_or(Stop::Nowhere)?;
        let target = std::str::from_utf8(node.text).map_err(|_| Stop::Nowhere)?;
        let target = ImagePath::new(target);
        let folder = target.parent().ok_or(Stop::Nowhere)?;
        // As the layers below have it, which is what an engine finds when it comes to the link; what its own layer brings
        // later serves where they do not have it.
        for height in [layer, layer + 1] {
            let view = View { height, ..whole };
            match self.target(view, &folder, target.file_name()) {
                Err(Stop::Nowhere) => {}
                found => return found,
            }
        }
        Err(Stop::Nowhere)
    }

    /// What `view` has as `name` in the folder that `folder` leads to.
    fn target(&mut self, view: View<'_>, folder: &ImagePath, name: &str) -> Result<Target, Stop> {
        let roots = view.roots();
        let trail = self.walk(view, &roots, folder)?;
        let folders = trail.last().map_or(&roots, |(_, folders)| folders);
        self.spend(folders.len())?;
        let Some(Found::Leaf(layer, id)) = view.step(folders, name) else {
            return Err(Stop::Nowhere);
        };
        let node = view.node(layer, id).ok_or(Stop::Nowhere)?;
        if node.kind == NodeKind::HardLink {
            return self.known((layer, id));
        }
        let mut path = String::new();
        for (folder, _) in &trail {
            path.push_str(folder);
            path.push('/');
        }
        path.push_str(name);
        let path = path_of_contents(&node, path).ok_or(Stop::Nowhere)?;
        self.spend(path.len())?;
        Ok(Target {
            place: (layer, id),
            path: path.into(),
        })
    }

    /// Follows every symbolic link of `folder`, as [`resolve`](super::resolve::resolve) does, but with one step down for
    /// a component instead of a walk from the root. Gives the real folders below `roots`.
    fn walk(
        &mut self,
        view: View<'_>,
        roots: &[Place],
        folder: &ImagePath,
    ) -> Result<Vec<(String, Vec<Place>)>, Stop> {
        let mut trail: Vec<(String, Vec<Place>)> = Vec::new();
        self.spend(roots.len())?;
        // What is still to be walked, the next component last.
        let mut pending = Vec::new();
        extend_pending(&mut pending, folder.as_str());
        let mut symlinks = 0;
        while let Some(name) = pending.pop() {
            if name == ".." {
                self.spend(1)?;
                trail.pop();
                continue;
            }
            let folders = trail.last().map_or(roots, |(_, folders)| folders);
            self.spend(folders.len().max(1))?;
            let place = match view.step(folders, &name).ok_or(Stop::Nowhere)? {
                Found::Folders(below) => {
                    trail.push((name, below));
                    continue;
                }
                Found::Leaf(layer, id) => (layer, id),
            };
            let mut node = view.node(place.0, place.1).ok_or(Stop::Nowhere)?;
            if node.kind == NodeKind::HardLink {
                let (layer, id) = self.known(place)?.place;
                node = view.node(layer, id).ok_or(Stop::Nowhere)?;
            }
            symlinks += 1;
            if node.kind != NodeKind::Symlink || symlinks > MAX_SYMLINKS {
                return Err(Stop::Nowhere);
            }
            let target = String::from_utf8_lossy(node.text);
            if target.starts_with('/') {
                trail.clear();
            }
            extend_pending(&mut pending, &target);
        }
        Ok(trail)
    }

    fn known(&self, link: Place) -> Result<Target, Stop> {
        match self.known.get(&link) {
            Some(Link::To(target)) => Ok(target.clone()),
            Some(Link::Nowhere) => Err(Stop::Nowhere),
            Some(Link::Waiting) | None => Err(Stop::Needs(link)),
        }
    }

    fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        let left = self.steps.checked_sub(steps as u64);
        self.steps = left.unwrap_or(0);
        left.map(|_| ()).ok_or(Stop::Nowhere)
    }
}

fn extend_pending(pending: &mut Vec<String>, path: &str) {
    let components = path.split('/').rev();
    let components = components.filter(|name| !matches!(*name, "" | "."));
    pending.extend(components.map(ToOwned::to_owned));
}

/// The lowest layers of an overlay, up to a height: what a hard link of the next one can lead to.
#[derive(Clone, Copy)]
struct View<'a> {
    overlay: &'a Overlay,
    height: usize,
}

impl<'a> View<'a> {
    fn node(self, layer: usize, id: NodeId) -> Option<Node<'a>> {
        self.overlay.layers.get(layer)?.1.node(id)
    }

    fn find(self, path: &ImagePath) -> Option<Found> {
        let mut folders = self.roots();
        let mut components = path.as_str().split('/').filter(|name| !name.is_empty());
        while let Some(name) = components.next() {
            match self.step(&folders, name)? {
                Found::Folders(below) => folders = below,
                leaf @ Found::Leaf(..) => return components.next().is_none().then_some(leaf),
            }
        }
        Some(Found::Folders(folders))
    }

    /// The roots of the layers, down to one that hides those below.
    fn roots(self) -> Vec<Place> {
        let mut roots = Vec::with_capacity(self.height);
        for layer in (0..self.height).rev() {
            roots.push((layer, NodeId::ROOT));
            let kind = self.node(layer, NodeId::ROOT).map(|root| root.kind);
            if kind == Some(NodeKind::Directory { opaque: true }) {
                break;
            }
        }
        roots
    }

    fn step(self, folders: &[Place], name: &str) -> Option<Found> {
        let mut below = Vec::new();
        for &(layer, folder) in folders {
            let Some(id) = self
                .overlay
                .layers
                .get(layer)?
                .1
                .child(folder, name.as_bytes())
            else {
                continue;
            };
            match self.node(layer, id).map(|node| node.kind) {
                Some(NodeKind::Directory { opaque }) => {
                    below.push((layer, id));
                    if opaque {
                        break;
                    }
                }
                None | Some(NodeKind::Whiteout) => break,
                Some(_) if below.is_empty() => return Some(Found::Leaf(layer, id)),
                Some(_) => break,
            }
        }
        (!below.is_empty()).then_some(Found::Folders(below))
    }

    /// What the leaf `id` of `layer`, found at `path`, is once hard links to lower layers are followed; `None` for one
    /// that leads to nothing that can be linked to.
    fn linked(self, layer: usize, id: NodeId, path: String) -> Option<(usize, Node<'a>, String)> {
        let node = self.node(layer, id)?;
        if node.kind != NodeKind::HardLink {
            return Some((layer, node, path_of_contents(&node, path)?));
        }
        let mut links = self
            .overlay
            .links
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let target = links.follow(self.overlay, (layer, id))?;
        let (layer, id) = target.place;
        Some((layer, self.node(layer, id)?, target.path.to_string()))
    }

    /// What lies at the leaf `id` of `layer`. A hard link to nothing is something that cannot be opened.
    fn leaf_entry(self, layer: usize, id: NodeId) -> Entry {
        match self.linked(layer, id, String::new()) {
            Some((_, node, _)) => match node.kind {
                NodeKind::File => Entry::File,
                NodeKind::Symlink => {
                    Entry::Symlink(String::from_utf8_lossy(node.text).into_owned())
                }
                _ => Entry::Other,
            },
            None => Entry::Other,
        }
    }

    /// The file at `path`.
    fn file(self, path: &ImagePath) -> Result<FoundFile<'a>, RootFsError> {
        match self.find(path) {
            None => Err(RootFsError::NotFound(path.clone())),
            Some(Found::Folders(_)) => Err(RootFsError::NotAFile(path.clone())),
            Some(Found::Leaf(named_in, id)) => {
                let own = path.as_str().trim_start_matches('/').to_owned();
                match self.linked(named_in, id, own) {
                    Some((layer, node, path)) if node.kind == NodeKind::File => Ok(FoundFile {
                        named_in,
                        layer,
                        node,
                        path,
                    }),
                    _ => Err(RootFsError::NotAFile(path.clone())),
                }
            }
        }
    }

    fn kind(self, layer: usize, id: NodeId, node: &Node<'_>) -> EntryKind {
        match node.kind {
            NodeKind::Directory { .. } => EntryKind::Directory,
            NodeKind::File => EntryKind::File,
            NodeKind::Symlink => EntryKind::Symlink,
            NodeKind::Other | NodeKind::Whiteout => EntryKind::Other,
            NodeKind::HardLink => match self.leaf_entry(layer, id) {
                Entry::File => EntryKind::File,
                Entry::Directory => EntryKind::Directory,
                Entry::Symlink(_) => EntryKind::Symlink,
                Entry::Other => EntryKind::Other,
            },
        }
    }

    fn listed(self, folders: &[Place]) -> Vec<ListedEntry> {
        // `None` for a name that a whiteout hides in the layers below it.
        let mut names: BTreeMap<&str, Option<EntryKind>> = BTreeMap::new();
        for &(layer, folder) in folders {
            let Some((_, inventory)) = self.overlay.layers.get(layer) else {
                continue;
            };
            for id in inventory.children(folder) {
                let Some(node) = inventory.node(id) else {
                    continue;
                };
                // No layer can have such names; what lies in a cache may hold anything.
                let Ok(name) = std::str::from_utf8(node.name) else {
                    continue;
                };
                if matches!(name, "" | "." | "..") || name.contains('/') {
                    continue;
                }
                names.entry(name).or_insert_with(|| match node.kind {
                    NodeKind::Whiteout => None,
                    _ => Some(self.kind(layer, id, &node)),
                });
            }
        }
        names
            .into_iter()
            .filter_map(|(name, kind)| {
                Some(ListedEntry {
                    name: name.to_owned(),
                    kind: kind?,
                })
            })
            .collect()
    }

    /// A folder has what the highest layer says that lists it, of those that are merged in it.
    fn attributes_at(self, path: &ImagePath) -> Option<Attributes> {
        let own = |layer: usize, node: &Node<'_>| {
            let (_, inventory) = self.overlay.layers.get(layer)?;
            inventory.attributes(node)
        };
        match self.find(path)? {
            Found::Folders(folders) => {
                let listed = folders
                    .iter()
                    .find_map(|&(layer, id)| own(layer, &self.node(layer, id)?));
                Some(listed.unwrap_or(Attributes::IMPLIED))
            }
            Found::Leaf(layer, id) => {
                let (layer, node, _) = self.linked(layer, id, String::new())?;
                own(layer, &node)
            }
        }
    }

    fn entry_at(self, path: &ImagePath) -> Option<Entry> {
        Some(match self.find(path)? {
            Found::Folders(_) => Entry::Directory,
            Found::Leaf(layer, id) => self.leaf_entry(layer, id),
        })
    }
}

/// Only what resolving needs is asked of a part of the layers; the rest is there for all of them.
impl RootFs for View<'_> {
    fn entry(&self, path: &ImagePath) -> Result<Option<Entry>, RootFsError> {
        Ok(self.entry_at(path))
    }

    fn read(&self, path: &ImagePath, limit: u64) -> Result<Vec<u8>, RootFsError> {
        let file = self.file(path)?;
        if file.node.size > limit {
            return Err(RootFsError::TooLarge {
                path: path.clone(),
                size: file.node.size,
                limit,
            });
        }
        self.overlay.contents(&file, path)
    }

    fn read_range(
        &self,
        path: &ImagePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, RootFsError> {
        let file = self.file(path)?;
        if length == 0 || offset >= file.node.size {
            return Ok(Vec::new());
        }
        let mut contents = self.overlay.contents(&file, path)?;
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(contents.len());
        contents.drain(..start);
        contents.truncate(length);
        Ok(contents)
    }

    fn file_facts(&self, path: &ImagePath) -> Result<Option<FileFacts>, RootFsError> {
        Ok(self.file(path).ok().map(|file| FileFacts {
            size: file.node.size,
            layer: Some(file.named_in),
        }))
    }

    fn executable_facts(&self, path: &ImagePath) -> Result<ExecutableFacts, RootFsError> {
        let file = self.file(path)?;
        let facts = self
            .overlay
            .layers
            .get(file.layer)
            .map(|(_, inventory)| inventory.facts(&file.node));
        match facts {
            Some(Ok(facts)) => Ok(facts),
            // Small scripts are kept whole, and small executables that somebody asked for.
            _ => self.overlay.contents(&file, path).map(|contents| {
                let mut scanner = ExecutableScanner::new();
                scanner.push(&contents);
                scanner.finish()
            }),
        }
    }

    fn attributes(&self, path: &ImagePath) -> Result<Option<Attributes>, RootFsError> {
        Ok(self.attributes_at(path))
    }

    fn list(&self, path: &ImagePath) -> Result<Vec<ListedEntry>, RootFsError> {
        match self.find(path) {
            None => Err(RootFsError::NotFound(path.clone())),
            Some(Found::Leaf(..)) => Err(RootFsError::NotADirectory(path.clone())),
            Some(Found::Folders(folders)) => Ok(self.listed(&folders)),
        }
    }
}

impl RootFs for Overlay {
    fn entry(&self, path: &ImagePath) -> Result<Option<Entry>, RootFsError> {
        self.whole().entry(path)
    }

    fn read(&self, path: &ImagePath, limit: u64) -> Result<Vec<u8>, RootFsError> {
        self.whole().read(path, limit)
    }

    fn read_range(
        &self,
        path: &ImagePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, RootFsError> {
        self.whole().read_range(path, offset, length)
    }

    fn file_facts(&self, path: &ImagePath) -> Result<Option<FileFacts>, RootFsError> {
        self.whole().file_facts(path)
    }

    fn executable_facts(&self, path: &ImagePath) -> Result<ExecutableFacts, RootFsError> {
        self.whole().executable_facts(path)
    }

    fn attributes(&self, path: &ImagePath) -> Result<Option<Attributes>, RootFsError> {
        self.whole().attributes(path)
    }

    fn list(&self, path: &ImagePath) -> Result<Vec<ListedEntry>, RootFsError> {
        self.whole().list(path)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::budget::ImageBudget;
    use super::super::inventory::builder::Keeping;
    use super::super::inventory::{Contents, InventoryBuilder};
    use super::super::limits::Limits;
    use super::super::retention::Retention;
    use super::*;
    use crate::digest::sha256;

    /// A layer of so many hard links to `file`; without any, of that file.
    fn layer(links: u32) -> (Digest, Arc<Inventory>) {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        if links == 0 {
            archive
                .append_data(&mut header, "file", [].as_slice())
                .expect("an entry");
        }
        for number in 0..links {
            header.set_entry_type(tar::EntryType::Link);
            archive
                .append_link(&mut header, format!("link{number}"), "file")
                .expect("an entry");
        }
        let archive = archive.into_inner().expect("an archive");
        let keeping = Keeping {
            retention: &|_| Retention::Nothing,
            wanted: &BTreeSet::new(),
        };
        let diff_id = sha256(&archive);
        let budget = ImageBudget::new(Limits::default());
        let (inventory, _) = InventoryBuilder::new(keeping, &budget.layer(), Contents::in_memory())
            .read(archive.as_slice())
            .expect("a layer")
            .seal(&diff_id, Path::new(""))
            .expect("an inventory");
        (diff_id, Arc::new(inventory))
    }

    #[test]
    fn links_beyond_the_bound_lead_nowhere_and_the_others_stay() {
        let links = 10;
        let root = Overlay::new(vec![layer(0), layer(links)]);
        let files = |root: &Overlay| {
            let listed = root.list(&ImagePath::root()).expect("a folder");
            assert_eq!(listed.len(), 11);
            let files = listed.iter().filter(|entry| entry.kind == EntryKind::File);
            files.count()
        };
        assert_eq!(files(&root), 11);
        let left = |root: &Overlay| root.links.lock().expect("no panic").steps;
        let spent = MAX_HARD_LINK_STEPS - left(&root);
        // What is known costs nothing.
        assert_eq!(files(&root), 11);
        assert_eq!(MAX_HARD_LINK_STEPS - left(&root), spent);
        let bounded = Overlay {
            links: Mutex::new(Links::new(spent - spent / u64::from(links))),
            ..Overlay::new(vec![layer(0), layer(links)])
        };
        for _ in 0..2 {
            assert_eq!(files(&bounded), 10);
        }
        assert_eq!(left(&bounded), 0);
    }
}
