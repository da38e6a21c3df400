//! A wheel of which only some bytes are here: reads the central directory and `METADATA`, or says what is missing.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::str::FromStr;

use zip::ZipArchive;
use zip::result::ZipError;

use super::wire::{Reader, Writer};
use crate::packaging::wheel_name::WheelName;
use crate::packaging::{PackageName, Version};

/// The most that a `METADATA` file may be, decompressed.
const MOST_METADATA: u64 = 16 << 20;

/// What a wheel's central directory and metadata say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelContents {
    /// Paths of the files in the wheel, in the order of the archive; folders are left out.
    pub file_names: Vec<String>,
    /// The bytes of `METADATA`.
    pub metadata: Vec<u8>,
}

impl WheelContents {
    /// The form in which it lies in the cache.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.number(self.file_names.len() as u64);
        for name in &self.file_names {
            writer.text(name);
        }
        writer.raw(&self.metadata);
        writer.into_bytes()
    }

    /// Reads that form; `None` where it is none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let count = reader.number()?;
        let mut file_names = Vec::new();
        for _ in 0..count {
            file_names.push(reader.text()?.to_owned());
        }
        Some(Self {
            file_names,
            metadata: bytes.get(reader.position()..)?.to_vec(),
        })
    }
}

/// Why nothing could be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// These bytes of the file are needed first.
    Missing(Range<u64>),
    /// The wheel is not what it should be.
    Invalid(String),
}

/// The parts of a file that have been fetched.
#[derive(Debug)]
pub(super) struct PartialFile {
    size: u64,
    /// In the order of their positions, not overlapping.
    parts: Vec<(u64, Vec<u8>)>,
}

impl PartialFile {
    pub(super) fn new(size: u64) -> Self {
        Self {
            size,
            parts: Vec::new(),
        }
    }

    /// All of a file.
    pub(super) fn whole(bytes: Vec<u8>) -> Self {
        Self {
            size: bytes.len() as u64,
            parts: vec![(0, bytes)],
        }
    }

    /// Adds bytes that were missing.
    pub(super) fn add(&mut self, start: u64, bytes: Vec<u8>) {
        self.parts.push((start, bytes));
        self.parts.sort_by_key(|(start, _)| *start);
    }

    /// The bytes at `position` that are here, up to the end of their part.
    fn at(&self, position: u64) -> Option<&[u8]> {
        self.parts.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(position.checked_sub(*start)?).ok()?;
            bytes.get(offset..).filter(|rest| !rest.is_empty())
        })
    }

    /// What is missing of `wanted`, as one range.
    fn missing(&self, wanted: Range<u64>) -> Option<Range<u64>> {
        let mut start = wanted.start;
        let end = wanted.end.min(self.size);
        while start < end
            && let Some(here) = self.at(start)
        {
            start += here.len() as u64;
        }
        if start >= end {
            return None;
        }
        let next = self
            .parts
            .iter()
            .map(|(start, _)| *start)
            .find(|next| *next > start);
        // Up to the next part if the end is in there: bytes that are here are not fetched twice.
        let end = match next {
            Some(next) if next < end && self.missing(next..end).is_none() => next,
            _ => end,
        };
        Some(start..end)
    }
}

/// A position in a [`PartialFile`], which remembers where reading failed for want of bytes.
struct Cursor<'a> {
    file: &'a PartialFile,
    position: u64,
    failed_at: &'a RefCell<Option<u64>>,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.file.size || buffer.is_empty() {
            return Ok(0);
        }
        let Some(here) = self.file.at(self.position) else {
            *self.failed_at.borrow_mut() = Some(self.position);
            return Err(io::Error::other("not fetched yet"));
        };
        let length = here.len().min(buffer.len());
        buffer[..length].copy_from_slice(&here[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.file.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| io::Error::other("before the beginning"))?;
        Ok(self.position)
    }
}

/// Reads the names in the wheel `filename` and its `METADATA`.
///
/// # Errors
/// When bytes are missing, or the wheel is not a ZIP archive with exactly the one `.dist-info` folder that its name
/// announces.
pub(super) fn read_wheel(filename: &str, file: &PartialFile) -> Result<WheelContents, ReadError> {
    let failed_at = RefCell::new(None);
    let cursor = Cursor {
        file,
        position: 0,
        failed_at: &failed_at,
    };
    let classify = |error: ZipError| match failed_at.take() {
        Some(position) => ReadError::Missing(missing_directory(file, position)),
        None => ReadError::Invalid(format!("not a valid wheel: {error}")),
    };
    read_archive(filename, cursor, classify, |range| file.missing(range))
}

/// As [`read_wheel`], of a wheel on disk; the error is the wheel's fault.
pub(super) fn read_wheel_on_disk(filename: &str, file: File) -> Result<WheelContents, String> {
    let classify = |error: ZipError| ReadError::Invalid(format!("not a valid wheel: {error}"));
    match read_archive(filename, BufReader::new(file), classify, |_| None) {
        Ok(contents) => Ok(contents),
        Err(ReadError::Invalid(reason)) => Err(reason),
        Err(ReadError::Missing(_)) => Err("not a valid wheel: it is cut short".to_owned()),
    }
}

/// Reads the names and `METADATA`; `missing` says what must be fetched of a range before it can be read.
fn read_archive<R: Read + Seek>(
    filename: &str,
    reader: R,
    classify: impl Fn(ZipError) -> ReadError,
    missing: impl Fn(Range<u64>) -> Option<Range<u64>>,
) -> Result<WheelContents, ReadError> {
    let classify = &classify;
    let mut archive = ZipArchive::new(reader).map_err(classify)?;
    let mut file_names = Vec::with_capacity(archive.len());
    for name in archive.file_names() {
        let name = name.map_err(classify)?;
        if !name.ends_with('/') {
            file_names.push(name.into_owned());
        }
    }
    let folder = dist_info(filename, &file_names).map_err(ReadError::Invalid)?;
    let path = format!("{folder}/METADATA");
    let index = archive
        .index_for_name(&path)
        .ok_or_else(|| ReadError::Invalid(format!("the wheel has no {path}")))?;
    let entry = archive.by_index_data(index).map_err(classify)?;
    // The local header may have another extra field than the directory: some room for that.
    let start = entry.header_start();
    let end = start
        .saturating_add(30 + path.len() as u64 + 128)
        .saturating_add(entry.compressed_size());
    if entry.size() > MOST_METADATA {
        return Err(ReadError::Invalid(format!("{path} is too large")));
    }
    drop(entry);
    if let Some(missing) = missing(start..end) {
        return Err(ReadError::Missing(missing));
    }
    let mut metadata = Vec::new();
    let entry = archive.by_index(index).map_err(classify)?;
    entry
        .take(MOST_METADATA + 1)
        .read_to_end(&mut metadata)
        .map_err(|error| classify(ZipError::Io(error)))?;
    if metadata.len() as u64 > MOST_METADATA {
        return Err(ReadError::Invalid(format!("{path} is too large")));
    }
    Ok(WheelContents {
        file_names,
        metadata,
    })
}

/// How much of what lies before a missing byte of the directory is fetched at the least: the directory is searched for
/// from the end of the file backwards, and each step should not cost a request.
const LEAST_DIRECTORY: u64 = 64 << 10;

/// What to fetch when a byte of the directory is missing: everything up to what is here, as the directory ends there.
fn missing_directory(file: &PartialFile, position: u64) -> Range<u64> {
    let next = file
        .parts
        .iter()
        .map(|(start, _)| *start)
        .find(|start| *start > position);
    let end = next.unwrap_or(file.size);
    let start = position.min(end.saturating_sub(LEAST_DIRECTORY));
    // What is here already lies before the gap only when several gaps were filled.
    let start = file
        .parts
        .iter()
        .map(|(start, bytes)| start + bytes.len() as u64)
        .filter(|here| *here <= position)
        .fold(start, u64::max);
    start..end
}

/// The one `.dist-info` folder of a wheel, which must be that of the project and version in the wheel's name.
fn dist_info(filename: &str, names: &[String]) -> Result<String, String> {
    let wheel = WheelName::from_str(filename).map_err(|error| error.to_string())?;
    let mut found: Option<&str> = None;
    for name in names {
        let Some((folder, _)) = name.split_once('/') else {
            continue;
        };
        if !folder.ends_with(".dist-info") || found == Some(folder) {
            continue;
        }
        if let Some(first) = found {
            return Err(format!(
                "the wheel has the two folders {first} and {folder}"
            ));
        }
        found = Some(folder);
    }
    let folder = found.ok_or("the wheel has no .dist-info folder")?;
    let fits = folder
        .strip_suffix(".dist-info")
        .and_then(|stem| stem.rsplit_once('-'))
        .is_some_and(|(name, version)| {
            PackageName::from_str(name).is_ok_and(|name| name == wheel.name)
                && Version::from_str(version).is_ok_and(|version| version == wheel.version)
        });
    if fits {
        Ok(folder.to_owned())
    } else {
        Err(format!("the folder {folder} is not that of {filename}"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::write::SimpleFileOptions;

    use super::*;

    const NAME: &str = "my_project-1.0-py3-none-any.whl";

    fn wheel(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in entries {
            writer
                .start_file(
                    *name,
                    SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored),
                )
                .expect("an entry");
            writer.write_all(content).expect("content");
        }
        writer.finish().expect("an archive").into_inner()
    }

    /// Fetches what is missing until the answer is there; gives the ranges that were fetched.
    fn read(bytes: &[u8], tail: usize) -> (Vec<Range<u64>>, Result<WheelContents, ReadError>) {
        let mut file = PartialFile::new(bytes.len() as u64);
        let start = bytes.len() - tail;
        file.add(start as u64, bytes[start..].to_vec());
        let mut fetched = Vec::new();
        loop {
            match read_wheel(NAME, &file) {
                Err(ReadError::Missing(range)) => {
                    assert!(!range.is_empty() && fetched.len() < 10, "{fetched:?}");
                    let part = usize::try_from(range.start).expect("small")
                        ..usize::try_from(range.end).expect("small");
                    file.add(range.start, bytes[part].to_vec());
                    fetched.push(range);
                }
                answer => return (fetched, answer),
            }
        }
    }

    #[test]
    fn only_what_is_needed_is_asked_for() {
        let noise = vec![7; 200_000];
        let bytes = wheel(&[
            ("my_project-1.0.dist-info/METADATA", b"Name: my-project"),
            ("my_project/data", &noise),
        ]);
        let (fetched, contents) = read(&bytes, 4000);
        assert_eq!(fetched.len(), 1, "{fetched:?}");
        assert!(fetched[0].end - fetched[0].start < 1000, "{fetched:?}");
        let contents = contents.expect("a wheel");
        assert_eq!(contents.metadata, b"Name: my-project");
        assert_eq!(
            contents.file_names,
            ["my_project-1.0.dist-info/METADATA", "my_project/data"]
        );
        // A tail that does not even hold the directory.
        assert!(read(&bytes, 30).1.is_ok());
        assert_eq!(read(&bytes, bytes.len()).0, []);
    }

    #[test]
    fn the_folder_must_be_the_announced_one_and_the_only_one() {
        let invalid = |entries: &[(&str, &[u8])]| {
            let bytes = wheel(entries);
            match read(&bytes, bytes.len()).1 {
                Err(ReadError::Invalid(reason)) => reason,
                other => panic!("{other:?}"),
            }
        };
        assert!(invalid(&[("a", b"")]).contains("no .dist-info"));
        assert!(invalid(&[("my_project-2.dist-info/METADATA", b"")]).contains("is not that of"));
        assert!(
            invalid(&[
                ("my_project-1.0.dist-info/METADATA", b""),
                ("other-1.0.dist-info/METADATA", b"")
            ])
            .contains("two folders")
        );
        assert!(
            invalid(&[("my_project-1.0.dist-info/RECORD", b"")])
                .contains("no my_project-1.0.dist-info/METADATA")
        );
        let bytes = wheel(&[("My.Project-1.0.0.dist-info/METADATA", b"x")]);
        assert!(read(&bytes, bytes.len()).1.is_ok());
    }

    #[test]
    fn what_is_no_archive_is_invalid() {
        for bytes in [Vec::new(), b"<html>".to_vec(), vec![0; 100_000]] {
            assert!(matches!(
                read(&bytes, bytes.len().min(500)).1,
                Err(ReadError::Invalid(_))
            ));
        }
    }
}
