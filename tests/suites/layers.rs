//! Random OCI layouts and the tree that umoci and containers/storage agree on; archives that every reader must read.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use imgtool::digest::sha256;
use imgtool::rootfs::{RootFs, RootFsError};
use serde_json::Value;

use crate::harness::{Suite, bytes, document, files, text};
use crate::support::layers::{Reading, image_of, overlay, walk};

/// The files of all layouts, by path.
fn layouts() -> BTreeMap<PathBuf, Vec<u8>> {
    let packed = bytes("layers/layouts.tar.gz");
    let mut archive = tar::Archive::new(GzDecoder::new(packed.as_slice()));
    let mut found = BTreeMap::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        if entry.header().entry_type().is_file() {
            let path = entry.path().expect("a path").into_owned();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).expect("its contents");
            found.insert(path, contents);
        }
    }
    found
}

/// The tree of a root as the suite writes it.
fn tree(root: &dyn RootFs) -> BTreeMap<String, String> {
    walk(root, |path| match root.read(path, 1 << 20) {
        Ok(contents) => format!("f:{}", &sha256(&contents).to_string()[7..23]),
        Err(RootFsError::NotFound(_)) => "nothing".to_owned(),
        Err(error) => panic!("{path}: {error}"),
    })
}

#[test]
fn layers_give_the_tree_that_umoci_and_containers_storage_agree_on() {
    let layouts = layouts();
    let mut suite = Suite::new("layers");
    let cases = document("layers/expected.json.gz");
    for case in cases.as_array().expect("a list") {
        let id = text(case, "id");
        let file = |path: &str| &layouts[&PathBuf::from(format!("{id}/{path}"))];
        let blob = |digest: &Value| {
            let digest = digest.as_str().expect("a digest");
            file(&format!("blobs/{}", digest.replace(':', "/")))
        };
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
        let index = json(file("index.json"));
        let manifest = json(blob(&index["manifests"][0]["digest"]));
        let config = json(blob(&manifest["config"]["digest"]));
        let diff_ids = config["rootfs"]["diff_ids"].as_array().expect("diff_ids");
        let layers = manifest["layers"]
            .as_array()
            .expect("layers")
            .iter()
            .zip(diff_ids);
        let layers = layers.map(|(layer, diff_id)| {
            let diff_id = diff_id
                .as_str()
                .expect("a digest")
                .parse()
                .expect("a digest");
            (blob(&layer["digest"]).clone(), diff_id)
        });
        let (image, _) = image_of(layers.collect());
        let root = Reading::default().root(image).expect("an image");
        let expected: BTreeMap<String, String> =
            serde_json::from_value(case["tree"].clone()).expect("a tree");
        let found = tree(&root);
        for path in expected
            .keys()
            .chain(found.keys())
            .collect::<std::collections::BTreeSet<_>>()
        {
            suite.compare(
                &format!("{id}/{path}"),
                &expected.get(path),
                &found.get(path),
            );
        }
    }
    suite.finish(500);
}

#[test]
fn archives_that_must_be_accepted_are() {
    let mut suite = Suite::new("tar");
    for path in files("archives/tar/accept") {
        if path.extension().is_none_or(|extension| extension != "tar") {
            continue;
        }
        let root = overlay(&[fs::read(&path).expect("an archive")]);
        let found = tree(&root);
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let described = path.with_extension("json");
        if !described.exists() {
            // What is in there is not said; it is something.
            suite.compare(&name, &false, &found.is_empty());
            continue;
        }
        let described: Value =
            serde_json::from_slice(&fs::read(described).expect("a description")).expect("JSON");
        for member in described["expected"].as_array().expect("members") {
            let member_name = text(member, "member").trim_end_matches('/');
            let expected = match text(member, "type") {
                "directory" => "d".to_owned(),
                "symlink" => format!("l:{}", text(member, "linkname")),
                _ => format!("f:{}", &text(member, "sha256")[..16]),
            };
            let key = format!("{name}/{member_name}");
            suite.compare(&key, &Some(&expected), &found.get(member_name));
        }
    }
    suite.finish(7);
}
