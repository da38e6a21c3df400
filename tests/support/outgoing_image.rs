//! Images on their way out, made of [`TestImage`]s, with sources that do what sources do on bad days.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use imgtool::digest::sha256;
use imgtool::transport::outgoing::{BlobContent, Outgoing, OutgoingBlob, OutgoingManifest};
use imgtool::transport::{Layer, LayerSource, TransportError};
use serde_json::{Value, json};

use super::image::{INDEX, MANIFEST, TestImage, descriptor};

/// Media type of an image's configuration.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// How a source hands out layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As they are.
    Honest,
    /// Up to their half, and then an error.
    Breaks,
    /// With one byte changed in the middle.
    Corrupts,
    /// Up to their half, as if that were all.
    Cuts,
    /// Not at all.
    Refuses,
}

/// A base image's layers.
#[derive(Debug)]
pub struct Source {
    blobs: Vec<Vec<u8>>,
    mood: Mood,
    /// How often a layer was opened.
    pub opened: AtomicUsize,
}

impl LayerSource for Source {
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let mut blob = self.blobs[layer.index].clone();
        let half = blob.len() / 2;
        Ok(match self.mood {
            Mood::Honest => Box::new(io::Cursor::new(blob)),
            Mood::Breaks => {
                blob.truncate(half);
                Box::new(io::Cursor::new(blob).chain(Broken))
            }
            Mood::Corrupts => {
                blob[half] ^= 1;
                Box::new(io::Cursor::new(blob))
            }
            Mood::Cuts => {
                blob.truncate(half);
                Box::new(io::Cursor::new(blob))
            }
            Mood::Refuses => {
                return Err(TransportError::NotFound("the layer is gone".to_owned()));
            }
        })
    }
}

/// A reader that fails as one of a registry does.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other(TransportError::NotFound(
            "the registry is gone".to_owned(),
        )))
    }
}

fn typed(value: Value) -> oci_spec::image::Descriptor {
    serde_json::from_value(value).expect("a descriptor")
}

fn blob_of(media_type: &str, bytes: &[u8]) -> OutgoingBlob {
    OutgoingBlob {
        descriptor: typed(descriptor(media_type, bytes)),
        content: BlobContent::Bytes(Arc::from(bytes)),
    }
}

/// The image with all of its layers from a base of this mood.
pub fn outgoing(image: &TestImage, mood: Mood) -> (Outgoing, Arc<Source>) {
    let source = Arc::new(Source {
        blobs: image.layers.iter().map(|it| it.blob.clone()).collect(),
        mood,
        opened: AtomicUsize::new(0),
    });
    let mut blobs = Vec::new();
    for (index, layer) in image.layers.iter().enumerate() {
        let descriptor = typed(descriptor(layer.media_type, &layer.blob));
        let base = Layer {
            index,
            digest: Some(descriptor.digest().clone()),
            size: Some(layer.blob.len() as u64),
            media_type: layer.media_type.to_owned(),
            diff_id: layer.diff_id().parse().expect("a digest"),
            member: None,
        };
        blobs.push(OutgoingBlob {
            descriptor,
            content: BlobContent::Base {
                source: Arc::clone(&source) as Arc<dyn LayerSource>,
                layer: base,
                repository: None,
            },
        });
    }
    blobs.push(blob_of(CONFIG, &image.config_bytes()));
    let manifest = OutgoingManifest {
        descriptor: typed(image.descriptor(None)),
        bytes: image.manifest_bytes(),
    };
    let outgoing = Outgoing {
        blobs,
        manifests: vec![manifest],
        referrers: Vec::new(),
    };
    (outgoing, source)
}

/// The image from an honest base.
pub fn honest(image: &TestImage) -> Outgoing {
    outgoing(image, Mood::Honest).0
}

/// Images for several platforms, with their index.
pub fn multi_platform(images: &[&TestImage]) -> Outgoing {
    let mut all = Outgoing {
        blobs: Vec::new(),
        manifests: Vec::new(),
        referrers: Vec::new(),
    };
    let mut entries = Vec::new();
    for image in images {
        let one = honest(image);
        all.blobs.extend(one.blobs);
        all.manifests.extend(one.manifests);
        entries.push(image.descriptor(None));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    let bytes = index.to_string().into_bytes();
    all.manifests.push(OutgoingManifest {
        descriptor: typed(descriptor(INDEX, &bytes)),
        bytes,
    });
    all
}

/// Attaches a document to the image.
pub fn attach(outgoing: &mut Outgoing, document: &[u8]) {
    let subject = outgoing.root().expect("a root").descriptor.clone();
    let empty = blob_of("application/vnd.oci.empty.v1+json", b"{}");
    let blob = blob_of("application/vnd.cyclonedx+json", document);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.cyclonedx+json",
        "config": empty.descriptor,
        "layers": [blob.descriptor],
        "subject": { "mediaType": subject.media_type(), "digest": subject.digest(), "size": subject.size() },
    });
    let bytes = manifest.to_string().into_bytes();
    let mut descriptor = descriptor(MANIFEST, &bytes);
    descriptor["artifactType"] = "application/vnd.cyclonedx+json".into();
    outgoing.blobs.extend([empty, blob]);
    outgoing.referrers.push(OutgoingManifest {
        descriptor: typed(descriptor),
        bytes,
    });
}

/// Every blob and document of the image with the path that it has in a layout.
pub fn paths(outgoing: &Outgoing) -> Vec<String> {
    let documents = outgoing.manifests.iter().chain(&outgoing.referrers);
    let mut paths: Vec<String> = outgoing
        .blobs
        .iter()
        .map(|blob| &blob.descriptor)
        .chain(documents.map(|it| &it.descriptor))
        .map(|it| format!("blobs/sha256/{}", it.digest().digest()))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The digest of the root.
pub fn root_digest(outgoing: &Outgoing) -> String {
    let root = outgoing.root().expect("a root");
    assert_eq!(sha256(&root.bytes), *root.descriptor.digest());
    root.descriptor.digest().to_string()
}
