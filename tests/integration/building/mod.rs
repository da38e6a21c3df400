//! `imgtool build` from its arguments to the image: against an index and registries in this process, on bases made up on
//! the spot.

mod answers;
mod bad_days;
mod command_lines;
mod contents;
mod faults;
mod sameness;
mod targets;

use std::collections::BTreeMap;
use std::io::Read as _;

use imgtool::digest::sha256;
use imgtool::transport::OpenedImage;
use imgtool::transport::layout;
use imgtool::transport::reference::OciSelector;
use serde_json::{Value, json};

use crate::support::base_image::{self, pushed};
use crate::support::image::{TestImage, write_layout};
use crate::support::index_server::{Builder, IndexServer, ServedFile};
use crate::support::layers::{Reading, tree};
use crate::support::program::{Desk, Run};
use crate::support::registry::RegistryServer;
use crate::support::wheel::{Wheel, metadata};

/// A wheel of `NAME-VERSION` with further lines of metadata.
fn wheel(stem: &str, headers: &str) -> Wheel {
    let (name, version) = stem.split_once('-').expect("a name and a version");
    Wheel::new(stem).info("METADATA", metadata(name, version, headers))
}

/// An index with these wheels.
fn index(wheels: &[Wheel]) -> Builder {
    let mut builder = IndexServer::builder().behaviour(|behaviour| behaviour.pep658 = true);
    for wheel in wheels {
        let (name, _) = wheel.stem.split_once('-').expect("a name");
        builder = builder.project(&name.replace('_', "-")).file(served(wheel));
    }
    builder
}

fn served(wheel: &Wheel) -> ServedFile {
    let metadata = format!("{}.dist-info/METADATA", wheel.stem);
    let metadata = wheel
        .members
        .iter()
        .find(|member| member.name == metadata.as_bytes());
    ServedFile {
        filename: wheel.file_name(),
        bytes: Some(wheel.build()),
        metadata: metadata.map(|member| member.contents.clone()),
        page: json!({}),
    }
}

/// `alpha` with something for every place of an environment, which needs `beta`.
fn alpha() -> Wheel {
    wheel("alpha-1.0", "Requires-Dist: beta>=1")
        .file("alpha/__init__.py", "def main():\n    return 0\n")
        .file("google/alpha/__init__.py", "")
        .data("data/share/alpha/alpha.txt", "data\n")
        .data("data/lib64/alpha.so", "library\n")
        .data("headers/alpha.h", "#define ALPHA\n")
        .data("scripts/alpha-run", "#!python\nimport alpha\n")
        .info(
            "entry_points.txt",
            "[console_scripts]\nalpha = alpha:main\n",
        )
}

/// The wheels of the usual index: `gamma` needs another `six`, `delta` and `epsilon` write one file.
fn wheels() -> Vec<Wheel> {
    vec![
        alpha(),
        wheel("beta-1.0", "").file("beta/__init__.py", "\n"),
        wheel("gamma-1.0", "Requires-Dist: six>=1.17").file("gamma/__init__.py", "\n"),
        wheel("six-1.17.0", "").file("six.py", "version = '1.17.0'\n"),
        wheel("delta-1.0", "")
            .file("shared/data.txt", "of delta\n")
            .file("shared/same.txt", "the same\n"),
        wheel("epsilon-1.0", "").file("shared/same.txt", "the same\n"),
        wheel("zeta-1.0", "").file("shared/data.txt", "of zeta\n"),
    ]
}

/// A desk with the base `oci:base:1.0` on it, and the usual index.
struct Shop {
    desk: Desk,
    index: IndexServer,
}

impl Shop {
    fn new() -> Self {
        Self::with(&base_image::base(), index(&wheels()))
    }

    fn with(base: &TestImage, index: Builder) -> Self {
        let index = index.start();
        let desk = Desk::at(&index);
        write_layout(&base.layout(Some("1.0")), &desk.path("base"));
        Self { desk, index }
    }

    /// A registry with the base as `team/base:1.0`; its address is `[REGISTRY]` in output.
    fn registry(&mut self) -> RegistryServer {
        let registry = RegistryServer::start();
        registry.push("team/base", "1.0", &pushed(&base_image::base()));
        self.desk.scrub(&registry.host(), "[REGISTRY]");
        registry
    }

    /// Builds on `oci:base:1.0` and demands success; the layout `out` has the image.
    #[track_caller]
    fn out(&self, arguments: &[&str]) -> Run {
        self.desk
            .build(&[&["oci:base:1.0"], arguments, &["-o", "oci:out:1.0"]].concat())
            .expect(0)
    }

    /// The image that the layout `name` has.
    #[track_caller]
    fn image(&self, name: &str) -> Built {
        Built::open(&self.desk, name)
    }
}

/// An image in a layout, looked into without the help of what built it.
struct Built {
    manifest: Value,
    config: Value,
    /// The files of the layers, uncompressed.
    layers: Vec<Vec<u8>>,
    /// Every path of the merged image, as [`tree`] tells it.
    tree: BTreeMap<String, String>,
}

/// What a layer says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: char,
    mode: u32,
    owner: (u64, u64),
    modified: u64,
    contents: String,
}

impl Built {
    #[track_caller]
    fn open(desk: &Desk, name: &str) -> Self {
        let folder = desk.path(name);
        let read = |digest: &Value| {
            let digest = digest.as_str().expect("a digest");
            let (_, hash) = digest.split_once(':').expect("a hash");
            let bytes = std::fs::read(folder.join("blobs/sha256").join(hash)).expect("a blob");
            assert_eq!(sha256(&bytes).to_string(), digest);
            bytes
        };
        let index: Value =
            serde_json::from_slice(&std::fs::read(folder.join("index.json")).expect("an index"))
                .expect("JSON");
        // What had the name before is still there, without it.
        let entries = index["manifests"].as_array().expect("entries");
        let name_of = |entry: &Value| {
            let name = &entry["annotations"]["org.opencontainers.image.ref.name"];
            name.as_str().map(str::to_owned)
        };
        let chosen = entries.iter().find(|entry| name_of(entry).is_some());
        let chosen = chosen.unwrap_or(&entries[0]);
        let root = &chosen["digest"];
        let manifest: Value = serde_json::from_slice(&read(root)).expect("JSON");
        let config: Value =
            serde_json::from_slice(&read(&manifest["config"]["digest"])).expect("JSON");
        let diff_ids = config["rootfs"]["diff_ids"].as_array().expect("a list");
        let mut layers = Vec::new();
        for (layer, diff_id) in manifest["layers"]
            .as_array()
            .expect("layers")
            .iter()
            .zip(diff_ids)
        {
            let blob = read(&layer["digest"]);
            assert_eq!(layer["size"], blob.len());
            let media_type = layer["mediaType"].as_str().expect("a media type");
            let mut tar = Vec::new();
            if media_type.ends_with("gzip") {
                flate2::read::MultiGzDecoder::new(blob.as_slice())
                    .read_to_end(&mut tar)
                    .expect("gzip");
            } else if media_type.ends_with("zstd") {
                tar = zstd::decode_all(blob.as_slice()).expect("zstd");
            } else {
                tar = blob;
            }
            assert_eq!(
                sha256(&tar).to_string(),
                diff_id.as_str().expect("a digest")
            );
            layers.push(tar);
        }
        assert_eq!(layers.len(), diff_ids.len());
        let selector = name_of(chosen).map(OciSelector::Tag);
        let image = layout::open(&folder, selector.as_ref(), None, "oci:out").expect("an image");
        let read = Reading::default()
            .read(OpenedImage::Image(image))
            .expect("an image");
        Self {
            manifest,
            config,
            layers,
            tree: tree(&read.root),
        }
    }

    /// What the last layer holds, in its order.
    fn last(&self) -> Vec<(String, Entry)> {
        let tar = self.layers.last().expect("a layer");
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut entries = Vec::new();
        for entry in archive.entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let header = entry.header();
            let kind = match header.entry_type() {
                tar::EntryType::Directory => 'd',
                tar::EntryType::Symlink => 'l',
                tar::EntryType::Regular => 'f',
                _ => 'o',
            };
            let (mode, modified) = (header.mode().expect("mode"), header.mtime().expect("time"));
            let owner = (header.uid().expect("uid"), header.gid().expect("gid"));
            let path = entry.path().expect("a path").display().to_string();
            let mut contents = String::new();
            entry.read_to_string(&mut contents).expect("text");
            let path = path.trim_end_matches('/').to_owned();
            entries.push((
                path,
                Entry {
                    kind,
                    mode,
                    owner,
                    modified,
                    contents,
                },
            ));
        }
        entries
    }
}

/// Hashes by one word: they depend on where the servers of the test are, and on how its fixtures were packed.
fn short(text: &str) -> String {
    let mut short = String::new();
    let mut run = 0;
    for character in text.chars() {
        run = if character.is_ascii_hexdigit() {
            run + 1
        } else {
            0
        };
        if run <= 40 {
            short.push(character);
        } else if run == 41 {
            short.truncate(short.len() - 40);
            short.push_str("HEX");
        }
    }
    short
}
