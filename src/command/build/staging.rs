//! The layers of the base as a new image names them. Of most bases the manifest says it; an archive of `docker save` says
//! nothing of its blobs, which are read once to learn it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::image::{Descriptor, MediaType};
use tempfile::TempPath;

use crate::transport::copy::{LayerCompression, stage_layer};
use crate::transport::{Image, Layer, LayerSource, TransportError};

use super::super::CommandError;

/// The layers of a base, and where they are.
pub(super) struct Staged {
    /// As the new image shall name them, lowest first; empty where the base's manifest says it.
    pub descriptors: Vec<Descriptor>,
    /// Where they are.
    pub source: Arc<dyn LayerSource>,
    /// The layers, lowest first.
    pub base_layers: Vec<Layer>,
    /// What they were copied to.
    pub files: Vec<TempPath>,
}

/// Finds out how the layers of `image` are named in a new image; what must be read for it is kept in `scratch`.
///
/// # Errors
/// When a layer cannot be read or kept.
pub(super) fn stage_base(image: &Image, scratch: &Path) -> Result<Staged, CommandError> {
    if image.manifest_bytes.is_some() {
        return Ok(Staged {
            descriptors: Vec::new(),
            source: Arc::clone(&image.source),
            base_layers: image.layers.clone(),
            files: Vec::new(),
        });
    }
    let mut descriptors = Vec::new();
    let mut base_layers = Vec::new();
    let mut files = Vec::new();
    for layer in &image.layers {
        let staged = stage_layer(&*image.source, layer, &image.reference, scratch)?;
        let media_type = match staged.compression {
            LayerCompression::None => "application/vnd.docker.image.rootfs.diff.tar",
            LayerCompression::Gzip => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            // Docker's manifests have no name for it; then the image becomes one of OCI.
            LayerCompression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        };
        descriptors.push(Descriptor::new(
            MediaType::from(media_type),
            staged.size,
            staged.digest.clone(),
        ));
        base_layers.push(Layer {
            digest: Some(staged.digest),
            size: Some(staged.size),
            media_type: media_type.to_owned(),
            ..layer.clone()
        });
        files.push(staged.file);
    }
    let paths = files.iter().map(|file| file.to_path_buf()).collect();
    Ok(Staged {
        descriptors,
        source: Arc::new(Files(paths)),
        base_layers,
        files,
    })
}

/// Layers in files of their own, by their place in the image.
#[derive(Debug)]
struct Files(Vec<PathBuf>);

impl LayerSource for Files {
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        let what = || format!("the layer {}", layer.diff_id);
        let path = self
            .0
            .get(layer.index)
            .ok_or_else(|| TransportError::NotFound(what()))?;
        match File::open(path) {
            Ok(file) => Ok(Box::new(file)),
            Err(source) => Err(TransportError::Io {
                what: what(),
                source,
            }),
        }
    }
}
