//! What could be installed: the simple API of a package index (PEP 503, PEP 691), seen from a solver's thread.
//!
//! [`PackageIndex`] is what a solver sees, [`IndexClient`] the one that asks over the network. The client's parts, from
//! the bottom: `wire`, `cache` and `packs` (what is remembered), `archive`, `metadata` and `local` (what a wheel says),
//! `find_links` (files beside the indexes), `priority` (which index answers), `client` (who waits for what),
//! [`wheel_store`] (whole wheels, for who installs them).

mod archive;
mod cache;
pub mod client;
mod error;
mod find_links;
mod local;
mod metadata;
mod packs;
pub mod pip_config;
mod priority;
mod project;
pub mod settings;
pub mod wheel_store;
mod wire;

use std::sync::Arc;

use crate::packaging::metadata::CoreMetadata;
use crate::packaging::{PackageName, VersionSet};

pub use crate::packaging::simple::IndexFile;
pub use archive::WheelContents;
pub use cache::CACHE_LAYOUT;
pub use client::IndexClient;
pub use error::IndexError;
pub use pip_config::PipConfig;
pub use project::{FileRecord, Project, ProjectVersion};
pub use settings::{Clock, IndexSettings, IndexStrategy, default_index_url, parse_exclude_newer};
pub use wheel_store::{FetchProgress, StoredWheel, Unwatched};

/// An index, or several in order of priority, as the solver's thread sees it: calls block until the answer is there.
pub trait PackageIndex: Send + Sync {
    /// All that the index offers of `name`; `None` when no index knows the project.
    ///
    /// # Errors
    /// When the index cannot be asked or its answer cannot be read.
    fn project(&self, name: &PackageName) -> Result<Option<Arc<Project>>, IndexError>;

    /// The metadata of a wheel. The inner error is the wheel's own fault (metadata that breaks the specification):
    /// that makes the wheel unusable, not the index.
    ///
    /// # Errors
    /// When the index cannot be asked.
    fn metadata(&self, wheel: &IndexFile) -> Result<Result<Arc<CoreMetadata>, String>, IndexError>;

    /// What a source distribution promises that a build of it would require (metadata 2.2 or later, no field of it
    /// dynamic that decides about installation), read without building anything: for explanations, never to install.
    /// `None` where it promises nothing, and where it cannot be had.
    fn promised_metadata(&self, source: &IndexFile) -> Option<Arc<CoreMetadata>> {
        let _ = source;
        None
    }

    /// Says that `name` will probably be asked for, in one of `versions`: an index that has to travel may set out now.
    fn prefetch(&self, name: &PackageName, versions: &VersionSet) {
        let _ = (name, versions);
    }

    /// Says that the metadata of these wheels will probably be asked for, one after the other: an index that has to
    /// travel may fetch them together.
    /// Choosing them takes time, so the iterator is left alone by an index that would not use them.
    fn prefetch_metadata(&self, wheels: &mut dyn Iterator<Item = IndexFile>) {
        let _ = wheels;
    }
}

/// What a solver knows about the future, for an index that fetches ahead of it on other threads.
pub trait Foresight: Send + Sync {
    /// The wheel of `project` that the solver will most likely ask about, if it needs one of `versions`.
    fn likely_wheel(&self, project: &Project, versions: &VersionSet) -> Option<IndexFile>;

    /// The projects, with the versions that will do, that a candidate with this metadata would bring in and whose
    /// pages are needed: those that the base does not hold, markers evaluated.
    fn likely_projects(&self, metadata: &CoreMetadata) -> Vec<(PackageName, VersionSet)>;
}
