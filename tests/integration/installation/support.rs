//! Bases with installed distributions, and wheels as they would be installed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use imgtool::digest::sha256;
use imgtool::environment::{Environment, Search};
use imgtool::image_path::ImagePath;
use imgtool::layer::{
    AssembleError, Assembled, FileSource, InstalledWheel, LayerContents, LayerEntry, LayerFile,
    assemble,
};
use imgtool::packaging::{PackageName, Version};
use imgtool::rootfs::Attributes;

use crate::support::layers::Archive;
use crate::support::root::Root;

/// Where the base's distributions lie.
pub const SITE: &str = "/opt/python/lib/python3.11/site-packages";

/// A base with an interpreter at `/opt/python`.
pub fn base() -> Root {
    let root = Root::debian();
    root.python("/opt/python", "3.11.7");
    root
}

/// The interpreter at `/opt/python`.
pub fn environment(root: &Root) -> Environment {
    let search = Search {
        python: Some("/opt/python/bin/python3"),
        ..Search::default()
    };
    root.read_as(search).expect("an environment")
}

/// The SHA-256 of `bytes`.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    let digest = sha256(bytes).to_string();
    let hex = digest.strip_prefix("sha256:").expect("a sha256");
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).expect("hexadecimal");
    }
    hash
}

/// A `RECORD` of these files, paths as they shall be written, and of itself.
pub fn record(folder: &str, files: &[(&str, &str)]) -> String {
    let mut record = String::new();
    for (path, contents) in files {
        let hash = URL_SAFE_NO_PAD.encode(hash(contents.as_bytes()));
        let _ = writeln!(record, "{path},sha256={hash},{}", contents.len());
    }
    let _ = writeln!(record, "{folder}/RECORD,,");
    record
}

/// Installs a distribution into the base as pip leaves it: files relative to [`SITE`].
pub fn install(root: &Root, name: &str, version: &str, files: &[(&str, &str)]) {
    let folder = format!("{name}-{version}.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n");
    let metadata_path = format!("{folder}/METADATA");
    let mut all = files.to_vec();
    all.push((&metadata_path, &metadata));
    for (path, contents) in &all {
        root.write(ImagePath::new(SITE).join(path).as_str(), contents);
    }
    root.write(&format!("{SITE}/{folder}/RECORD"), record(&folder, &all));
}

/// A file of a wheel.
pub fn file(contents: &str) -> LayerFile {
    LayerFile {
        attributes: Attributes {
            mode: 0o644,
            uid: 0,
            gid: 0,
        },
        size: contents.len() as u64,
        sha256: hash(contents.as_bytes()),
        source: FileSource::Bytes(Arc::from(contents.as_bytes())),
    }
}

/// A wheel as it would be installed: files relative to [`SITE`], with `METADATA` and `RECORD`.
pub fn wheel(name: &str, version: &str, files: &[(&str, &str)]) -> InstalledWheel {
    let folder = format!("{name}-{version}.dist-info");
    let site = ImagePath::new(SITE);
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n");
    let metadata_path = format!("{folder}/METADATA");
    let mut all = files.to_vec();
    all.push((&metadata_path, &metadata));
    let record = record(&folder, &all);
    let record_path = format!("{folder}/RECORD");
    all.push((&record_path, &record));
    InstalledWheel {
        name: name_of(name),
        version: Version::from_str(version).expect("a version"),
        files: all
            .iter()
            .map(|(path, contents)| (site.join(path), file(contents)))
            .collect(),
        notes: Vec::new(),
    }
}

/// A normalized name.
pub fn name_of(name: &str) -> PackageName {
    PackageName::from_str(name).expect("a name")
}

/// What a layer on `root` consists of.
pub fn assembled(
    root: &Root,
    installed: Vec<InstalledWheel>,
    leaving: &[&str],
) -> Result<Assembled, AssembleError> {
    let leaving: Vec<PackageName> = leaving.iter().map(|name| name_of(name)).collect();
    assemble(&root.view(), &environment(root), installed, &leaving)
}

/// The error of what cannot be assembled, with its text.
pub fn refused(root: &Root, installed: Vec<InstalledWheel>, leaving: &[&str]) -> String {
    let error = assembled(root, installed, leaving).expect_err("an error");
    error.to_string()
}

/// The entries below [`SITE`], without its path: what is written, and what goes after a `-`. Metadata of what is written
/// is left out.
pub fn changes(assembled: &Assembled) -> Vec<String> {
    let entries = assembled.contents.entries.iter();
    entries
        .map(|(path, entry)| {
            let path = path.as_str();
            let path = path.strip_prefix(&format!("{SITE}/")).unwrap_or(path);
            match entry {
                LayerEntry::File(_) => path.to_owned(),
                LayerEntry::Whiteout => format!("-{path}"),
            }
        })
        .filter(|change| change.starts_with('-') || !change.contains(".dist-info/"))
        .collect()
}

/// The archive of a layer.
pub fn archive(contents: &LayerContents) -> Vec<u8> {
    let mut paths: BTreeMap<&ImagePath, Option<&LayerEntry>> = BTreeMap::new();
    for path in contents.directories.keys() {
        paths.insert(path, None);
    }
    for (path, entry) in &contents.entries {
        let known = paths.insert(path, Some(entry));
        assert!(known.is_none(), "{path} is a folder as well");
        for folder in std::iter::successors(path.parent(), ImagePath::parent) {
            assert!(
                folder.is_root() || contents.directories.contains_key(&folder),
                "nothing leads to {path}"
            );
        }
    }
    let mut archive = Archive::new();
    for (path, entry) in paths {
        let name = path.as_str().trim_start_matches('/');
        archive = match entry {
            None => archive.folder(name),
            Some(LayerEntry::File(file)) => {
                let FileSource::Bytes(bytes) = &file.source else {
                    panic!("{path} is not here");
                };
                archive.file(name, bytes)
            }
            Some(LayerEntry::Whiteout) => {
                let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
                archive.file(&format!("{folder}/.wh.{name}"), b"")
            }
        };
    }
    archive.finish()
}
