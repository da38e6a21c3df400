//! A package index in memory: what a test says it offers, and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use imgtool::package_index::{IndexError, IndexFile, PackageIndex, Project};
use imgtool::packaging::metadata::CoreMetadata;
use imgtool::packaging::{PackageName, Version};

/// An index whose answers are built from calls to [`MemoryIndex::wheel`] and its kin.
#[derive(Default)]
pub struct MemoryIndex {
    files: BTreeMap<PackageName, Vec<(Version, IndexFile)>>,
    metadata: BTreeMap<String, Result<Arc<CoreMetadata>, String>>,
    promised: BTreeMap<String, Arc<CoreMetadata>>,
    /// Names of the projects that were asked for, in order.
    pub asked: Mutex<Vec<String>>,
}

/// One wheel or source distribution of the index.
#[derive(Default, Clone)]
pub struct File<'a> {
    /// `python-abi-platform`; `py3-none-any` when empty.
    pub tags: &'a str,
    /// `Requires-Python` of the file and its metadata.
    pub requires_python: Option<&'a str>,
    /// Why it is yanked.
    pub yanked: Option<&'a str>,
    /// When it was uploaded, as RFC 3339 has it.
    pub uploaded: Option<&'a str>,
    /// `Requires-Dist` lines.
    pub requires: &'a [&'a str],
    /// `Provides-Extra` lines.
    pub extras: &'a [&'a str],
}

impl MemoryIndex {
    /// Offers `py3-none-any` wheel `name` `version` with these requirements.
    pub fn wheel(mut self, name: &str, version: &str, requires: &[&str]) -> Self {
        self.add_wheel(
            name,
            version,
            &File {
                requires,
                ..File::default()
            },
        );
        self
    }

    /// Offers a wheel.
    pub fn add_wheel(&mut self, name: &str, version: &str, file: &File<'_>) {
        let tags = if file.tags.is_empty() {
            "py3-none-any"
        } else {
            file.tags
        };
        let filename = format!("{}-{version}-{tags}.whl", name.replace('-', "_"));
        let mut metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
        if let Some(requires_python) = file.requires_python {
            let _ = writeln!(metadata, "Requires-Python: {requires_python}");
        }
        for requirement in file.requires {
            let _ = writeln!(metadata, "Requires-Dist: {requirement}");
        }
        for extra in file.extras {
            let _ = writeln!(metadata, "Provides-Extra: {extra}");
        }
        let parsed = CoreMetadata::parse(metadata.as_bytes())
            .map(Arc::new)
            .map_err(|error| error.to_string());
        self.metadata.insert(filename.clone(), parsed);
        self.add_file(name, version, filename, file);
    }

    /// Offers a source distribution that promises what it requires.
    pub fn add_static_source(&mut self, name: &str, version: &str, file: &File<'_>) {
        let mut metadata = format!("Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n");
        for requirement in file.requires {
            let _ = writeln!(metadata, "Requires-Dist: {requirement}");
        }
        let promised = CoreMetadata::parse(metadata.as_bytes()).expect("metadata");
        self.promised
            .insert(format!("{name}-{version}.tar.gz"), Arc::new(promised));
        self.add_source(name, version, file);
    }

    /// Offers a source distribution.
    pub fn add_source(&mut self, name: &str, version: &str, file: &File<'_>) {
        self.add_file(name, version, format!("{name}-{version}.tar.gz"), file);
    }

    /// Leaves `Requires-Python` to the metadata, as indexes do whose pages do not tell.
    pub fn forget_requires_python(&mut self) {
        for (_, file) in self.files.values_mut().flatten() {
            file.requires_python = None;
        }
    }

    fn add_file(&mut self, name: &str, version: &str, filename: String, file: &File<'_>) {
        let name = PackageName::from_str(name).expect("a name");
        // As the client of a real index: a file whose version is none is passed over.
        let Ok(version) = Version::from_str(version) else {
            return;
        };
        self.files.entry(name).or_default().push((
            version,
            IndexFile {
                url: format!("https://index.invalid/files/{filename}"),
                filename,
                sha256: None,
                size: None,
                requires_python: file.requires_python.map(str::to_owned),
                yanked: file.yanked.map(str::to_owned),
                core_metadata: None,
                upload_time: file.uploaded.map(|time| {
                    jiff::Timestamp::from_str(time)
                        .expect("a time")
                        .as_millisecond()
                }),
            },
        ));
    }
}

impl PackageIndex for MemoryIndex {
    fn project(&self, name: &PackageName) -> Result<Option<Arc<Project>>, IndexError> {
        self.asked
            .lock()
            .expect("no test panics while it holds this")
            .push(name.to_string());
        Ok(self
            .files
            .get(name)
            .map(|files| Arc::new(Project::new(files.clone()))))
    }

    fn metadata(&self, wheel: &IndexFile) -> Result<Result<Arc<CoreMetadata>, String>, IndexError> {
        Ok(self.metadata[&wheel.filename].clone())
    }

    fn promised_metadata(&self, source: &IndexFile) -> Option<Arc<CoreMetadata>> {
        self.promised.get(&source.filename).cloned()
    }
}
