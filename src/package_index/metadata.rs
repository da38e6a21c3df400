//! What a wheel says of itself, for as few bytes as possible: the metadata file that the index serves beside it
//! (PEP 658), else ranges of the wheel, else the whole wheel.

use std::ops::Range;

use url::Url;

use super::archive::{PartialFile, ReadError, WheelContents, read_wheel};
use super::cache::sha256_hex;
use super::error::IndexError;
use crate::http::{HttpClient, HttpError, Request, Response, redacted};
use crate::packaging::metadata::CoreMetadata;
use crate::packaging::simple::{self, IndexFile};
use crate::packaging::source_distribution::{self, Trust};

/// The most that metadata may be, in bytes.
const MOST_METADATA: u64 = 16 << 20;
/// The most that a file may be, in bytes: the largest wheels that exist are a few gigabytes.
pub(super) const MOST_FILE: u64 = 8 << 30;
/// The most requests for ranges of one wheel, after which the whole wheel is fetched.
const MOST_RANGES: usize = 6;

/// How many bytes of the end of a wheel to ask for first.
///
/// The end holds `METADATA`, `RECORD` and the central directory. The latter two grow with the number of files, some
/// 200 bytes for each, and that grows with the size of the wheel until large libraries take over.
fn tail_length(size: u64) -> u64 {
    (48 << 10) + (size / 24).min(208 << 10)
}

/// Parses metadata and checks that it is that of the announced wheel, or of the announced source distribution.
pub(super) fn parse_metadata(file: &IndexFile, bytes: &[u8]) -> Result<CoreMetadata, String> {
    let (name, version) = simple::named(None, &file.filename)
        .ok_or_else(|| format!("`{}` is not the name of a wheel", file.filename))?;
    let metadata = CoreMetadata::parse(bytes).map_err(|error| error.to_string())?;
    if metadata.name != name {
        return Err(format!(
            "its metadata is that of the project {}",
            metadata.name
        ));
    }
    if metadata.version != version {
        return Err(format!(
            "its metadata is that of the version {}",
            metadata.version
        ));
    }
    Ok(metadata)
}

/// The fields of a source distribution's metadata that decide about installation, where the archive promises that a
/// build does not change them.
pub(super) fn promised_header(source: &IndexFile, archive: &[u8]) -> Option<Vec<u8>> {
    let (name, _) = simple::named(None, &source.filename)?;
    let facts = source_distribution::read(&source.filename, archive, &name).ok()?;
    let is_static = facts.trust == Trust::Promised
        && !facts.metadata.dynamic.iter().any(|field| {
            matches!(
                field.as_str(),
                "requires-dist" | "requires-python" | "provides-extra"
            )
        });
    is_static.then(|| facts.metadata.to_header())
}

/// Asks for what a wheel says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct WheelSource<'a> {
    pub(super) http: &'a HttpClient,
    pub(super) wheel: &'a IndexFile,
}

impl WheelSource<'_> {
    /// The bytes of the wheel's `METADATA`; the inner error is the wheel's fault.
    pub(super) async fn metadata(&self) -> Result<Result<Vec<u8>, String>, IndexError> {
        if let Some(expected) = &self.wheel.core_metadata
            && let Some(bytes) = self.separate_metadata(expected.as_deref()).await?
        {
            return Ok(Ok(bytes));
        }
        Ok(self.contents().await?.map(|contents| contents.metadata))
    }

    /// The metadata file beside the wheel; `None` when the index has none after all.
    async fn separate_metadata(
        &self,
        expected: Option<&str>,
    ) -> Result<Option<Vec<u8>>, IndexError> {
        let mut url = self.url()?;
        let path = format!("{}.metadata", url.path());
        url.set_path(&path);
        let response = self.get(Request::new(&url, MOST_METADATA)).await?;
        if !response.is_success() {
            return Ok(None);
        }
        if let Some(expected) = expected {
            verify(
                &format!("{}.metadata", self.wheel.filename),
                expected,
                &response.body,
            )?;
        }
        Ok(Some(response.body))
    }

    /// The names in the wheel and its `METADATA`; the inner error is the wheel's fault.
    pub(super) async fn contents(&self) -> Result<Result<WheelContents, String>, IndexError> {
        if let Some(answer) = self.contents_by_ranges().await? {
            return Ok(answer);
        }
        let whole = PartialFile::whole(self.download().await?);
        Ok(
            read_wheel(&self.wheel.filename, &whole).map_err(|error| match error {
                ReadError::Invalid(reason) => reason,
                ReadError::Missing(_) => "not a valid wheel: it is cut short".to_owned(),
            }),
        )
    }

    /// As [`Self::contents`]; `None` when ranges lead nowhere.
    async fn contents_by_ranges(
        &self,
    ) -> Result<Option<Result<WheelContents, String>>, IndexError> {
        let url = self.url()?;
        let tail = tail_length(self.wheel.size.unwrap_or(0));
        let range = match self.wheel.size {
            // The whole of a small wheel costs no more than its end, and can be verified.
            Some(size) if size <= tail.saturating_mul(2) => return Ok(None),
            Some(size) => format!("bytes={}-{}", size - tail, size - 1),
            None => format!("bytes=-{tail}"),
        };
        let Some(first) = self.range(&url, &range).await? else {
            return Ok(None);
        };
        let mut file = match first {
            Part::Whole(bytes) => PartialFile::whole(bytes),
            Part::Some { start, size, bytes } => {
                if self.wheel.size.is_some_and(|announced| announced != size) {
                    // Something else than announced: only the whole can be judged.
                    return Ok(None);
                }
                let mut file = PartialFile::new(size);
                file.add(start, bytes);
                file
            }
        };
        for _ in 0..MOST_RANGES {
            let missing = match read_wheel(&self.wheel.filename, &file) {
                Ok(contents) => return Ok(Some(Ok(contents))),
                Err(ReadError::Invalid(reason)) => return Ok(Some(Err(reason))),
                Err(ReadError::Missing(range)) => range,
            };
            let range = format!("bytes={}-{}", missing.start, missing.end - 1);
            match self.range(&url, &range).await? {
                Some(Part::Some { start, bytes, .. }) if start == missing.start => {
                    file.add(start, bytes);
                }
                Some(Part::Whole(bytes)) => file = PartialFile::whole(bytes),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Asks for a range of the wheel; `None` when the server does not give any.
    async fn range(&self, url: &Url, range: &str) -> Result<Option<Part>, IndexError> {
        let response = self
            .get(Request {
                range: Some(range),
                verbatim: true,
                ..Request::new(url, self.limit())
            })
            .await?;
        match response.status {
            200 => {
                self.verify(&response.body)?;
                Ok(Some(Part::Whole(response.body)))
            }
            206 => Ok(response
                .content_range
                .as_deref()
                .and_then(parse_content_range)
                .filter(|(range, _)| range.end - range.start == response.body.len() as u64)
                .map(|(range, size)| Part::Some {
                    start: range.start,
                    size,
                    bytes: response.body,
                })),
            // "Range not satisfiable" and servers that dislike the header: the whole may still be had.
            400 | 405 | 416 | 501 => Ok(None),
            _ => Err(self.failed(&response)),
        }
    }

    /// The whole file, verified.
    pub(super) async fn download(&self) -> Result<Vec<u8>, IndexError> {
        let url = self.url()?;
        let response = self
            .get(Request {
                verbatim: true,
                ..Request::new(&url, self.limit())
            })
            .await?;
        if response.status != 200 {
            return Err(self.failed(&response));
        }
        self.verify(&response.body)?;
        Ok(response.body)
    }

    fn verify(&self, bytes: &[u8]) -> Result<(), IndexError> {
        match &self.wheel.sha256 {
            Some(expected) => verify(&self.wheel.filename, expected, bytes),
            None => Ok(()),
        }
    }

    /// The most bytes that the file may have.
    fn limit(&self) -> u64 {
        self.wheel.size.unwrap_or(MOST_FILE).min(MOST_FILE)
    }

    pub(super) fn url(&self) -> Result<Url, IndexError> {
        Url::parse(&self.wheel.url).map_err(|error| IndexError::InvalidUrl {
            url: self.wheel.filename.clone(),
            reason: error.to_string(),
        })
    }

    async fn get(&self, request: Request<'_>) -> Result<Response, IndexError> {
        self.http
            .get(request)
            .await
            .map_err(|source| self.network(source))
    }

    pub(super) fn network(&self, source: HttpError) -> IndexError {
        match source {
            HttpError::Offline { .. } => IndexError::FileNotCached {
                file: self.wheel.filename.clone(),
            },
            source => IndexError::File {
                file: self.wheel.filename.clone(),
                source,
            },
        }
    }

    pub(super) fn failed(&self, response: &Response) -> IndexError {
        if matches!(response.status, 401 | 403) {
            return IndexError::Refused {
                index: redacted(&response.url),
                item: self.wheel.filename.clone(),
                status: response.status,
            };
        }
        self.network(response.status_error())
    }
}

/// What a server gives when it is asked for a range.
enum Part {
    Whole(Vec<u8>),
    Some {
        start: u64,
        size: u64,
        bytes: Vec<u8>,
    },
}

fn verify(file: &str, expected: &str, bytes: &[u8]) -> Result<(), IndexError> {
    let found = sha256_hex(bytes);
    if found == expected {
        Ok(())
    } else {
        Err(IndexError::HashMismatch {
            file: file.to_owned(),
            expected: expected.to_owned(),
            found,
        })
    }
}

/// `bytes 0-99/1234` as the range and the size of the file.
fn parse_content_range(header: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first <= last && last < size).then_some((first..last + 1, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 0-99/1234"), Some((0..100, 1234)));
        for bad in [
            "bytes */1234",
            "bytes 0-99/*",
            "bytes 9-8/10",
            "bytes 0-10/10",
            "0-1/2",
        ] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
