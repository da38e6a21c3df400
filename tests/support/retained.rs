//! A root as the layers of an image show it once they have gone by: of its files only what is kept can be read.

use imgtool::image_path::ImagePath;
use imgtool::rootfs::retention::{Retention, retention};
use imgtool::rootfs::{
    Attributes, DirectoryRoot, Entry, ExecutableFacts, FileFacts, ListedEntry, RootFs, RootFsError,
};

/// A folder of which only what is kept of a layer can be read.
pub struct RetainedRoot(pub DirectoryRoot);

impl RetainedRoot {
    fn check(&self, path: &ImagePath) -> Result<(), RootFsError> {
        let size = self.0.file_facts(path)?.map_or(0, |facts| facts.size);
        match retention(path.as_str().trim_start_matches('/')) {
            Retention::Contents { limit } if size <= limit => Ok(()),
            _ if self.0.file_facts(path)?.is_none() => Ok(()),
            _ => Err(RootFsError::NotRetained(path.clone())),
        }
    }
}

impl RootFs for RetainedRoot {
    fn entry(&self, path: &ImagePath) -> Result<Option<Entry>, RootFsError> {
        self.0.entry(path)
    }

    fn read(&self, path: &ImagePath, limit: u64) -> Result<Vec<u8>, RootFsError> {
        self.check(path)?;
        self.0.read(path, limit)
    }

    fn read_range(
        &self,
        path: &ImagePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, RootFsError> {
        self.check(path)?;
        self.0.read_range(path, offset, length)
    }

    fn file_facts(&self, path: &ImagePath) -> Result<Option<FileFacts>, RootFsError> {
        // As if everything came in the second layer.
        let facts = self.0.file_facts(path)?;
        Ok(facts.map(|facts| FileFacts {
            layer: Some(1),
            ..facts
        }))
    }

    fn executable_facts(&self, path: &ImagePath) -> Result<ExecutableFacts, RootFsError> {
        match retention(path.as_str().trim_start_matches('/')) {
            Retention::Executable => self.0.executable_facts(path),
            _ if self.0.file_facts(path)?.is_none() => self.0.executable_facts(path),
            _ => Err(RootFsError::NotRetained(path.clone())),
        }
    }

    fn attributes(&self, path: &ImagePath) -> Result<Option<Attributes>, RootFsError> {
        self.0.attributes(path)
    }

    fn list(&self, path: &ImagePath) -> Result<Vec<ListedEntry>, RootFsError> {
        self.0.list(path)
    }
}
