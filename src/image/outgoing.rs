//! Images, their index and what is attached to them, put together for a target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oci_distribution::Reference;
use oci_spec::image::Descriptor;

use super::append::NewImage;
use super::attach::{Attachment, attach};
use super::error::ImageError;
use super::index::index_of;
use crate::transport::outgoing::{BlobContent, Outgoing, OutgoingBlob, OutgoingManifest};
use crate::transport::{Layer, LayerSource};

/// A new image and where its bytes are.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// The documents.
    pub image: NewImage,
    /// Where the layers of the base lie.
    pub base_source: Arc<dyn LayerSource>,
    /// The layers of the base, lowest first.
    pub base_layers: Vec<Layer>,
    /// The repository that has them, where the base came from a registry.
    pub base_repository: Option<Reference>,
    /// The new layers, lowest first.
    pub new_layers: Vec<BlobContent>,
    /// What is attached to the image.
    pub attached: Vec<Attachment>,
}

/// Puts together what a target must have. Several images get an index, whose annotations are `index_annotations`; one alone
/// gets one where these are given. Layers that a registry may not distribute are named and not carried along: who pulls
/// the image gets them where the base's own users do.
///
/// # Errors
/// When there is no image, the images cannot be in one index, or a new layer has no contents.
pub fn assemble_outgoing(
    images: Vec<BuiltImage>,
    index_annotations: Option<&BTreeMap<String, String>>,
) -> Result<Outgoing, ImageError> {
    if images.is_empty() {
        return Err(ImageError::NoImage);
    }
    let index = if images.len() > 1 || index_annotations.is_some() {
        let of_index: Vec<&NewImage> = images.iter().map(|built| &built.image).collect();
        let none = BTreeMap::new();
        Some(index_of(&of_index, index_annotations.unwrap_or(&none))?)
    } else {
        None
    };
    let mut blobs = Blobs::default();
    let mut manifests: Vec<OutgoingManifest> = Vec::new();
    let mut referrers: Vec<OutgoingManifest> = Vec::new();
    for built in images {
        let BuiltImage {
            image,
            base_source,
            base_layers,
            base_repository,
            new_layers,
            attached,
        } = built;
        if new_layers.len() != image.new_layers {
            return Err(ImageError::Contents {
                layers: image.new_layers,
                contents: new_layers.len(),
            });
        }
        let of_base = base_layers.into_iter().map(|layer| BlobContent::Base {
            source: Arc::clone(&base_source),
            layer,
            repository: base_repository.clone(),
        });
        blobs.add(image.config, BlobContent::Bytes(image.config_bytes.into()));
        for (descriptor, content) in image.layers.into_iter().zip(of_base.chain(new_layers)) {
            if !is_kept_elsewhere(&descriptor) {
                blobs.add(descriptor, content);
            }
        }
        for attachment in &attached {
            let attached = attach(&image.manifest, attachment, image.created.as_deref());
            for blob in attached.blobs {
                blobs.add(blob.descriptor, blob.content);
            }
            if !referrers
                .iter()
                .any(|known| known.descriptor.digest() == attached.manifest.descriptor.digest())
            {
                referrers.push(attached.manifest);
            }
        }
        manifests.push(OutgoingManifest {
            descriptor: image.manifest,
            bytes: image.manifest_bytes,
        });
    }
    manifests.extend(index.map(|index| OutgoingManifest {
        descriptor: index.descriptor,
        bytes: index.bytes,
    }));
    Ok(Outgoing {
        blobs: blobs.in_order,
        manifests,
        referrers,
    })
}

/// Whether a layer is one that registries may not distribute.
fn is_kept_elsewhere(descriptor: &Descriptor) -> bool {
    let media_type = descriptor.media_type().as_ref().to_ascii_lowercase();
    media_type.contains(".foreign") || media_type.contains(".nondistributable")
}

/// Blobs in the order in which they were first named, each once.
#[derive(Default)]
struct Blobs {
    in_order: Vec<OutgoingBlob>,
    known: BTreeSet<String>,
}

impl Blobs {
    fn add(&mut self, descriptor: Descriptor, content: BlobContent) {
        if self.known.insert(descriptor.digest().to_string()) {
            self.in_order.push(OutgoingBlob {
                descriptor,
                content,
            });
        }
    }
}
