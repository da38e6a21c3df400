//! Layers and images made up on the spot: archives written block by block, so that they can be wrong in any way, and
//! images whose blobs lie in memory.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use imgtool::digest::{Digest, sha256};
use imgtool::image_path::ImagePath;
use imgtool::rootfs::retention::Retention;
use imgtool::rootfs::{
    Entry, EntryKind, InventoryCache, LayerError, Limits, Overlay, ReadImage, ReadSettings, RootFs,
    Silent, WantedFiles, read_image,
};
use imgtool::transport::{Image, Layer, LayerSource, OpenedImage, TransportError};
use oci_spec::image::{ImageConfiguration, RootFsBuilder};
use tar::{EntryType, Header};

/// An archive that is being written.
#[derive(Debug, Clone, Default)]
pub struct Archive(pub Vec<u8>);

impl Archive {
    /// An archive without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, path: &str, contents: &[u8]) -> Self {
        self.entry(EntryType::Regular, path.as_bytes(), b"", contents)
    }

    /// A folder.
    #[must_use]
    pub fn folder(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path.as_bytes(), b"", b"")
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path.as_bytes(), target.as_bytes(), b"")
    }

    /// A hard link.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path.as_bytes(), target.as_bytes(), b"")
    }

    /// Any entry; names that do not fit into the header go before it as GNU's long names.
    #[must_use]
    pub fn entry(mut self, kind: EntryType, path: &[u8], link: &[u8], body: &[u8]) -> Self {
        if path.len() > 100 {
            self = self.raw(
                EntryType::GNULongName,
                b"././@LongLink",
                b"",
                path.len() as u64,
                path,
            );
        }
        if link.len() > 100 {
            self = self.raw(
                EntryType::GNULongLink,
                b"././@LongLink",
                b"",
                link.len() as u64,
                link,
            );
        }
        let short = |name: &[u8]| name[..name.len().min(100)].to_vec();
        self.raw(kind, &short(path), &short(link), body.len() as u64, body)
    }

    /// A header that says what it is told to say, and a body.
    #[must_use]
    pub fn raw(self, kind: EntryType, path: &[u8], link: &[u8], size: u64, body: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(size);
        self.with_header(header, body)
    }

    /// `header`, its checksum made right, and a body.
    #[must_use]
    pub fn with_header(mut self, mut header: Header, body: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.body(body)
    }

    /// Bytes, padded to a whole block.
    #[must_use]
    pub fn body(mut self, body: &[u8]) -> Self {
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Pax records that apply to the next entry.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let block: Vec<u8> = records
            .iter()
            .flat_map(|(key, value)| pax_record(key, value))
            .collect();
        self.raw(
            EntryType::XHeader,
            b"PaxHeaders/x",
            b"",
            block.len() as u64,
            &block,
        )
    }

    /// The archive with its end marker.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// One pax record, its own length included in its length.
pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest + 1..rest + 20).find(|length| rest + length.to_string().len() == *length);
    let mut record = format!("{} {key}=", length.expect("a length")).into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// `bytes` as a gzip file.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

/// Blobs in memory, and how often one was opened.
#[derive(Debug, Clone, Default)]
pub struct Blobs {
    blobs: Arc<Mutex<BTreeMap<usize, Vec<u8>>>>,
    opened: Arc<AtomicUsize>,
}

impl Blobs {
    /// How often a blob was opened so far.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl LayerSource for Blobs {
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let blobs = self.blobs.lock().expect("the blobs");
        let blob = blobs
            .get(&layer.index)
            .ok_or_else(|| TransportError::NotFound(format!("no layer {}", layer.index)))?;
        Ok(Box::new(io::Cursor::new(blob.clone())))
    }
}

/// An image of `layers`, the lowest first: uncompressed archives, each stored with gzip.
pub fn image(layers: &[Vec<u8>]) -> (Image, Blobs) {
    image_of(
        layers
            .iter()
            .map(|archive| (gzip(archive), sha256(archive)))
            .collect(),
    )
}

/// An image of blobs and their `diff_ids`.
pub fn image_of(layers: Vec<(Vec<u8>, Digest)>) -> (Image, Blobs) {
    let blobs = Blobs::default();
    let mut described = Vec::new();
    for (index, (blob, diff_id)) in layers.into_iter().enumerate() {
        described.push(Layer {
            index,
            digest: Some(sha256(&blob)),
            size: Some(blob.len() as u64),
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
            diff_id,
            member: None,
        });
        blobs.blobs.lock().expect("the blobs").insert(index, blob);
    }
    let image = Image {
        reference: "test:image".to_owned(),
        digest: None,
        manifest_bytes: None,
        config_bytes: Vec::new(),
        config: config(&described),
        layers: described,
        source: Arc::new(blobs.clone()),
    };
    (image, blobs)
}

/// A configuration with the `diff_ids` of `layers`.
pub fn config(layers: &[Layer]) -> ImageConfiguration {
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| layer.diff_id.to_string())
        .collect();
    let root = RootFsBuilder::default()
        .typ("layers")
        .diff_ids(diff_ids)
        .build();
    let mut config = ImageConfiguration::default();
    config.set_rootfs(root.expect("a root file system"));
    config
}

/// Keeps every file.
pub fn everything(_: &str) -> Retention {
    Retention::Contents { limit: 1 << 20 }
}

/// Keeps no file.
pub fn nothing(_: &str) -> Retention {
    Retention::Nothing
}

/// Reads `image` with what a test cares about.
pub struct Reading<'a> {
    /// Where inventories are kept.
    pub cache: Option<&'a InventoryCache>,
    /// How much is taken.
    pub limits: Limits,
    /// What is asked for by path.
    pub wanted: WantedFiles,
    /// What is kept.
    pub retention: fn(&str) -> Retention,
}

impl Default for Reading<'_> {
    fn default() -> Self {
        Self {
            cache: None,
            limits: Limits::default(),
            wanted: WantedFiles::default(),
            retention: everything,
        }
    }
}

impl Reading<'_> {
    /// Reads what was opened.
    pub fn read(&self, opened: OpenedImage) -> Result<ReadImage, LayerError> {
        let settings = ReadSettings {
            cache: self.cache,
            progress: &Silent,
            limits: self.limits,
            threads: 2,
            wanted: &self.wanted,
            retention: &self.retention,
        };
        read_image(opened, &settings)
    }

    /// The root file system of `image`.
    pub fn root(&self, image: Image) -> Result<Overlay, LayerError> {
        self.read(OpenedImage::Image(image)).map(|read| read.root)
    }
}

/// The root file system of the archives `layers`, the lowest first, every file kept.
pub fn overlay(layers: &[Vec<u8>]) -> Overlay {
    Reading::default().root(image(layers).0).expect("an image")
}

/// What an error says, with its causes.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Every path of `root` and what lies there: `d`, `f:contents`, `l:target`, `o`.
pub fn tree(root: &dyn RootFs) -> BTreeMap<String, String> {
    walk(root, |path| {
        let contents = root.read(path, 1 << 30).expect("a file that was kept");
        format!("f:{}", String::from_utf8_lossy(&contents))
    })
}

/// Every path of `root` and what lies there, files as `file` describes them.
pub fn walk(root: &dyn RootFs, file: impl Fn(&ImagePath) -> String) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![ImagePath::root()];
    while let Some(folder) = waiting.pop() {
        for listed in root.list(&folder).expect("a folder") {
            let path = folder.join(&listed.name);
            let entry = root
                .entry(&path)
                .expect("an answer")
                .expect("what was listed");
            let (kind, text) = match entry {
                Entry::Directory => (EntryKind::Directory, "d".to_owned()),
                Entry::File => (EntryKind::File, file(&path)),
                Entry::Symlink(target) => (EntryKind::Symlink, format!("l:{target}")),
                Entry::Other => (EntryKind::Other, "o".to_owned()),
            };
            assert_eq!(kind, listed.kind, "{path}");
            if kind == EntryKind::Directory {
                waiting.push(path.clone());
            }
            found.insert(path.as_str()[1..].to_owned(), text);
        }
    }
    found
}
