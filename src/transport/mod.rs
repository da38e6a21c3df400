//! Bytes of images in: registries, OCI layouts, archives, engines.

mod error;
pub mod image;
pub mod reference;

pub use error::TransportError;
pub use image::{Image, ImageStream, Layer, LayerSource, OpenedImage, StreamedLayer};
