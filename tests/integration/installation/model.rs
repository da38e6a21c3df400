//! Random bases, removals and installations: the layer laid over the base gives what deleting and writing file by file
//! gives.

use std::collections::{BTreeMap, BTreeSet};

use imgtool::environment::{Provenance, Search, read_root};
use imgtool::layer::assemble;
use imgtool::packaging::PackageName;
use proptest::prelude::*;

use super::support::{SITE, archive, name_of, record, wheel};
use crate::support::layers::{Archive, overlay, tree};
use crate::support::root::{LOADER, executable};

/// Paths that files have, relative to the folder of distributions. Some are folders of others.
const PATHS: [&str; 14] = [
    "a.py",
    "a/__init__.py",
    "a/b.py",
    "a/b/c.py",
    "a/b/d.py",
    "a/b/e/f.py",
    "g",
    "g/h",
    "g/i/j",
    "a/__pycache__/b.cpython-311.pyc",
    "a/__pycache__/__init__.cpython-311.opt-1.pyc",
    "a.pyc",
    "../../../bin/tool",
    "../../../share/k/l",
];

/// Names of distributions.
const NAMES: [&str; 4] = ["m", "n", "o", "p"];

/// A distribution: its files, by place in [`PATHS`], and their contents.
type Files = BTreeMap<usize, u8>;

#[derive(Debug, Clone)]
struct Case {
    /// Files that nobody names.
    unowned: Files,
    /// What is installed, by place in [`NAMES`].
    installed: BTreeMap<usize, Files>,
    /// What is new.
    new: BTreeMap<usize, Files>,
    leaving: BTreeSet<usize>,
}

fn files(most: usize) -> impl Strategy<Value = Files> {
    prop::collection::btree_map(0..PATHS.len(), 0_u8..2, 0..=most)
}

fn case() -> impl Strategy<Value = Case> {
    let distributions = |most| prop::collection::btree_map(0..NAMES.len(), files(5), 0..=most);
    let leaving = prop::collection::btree_set(0..NAMES.len(), 0..3);
    (files(3), distributions(3), distributions(2), leaving).prop_map(
        |(unowned, installed, new, leaving)| Case {
            unowned,
            leaving: leaving
                .into_iter()
                .filter(|name| installed.contains_key(name))
                .collect(),
            installed,
            new,
        },
    )
}

/// A path of a file, from the root and without a leading slash.
fn real(path: &str) -> String {
    let mut parts: Vec<&str> = SITE.split('/').skip(1).collect();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

fn contents(path: usize, variant: u8) -> String {
    format!("{path} {variant}")
}

/// Files by their path from the root.
type Tree = BTreeMap<String, String>;

fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Whether a file of `tree` lies where `path` needs a folder, or below it.
fn is_in_the_way(tree: &Tree, path: &str) -> bool {
    let below = format!("{path}/");
    folders_above(path).any(|folder| tree.contains_key(folder))
        || tree.keys().any(|other| other.starts_with(&below))
}

impl Case {
    /// The files of a distribution with its metadata, as a wheel would have them.
    fn wheel_files(name: usize, version: &str, files: &Files) -> Vec<(String, String)> {
        let text =
            |path: &usize, variant: &u8| (PATHS[*path].to_owned(), contents(*path, *variant));
        let own: Vec<(String, String)> = files
            .iter()
            .map(|(path, variant)| text(path, variant))
            .collect();
        let pairs: Vec<(&str, &str)> = own
            .iter()
            .map(|(path, contents)| (path.as_str(), contents.as_str()))
            .collect();
        wheel(NAMES[name], version, &pairs)
            .files
            .iter()
            .map(|(path, file)| {
                let imgtool::layer::FileSource::Bytes(bytes) = &file.source else {
                    panic!("a file that is not here");
                };
                let contents = String::from_utf8_lossy(bytes).into_owned();
                (path.as_str()[1..].to_owned(), contents)
            })
            .collect()
    }

    /// The base's files, of which the later ones win; those that would lie in a file are left out.
    fn base(&self) -> Tree {
        let python = executable(62, LOADER, "3.11.7");
        let mut tree = Tree::from([
            (
                real("../../../bin/python3.11"),
                String::from_utf8_lossy(&python).into_owned(),
            ),
            (real("../os.py"), String::new()),
            (real("kept.txt"), String::new()),
        ]);
        let unowned = self.unowned.iter();
        for (path, variant) in unowned {
            let at = real(PATHS[*path]);
            if !is_in_the_way(&tree, &at) {
                tree.insert(at, contents(*path, *variant));
            }
        }
        for (name, files) in &self.installed {
            for (path, contents) in Self::wheel_files(*name, "1", files) {
                if !is_in_the_way(&tree, &path) {
                    tree.insert(path, contents);
                }
            }
        }
        tree
    }

    /// What is recorded of files, by path: which distributions name it, and with what contents.
    fn records(&self, of: impl Fn(usize) -> bool) -> BTreeMap<String, Vec<String>> {
        let mut records: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, files) in self.installed.iter().filter(|(name, _)| of(**name)) {
            for (path, contents) in Self::wheel_files(*name, "1", files) {
                records.entry(path).or_default().push(contents);
            }
        }
        records
    }

    /// The tree that is wanted, folders with `d`; `None` where something speaks against it.
    fn expected(&self) -> Option<BTreeMap<String, String>> {
        let base = self.base();
        let leaves = |name: usize| {
            self.leaving.contains(&name)
                || (self.new.contains_key(&name) && self.installed.contains_key(&name))
        };
        let leaving = self.records(leaves);
        let staying = self.records(|name| !leaves(name));
        let mut removed = BTreeSet::new();
        for path in leaving.keys().filter(|path| base.contains_key(*path)) {
            if !staying.contains_key(path) {
                removed.insert(path.clone());
                if let Some(stem) = path.strip_suffix(".py") {
                    let (folder, name) = stem.rsplit_once('/').expect("a folder");
                    let mut compiled = vec![format!("{stem}.pyc"), format!("{stem}.pyo")];
                    for level in ["", ".opt-1", ".opt-2"] {
                        compiled.push(format!(
                            "{folder}/__pycache__/{name}.cpython-311{level}.pyc"
                        ));
                    }
                    removed.extend(
                        compiled
                            .into_iter()
                            .filter(|path| base.contains_key(path) && !staying.contains_key(path)),
                    );
                }
            }
        }
        let mut after = base.clone();
        after.retain(|path, _| !removed.contains(path));
        let mut written = Tree::new();
        for (name, files) in &self.new {
            for (path, contents) in Self::wheel_files(*name, "2", files) {
                if written.get(&path).is_some_and(|known| *known != contents) {
                    return None;
                }
                let is_owned = after.contains_key(&path);
                let owners = staying.get(&path).filter(|_| is_owned);
                if owners.is_some_and(|owners| owners.iter().any(|own| *own != contents)) {
                    return None;
                }
                if is_in_the_way(&after, &path) || is_in_the_way(&written, &path) {
                    return None;
                }
                written.insert(path, contents);
            }
        }
        let left_alone: BTreeSet<&str> = base
            .keys()
            .flat_map(|path| folders_above(path))
            .filter(|folder| {
                let below = format!("{folder}/");
                !removed.iter().any(|path| path.starts_with(&below))
            })
            .collect();
        let kept =
            [real(""), real("../../../bin")].map(|path| path.trim_end_matches('/').to_owned());
        let mut expected: BTreeMap<String, String> = BTreeMap::new();
        after.extend(written);
        for folder in left_alone
            .into_iter()
            .chain(kept.iter().map(String::as_str))
        {
            expected.insert(folder.to_owned(), "d".to_owned());
        }
        for (path, contents) in &after {
            for folder in folders_above(path) {
                expected.insert(folder.to_owned(), "d".to_owned());
            }
            expected.insert(path.clone(), format!("f:{contents}"));
        }
        Some(expected)
    }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let mut lower = Archive::new();
    for (path, contents) in case.base() {
        lower = if path.ends_with("bin/python3.11") {
            lower.file(&path, &executable(62, LOADER, "3.11.7"))
        } else {
            lower.file(&path, contents.as_bytes())
        };
    }
    let lower = lower.finish();
    let base = overlay(std::slice::from_ref(&lower));
    let provenance = Provenance::Directory {
        path: "test".to_owned(),
    };
    let search = Search {
        python: Some("/opt/python/bin/python3.11"),
        ..Search::default()
    };
    let environment = read_root(&base, "test", search, provenance).expect("an environment");
    prop_assert_eq!(environment.distributions.len(), case.installed.len());
    let installed = case
        .new
        .iter()
        .map(|(name, files)| {
            let own: Vec<(&str, String)> = files
                .iter()
                .map(|(path, variant)| (PATHS[*path], contents(*path, *variant)))
                .collect();
            let pairs: Vec<(&str, &str)> = own
                .iter()
                .map(|(path, text)| (*path, text.as_str()))
                .collect();
            wheel(NAMES[*name], "2", &pairs)
        })
        .collect();
    let leaving: Vec<PackageName> = case
        .leaving
        .iter()
        .map(|name| name_of(NAMES[*name]))
        .collect();
    let assembled = assemble(&base, &environment, installed, &leaving);
    let Some(mut expected) = case.expected() else {
        prop_assert!(assembled.is_err(), "{assembled:?}");
        return Ok(());
    };
    let assembled = assembled.map_err(|error| TestCaseError::fail(error.to_string()))?;
    // Read as text by the tree, which its bytes are not.
    for (path, what) in &mut expected {
        if path.ends_with("bin/python3.11") {
            let text = String::from_utf8_lossy(&executable(62, LOADER, "3.11.7")).into_owned();
            *what = format!("f:{text}");
        }
    }
    let one = overlay(&[lower.clone(), archive(&assembled.contents)]);
    prop_assert_eq!(&tree(&one), &expected);
    let mut layers = vec![lower];
    layers.extend(
        assembled
            .per_distribution()
            .iter()
            .map(|layer| archive(&layer.contents)),
    );
    prop_assert_eq!(&tree(&overlay(&layers)), &expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_layer_on_the_base_is_what_deleting_and_writing_gives(case in case()) {
        check(&case)?;
    }
}

#[test]
fn a_record_of_the_model_is_one() {
    assert!(record("m-1.dist-info", &[("a.py", "")]).contains("a.py,sha256="));
    assert_eq!(real("../../../bin/tool"), "opt/python/bin/tool");
}
