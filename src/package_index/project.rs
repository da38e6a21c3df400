//! All that an index offers of one project, in the compact form in which it also lies in the cache.
//!
//! A page of the index can describe thousands of files, of which a run looks at a handful. So a [`Project`] keeps its
//! files as bytes, newest version first, and makes [`IndexFile`]s of them only on demand: a page from the cache costs
//! one read of a file and a walk over its versions.

use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use super::wire::{Reader, Writer};
use crate::packaging::Version;
use crate::packaging::simple::IndexFile;

/// One version of a project.
#[derive(Debug, Clone)]
pub struct ProjectVersion {
    /// The version.
    pub version: Version,
    /// Versions of a lower rank are tried first: 0 for all, unless the versions of an earlier index are to be used up
    /// before those of a later one ([`super::IndexStrategy::UnsafeFirstMatch`]).
    pub rank: u32,
    /// Where the files of this version lie in the page: opaque, see [`Project::files`].
    position: Range<usize>,
}

/// All that an index offers of one project.
#[derive(Debug)]
pub struct Project {
    versions: Vec<ProjectVersion>,
    last_rank: u32,
    /// The compact form: the versions, then the records of the files. Other bytes may stand before it, as in a file
    /// of the cache, which is not copied once more for that.
    bytes: Vec<u8>,
    /// Where in `bytes` the compact form begins.
    start: usize,
    /// Where in `bytes` the records begin.
    records: usize,
}

impl Project {
    /// A project from its files, each with the version that its name says.
    #[must_use]
    pub fn new(mut files: Vec<(Version, IndexFile)>) -> Self {
        files.sort_by(|a, b| {
            b.0.cmp(&a.0)
                .then_with(|| a.1.filename.cmp(&b.1.filename))
                .then_with(|| a.1.url.cmp(&b.1.url))
        });
        // An index that lists a file twice means it once.
        files.dedup_by(|a, b| a.1.filename == b.1.filename);
        let mut versions: Vec<ProjectVersion> = Vec::new();
        let mut records = Writer::default();
        for (version, file) in &files {
            let start = records.len();
            write_file(&mut records, file);
            match versions.last_mut() {
                Some(last) if last.version == *version => last.position.end = records.len(),
                _ => versions.push(ProjectVersion {
                    version: version.clone(),
                    rank: 0,
                    position: start..records.len(),
                }),
            }
        }
        Self::assemble(versions, &records)
    }

    /// What several indexes offer of one project, given in the order of their priority, as one: of a version that
    /// several have, the files of the first. Where `ranked`, what an earlier one offers comes before all that a later one does.
    pub(super) fn joined(indexes: &[Arc<Self>], ranked: bool) -> Self {
        let mut all: Vec<(&ProjectVersion, usize)> = indexes
            .iter()
            .enumerate()
            .flat_map(|(of, project)| project.versions.iter().map(move |version| (version, of)))
            .collect();
        all.sort_by(|a, b| b.0.version.cmp(&a.0.version).then(a.1.cmp(&b.1)));
        all.dedup_by(|later, earlier| later.0.version == earlier.0.version);
        let mut records = Writer::default();
        let versions = all
            .into_iter()
            .map(|(version, of)| {
                let start = records.len();
                records.raw(indexes[of].bytes_of(version));
                ProjectVersion {
                    version: version.version.clone(),
                    rank: if ranked {
                        u32::try_from(of).unwrap_or(u32::MAX)
                    } else {
                        0
                    },
                    position: start..records.len(),
                }
            })
            .collect();
        Self::assemble(versions, &records)
    }

    /// The project with the files of `beside`, which come first: where both have a file of one name, it is that of
    /// `beside`, and a version that both have is of the lowest rank.
    pub(super) fn with_files_of(&self, beside: &Self) -> Self {
        let mut versions: Vec<ProjectVersion> = Vec::new();
        let mut records = Writer::default();
        let mut ours = self.versions.iter().peekable();
        let mut theirs = beside.versions.iter().peekable();
        loop {
            // Newest first, on both sides.
            let (ours, theirs) = match (ours.peek(), theirs.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) if a.version == b.version => (ours.next(), theirs.next()),
                (Some(a), Some(b)) if a.version < b.version => (None, theirs.next()),
                (None, Some(_)) => (None, theirs.next()),
                (Some(_), _) => (ours.next(), None),
            };
            let start = records.len();
            match (ours, theirs) {
                (Some(ours), Some(theirs)) => {
                    let mut files = beside.files(theirs);
                    let more = self.files(ours).into_iter();
                    let more = more.filter(|ours| {
                        beside
                            .records(theirs)
                            .all(|theirs| theirs.filename != ours.filename)
                    });
                    files.extend(more);
                    files.sort_by(|a, b| a.filename.cmp(&b.filename));
                    for file in &files {
                        write_file(&mut records, file);
                    }
                }
                (Some(version), None) => records.raw(self.bytes_of(version)),
                (None, Some(version)) => records.raw(beside.bytes_of(version)),
                (None, None) => {}
            }
            if let Some(version) = theirs.or(ours) {
                versions.push(ProjectVersion {
                    version: version.version.clone(),
                    rank: version.rank,
                    position: start..records.len(),
                });
            }
        }
        Self::assemble(versions, &records)
    }

    /// The compact form of these versions, whose files are in `records`.
    fn assemble(versions: Vec<ProjectVersion>, records: &Writer) -> Self {
        let mut bytes = Writer::default();
        bytes.number(versions.len() as u64);
        for version in &versions {
            bytes.text(&version.version.to_string());
            bytes.number(version.position.len() as u64);
        }
        bytes.raw(records.bytes());
        let records = bytes.len() - records.len();
        let ranks = versions.iter().map(|version| version.rank);
        Self {
            last_rank: ranks.max().unwrap_or(0),
            versions,
            bytes: bytes.into_bytes(),
            start: 0,
            records,
        }
    }

    /// The compact form.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Reads the compact form, which begins at `begin`; `None` where it is none.
    pub(super) fn from_bytes(bytes: Vec<u8>, begin: usize) -> Option<Self> {
        let mut reader = Reader::new(bytes.get(begin..)?);
        let count = usize::try_from(reader.number()?).ok()?;
        // A version takes at least three bytes: a count that lies must not allocate.
        if count > bytes.len() / 3 {
            return None;
        }
        let mut versions = Vec::with_capacity(count);
        let mut start = 0_usize;
        for _ in 0..count {
            let version = Version::from_str(reader.text()?).ok()?;
            let end = start.checked_add(usize::try_from(reader.number()?).ok()?)?;
            versions.push(ProjectVersion {
                version,
                rank: 0,
                position: start..end,
            });
            start = end;
        }
        let records = begin + reader.position();
        (records.checked_add(start)? == bytes.len()).then_some(Self {
            versions,
            last_rank: 0,
            bytes,
            start: begin,
            records,
        })
    }

    /// The versions, newest first.
    #[must_use]
    pub fn versions(&self) -> &[ProjectVersion] {
        &self.versions
    }

    /// The highest rank that one of the versions has.
    #[must_use]
    pub fn last_rank(&self) -> u32 {
        self.last_rank
    }

    /// Whether the project has a file of which nobody says when it was uploaded, files on this machine aside.
    pub(super) fn lacks_upload_times(&self) -> bool {
        let mut records = self
            .versions
            .iter()
            .flat_map(|version| self.records(version));
        records.any(|file| file.upload_time.is_none() && !file.is_local())
    }

    /// The records of the files of a version.
    fn bytes_of(&self, version: &ProjectVersion) -> &[u8] {
        let position = self.records + version.position.start..self.records + version.position.end;
        // A version of another project can point anywhere; that is no reason to panic.
        self.bytes.get(position).unwrap_or_default()
    }

    /// The files of one of [`Project::versions`], in the order of their names.
    #[must_use]
    pub fn files(&self, version: &ProjectVersion) -> Vec<IndexFile> {
        self.records(version)
            .map(|record| record.to_file())
            .collect()
    }

    /// As [`Project::files`], in place: whoever chooses among the files of a version keeps few of them.
    pub fn records(&self, version: &ProjectVersion) -> impl Iterator<Item = FileRecord<'_>> {
        let mut reader = Reader::new(self.bytes_of(version));
        std::iter::from_fn(move || read_record(&mut reader))
    }
}

/// One file as it lies in the page; see [`IndexFile`] for what its fields mean.
#[derive(Debug, Clone, Copy)]
pub struct FileRecord<'a> {
    /// Name of the file.
    pub filename: &'a str,
    /// Versions of Python that the file is for.
    pub requires_python: Option<&'a str>,
    /// The reason when the file is yanked.
    pub yanked: Option<&'a str>,
    /// When the file was uploaded, in milliseconds since the epoch.
    pub upload_time: Option<i64>,
    url: &'a str,
    url_ends_in_name: bool,
    sha256: Option<&'a str>,
    size: Option<u64>,
    has_core_metadata: bool,
    metadata_hash: Option<&'a str>,
}

impl FileRecord<'_> {
    /// Whether the file lies on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_local(self.url)
    }

    /// Whether the file was uploaded before `end`; `None` where nobody says when it was. A file on this machine was
    /// uploaded nowhere, and whoever named its folder meant it.
    #[must_use]
    pub fn is_before(&self, end: jiff::Timestamp) -> Option<bool> {
        match self.upload_time {
            Some(uploaded) => Some(uploaded < end.as_millisecond()),
            None => self.is_local().then_some(true),
        }
    }

    /// The file on its own.
    #[must_use]
    pub fn to_file(&self) -> IndexFile {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let mut url = self.url.to_owned();
        if self.url_ends_in_name {
            url.push_str(self.filename);
        }
        IndexFile {
            filename: self.filename.to_owned(),
            url,
            sha256: owned(self.sha256),
            size: self.size,
            requires_python: owned(self.requires_python),
            yanked: owned(self.yanked),
            core_metadata: self.has_core_metadata.then(|| owned(self.metadata_hash)),
            upload_time: self.upload_time,
        }
    }
}

/// Whether a file's address is one on this machine.
pub(super) fn is_local(url: &str) -> bool {
    url.starts_with("file:")
}

/// Bits of a record's first byte: which of the optional fields follow, and in which form.
mod flag {
    pub(super) const URL_ENDS_IN_NAME: u8 = 1;
    pub(super) const SHA256: u8 = 1 << 1;
    pub(super) const SIZE: u8 = 1 << 2;
    pub(super) const REQUIRES_PYTHON: u8 = 1 << 3;
    pub(super) const YANKED: u8 = 1 << 4;
    pub(super) const CORE_METADATA: u8 = 1 << 5;
    pub(super) const CORE_METADATA_HASH: u8 = 1 << 6;
    pub(super) const UPLOAD_TIME: u8 = 1 << 7;
}

fn write_file(writer: &mut Writer, file: &IndexFile) {
    let short_url = file.url.strip_suffix(&file.filename);
    let mut flags = 0;
    for (present, flag) in [
        (short_url.is_some(), flag::URL_ENDS_IN_NAME),
        (file.sha256.is_some(), flag::SHA256),
        (file.size.is_some(), flag::SIZE),
        (file.requires_python.is_some(), flag::REQUIRES_PYTHON),
        (file.yanked.is_some(), flag::YANKED),
        (file.core_metadata.is_some(), flag::CORE_METADATA),
        (
            matches!(file.core_metadata, Some(Some(_))),
            flag::CORE_METADATA_HASH,
        ),
        (file.upload_time.is_some(), flag::UPLOAD_TIME),
    ] {
        if present {
            flags |= flag;
        }
    }
    writer.raw(&[flags]);
    writer.text(&file.filename);
    writer.text(short_url.unwrap_or(&file.url));
    for text in [&file.sha256, &file.requires_python, &file.yanked]
        .into_iter()
        .flatten()
    {
        writer.text(text);
    }
    if let Some(Some(hash)) = &file.core_metadata {
        writer.text(hash);
    }
    if let Some(size) = file.size {
        writer.number(size);
    }
    if let Some(time) = file.upload_time {
        writer.signed(time);
    }
}

fn read_record<'a>(reader: &mut Reader<'a>) -> Option<FileRecord<'a>> {
    let flags = reader.byte()?;
    let has = |flag: u8| flags & flag != 0;
    let filename = reader.text()?;
    let url = reader.text()?;
    let mut text = |flag| {
        if has(flag) {
            reader.text().map(Some)
        } else {
            Some(None)
        }
    };
    let sha256 = text(flag::SHA256)?;
    let requires_python = text(flag::REQUIRES_PYTHON)?;
    let yanked = text(flag::YANKED)?;
    let metadata_hash = text(flag::CORE_METADATA_HASH)?;
    Some(FileRecord {
        filename,
        requires_python,
        yanked,
        url,
        url_ends_in_name: has(flag::URL_ENDS_IN_NAME),
        sha256,
        size: if has(flag::SIZE) {
            Some(reader.number()?)
        } else {
            None
        },
        has_core_metadata: has(flag::CORE_METADATA),
        metadata_hash,
        upload_time: if has(flag::UPLOAD_TIME) {
            Some(reader.signed()?)
        } else {
            None
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(filename: &str) -> IndexFile {
        IndexFile {
            filename: filename.to_owned(),
            url: format!("https://example.org/{filename}"),
            sha256: Some("ab".repeat(32)),
            size: Some(1_234_567),
            requires_python: Some(">=3.9".to_owned()),
            yanked: Some(String::new()),
            core_metadata: Some(Some("cd".repeat(32))),
            upload_time: Some(-5),
        }
    }

    fn bare(filename: &str) -> IndexFile {
        IndexFile {
            filename: filename.to_owned(),
            url: "https://example.org/x%2B.whl".to_owned(),
            sha256: None,
            size: None,
            requires_python: None,
            yanked: None,
            core_metadata: Some(None),
            upload_time: None,
        }
    }

    fn version(text: &str) -> Version {
        Version::from_str(text).expect("a version")
    }

    #[test]
    fn the_compact_form_keeps_everything() {
        let project = Project::new(vec![
            (version("1.0"), bare("b")),
            (version("2.0"), file("c")),
            (version("1.0.0"), file("a")),
            (version("1.0"), bare("b")),
        ]);
        let read = Project::from_bytes(project.as_bytes().to_vec(), 0).expect("a project");
        for project in [&project, &read] {
            let versions: Vec<String> = project
                .versions()
                .iter()
                .map(|version| version.version.to_string())
                .collect();
            assert_eq!(versions, ["2.0", "1.0.0"]);
            assert_eq!(project.files(&project.versions()[0]), [file("c")]);
            assert_eq!(
                project.files(&project.versions()[1]),
                [file("a"), bare("b")]
            );
        }
    }

    /// `version (rank): file names`, with a `#` after those that have a hash.
    fn shape(project: &Project) -> Vec<String> {
        let versions = project.versions().iter().map(|version| {
            let files: Vec<String> = project
                .files(version)
                .into_iter()
                .map(|file| format!("{}{}", file.filename, file.sha256.map_or("", |_| "#")))
                .collect();
            format!(
                "{} ({}): {}",
                version.version,
                version.rank,
                files.join(", ")
            )
        });
        versions.collect()
    }

    #[test]
    fn of_a_version_that_several_indexes_have_the_first_counts() {
        let first = Project::new(vec![
            (version("1.0"), file("a")),
            (version("3.0"), file("c")),
        ]);
        let second = Project::new(vec![
            (version("1.0.0"), bare("other")),
            (version("4.0"), bare("d")),
            (version("2.0"), bare("b")),
        ]);
        let indexes = [Arc::new(first), Arc::new(second)];
        assert_eq!(
            shape(&Project::joined(&indexes, false)),
            ["4.0 (0): d", "3.0 (0): c#", "2.0 (0): b", "1.0 (0): a#"]
        );
        let ranked = Project::joined(&indexes, true);
        assert_eq!(
            shape(&ranked),
            ["4.0 (1): d", "3.0 (0): c#", "2.0 (1): b", "1.0 (0): a#"]
        );
        assert_eq!(ranked.last_rank(), 1);
    }

    #[test]
    fn files_beside_an_index_come_first() {
        let page = Project::new(vec![
            (version("1.0"), file("a")),
            (version("1.0"), file("b")),
            (version("0.9"), file("old")),
        ]);
        let beside = Project::new(vec![
            (version("1.0"), bare("b")),
            (version("1.0"), bare("c")),
            (version("2.0"), bare("new")),
            (version("0.1"), bare("oldest")),
        ]);
        assert_eq!(
            shape(&page.with_files_of(&beside)),
            [
                "2.0 (0): new",
                "1.0 (0): a#, b, c",
                "0.9 (0): old#",
                "0.1 (0): oldest"
            ]
        );
        assert_eq!(
            shape(&Project::new(Vec::new()).with_files_of(&beside)),
            shape(&beside)
        );
    }

    #[test]
    fn bytes_that_are_no_project_are_refused() {
        let project = Project::new(vec![(version("1.0"), file("a"))]);
        let bytes = project.as_bytes();
        for length in 0..bytes.len() {
            assert!(Project::from_bytes(bytes[..length].to_vec(), 0).is_none());
        }
        assert!(Project::from_bytes(vec![0xff; 64], 0).is_none());
        assert!(
            Project::from_bytes(Project::new(Vec::new()).as_bytes().to_vec(), 0)
                .expect("a project")
                .versions()
                .is_empty()
        );
    }
}
