//! Files on this machine, as a folder of `--find-links` has them. What they say is read anew in every run: a file can
//! change where it lies, and reading it costs less than fetching.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use url::Url;

use super::archive::{WheelContents, read_wheel_on_disk};
use super::error::IndexError;
use crate::digest::Hasher;
use crate::packaging::simple::IndexFile;

/// How many bytes are read at a time.
const BLOCK: usize = 1 << 16;

/// The names in a wheel and its `METADATA`; the inner error is the wheel's fault.
pub(super) fn contents(wheel: &IndexFile) -> Result<Result<WheelContents, String>, IndexError> {
    let (file, _) = open(wheel)?;
    Ok(read_wheel_on_disk(&wheel.filename, file))
}

/// The whole file.
pub(super) fn bytes(file: &IndexFile) -> Result<Vec<u8>, IndexError> {
    let (mut opened, path) = open(file)?;
    let mut bytes = Vec::new();
    opened
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&path, &error))?;
    Ok(bytes)
}

/// The SHA-256 of the file as it is now, in hexadecimal; an error where the page that led here announced another.
pub(super) fn sha256(file: &IndexFile) -> Result<String, IndexError> {
    let (opened, path) = open(file)?;
    sha256_of(file, opened, &path)
}

/// Where the file lies, its SHA-256 as for [`sha256`], and its size in bytes.
pub(super) fn measured(file: &IndexFile) -> Result<(PathBuf, String, u64), IndexError> {
    let (opened, path) = open(file)?;
    let size = opened
        .metadata()
        .map_err(|error| unreadable(&path, &error))?
        .len();
    let sha256 = sha256_of(file, opened, &path)?;
    Ok((path, sha256, size))
}

fn sha256_of(file: &IndexFile, mut opened: File, path: &Path) -> Result<String, IndexError> {
    let mut hasher = Hasher::sha256();
    let mut block = vec![0; BLOCK];
    loop {
        match opened.read(&mut block) {
            Ok(0) => break,
            Ok(length) => hasher.update(&block[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
    let found = hasher.finish().digest().to_owned();
    match &file.sha256 {
        Some(expected) if *expected != found => Err(IndexError::HashMismatch {
            file: file.filename.clone(),
            expected: expected.clone(),
            found,
        }),
        _ => Ok(found),
    }
}

fn open(file: &IndexFile) -> Result<(File, PathBuf), IndexError> {
    let path = Url::parse(&file.url)
        .ok()
        .and_then(|url| url.to_file_path().ok())
        .ok_or_else(|| IndexError::InvalidUrl {
            url: file.url.clone(),
            reason: "it is no path on this machine".to_owned(),
        })?;
    let opened = File::open(&path).map_err(|error| unreadable(&path, &error))?;
    Ok((opened, path))
}

fn unreadable(path: &Path, error: &std::io::Error) -> IndexError {
    IndexError::LocalFile {
        path: path.display().to_string(),
        reason: if error.kind() == std::io::ErrorKind::NotFound {
            "it has vanished since its folder was read".to_owned()
        } else {
            error.to_string()
        },
    }
}
