//! The package index as the making of a snapshot sees it. The catalog and the index do not know of each other.

use std::str::FromStr as _;

use crate::catalog::from_pins::{SnapshotIndex, WheelFacts};
use crate::package_index::{IndexClient, IndexError, IndexFile, PackageIndex as _};
use crate::packaging::metadata::RawMetadata;
use crate::packaging::wheel_name::WheelName;
use crate::packaging::{PackageName, Version};

/// Largest source distribution that is fetched, bytes.
const LARGEST_SOURCE: u64 = 256 << 20;

/// A client that answers for snapshots.
#[derive(Debug)]
pub struct ClientIndex<'a> {
    client: &'a IndexClient,
    exclude_newer: Option<jiff::Timestamp>,
}

impl<'a> ClientIndex<'a> {
    /// Wraps a client. Files that were uploaded at `exclude_newer` or later do not count.
    #[must_use]
    pub fn new(client: &'a IndexClient, exclude_newer: Option<jiff::Timestamp>) -> Self {
        Self {
            client,
            exclude_newer,
        }
    }

    fn files(&self, project: &PackageName, version: &Version) -> Result<Vec<IndexFile>, String> {
        let page = self.client.project(project).map_err(in_words)?;
        Ok(page.map_or_else(Vec::new, |page| {
            page.versions()
                .iter()
                .filter(|offered| offered.version == *version)
                .flat_map(|offered| page.records(offered))
                .filter(|file| {
                    self.exclude_newer
                        .is_none_or(|end| file.is_before(end) == Some(true))
                })
                .map(|file| file.to_file())
                .collect()
        }))
    }

    fn file(
        &self,
        project: &PackageName,
        version: &Version,
        file_name: &str,
    ) -> Result<IndexFile, String> {
        self.files(project, version)?
            .into_iter()
            .find(|file| file.filename == file_name)
            .ok_or_else(|| format!("the index no longer has `{file_name}`"))
    }
}

impl SnapshotIndex for ClientIndex<'_> {
    fn file_names(&self, project: &PackageName, version: &Version) -> Result<Vec<String>, String> {
        let files = self.files(project, version)?;
        Ok(files.into_iter().map(|file| file.filename).collect())
    }

    fn wheel(
        &self,
        project: &PackageName,
        version: &Version,
        file_name: &str,
    ) -> Result<Result<WheelFacts, String>, String> {
        if let Err(error) = WheelName::from_str(file_name) {
            return Ok(Err(error.to_string()));
        }
        let file = self.file(project, version, file_name)?;
        let contents = self.client.wheel_contents(&file).map_err(in_words)?;
        Ok(contents.map(|contents| WheelFacts {
            metadata: RawMetadata::parse(&contents.metadata),
            paths: Some(contents.file_names),
        }))
    }

    fn source_distribution(
        &self,
        project: &PackageName,
        version: &Version,
        file_name: &str,
    ) -> Result<Result<Vec<u8>, String>, String> {
        let file = self.file(project, version, file_name)?;
        if let Some(size) = file.size.filter(|size| *size > LARGEST_SOURCE) {
            return Ok(Err(format!("its {size} bytes are too many to fetch")));
        }
        self.client.download(&file).map(Ok).map_err(in_words)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "given to `map_err`, which passes its error by value"
)]
fn in_words(error: IndexError) -> String {
    error.to_string()
}
