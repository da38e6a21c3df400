//! From what is to be installed and removed to one deterministic layer.
//!
//! Wheels become files ([`contents`]), removed distributions become whiteouts, and both become a tar archive whose bytes
//! depend on nothing else: not on the machine, its clock, its users, or the number of its processors.
//!
//! Specification: OCI image-spec, `layer.md`.

mod assemble;
mod base_files;
mod bytecode;
mod collisions;
pub mod compress;
pub mod contents;
mod installed_wheel;
mod member_reader;
mod removals;
mod scripts;
mod tar_writer;
mod wheel;
mod wheel_error;
pub mod write;
mod zip_archive;
mod zip_fields;

pub use assemble::{AssembleError, Assembled, AssembledDistribution, DistributionLayer, assemble};
pub use bytecode::{
    BytecodeError, Compiled, Compiler, MarshalError, PythonPlaces, compile as compile_bytecode,
};
pub use collisions::CollisionError;
pub use compress::Compression;
pub use contents::{FileSource, LayerContents, LayerEntry, LayerFile};
pub use installed_wheel::InstalledWheel;
pub use member_reader::MemberReader;
pub use removals::RemovalError;
pub use wheel::InstallableWheel;
pub use wheel_error::{WheelError, WheelFault};
pub use write::{LayerWriteError, LayerWriteSettings, Sources, WrittenLayer, write_layer};
pub use zip_archive::{ArchiveError, MemberFault};
