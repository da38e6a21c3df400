//! Layers read into one root file system: every form of archive, whiteouts and links, hostile images, the cache.

mod cache;
mod formats;
mod hostile;
mod merging;
mod model;
mod verification;
