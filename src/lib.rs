//! imgtool resolves Python requirements on top of a container image, treating what the image has as fact.

pub mod http;
pub mod packaging;
pub mod transport;
