//! Bytes of images in: registries, OCI layouts, archives, engines.

pub mod archive;
pub mod credentials;
pub mod document_cache;
pub mod engine;
mod error;
pub mod image;
mod image_reference;
pub mod layout;
pub mod manifest;
pub mod open;
pub mod platform;
pub mod reference;
pub mod registries_conf;
pub mod registry;

pub use error::TransportError;
pub use image::{Image, ImageStream, Layer, LayerSource, OpenedImage, StreamedLayer};
