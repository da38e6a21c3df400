//! Random layers against a model that does naively, layer after layer, what an engine does that unpacks each layer into a
//! folder of its own and then lays it over the ones below.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::support::layers::{Archive, Reading, image, tree};

/// One entry of a random layer.
#[derive(Debug, Clone)]
enum Step {
    Folder(String),
    File(String, u8),
    Symlink(String, String),
    HardLink(String, String),
    Whiteout(String, String),
    Opaque(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Folder,
    File(u8),
    Symlink(String),
    /// A hard link to what the layer did not have.
    Linked(String),
    Nothing,
}

/// Paths, without a slash before them, and what lies there. The root is not among them.
type Tree = BTreeMap<String, Node>;

#[derive(Debug, Default)]
struct LayerModel {
    tree: Tree,
    whiteouts: BTreeSet<String>,
    opaque: BTreeSet<String>,
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// Follows the links of `path`; what is missing is made if `make` can be called for it, or the end.
fn follow(
    tree: &mut Tree,
    path: &str,
    make: Option<fn(&mut Tree, &str)>,
) -> Result<Option<String>, ()> {
    let mut at = String::new();
    let mut rest: Vec<String> = path.split('/').rev().map(ToOwned::to_owned).collect();
    let mut links = 0;
    while let Some(name) = rest.pop() {
        match name.as_str() {
            "" | "." => continue,
            ".." => {
                at.truncate(split(&at).0.len());
                continue;
            }
            _ => {}
        }
        let next = join(&at, &name);
        match (tree.get(&next).cloned(), make) {
            (Some(Node::Folder), _) => at = next,
            (Some(Node::Symlink(target)), _) => {
                links += 1;
                if links > 40 {
                    return Err(());
                }
                if target.starts_with('/') {
                    at = String::new();
                }
                rest.extend(target.split('/').rev().map(ToOwned::to_owned));
            }
            (_, Some(make)) => {
                make(tree, &next);
                at = next;
            }
            (_, None) => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn make_folder(tree: &mut Tree, path: &str) {
    tree.insert(path.to_owned(), Node::Folder);
}

impl LayerModel {
    fn unpack(steps: &[Step]) -> Result<Self, ()> {
        let mut layer = Self::default();
        for step in steps {
            layer.take(step)?;
        }
        Ok(layer)
    }

    fn folder(&mut self, path: &str) -> Result<String, ()> {
        Ok(follow(&mut self.tree, path, Some(make_folder))?.unwrap_or_default())
    }

    fn put(&mut self, path: &str, node: Node) -> Result<(), ()> {
        let (folder, name) = split(path);
        let path = join(&self.folder(folder)?, name);
        if self.tree.get(&path) == Some(&Node::Folder) {
            if node == Node::Folder {
                return Ok(());
            }
            self.tree.retain(|other, _| !is_below(other, &path));
            self.whiteouts.retain(|other| !is_below(other, &path));
            self.opaque.retain(|other| !is_below(other, &path));
        }
        self.tree.insert(path, node);
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), ()> {
        match step {
            Step::Folder(path) => self.put(path, Node::Folder),
            Step::File(path, contents) => self.put(path, Node::File(*contents)),
            Step::Symlink(path, target) => self.put(path, Node::Symlink(target.clone())),
            Step::HardLink(path, target) => {
                let (folder, name) = split(path);
                let own = join(&self.folder(folder)?, name);
                let (folder, name) = split(target);
                let found = follow(&mut self.tree, folder, None)?.map(|folder| join(&folder, name));
                if found.as_ref() == Some(&own) && self.tree.contains_key(&own) {
                    return Ok(());
                }
                let node = found.and_then(|found| self.tree.get(&found).cloned());
                let linked = Node::Linked(target.clone());
                self.put(
                    &own,
                    node.filter(|node| *node != Node::Folder).unwrap_or(linked),
                )
            }
            Step::Whiteout(folder, name) => {
                let folder = self.folder(folder)?;
                self.whiteouts.insert(join(&folder, name));
                Ok(())
            }
            Step::Opaque(folder) => {
                let folder = self.folder(folder)?;
                self.opaque.insert(folder);
                Ok(())
            }
        }
    }

    /// Lays the layer over `base`.
    fn apply(&self, base: &mut Tree) {
        let before = base.clone();
        for folder in &self.opaque {
            base.retain(|path, _| !is_below(path, folder));
        }
        for path in &self.whiteouts {
            base.retain(|other, _| other != path && !is_below(other, path));
        }
        for (path, node) in &self.tree {
            let old = base.get(path).cloned();
            if old.is_some() && !(old == Some(Node::Folder) && *node == Node::Folder) {
                base.retain(|other, _| !is_below(other, path));
            }
            base.insert(path.clone(), node.clone());
        }
        let own: Vec<&String> = self.tree.keys().collect();
        for path in &own {
            if let Some(Node::Linked(target)) = base.get(*path)
                && let Some(found) = linked(&before, target)
            {
                base.insert((*path).clone(), found);
            }
        }
        // The others lead to what the layer brings itself, through one another as well.
        loop {
            let found = own.iter().find_map(|path| match base.get(*path)? {
                Node::Linked(target) => Some(((*path).clone(), linked(base, target)?)),
                _ => None,
            });
            match found {
                Some((path, node)) => base.insert(path, node),
                None => break,
            };
        }
        for path in own {
            if matches!(base.get(path), Some(Node::Linked(_))) {
                base.insert(path.clone(), Node::Nothing);
            }
        }
    }
}

fn linked(tree: &Tree, target: &str) -> Option<Node> {
    let (folder, name) = split(target);
    let mut tree = tree.clone();
    let folder = follow(&mut tree, folder, None).ok()??;
    let node = tree.get(&join(&folder, name)).cloned()?;
    (!matches!(node, Node::Folder | Node::Nothing | Node::Linked(_))).then_some(node)
}

fn merged(layers: &[Vec<Step>]) -> Result<BTreeMap<String, String>, ()> {
    let mut base = Tree::new();
    for steps in layers {
        LayerModel::unpack(steps)?.apply(&mut base);
    }
    let described = base.into_iter().map(|(path, node)| {
        let text = match node {
            Node::Folder => "d".to_owned(),
            Node::File(contents) => format!("f:{contents}"),
            Node::Symlink(target) => format!("l:{target}"),
            Node::Linked(_) | Node::Nothing => "o".to_owned(),
        };
        (path, text)
    });
    Ok(described.collect())
}

fn archive(steps: &[Step]) -> Vec<u8> {
    let archive = steps
        .iter()
        .fold(Archive::new(), |archive, step| match step {
            Step::Folder(path) => archive.folder(path),
            Step::File(path, contents) => archive.file(path, contents.to_string().as_bytes()),
            Step::Symlink(path, target) => archive.symlink(path, target),
            Step::HardLink(path, target) => archive.hard_link(path, target),
            Step::Whiteout(folder, name) => {
                archive.file(&join(folder, &format!(".wh.{name}")), b"")
            }
            Step::Opaque(folder) => archive.file(&join(folder, ".wh..wh..opq"), b""),
        });
    archive.finish()
}

fn name() -> impl Strategy<Value = String> {
    "[abc]"
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"))
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        path(),
        path().prop_map(|path| format!("/{path}")),
        path().prop_map(|path| format!("../{path}")),
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("/".to_owned()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => path().prop_map(Step::Folder),
        4 => (path(), any::<u8>()).prop_map(|(path, contents)| Step::File(path, contents)),
        2 => (path(), target()).prop_map(|(path, target)| Step::Symlink(path, target)),
        2 => (path(), path()).prop_map(|(path, target)| Step::HardLink(path, target)),
        1 => (path(), name()).prop_map(|(folder, name)| Step::Whiteout(folder, name)),
        1 => name().prop_map(|name| Step::Whiteout(String::new(), name)),
        1 => path().prop_map(Step::Opaque),
    ]
}

/// Random images that one run tries.
const PROPTEST_CASES: u32 = 300;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(PROPTEST_CASES))]

    #[test]
    fn the_overlay_is_what_unpacking_gives(
        layers in prop::collection::vec(prop::collection::vec(step(), 0..8), 1..5),
    ) {
        let archives: Vec<Vec<u8>> = layers.iter().map(|steps| archive(steps)).collect();
        let root = Reading::default().root(image(&archives).0);
        match (merged(&layers), root) {
            (Ok(expected), Ok(root)) => prop_assert_eq!(tree(&root), expected),
            (Err(()), Err(_)) => {}
            (expected, root) => {
                prop_assert!(false, "the model has {:?}, imgtool {:?}", expected.is_ok(), root.err());
            }
        }
    }
}

#[test]
fn a_hard_link_to_itself_under_a_whiteout_leads_nowhere() {
    let steps = vec![
        Step::Whiteout(String::new(), "b".to_owned()),
        Step::HardLink("b".to_owned(), "b".to_owned()),
    ];
    let layers = [vec![Step::File("b".to_owned(), 1)], steps];
    let archives: Vec<Vec<u8>> = layers.iter().map(|steps| archive(steps)).collect();
    let root = Reading::default().root(image(&archives).0).expect("a root");
    assert_eq!(tree(&root), merged(&layers).expect("a tree"));
}
