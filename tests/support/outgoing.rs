//! Images on their way out, made up from a number: layers of the base, a new layer in a file, a configuration, manifests
//! and what is attached to them.

use std::io::{Cursor, Read, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use imgtool::transport::outgoing::{BlobContent, Outgoing, OutgoingBlob, OutgoingManifest};
use imgtool::transport::{Layer, LayerSource, TransportError};
use oci_distribution::Reference;
use oci_spec::image::Descriptor;
use serde_json::{Value, json};

use super::registry::{
    OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Pushed, descriptor as described, digest,
};

/// Layers in memory, with how often one was opened.
#[derive(Debug, Default)]
pub struct MemoryLayers {
    pub layers: Vec<Vec<u8>>,
    pub opened: AtomicUsize,
}

impl LayerSource for MemoryLayers {
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Cursor::new(self.layers[layer.index].clone())))
    }
}

/// Bytes that nobody could guess and everybody can make again.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The descriptor of `bytes`.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    serde_json::from_value(described(media_type, bytes)).expect("a descriptor")
}

/// A blob whose bytes are here.
pub fn blob(media_type: &str, bytes: &[u8]) -> OutgoingBlob {
    OutgoingBlob {
        descriptor: descriptor(media_type, bytes),
        content: BlobContent::Bytes(Arc::from(bytes)),
    }
}

/// A manifest of this value.
pub fn manifest(media_type: &str, value: &Value) -> OutgoingManifest {
    let bytes = serde_json::to_vec(value).expect("JSON");
    OutgoingManifest {
        descriptor: descriptor(media_type, &bytes),
        bytes,
    }
}

fn write(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::File::create(path).expect("a file");
    file.write_all(bytes).expect("a file");
}

/// An image on its way out, and what it was made of.
#[derive(Debug)]
pub struct Example {
    pub outgoing: Outgoing,
    /// Where the base's layers are.
    pub base: Arc<MemoryLayers>,
    /// The base as an image of a registry.
    pub base_image: Pushed,
    folder: tempfile::TempDir,
}

impl Example {
    /// An image with base layers and a new layer of these sizes. `repository` is where the base is in a registry.
    pub fn new(
        seed: u64,
        base_sizes: &[usize],
        new_size: usize,
        repository: Option<&Reference>,
    ) -> Self {
        let layers: Vec<Vec<u8>> = base_sizes
            .iter()
            .enumerate()
            .map(|(index, size)| noise(seed * 100 + index as u64, *size))
            .collect();
        let slices: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        let base_image = Pushed::image(&slices);
        let base = Arc::new(MemoryLayers {
            layers: layers.clone(),
            opened: AtomicUsize::new(0),
        });
        let folder = tempfile::tempdir().expect("a folder");
        let new_layer = noise(seed * 100 + 99, new_size);
        let path = folder.path().join("layer");
        write(&path, &new_layer);
        let mut blobs: Vec<OutgoingBlob> = layers
            .iter()
            .enumerate()
            .map(|(index, bytes)| OutgoingBlob {
                descriptor: descriptor(OCI_LAYER, bytes),
                content: BlobContent::Base {
                    source: base.clone(),
                    layer: Layer {
                        index,
                        digest: Some(digest(bytes).parse().expect("a digest")),
                        size: Some(bytes.len() as u64),
                        media_type: OCI_LAYER.to_owned(),
                        diff_id: digest(bytes).parse().expect("a digest"),
                        member: None,
                    },
                    repository: repository.cloned(),
                },
            })
            .collect();
        blobs.push(OutgoingBlob {
            descriptor: descriptor(OCI_LAYER, &new_layer),
            content: BlobContent::File(path),
        });
        let all: Vec<Value> = blobs
            .iter()
            .map(|blob| serde_json::to_value(&blob.descriptor).expect("JSON"))
            .collect();
        let diff_ids: Vec<&Value> = all.iter().map(|layer| &layer["digest"]).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = serde_json::to_vec(&config).expect("JSON");
        blobs.push(blob(OCI_CONFIG, &config));
        let image = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": described(OCI_CONFIG, &config), "layers": all,
        });
        Self {
            outgoing: Outgoing {
                blobs,
                manifests: vec![manifest(OCI_MANIFEST, &image)],
                referrers: Vec::new(),
            },
            base,
            base_image,
            folder,
        }
    }

    /// The same with something attached.
    #[must_use]
    pub fn with_referrer(mut self, text: &str) -> Self {
        let content = format!("{{\"attached\":\"{text}\"}}");
        let empty = b"{}";
        let root = self.root().descriptor.clone();
        let value = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.test",
            "config": described("application/vnd.oci.empty.v1+json", empty),
            "layers": [described("application/vnd.test", content.as_bytes())],
            "subject": root,
        });
        for one in [
            blob("application/vnd.oci.empty.v1+json", empty),
            blob("application/vnd.test", content.as_bytes()),
        ] {
            let known = self.outgoing.blobs.iter();
            let digests: Vec<_> = known.map(|blob| blob.descriptor.digest().clone()).collect();
            if !digests.contains(one.descriptor.digest()) {
                self.outgoing.blobs.push(one);
            }
        }
        let mut referrer = manifest(OCI_MANIFEST, &value);
        referrer
            .descriptor
            .set_artifact_type(Some("application/vnd.test".into()));
        self.outgoing.referrers.push(referrer);
        self
    }

    /// The same as an index of one image.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        let mut entry = serde_json::to_value(&self.root().descriptor).expect("JSON");
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]});
        self.outgoing.manifests.push(manifest(OCI_INDEX, &index));
        self
    }

    /// What the tag is to lead to.
    pub fn root(&self) -> &OutgoingManifest {
        self.outgoing.manifests.last().expect("a manifest")
    }

    /// Digest of the root.
    pub fn digest(&self) -> String {
        self.root().descriptor.digest().to_string()
    }

    /// Writes other bytes where the new layer is.
    pub fn replace_new_layer(&self, bytes: &[u8]) {
        write(&self.folder.path().join("layer"), bytes);
    }
}
