//! Small real images, made in memory and written as every transport has them: an OCI layout, an archive of one, and the
//! forms that engines have given to `docker save`. Their parts are handed out before they are packed, so that a test can
//! break any of them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use imgtool::digest::sha256;
use serde_json::{Value, json};
use tar::{EntryType, Header};

/// What lies at a path of a layer, or under a name of an archive.
#[derive(Debug, Clone)]
pub enum Node {
    /// A regular file.
    File(Vec<u8>),
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink(String),
    /// A hard link.
    Hardlink(String),
    /// A pipe.
    Fifo,
}

/// One member of a tar archive.
pub type Member = (String, Node);

/// A file with this text.
pub fn file(name: &str, contents: impl AsRef<[u8]>) -> Member {
    (name.to_owned(), Node::File(contents.as_ref().to_vec()))
}

/// A symbolic link.
pub fn symlink(name: &str, target: &str) -> Member {
    (name.to_owned(), Node::Symlink(target.to_owned()))
}

/// A tar archive of these members, in this order.
pub fn tar_of(members: &[Member]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, node) in members {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(0);
        match node {
            Node::File(contents) => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(contents.len() as u64);
                put_name(&mut header, name);
                header.set_cksum();
                archive.append(&header, contents.as_slice())
            }
            Node::Directory => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o755);
                put_name(&mut header, name);
                header.set_cksum();
                archive.append(&header, std::io::empty())
            }
            Node::Symlink(target) | Node::Hardlink(target) => {
                header.set_entry_type(match node {
                    Node::Symlink(_) => EntryType::Symlink,
                    _ => EntryType::Link,
                });
                put_name(&mut header, name);
                header.set_link_name_literal(target).expect("a target");
                header.set_cksum();
                archive.append(&header, std::io::empty())
            }
            Node::Fifo => {
                header.set_entry_type(EntryType::Fifo);
                put_name(&mut header, name);
                header.set_cksum();
                archive.append(&header, std::io::empty())
            }
        }
        .expect("memory");
    }
    archive.into_inner().expect("memory")
}

/// Names as they are, `..` and all, which the builder of archives would refuse.
fn put_name(header: &mut Header, name: &str) {
    let field = &mut header.as_old_mut().name;
    assert!(name.len() < field.len(), "`{name}` is too long for a test");
    field[..name.len()].copy_from_slice(name.as_bytes());
}

/// `bytes` as gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// `bytes` as zstd.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory")
}

/// How the layers of an image are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

/// One layer.
#[derive(Debug, Clone)]
pub struct TestLayer {
    /// Its files.
    pub tar: Vec<u8>,
    /// The same as it lies in a layout.
    pub blob: Vec<u8>,
    /// The media type of the blob.
    pub media_type: &'static str,
}

impl TestLayer {
    /// A layer with these files.
    pub fn new(members: &[Member], packing: Packing) -> Self {
        let tar = tar_of(members);
        let (blob, media_type) = match packing {
            Packing::Plain => (tar.clone(), "application/vnd.oci.image.layer.v1.tar"),
            Packing::Gzip => (gzip(&tar), "application/vnd.oci.image.layer.v1.tar+gzip"),
            Packing::Zstd => (zstd(&tar), "application/vnd.oci.image.layer.v1.tar+zstd"),
        };
        Self {
            tar,
            blob,
            media_type,
        }
    }

    /// `sha256:…` of its files.
    pub fn diff_id(&self) -> String {
        sha256(&self.tar).to_string()
    }
}

/// An image.
#[derive(Debug, Clone)]
pub struct TestImage {
    /// Layers, lowest first.
    pub layers: Vec<TestLayer>,
    /// Its configuration; `rootfs` is filled in.
    pub config: Value,
}

/// A descriptor of `blob`.
pub fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(blob).to_string(), "size": blob.len() })
}

/// The hash of `blob`, without its algorithm.
pub fn hash(blob: &[u8]) -> String {
    sha256(blob).digest().to_owned()
}

/// Media type of an image's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The files of an OCI layout, by path.
pub type Layout = BTreeMap<String, Vec<u8>>;

impl TestImage {
    /// An image of these layers for Linux on amd64, with a `PATH`.
    pub fn new(layers: Vec<TestLayer>) -> Self {
        Self {
            layers,
            config: json!({
                "architecture": "amd64",
                "os": "linux",
                "config": { "Env": ["PATH=/usr/local/bin:/usr/bin"] },
            }),
        }
    }

    /// Two layers, of which the upper one changes a file of the lower one.
    pub fn small(packing: Packing) -> Self {
        Self::new(vec![
            TestLayer::new(&[file("etc/a", "lower"), file("etc/b", "b")], packing),
            TestLayer::new(&[file("etc/a", "upper")], packing),
        ])
    }

    /// The same for another architecture.
    pub fn for_architecture(mut self, architecture: &str) -> Self {
        self.config["architecture"] = architecture.into();
        self
    }

    /// The configuration as it lies there.
    pub fn config_bytes(&self) -> Vec<u8> {
        let mut config = self.config.clone();
        let diff_ids: Vec<String> = self.layers.iter().map(TestLayer::diff_id).collect();
        config["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
        serde_json::to_vec(&config).expect("JSON")
    }

    /// The manifest as it lies there.
    pub fn manifest_bytes(&self) -> Vec<u8> {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| descriptor(layer.media_type, &layer.blob))
            .collect();
        let config = descriptor(
            "application/vnd.oci.image.config.v1+json",
            &self.config_bytes(),
        );
        serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": layers,
        }))
        .expect("JSON")
    }

    /// A descriptor of the manifest, with its platform and, where there is one, its name.
    pub fn descriptor(&self, tag: Option<&str>) -> Value {
        let mut descriptor = descriptor(MANIFEST, &self.manifest_bytes());
        descriptor["platform"] =
            json!({ "architecture": self.config["architecture"], "os": self.config["os"] });
        if let Some(tag) = tag {
            descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        }
        descriptor
    }

    /// Adds the blobs of the image to a layout.
    pub fn put_blobs(&self, layout: &mut Layout) {
        for layer in &self.layers {
            put_blob(layout, &layer.blob);
        }
        put_blob(layout, &self.config_bytes());
        put_blob(layout, &self.manifest_bytes());
    }

    /// The files of a layout with this image alone.
    pub fn layout(&self, tag: Option<&str>) -> Layout {
        layout_of(&[(self, tag)])
    }

    /// What `docker save` wrote before Docker 25, and podman still does: a folder for each layer, of which one is a link
    /// to another that is equal.
    pub fn old_docker_archive(&self, tags: &[&str]) -> Vec<Member> {
        let mut members = Vec::new();
        let mut layers = Vec::new();
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        for (at, layer) in self.layers.iter().enumerate() {
            let id = hash(format!("{at} {}", layer.diff_id()).as_bytes());
            let place = format!("{}/layer.tar", &id[..60]);
            members.push((format!("{}/", &id[..60]), Node::Directory));
            members.push(file(&format!("{}/VERSION", &id[..60]), "1.0"));
            members.push(file(
                &format!("{}/json", &id[..60]),
                json!({ "id": id }).to_string(),
            ));
            members.push(match known.get(&layer.diff_id()) {
                Some(other) => symlink(&place, &format!("../{other}")),
                None => file(&place, &layer.tar),
            });
            known
                .entry(layer.diff_id())
                .or_insert_with(|| place.clone());
            layers.push(place);
        }
        let config = self.config_bytes();
        let config_name = format!("{}.json", hash(&config));
        members.push(file(&config_name, &config));
        members.push(file(
            "manifest.json",
            json!([{ "Config": config_name, "RepoTags": tags, "Layers": layers }]).to_string(),
        ));
        members.push(file("repositories", "{}"));
        members
    }

    /// What `docker save` has written since Docker 25: an OCI layout with the old `manifest.json` beside its index.
    pub fn new_docker_archive(&self, tags: &[&str]) -> Vec<Member> {
        let mut members = vec![
            ("blobs/".to_owned(), Node::Directory),
            ("blobs/sha256/".to_owned(), Node::Directory),
        ];
        let blob = |bytes: &[u8]| format!("blobs/sha256/{}", hash(bytes));
        members.extend(
            self.layout(None)
                .into_iter()
                .map(|(path, contents)| file(&path, contents)),
        );
        let layers: Vec<String> = self.layers.iter().map(|layer| blob(&layer.blob)).collect();
        let config = blob(&self.config_bytes());
        members.push(file(
            "manifest.json",
            json!([{ "Config": config, "RepoTags": tags, "Layers": layers }]).to_string(),
        ));
        members
    }

    /// What an engine's `inspect` tells of the image.
    pub fn inspected(&self) -> Value {
        let diff_ids: Vec<String> = self.layers.iter().map(TestLayer::diff_id).collect();
        json!([{
            "Id": sha256(&self.config_bytes()).to_string(),
            "Digest": sha256(&self.manifest_bytes()).to_string(),
            "Architecture": self.config["architecture"],
            "Os": self.config["os"],
            "Config": self.config["config"],
            "RootFS": { "Type": "layers", "Layers": diff_ids },
        }])
    }
}

/// Adds a blob to a layout, under its digest.
pub fn put_blob(layout: &mut Layout, blob: &[u8]) {
    layout.insert(format!("blobs/sha256/{}", hash(blob)), blob.to_vec());
}

/// The files of a layout whose index has these entries.
pub fn layout_with(entries: &[Value]) -> Layout {
    let mut layout = Layout::new();
    layout.insert(
        "oci-layout".to_owned(),
        json!({ "imageLayoutVersion": "1.0.0" })
            .to_string()
            .into_bytes(),
    );
    set_index(&mut layout, entries);
    layout
}

/// Puts another index into a layout.
pub fn set_index(layout: &mut Layout, entries: &[Value]) {
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    layout.insert("index.json".to_owned(), index.to_string().into_bytes());
}

/// The files of a layout with these images.
pub fn layout_of(images: &[(&TestImage, Option<&str>)]) -> Layout {
    let entries: Vec<Value> = images
        .iter()
        .map(|(image, tag)| image.descriptor(*tag))
        .collect();
    let mut layout = layout_with(&entries);
    for (image, _) in images {
        image.put_blobs(&mut layout);
    }
    layout
}

/// Writes the files of a layout into `folder`.
pub fn write_layout(layout: &Layout, folder: &Path) {
    for (path, contents) in layout {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        put(&path, contents);
    }
}

/// Writes a file; of a pipe, whoever reads it gets the bytes.
pub fn put(path: &Path, contents: &[u8]) {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .expect("a file");
    file.write_all(contents).expect("written");
}

/// The members of an archive of a layout, blobs first, as most tools write them.
pub fn archive_members(layout: &Layout) -> Vec<Member> {
    layout
        .iter()
        .map(|(path, contents)| file(path, contents))
        .collect()
}
