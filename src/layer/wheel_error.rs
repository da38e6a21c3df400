//! Why a wheel is not installed.

use std::io;

use crate::packaging::entry_points::EntryPointsError;
use crate::packaging::record::RecordError;
use crate::packaging::wheel_file::WheelFileError;
use crate::packaging::wheel_name::FileNameError;

use super::zip_archive::{ArchiveError, MemberFault};

/// A wheel that is not installed, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot install the wheel `{wheel}`: {fault}")]
pub struct WheelError {
    /// File name of the wheel.
    pub wheel: String,
    /// What is wrong with it.
    pub fault: Box<WheelFault>,
}

/// What is wrong with a wheel.
#[derive(Debug, thiserror::Error)]
pub enum WheelFault {
    /// The machine refused.
    #[error("cannot read it: {0}")]
    Io(io::Error),
    /// A file name that says neither project nor version.
    #[error(transparent)]
    FileName(#[from] FileNameError),
    /// An archive that is none, or contradicts itself.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// No metadata.
    #[error("it has no `.dist-info` folder")]
    NoDistInfo,
    /// Metadata of several distributions.
    #[error("it has the two folders `{0}` and `{1}`, where a wheel has one `.dist-info`")]
    SeveralDistInfo(String, String),
    /// Metadata of another distribution.
    #[error("its folder `{0}` is not that of the distribution that the file name announces")]
    OtherDistInfo(String),
    /// A member that every wheel has.
    #[error("it has no `{0}`")]
    Missing(String),
    /// A member that is read into memory and is too large for that.
    #[error(
        "its member `{member}` has {size} bytes, more than the {limit} that are read of such a file"
    )]
    TooLarge {
        /// The member.
        member: String,
        /// Its size in bytes.
        size: u64,
        /// The most that would have been read, in bytes.
        limit: u64,
    },
    /// `WHEEL` is not understood.
    #[error(transparent)]
    WheelFile(#[from] WheelFileError),
    /// `METADATA` is that of something else.
    #[error("its METADATA states the {field} {found}, but the file name {announced}")]
    OtherMetadata {
        /// `name` or `version`.
        field: &'static str,
        /// What METADATA states.
        found: String,
        /// What the file name states.
        announced: String,
    },
    /// Scripts that cannot be made.
    #[error(transparent)]
    EntryPoints(#[from] EntryPointsError),
    /// A `RECORD` that cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A member that nobody vouches for.
    #[error("its member `{0}` is not in its RECORD")]
    NotInRecord(String),
    /// A file that is vouched for twice, differently.
    #[error("its RECORD states two things of `{0}`")]
    RecordTwice(String),
    /// Contents that are not those that were promised.
    #[error("its member `{member}` is not what {promised}: {mismatch}")]
    Contents {
        /// The member.
        member: String,
        /// Who promised, with a verb: `RECORD states`.
        promised: &'static str,
        /// In what it differs.
        mismatch: String,
    },
    /// A folder of `.data` that no installation scheme has.
    #[error(
        "its member `{0}` belongs to no part of an installation: purelib, platlib, scripts, headers and data are known"
    )]
    SchemeKey(String),
    /// A `.data` folder of another distribution.
    #[error(
        "its folder `{0}` is not that of its distribution, and installers do not agree on where its files go"
    )]
    OtherData(String),
    /// Two members that would be one file.
    #[error(
        "its members `{first}` and `{second}` would both become `{path}`, with different contents"
    )]
    Collision {
        /// One of them; a script that is made has its name here.
        first: String,
        /// The other.
        second: String,
        /// The path in the image.
        path: String,
    },
    /// A file where another needs a folder.
    #[error("its member `{file}` would be a file where `{below}` needs a folder")]
    FileAsFolder {
        /// Path of the file in the image.
        file: String,
        /// Path of the other in the image.
        below: String,
    },
    /// A path that no kernel takes.
    #[error("its member `{0}` would get a path that is too long")]
    PathTooLong(String),
}

impl WheelError {
    pub(super) fn new(wheel: &str, fault: impl Into<WheelFault>) -> Self {
        Self {
            wheel: wheel.to_owned(),
            fault: Box::new(fault.into()),
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match &*self.fault {
            WheelFault::Io(_) | WheelFault::Archive(ArchiveError::Io(_)) => {
                "look whether the disk is well and the file readable; `imgtool cache clean` fetches everything anew"
            }
            WheelFault::Archive(ArchiveError::NoDirectory) | WheelFault::Contents { .. } => {
                "fetch it again; where it stays so, it was damaged or changed after it was built, and its maintainers should know"
            }
            WheelFault::WheelFile(WheelFileError::UnknownVersion { .. }) => {
                "a newer imgtool may know this form; until then take another version of the distribution"
            }
            WheelFault::FileName(_) => {
                "a wheel is named NAME-VERSION-PYTHON-ABI-PLATFORM.whl: give it back the name that it was built with"
            }
            WheelFault::Archive(ArchiveError::Member {
                fault: MemberFault::Method(_),
                ..
            }) => "pack it anew: `wheel unpack`, then `wheel pack`",
            WheelFault::NotInRecord(_)
            | WheelFault::RecordTwice(_)
            | WheelFault::Record(_)
            | WheelFault::OtherMetadata { .. }
            | WheelFault::OtherDistInfo(_)
            | WheelFault::SeveralDistInfo(..) => {
                "it was changed by hand: `wheel unpack`, then `wheel pack` make its parts agree, if you trust it"
            }
            _ => {
                "take another version of the distribution, or build it anew with a present build backend"
            }
        };
        Some(text.to_owned())
    }
}
