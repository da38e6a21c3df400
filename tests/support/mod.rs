//! What several integration tests need. Not every test binary needs all of it.

#![allow(dead_code, reason = "each module of tests uses its own part")]

pub mod base_image;
pub mod brute_force;
pub mod environments;
pub mod image;
pub mod index_server;
pub mod layers;
pub mod memory_index;
pub mod new_image;
pub mod outgoing;
pub mod outgoing_image;
pub mod program;
pub mod proxy;
pub mod refutation;
pub mod registry;
pub mod retained;
pub mod root;
pub mod smallest_change;
pub mod tls;
pub mod universe;
pub mod wheel;
pub mod zip;
