//! Integration tests: the library as its users see it, against servers and images made up on the spot.

mod building;
mod environment;
mod environment_files;
mod environment_interpreters;
mod environment_obstacles;
mod environment_retention;
mod inflate;
mod inspection;
mod installation;
mod layer_writing;
mod layers;
mod new_images;
mod oracle;
mod package_index;
mod plan;
mod program;
mod registry;
mod reports;
mod resolution;
#[path = "../support/mod.rs"]
mod support;
mod transports;
mod wheels;
