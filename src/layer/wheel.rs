//! A wheel that may be installed: its archive, its metadata and its `RECORD` agree with each other and with its name.
//!
//! Nothing of a wheel is trusted before it was held against something else: the headers of members against the central
//! directory, the members against `RECORD`, the metadata against the file name. Contents are read as streams and compared
//! with their hashes while they are; only what decides about installation is held in memory.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>. Where it leaves
//! something open, pip, pypa/installer and uv decide if they agree:
//! - members that `RECORD` does not mention are refused, as the specification and pypa/installer have it;
//! - rows without a member are noted and dropped, and a hash that is missing or of an algorithm that proves nothing is
//!   computed and noted: all three install such wheels;
//! - `METADATA` and `WHEEL` that are not what `RECORD` states are noted, as all three take them: they are edited when a
//!   distribution is packed again, and are held against the file name here. Other members are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::packaging::entry_points::Scripts;
use crate::packaging::metadata::RawMetadata;
use crate::packaging::record::{RecordHash, record_entries};
use crate::packaging::wheel_file::{KNOWN_WHEEL_VERSION, WheelFile};
use crate::packaging::wheel_name::WheelName;
use crate::packaging::{PackageName, Version};

use super::member_reader::MemberReader;
use super::wheel_error::{WheelError, WheelFault};
use super::zip_archive::{Archive, ArchiveError, Contents, Member, MemberFault};

/// Bytes of a metadata file that are read into memory; descriptions with pictures in them reach a few hundred kilobytes.
const LARGEST_METADATA: u64 = 16 << 20;

/// Bytes of `RECORD`: a row of a hundred bytes for as many members as are read.
const LARGEST_RECORD: u64 = 32 << 20;

/// Paths that one note names; the others are counted.
const NAMED_IN_NOTE: usize = 3;

/// A wheel that may be installed.
#[derive(Debug)]
pub struct InstallableWheel {
    pub(super) file_name: String,
    pub(super) name: PackageName,
    pub(super) version: Version,
    /// The `.dist-info` folder.
    pub(super) dist_info: String,
    metadata: RawMetadata,
    pub(super) root_is_purelib: bool,
    pub(super) scripts: Scripts,
    pub(super) archive: Archive,
    /// The files among the members, in the order of the directory.
    pub(super) files: Vec<WheelMember>,
    pub(super) notes: Vec<String>,
}

/// A file of a wheel.
#[derive(Debug)]
pub(super) struct WheelMember {
    /// Its place in the central directory.
    pub(super) member: usize,
    /// Its path, without what means nothing (`./`, `//`).
    pub(super) path: String,
    /// SHA-256 of its contents, as `RECORD` states it or as it was computed.
    pub(super) sha256: [u8; 32],
}

impl InstallableWheel {
    /// Opens the wheel at `path`, which bears the name `file_name` on its index, and checks it. Members of which RECORD
    /// states no SHA-256 are read through for it; the others are only read when they are asked for.
    ///
    /// # Errors
    /// [`WheelError`], which names the wheel.
    pub fn open(path: &Path, file_name: &str) -> Result<Self, WheelError> {
        let file = File::open(path).map_err(|error| {
            let error = std::io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
            WheelError::new(file_name, WheelFault::Io(error))
        })?;
        Self::check(Contents::File(Arc::new(file)), file_name)
    }

    /// As [`InstallableWheel::open`], of a wheel in memory.
    ///
    /// # Errors
    /// The same.
    pub fn from_bytes(bytes: Vec<u8>, file_name: &str) -> Result<Self, WheelError> {
        Self::check(Contents::Bytes(bytes.into()), file_name)
    }

    /// File name of the wheel.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Normalized name of the distribution.
    #[must_use]
    pub fn name(&self) -> &PackageName {
        &self.name
    }

    /// Version of the distribution, as its METADATA states it.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Its METADATA, as it is written.
    #[must_use]
    pub fn metadata(&self) -> &RawMetadata {
        &self.metadata
    }

    /// Reads the contents of the member at this place in the central directory; the reader fails at the end when they are
    /// not the right ones. `None` where there is no such file.
    #[must_use]
    pub fn open_member(&self, member: usize) -> Option<MemberReader<'_>> {
        let at = self
            .files
            .binary_search_by_key(&member, |file| file.member)
            .ok()?;
        let expected = RecordHash::Sha256(self.files[at].sha256);
        Some(self.reader(member, Some(expected)))
    }

    fn reader(&self, member: usize, expected: Option<RecordHash>) -> MemberReader<'_> {
        let Archive { contents, members } = &self.archive;
        MemberReader::new(&self.file_name, contents, &members[member], expected)
    }

    pub(super) fn error(&self, fault: impl Into<WheelFault>) -> WheelError {
        WheelError::new(&self.file_name, fault)
    }

    fn check(contents: Contents, file_name: &str) -> Result<Self, WheelError> {
        let error = |fault: WheelFault| WheelError::new(file_name, fault);
        let announced = WheelName::from_str(file_name).map_err(|fault| error(fault.into()))?;
        let archive = Archive::read(contents).map_err(|fault| error(fault.into()))?;
        let files = files_of(&archive.members).map_err(|fault| error(fault.into()))?;
        let dist_info = dist_info(&archive.members, &announced).map_err(error)?;
        let mut wheel = Self {
            file_name: file_name.to_owned(),
            name: announced.name,
            version: announced.version,
            dist_info,
            metadata: RawMetadata::default(),
            root_is_purelib: false,
            scripts: Scripts::default(),
            archive,
            files,
            notes: Vec::new(),
        };
        wheel.read_metadata()?;
        wheel.read_record()?;
        Ok(wheel)
    }

    /// The path of a file in the `.dist-info` folder.
    pub(super) fn of_dist_info(&self, file: &str) -> String {
        format!("{}/{file}", self.dist_info)
    }

    /// A file of the `.dist-info` folder, whole.
    fn read_dist_info(&self, file: &str, limit: u64) -> Result<Option<Vec<u8>>, WheelError> {
        let path = self.of_dist_info(file);
        let Some(found) = self.files.iter().find(|file| file.path == path) else {
            return Ok(None);
        };
        self.read_whole(found.member, None, limit).map(Some)
    }

    /// The contents of a member of at most `limit` bytes, held against `expected`.
    pub(super) fn read_whole(
        &self,
        member: usize,
        expected: Option<RecordHash>,
        limit: u64,
    ) -> Result<Vec<u8>, WheelError> {
        let Member { name, size, .. } = &self.archive.members[member];
        if *size > limit {
            return Err(self.error(WheelFault::TooLarge {
                member: name.clone(),
                size: *size,
                limit,
            }));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(*size).unwrap_or_default());
        self.reader(member, expected)
            .read_to_end(&mut bytes)
            .map_err(|error| self.unwrapped(error))?;
        Ok(bytes)
    }

    /// The first bytes of a member, at most `length`, not yet held against anything.
    pub(super) fn beginning(&self, member: usize, length: usize) -> Result<Vec<u8>, WheelError> {
        let mut bytes = Vec::with_capacity(length);
        self.reader(member, None)
            .take(length as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| self.unwrapped(error))?;
        Ok(bytes)
    }

    /// The error that a reader of members has put inside of an [`std::io::Error`].
    fn unwrapped(&self, error: std::io::Error) -> WheelError {
        error
            .downcast::<WheelError>()
            .unwrap_or_else(|error| self.error(WheelFault::Io(error)))
    }

    /// Reads `WHEEL`, `METADATA` and `entry_points.txt`.
    fn read_metadata(&mut self) -> Result<(), WheelError> {
        let missing = |file: &str| self.error(WheelFault::Missing(self.of_dist_info(file)));
        let form = self
            .read_dist_info("WHEEL", LARGEST_METADATA)?
            .ok_or_else(|| missing("WHEEL"))?;
        let form = WheelFile::parse(&form).map_err(|fault| self.error(fault))?;
        let metadata = self
            .read_dist_info("METADATA", LARGEST_METADATA)?
            .ok_or_else(|| missing("METADATA"))?;
        let metadata = RawMetadata::parse(&metadata);
        self.metadata = metadata.clone();
        let other = |field, found: Option<String>, announced: String| {
            self.error(WheelFault::OtherMetadata {
                field,
                found: found.map_or_else(|| "nothing".to_owned(), |found| format!("`{found}`")),
                announced: format!("`{announced}`"),
            })
        };
        let name = metadata
            .name
            .as_deref()
            .and_then(|name| PackageName::from_str(name).ok());
        if name.as_ref() != Some(&self.name) {
            return Err(other("name", metadata.name, self.name.to_string()));
        }
        let version = metadata
            .version
            .as_deref()
            .and_then(|version| Version::from_str(version).ok())
            .filter(|version| *version == self.version);
        let Some(version) = version else {
            return Err(other("version", metadata.version, self.version.to_string()));
        };
        let scripts = match self.read_dist_info("entry_points.txt", LARGEST_METADATA)? {
            Some(bytes) => Scripts::parse(&bytes).map_err(|fault| self.error(fault))?,
            None => Scripts::default(),
        };
        if form.wheel_version > KNOWN_WHEEL_VERSION {
            let (major, minor) = form.wheel_version;
            self.notes.push(format!(
                "`{}` is of the newer form {major}.{minor}: it is installed as one of the form {}.{}",
                self.file_name, KNOWN_WHEEL_VERSION.0, KNOWN_WHEEL_VERSION.1
            ));
        }
        self.version = version;
        self.root_is_purelib = form.root_is_purelib;
        self.scripts = scripts;
        Ok(())
    }

    /// Holds members and `RECORD` against each other, in both directions, and learns the SHA-256 of each.
    fn read_record(&mut self) -> Result<(), WheelError> {
        let record_path = self.of_dist_info("RECORD");
        let record = self
            .read_dist_info("RECORD", LARGEST_RECORD)?
            .ok_or_else(|| self.error(WheelFault::Missing(record_path.clone())))?;
        let mut rows: BTreeMap<String, (Option<RecordHash>, Option<u64>)> = BTreeMap::new();
        for row in record_entries(&record).map_err(|fault| self.error(fault))? {
            let row = row.map_err(|fault| self.error(fault))?;
            let stated = (row.stated(), row.size);
            let path = normalized(&row.path);
            if rows
                .insert(path.clone(), stated)
                .is_some_and(|before| before != stated)
            {
                return Err(self.error(WheelFault::RecordTwice(path)));
            }
        }
        drop(record);
        // What signs a RECORD cannot be in it.
        let signatures = ["RECORD.jws", "RECORD.p7s"].map(|file| self.of_dist_info(file));
        let edited = ["METADATA", "WHEEL"].map(|file| self.of_dist_info(file));
        let mut changed = Vec::new();
        let mut unproven = Vec::new();
        for at in 0..self.files.len() {
            let WheelMember { member, path, .. } = &self.files[at];
            let (member, path) = (*member, path.clone());
            let row = rows.remove(&path);
            if path == record_path {
                continue;
            }
            let (stated, size) = match row {
                Some(row) => row,
                None if signatures.contains(&path) => (None, None),
                None => return Err(self.error(WheelFault::NotInRecord(path))),
            };
            let tolerated = edited.contains(&path);
            let actual_size = self.archive.members[member].size;
            if !tolerated && let Some(size) = size.filter(|size| *size != actual_size) {
                return Err(self.error(WheelFault::Contents {
                    member: path,
                    promised: "RECORD states",
                    mismatch: format!("it has {actual_size} bytes, not {size}"),
                }));
            }
            let sha256 = match stated {
                Some(RecordHash::Sha256(sha256)) if !tolerated => sha256,
                _ if tolerated => {
                    let actual = self.sha256_of(member, None)?;
                    match stated {
                        Some(RecordHash::Sha256(stated)) if stated == actual => {}
                        Some(_) => changed.push(path),
                        None => unproven.push(path),
                    }
                    actual
                }
                stated => {
                    if stated.is_none() && !signatures.contains(&path) {
                        unproven.push(path);
                    }
                    self.sha256_of(member, stated)?
                }
            };
            self.files[at].sha256 = sha256;
        }
        rows.remove(&record_path);
        let folders: BTreeSet<String> = self
            .archive
            .members
            .iter()
            .filter(|member| is_folder(member))
            .map(|member| normalized(&member.name))
            .collect();
        let absent: Vec<String> = rows
            .into_keys()
            .filter(|path| !folders.contains(path))
            .collect();
        for (paths, says) in [
            (absent, "is in the RECORD of `{}` and not in the wheel"),
            (unproven, "has no usable hash in the RECORD of `{}`"),
            (changed, "is not what the RECORD of `{}` states"),
        ] {
            if !paths.is_empty() {
                let says = says.replacen("{}", &self.file_name, 1);
                self.notes.push(format!("{} {says}", listed(&paths)));
            }
        }
        Ok(())
    }

    /// Reads a member through for its SHA-256, held against `expected` where that is of another algorithm.
    fn sha256_of(
        &self,
        member: usize,
        expected: Option<RecordHash>,
    ) -> Result<[u8; 32], WheelError> {
        let mut reader = self.reader(member, expected);
        let mut sha256 = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(sha256.finalize().into()),
                Ok(read) => sha256.update(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unwrapped(error)),
            }
        }
    }
}

/// Some paths in words, the subject of a sentence in the singular.
fn listed(paths: &[String]) -> String {
    let named: Vec<String> = paths
        .iter()
        .take(NAMED_IN_NOTE)
        .map(|path| format!("`{path}`"))
        .collect();
    let named = named.join(", ");
    match paths.len() {
        1 => named,
        few if few <= NAMED_IN_NOTE => format!("{named}: each"),
        many => format!("{named} and {} more: each", many - NAMED_IN_NOTE),
    }
}

/// A path without empty components and `.`.
pub(super) fn normalized(path: &str) -> String {
    let components: Vec<&str> = path
        .split('/')
        .filter(|component| !matches!(*component, "" | "."))
        .collect();
    // RECORD may state what lies elsewhere, which is then not taken for a file of the wheel.
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", components.join("/"))
}

/// Whether a member stands for a folder: its name ends with a slash.
fn is_folder(member: &Member) -> bool {
    member.name.ends_with('/')
}

/// The files among the members, none of them twice.
fn files_of(members: &[Member]) -> Result<Vec<WheelMember>, ArchiveError> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::with_capacity(members.len());
    for (at, member) in members.iter().enumerate() {
        if is_folder(member) {
            continue;
        }
        let fault = |fault| ArchiveError::Member {
            member: member.name.clone(),
            fault,
        };
        let path = normalized(&member.name);
        if path.is_empty() {
            return Err(fault(MemberFault::Empty));
        }
        if !seen.insert(path.clone()) {
            return Err(fault(MemberFault::Twice));
        }
        files.push(WheelMember {
            member: at,
            path,
            sha256: [0; 32],
        });
    }
    Ok(files)
}

/// The one `.dist-info` folder, which must be that of the project and version in the file name.
fn dist_info(members: &[Member], announced: &WheelName) -> Result<String, WheelFault> {
    let mut found: Option<String> = None;
    for member in members {
        let path = normalized(&member.name);
        let folder = path.split('/').next().unwrap_or_default();
        if !folder.ends_with(".dist-info") || found.as_deref() == Some(folder) {
            continue;
        }
        if let Some(first) = found {
            return Err(WheelFault::SeveralDistInfo(first, folder.to_owned()));
        }
        found = Some(folder.to_owned());
    }
    let folder = found.ok_or(WheelFault::NoDistInfo)?;
    if folder
        .strip_suffix(".dist-info")
        .is_some_and(|stem| is_of(stem, &announced.name, &announced.version))
    {
        Ok(folder)
    } else {
        Err(WheelFault::OtherDistInfo(folder))
    }
}

/// Whether `NAME-VERSION` is this project and version, however it is spelled.
pub(super) fn is_of(stem: &str, name: &PackageName, version: &Version) -> bool {
    stem.rsplit_once('-').is_some_and(|(stem, found)| {
        PackageName::from_str(stem).is_ok_and(|found| found == *name)
            && Version::from_str(found).is_ok_and(|found| found == *version)
    })
}
