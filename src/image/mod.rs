//! A base image and new layers become a new image: manifest, configuration, history, annotations, what is attached to it.
//!
//! [`append`](append::append) makes the documents of one image, [`assemble_outgoing`] puts images, their index and what is
//! attached to them together for whichever transport takes them. All of it is computed from what is handed in: the same
//! base, layers and changes give the same bytes on any machine.
//!
//! Specification: OCI image-spec, `manifest.md`, `config.md`, `image-index.md`, `annotations.md`.

pub mod append;
pub mod attach;
mod config;
mod document;
mod error;
pub mod format;
pub mod index;
pub mod outgoing;
pub mod provenance;

pub use append::{NewImage, NewLayer, append};
pub use attach::{Attachment, AttachmentKind};
pub use config::Changes;
pub use error::ImageError;
pub use format::{LayerCompression, ManifestFormat};
pub use outgoing::{BuiltImage, assemble_outgoing};
