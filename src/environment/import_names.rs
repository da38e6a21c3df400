//! The names under which the modules of a distribution are imported.

use std::collections::{BTreeMap, BTreeSet};

use super::InstalledDistribution;
use super::installed_files::MAX_FILES;
use crate::image_path::ImagePath;
use crate::packaging::record::record_entries;
use crate::rootfs::{RootFs, resolve};

/// Largest list of files that is read, in bytes: that of TensorFlow has 2 MB, that of ansible 3 MB.
const MAX_RECORD: u64 = 64 << 20;

/// Top-level import names of a distribution, sorted: those it declares in `top_level.txt`, else those that its list
/// of files shows, as `importlib.metadata.packages_distributions` would find them. Empty where nothing tells.
///
/// Reads a file of up to megabytes, and so is not part of reading an environment.
#[must_use]
pub fn import_names(root: &dyn RootFs, distribution: &InstalledDistribution) -> Vec<String> {
    if distribution.location.is_empty() {
        return Vec::new();
    }
    let location = ImagePath::new(&distribution.location);
    let info = match resolve::resolve(root, &location) {
        Ok(Some(found)) if found.is_directory() => found.path,
        _ => return Vec::new(),
    };
    let read = |name| {
        resolve::read_file_in(root, &info, name, MAX_RECORD)
            .ok()
            .flatten()
    };
    if let Some(bytes) = read("top_level.txt") {
        let declared: BTreeSet<String> = String::from_utf8_lossy(&bytes)
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        if !declared.is_empty() {
            return declared.into_iter().collect();
        }
    }
    if let Some(names) = read("RECORD").and_then(|bytes| names_of_record(&bytes)) {
        return names;
    }
    // What pip wrote for an .egg-info: paths relative to that folder, in which the modules are one level up.
    if let Some(bytes) = read("installed-files.txt") {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        return names_of_files(text.lines().filter_map(|line| line.strip_prefix("../")));
    }
    Vec::new()
}

/// Top-level names among the paths of a RECORD; `None` where that is broken.
fn names_of_record(bytes: &[u8]) -> Option<Vec<String>> {
    let mut broken = false;
    let rows = record_entries(bytes).ok()?;
    let names = names_of_files(rows.map_while(|row| {
        broken |= row.is_err();
        row.ok().map(|row| row.path)
    }));
    (!broken).then_some(names)
}

/// Top-level names among paths relative to a site-packages.
fn names_of_files<P: AsRef<str>>(paths: impl Iterator<Item = P>) -> Vec<String> {
    // A folder counts once it is known to hold code: data goes to folders beside the packages, too.
    let mut names: BTreeMap<String, bool> = BTreeMap::new();
    let mut note = |name: &str, has_code: bool| match names.get_mut(name) {
        Some(known) => *known |= has_code,
        None => {
            names.insert(name.to_owned(), has_code);
        }
    };
    for path in paths.take(MAX_FILES) {
        let path = path.as_ref();
        if path.starts_with("..") || path.starts_with('/') {
            continue;
        }
        let file = path.rsplit('/').next().unwrap_or(path);
        let is_code = is_module(file);
        match path.split_once('/') {
            Some((folder, _)) => note(folder, is_code),
            None if is_code => {
                // "foo.cpython-310-x86_64-linux-gnu.so" is module foo.
                let module = file.split('.').next().unwrap_or(file);
                note(module, true);
            }
            None => {}
        }
    }
    names
        .into_iter()
        .filter(|(name, has_code)| *has_code && is_identifier(name) && !is_machinery(name))
        .map(|(name, _)| name)
        .collect()
}

fn is_module(file: &str) -> bool {
    let extension = std::path::Path::new(file).extension();
    extension.is_some_and(|extension| extension == "py" || extension == "so")
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Names that belong to the installation and not to the distribution.
fn is_machinery(name: &str) -> bool {
    name == "__pycache__" || name == "bin" || name.starts_with("__editable__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_modules_packages_and_extensions() {
        let files = [
            "google/protobuf/__init__.py",
            "six.py",
            "_cffi_backend.cpython-310-x86_64-linux-gnu.so",
            "_abi.abi3.so",
            "numpy.libs/libopenblas.so",
            "foo-1.0.dist-info/METADATA",
            "__pycache__/six.cpython-310.pyc",
            "../../../bin/foo",
            "bin/tool.py",
            "share/doc/README",
            "foo-stubs/__init__.pyi",
            "distutils-precedence.pth",
            "__editable___bar_finder.py",
            "/usr/lib/x.py",
        ];
        assert_eq!(
            names_of_files(files.into_iter()),
            ["_abi", "_cffi_backend", "google", "six"]
        );
    }
}
