//! Permissions and owners of what is new, and layers that are whole.

use std::collections::BTreeMap;

use imgtool::image_path::ImagePath;
use imgtool::layer::{LayerEntry, assemble};
use imgtool::rootfs::{Attributes, EntryKind, RootFs};
use tar::{EntryType, Header};

use super::support::{SITE, base, environment, install, wheel};
use crate::support::layers::{Archive, overlay};
use crate::support::root::Root;

fn attributes(mode: u32, uid: u64, gid: u64) -> Attributes {
    Attributes { mode, uid, gid }
}

/// The archive of a root, with permissions and owners.
fn archived(root: &Root, of: &dyn Fn(&str) -> Attributes) -> Vec<u8> {
    let view = root.view();
    let mut archive = Archive::new();
    let mut waiting = vec![ImagePath::root()];
    while let Some(folder) = waiting.pop() {
        for listed in view.list(&folder).expect("a folder") {
            let path = folder.join(&listed.name);
            let name = &path.as_str()[1..];
            let mut header = Header::new_ustar();
            header.set_path(name).expect("a name");
            let own = of(path.as_str());
            header.set_mode(own.mode);
            header.set_uid(own.uid);
            header.set_gid(own.gid);
            let mut contents = Vec::new();
            match listed.kind {
                EntryKind::Directory => {
                    header.set_entry_type(EntryType::Directory);
                    waiting.push(path.clone());
                }
                EntryKind::File => {
                    header.set_entry_type(EntryType::Regular);
                    contents = view.read(&path, 1 << 20).expect("a file");
                }
                _ => continue,
            }
            header.set_size(contents.len() as u64);
            archive = archive.with_header(header, &contents);
        }
    }
    archive.finish()
}

#[test]
fn folders_keep_what_the_base_says_and_new_ones_belong_to_their_parents_owner() {
    let root = base();
    install(&root, "x", "1", &[("x/a.py", "")]);
    root.write(&format!("{SITE}/group/file"), "");
    let site = |path: &str| path.starts_with(SITE);
    let layer = archived(&root, &|path| match path {
        "/opt" => attributes(0o711, 0, 0),
        "/opt/python/lib/python3.11/site-packages/group" => attributes(0o2775, 7, 8),
        path if site(path) => attributes(0o750, 1000, 1001),
        _ => attributes(0o755, 0, 0),
    });
    let image = overlay(&[layer]);
    let new = wheel(
        "a",
        "1",
        &[
            ("a/b/c.py", ""),
            ("group/new/d.py", ""),
            ("group/e.py", ""),
            ("../../../share/a", ""),
        ],
    );
    let assembled = assemble(
        &image,
        &environment(&root),
        vec![new],
        &["x".parse().expect("a name")],
    );
    let contents = assembled.expect("assembled").contents;
    let folders: BTreeMap<&str, Attributes> = contents
        .directories
        .iter()
        .map(|(path, attributes)| {
            (
                path.as_str().strip_prefix(SITE).unwrap_or(path.as_str()),
                *attributes,
            )
        })
        .collect();
    let expected = [
        ("", attributes(0o750, 1000, 1001)),
        ("/a", attributes(0o755, 1000, 1001)),
        ("/a-1.dist-info", attributes(0o755, 1000, 1001)),
        ("/a/b", attributes(0o755, 1000, 1001)),
        ("/group", attributes(0o2775, 7, 8)),
        ("/group/new", attributes(0o2755, 7, 8)),
        ("/opt", attributes(0o711, 0, 0)),
        ("/opt/python", attributes(0o755, 0, 0)),
        ("/opt/python/lib", attributes(0o755, 0, 0)),
        ("/opt/python/lib/python3.11", attributes(0o755, 0, 0)),
        ("/opt/python/share", attributes(0o755, 0, 0)),
    ];
    assert_eq!(folders, BTreeMap::from(expected));
    let file = |path: &str| match &contents.entries[&ImagePath::new(path)] {
        LayerEntry::File(file) => file.attributes,
        LayerEntry::Whiteout => panic!("{path} is gone"),
    };
    for (path, expected) in [
        (format!("{SITE}/a/b/c.py"), attributes(0o644, 1000, 1001)),
        (format!("{SITE}/group/new/d.py"), attributes(0o644, 7, 8)),
        (format!("{SITE}/group/e.py"), attributes(0o644, 7, 8)),
        ("/opt/python/share/a".to_owned(), attributes(0o644, 0, 0)),
    ] {
        assert_eq!(file(&path), expected, "{path}");
    }
}

#[test]
fn layers_of_distributions_are_whole_and_the_first_removes() {
    let root = base();
    install(&root, "x", "1", &[("x/a.py", ""), ("y.py", "")]);
    let wheels = vec![
        wheel("a", "1", &[("a/a.py", "")]),
        wheel("b", "2", &[("b/b.py", ""), ("x/a.py", "new")]),
    ];
    let assembled = assemble(
        &root.view(),
        &environment(&root),
        wheels,
        &["x".parse().expect("a name")],
    );
    let layers = assembled.expect("assembled").per_distribution();
    let told: Vec<(String, Vec<String>, usize)> = layers
        .iter()
        .map(|layer| {
            let (name, version) = layer.distribution.as_ref().expect("a distribution");
            let entries = layer.contents.entries.iter();
            let entries = entries.map(|(path, entry)| {
                let sign = if matches!(entry, LayerEntry::Whiteout) {
                    "-"
                } else {
                    ""
                };
                let path = path
                    .as_str()
                    .strip_prefix(SITE)
                    .expect("in the site folder");
                format!("{sign}{path}")
            });
            (
                format!("{name} {version}"),
                entries.collect(),
                layer.contents.directories.len(),
            )
        })
        .collect();
    let entries = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| (*path).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        told,
        [
            (
                "a 1".to_owned(),
                entries(&[
                    "/a-1.dist-info/METADATA",
                    "/a-1.dist-info/RECORD",
                    "/a/a.py",
                    "-/x-1.dist-info",
                    "-/y.py",
                ]),
                7
            ),
            (
                "b 2".to_owned(),
                entries(&[
                    "/b-2.dist-info/METADATA",
                    "/b-2.dist-info/RECORD",
                    "/b/b.py",
                    "/x/a.py",
                ]),
                8
            ),
        ]
    );
}
