//! Which files an installed distribution consists of, by its own record.
//!
//! That is `RECORD` (paths relative to the folder that holds the metadata, or absolute), else the `installed-files.txt` of
//! an egg-info (relative to that folder itself).
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/recording-installed-packages/>.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{InstalledDistribution, RecordKind, conda};
use crate::image_path::ImagePath;
use crate::packaging::record::record_entries;
use crate::rootfs::{RootFs, resolve};

/// Largest list of files that is read, in bytes: that of TensorFlow has 2 MB, that of ansible 3 MB.
const MAX_RECORD: u64 = 64 << 20;

/// Files of one distribution that are looked up: the largest known have some 40,000.
pub(super) const MAX_FILES: usize = 200_000;

/// A file that a distribution's record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledFile {
    /// Its real path: no folder on the way is a symbolic link; the last component may be one.
    pub path: ImagePath,
    /// SHA-256 of its contents as recorded; `None` where the record says none, or another algorithm.
    pub sha256: Option<[u8; 32]>,
    /// Whether its path leads out of the folders that the caller named, or above the root.
    pub is_outside: bool,
}

/// Why nobody can tell the files of a distribution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesUnknown {
    /// There is no list of its files, or none that can be read.
    #[error("it has no readable record of its files")]
    NoRecord,
    /// The list is longer than that of any distribution.
    #[error("it records more than {MAX_FILES} files")]
    TooMany,
}

/// Hands to `each` the files that the record of `distribution` names, in its order; those whose folder does not exist are
/// left out. A file counts as outside where none of the real folders `inside` holds it; with none, no file does.
///
/// # Errors
/// When nothing records its files.
pub fn for_each_installed_file(
    root: &dyn RootFs,
    distribution: &InstalledDistribution,
    inside: &[ImagePath],
    each: &mut dyn FnMut(InstalledFile),
) -> Result<(), FilesUnknown> {
    if distribution.location.is_empty() || distribution.record == RecordKind::Snapshot {
        return Err(FilesUnknown::NoRecord);
    }
    let location = ImagePath::new(&distribution.location);
    let info = match resolve::resolve(root, &location) {
        Ok(Some(info)) => info.path,
        _ => return Err(FilesUnknown::NoRecord),
    };
    let list = FileList::of(root, &location, &info).ok_or(FilesUnknown::NoRecord)?;
    if list.rows().nth(MAX_FILES).is_some() {
        return Err(FilesUnknown::TooMany);
    }
    let mut folders = Folders::new(root, list.base());
    for row in list.rows() {
        let Some(path) = folders.place(&row.path) else {
            continue;
        };
        let is_inside = inside.is_empty() || inside.iter().any(|folder| path.starts_with(folder));
        each(InstalledFile {
            is_outside: !is_inside || leads_above_root(list.base(), &row.path),
            sha256: row.hash.as_deref().and_then(sha256_of),
            path,
        });
    }
    Ok(())
}

/// The files of [`for_each_installed_file`], as a list.
///
/// # Errors
/// When nothing records its files.
pub fn installed_files(
    root: &dyn RootFs,
    distribution: &InstalledDistribution,
    inside: &[ImagePath],
) -> Result<Vec<InstalledFile>, FilesUnknown> {
    let mut files = Vec::new();
    for_each_installed_file(root, distribution, inside, &mut |file| files.push(file))?;
    Ok(files)
}

/// The SHA-256 that a row of `RECORD` states: `sha256=` and Base64, of which some writers keep the padding.
fn sha256_of(hash: &str) -> Option<[u8; 32]> {
    let text = hash.strip_prefix("sha256=")?.trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Whether `path`, as it is written, has more `..` than there are folders. The kernel stays at the root then; but nobody
/// who wrote the record meant that.
fn leads_above_root(base: &ImagePath, path: &str) -> bool {
    let is_name = |name: &&str| !matches!(*name, "" | ".");
    let mut depth = if path.starts_with('/') {
        0
    } else {
        base.as_str().split('/').filter(is_name).count()
    };
    for name in path.split('/').filter(is_name) {
        if name != ".." {
            depth += 1;
        } else if depth == 0 {
            return true;
        } else {
            depth -= 1;
        }
    }
    false
}

/// One file of a list, as it is written.
pub(super) struct Row<'a> {
    pub path: Cow<'a, str>,
    /// `algorithm=value`.
    pub hash: Option<String>,
}

/// A list of files as it was read: its rows are taken out one at a time, as a list of tiny ones would have many times its
/// size.
pub(super) struct FileList {
    /// The real folder that the paths are relative to.
    base: ImagePath,
    form: Form,
}

enum Form {
    /// A `RECORD` that is known to be readable.
    Record(Vec<u8>),
    /// A path a line.
    Lines(Vec<u8>),
    Paths(Vec<String>),
}

impl FileList {
    /// The list in the metadata at `location`, whose real path is `info`: the paths are relative to where Python finds it,
    /// also where that is a link.
    pub(super) fn of(root: &dyn RootFs, location: &ImagePath, info: &ImagePath) -> Option<Self> {
        let read = |name| {
            resolve::read_file_in(root, info, name, MAX_RECORD)
                .ok()
                .flatten()
        };
        if let Some(bytes) = read("RECORD").filter(|bytes| is_record(bytes)) {
            return Some(Self {
                base: location.parent()?,
                form: Form::Record(bytes),
            });
        }
        let bytes = read("installed-files.txt")?;
        Some(Self {
            base: info.clone(),
            form: Form::Lines(bytes),
        })
    }

    /// The files of the conda package that brought the metadata at the real path `info`.
    pub(super) fn of_conda(
        root: &dyn RootFs,
        distribution: &InstalledDistribution,
        info: &ImagePath,
    ) -> Option<Self> {
        let may_be = !matches!(
            distribution.record,
            RecordKind::EggLink | RecordKind::Snapshot
        );
        let (base, paths) = may_be
            .then(|| conda::files_of(root, &distribution.name, info))
            .flatten()?;
        Some(Self {
            base,
            form: Form::Paths(paths),
        })
    }

    pub(super) fn base(&self) -> &ImagePath {
        &self.base
    }

    pub(super) fn rows(&self) -> Box<dyn Iterator<Item = Row<'_>> + '_> {
        match &self.form {
            Form::Record(bytes) => Box::new(
                record_entries(bytes)
                    .into_iter()
                    .flatten()
                    .map_while(Result::ok)
                    .map(|row| Row {
                        path: Cow::Owned(row.path),
                        hash: row.hash,
                    }),
            ),
            Form::Lines(bytes) => Box::new(
                bytes
                    .split(|byte| *byte == b'\n')
                    .map(<[u8]>::trim_ascii_end)
                    .filter(|line| !line.is_empty())
                    .map(|line| Row {
                        path: String::from_utf8_lossy(line),
                        hash: None,
                    }),
            ),
            Form::Paths(paths) => Box::new(paths.iter().map(|path| Row {
                path: Cow::Borrowed(path.as_str()),
                hash: None,
            })),
        }
    }
}

/// Whether every row that would be looked at can be read, and there is one.
fn is_record(bytes: &[u8]) -> bool {
    let Ok(rows) = record_entries(bytes) else {
        return false;
    };
    let mut count = 0;
    for row in rows.take(MAX_FILES + 1) {
        if row.is_err() {
            return false;
        }
        count += 1;
    }
    count > 0
}

/// Finds the places of recorded files. Links are followed up to the folder that holds a file, once for each folder.
pub(super) struct Folders<'a> {
    root: &'a dyn RootFs,
    base: &'a ImagePath,
    /// The real folder of each folder as it is written.
    known: HashMap<String, Option<ImagePath>>,
}

impl<'a> Folders<'a> {
    pub(super) fn new(root: &'a dyn RootFs, base: &'a ImagePath) -> Self {
        Self {
            root,
            base,
            known: HashMap::new(),
        }
    }

    /// The real place of `path`; `None` where its folder does not exist.
    pub(super) fn place(&mut self, path: &str) -> Option<ImagePath> {
        let (folder, name) = match path.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((folder, name)) => (folder, name),
            None => ("", path),
        };
        if matches!(name, "" | "." | "..") {
            return None;
        }
        if let Some(known) = self.known.get(folder) {
            return Some(known.as_ref()?.join(name));
        }
        let found = resolve::resolve_from(self.root, self.base, folder)
            .ok()
            .flatten()
            .filter(resolve::Resolved::is_directory)
            .map(|found| found.path);
        self.known.insert(folder.to_owned(), found.clone());
        Some(found?.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Root;
    use super::*;
    use crate::packaging::{PackageName, Version};

    fn distribution(location: &str, record: RecordKind) -> InstalledDistribution {
        InstalledDistribution {
            name: "x".parse::<PackageName>().expect("a name"),
            version: "1".parse::<Version>().expect("a version"),
            version_text: "1".to_owned(),
            requires_dist: Vec::new(),
            requires_python: None,
            provides_extra: Vec::new(),
            import_names: Vec::new(),
            location: location.to_owned(),
            installer: None,
            record,
            editable: None,
        }
    }

    #[test]
    fn files_have_real_paths_and_say_whether_they_are_outside() {
        let root = Root::new();
        let info = "/v/lib/site/x-1.dist-info";
        let empty = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
        root.write(
            &format!("{info}/RECORD"),
            format!(
                "x/a.py,{empty},0\nx/b.py,{empty}=,0\nx/c.py,md5=1,\nlinked/d.py,,\n../../bin/x,,\n/etc/x,,\n\
                 ../../../../../etc/y,,\n../../../../v/z,,\nabsent/e.py,,\nx/,,\n"
            )
            .as_bytes(),
        );
        root.write("/v/lib/site/x/a.py", b"");
        root.write("/v/real/d.py", b"");
        root.write("/v/bin/x", b"");
        root.write("/etc/x", b"");
        root.link("/v/real", "/v/lib/site/linked");
        let found = installed_files(
            &root.view(),
            &distribution(info, RecordKind::DistInfo),
            &[ImagePath::new("/v")],
        );
        let found: Vec<_> = found
            .expect("files")
            .into_iter()
            .map(|file| {
                (
                    file.path.to_string(),
                    file.sha256.is_some(),
                    file.is_outside,
                )
            })
            .collect();
        let expected = [
            ("/v/lib/site/x/a.py", true, false),
            ("/v/lib/site/x/b.py", true, false),
            ("/v/lib/site/x/c.py", false, false),
            ("/v/real/d.py", false, false),
            ("/v/bin/x", false, false),
            ("/etc/x", false, true),
            ("/etc/y", false, true),
            ("/v/z", false, true),
        ];
        assert_eq!(
            found,
            expected.map(|(path, hash, outside)| (path.to_owned(), hash, outside))
        );
    }

    #[test]
    fn lists_of_egg_infos_are_relative_to_them_and_none_is_an_error() {
        let root = Root::new();
        let info = "/v/site/x.egg-info";
        let x = distribution(info, RecordKind::EggInfo);
        root.write(&format!("{info}/PKG-INFO"), b"");
        let found = installed_files(&root.view(), &x, &[]);
        assert_eq!(found, Err(FilesUnknown::NoRecord));
        root.write(
            &format!("{info}/installed-files.txt"),
            b"../x.py\r\nPKG-INFO\n",
        );
        let found = installed_files(&root.view(), &x, &[]).expect("files");
        let paths: Vec<_> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["/v/site/x.py", "/v/site/x.egg-info/PKG-INFO"]);
        let absent = distribution("/v/none.dist-info", RecordKind::DistInfo);
        let found = installed_files(&root.view(), &absent, &[]);
        assert_eq!(found, Err(FilesUnknown::NoRecord));
    }
}
