//! imgtool resolves Python requirements on top of a container image, treating what the image has as fact.

pub mod cache_folder;
pub mod catalog;
pub mod cli;
pub mod command;
pub mod digest;
pub mod environment;
pub mod http;
pub mod image;
pub mod image_path;
pub mod inflate;
pub mod layer;
pub mod package_index;
pub mod packaging;
pub mod plan;
pub mod report;
pub mod resolution;
pub mod rootfs;
pub mod transport;
