//! The PyPA vocabulary that `pep440_rs` and `pep508_rs` do not cover: file names, wheel tags, core metadata,
//! version sets, requirement files. Values only: nothing in here opens a file or a socket.

pub mod direct_url;
pub mod egg_info;
pub mod entry_points;
pub mod marker_environment;
pub mod metadata;
pub mod pylock;
pub mod record;
pub mod requirement;
pub mod requirements_file;
pub mod simple;
pub mod source_distribution;
pub mod specifiers;
pub mod tags;
pub mod toml_place;
pub mod wheel_file;
pub mod wheel_name;

pub use pep440_rs::{Version, VersionSpecifier, VersionSpecifiers};
pub use pep508_rs::{ExtraName, MarkerEnvironment, MarkerTree, PackageName};
pub use requirement::Requirement;

/// A set of versions of one project, as the solver computes with it.
pub type VersionSet = version_ranges::Ranges<Version>;
