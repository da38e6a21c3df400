//! Bytes of images in and out: registries, OCI layouts, archives, engines.

pub mod archive;
pub mod copy;
pub mod credentials;
pub mod document_cache;
pub mod engine;
mod error;
pub mod image;
mod image_reference;
pub mod layout;
pub mod manifest;
pub(crate) mod new_file;
pub mod open;
pub mod outgoing;
pub mod platform;
pub mod reference;
pub mod referrers;
pub mod registries_conf;
pub mod registry;
pub mod target;
pub mod verify;

pub use error::TransportError;
pub use image::{Image, ImageStream, Layer, LayerSource, OpenedImage, StreamedLayer};
