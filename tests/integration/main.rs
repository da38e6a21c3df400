//! Integration tests: the library as its users see it, against servers and images made up on the spot.

mod environment;
mod oracle;
mod package_index;
mod program;
mod resolution;
#[path = "../support/mod.rs"]
mod support;
