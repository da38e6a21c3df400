//! What an installation puts where, and what a layer consists of that installs and removes.

mod assembling;
mod collisions;
mod model;
mod removals;
mod scheme;
mod support;
