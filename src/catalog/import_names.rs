//! Which names a distribution can be imported by, told from the list of its files.

use std::collections::BTreeSet;

/// The top-level modules and packages among the paths of a wheel, sorted.
///
/// A folder counts when Python code or an extension module lies in it, so that data and licences make no name; a
/// namespace package (`google`) is a name like any other.
#[must_use]
pub fn of_wheel_paths<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names = BTreeSet::new();
    for path in paths {
        let Some(path) = installed_path(path) else {
            continue;
        };
        let (first, file) = match path.split_once('/') {
            Some((folder, rest)) => (folder, rest.rsplit('/').next().unwrap_or(rest)),
            // `_cffi_backend.cpython-310-x86_64-linux-gnu.so`: what follows the first dot is not the module's name.
            None => (path.split('.').next().unwrap_or(path), path),
        };
        if is_code(file) && is_identifier(first) {
            names.insert(first.to_owned());
        }
    }
    names.into_iter().collect()
}

/// Names that a build tool noted (`top_level.txt`), one a line: sorted, and only those that can be imported.
#[must_use]
pub fn of_top_level(text: &str) -> Vec<String> {
    let names: BTreeSet<&str> = text
        .lines()
        .map(str::trim)
        .filter(|name| is_identifier(name))
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Where a file of a wheel goes below site-packages; `None` where it goes elsewhere or is metadata.
fn installed_path(path: &str) -> Option<&str> {
    let first = path.split('/').next().unwrap_or(path);
    if has_suffix(first, ".dist-info") {
        return None;
    }
    if !has_suffix(first, ".data") {
        return Some(path);
    }
    let rest = path.get(first.len() + 1..)?;
    ["purelib/", "platlib/"]
        .iter()
        .find_map(|scheme| rest.strip_prefix(scheme))
}

fn is_code(file: &str) -> bool {
    [".py", ".so", ".pyd", ".pyc"]
        .iter()
        .any(|suffix| has_suffix(file, suffix))
}

fn has_suffix(text: &str, suffix: &str) -> bool {
    text.strip_suffix(suffix)
        .is_some_and(|stem| !stem.is_empty())
}

fn is_identifier(name: &str) -> bool {
    name != "__pycache__"
        && name.chars().all(|c| c == '_' || c.is_alphanumeric())
        && name.chars().next().is_some_and(|c| !c.is_numeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_packages_and_extensions_are_names() {
        let names = of_wheel_paths(
            [
                "six.py",
                "_cffi_backend.cpython-310-x86_64-linux-gnu.so",
                "google/cloud/storage/__init__.py",
                "google/cloud/storage/data.txt",
                "tensorflow-2.16.2.data/purelib/tensorflow/python/a.so",
                "tensorflow-2.16.2.data/purelib/top.py",
                "tensorflow-2.16.2.data/scripts/tool.py",
                "tensorflow-2.16.2.data/data/share/x.py",
                "tensorflow-2.16.2.dist-info/METADATA",
                "numpy.libs/libopenblas.so",
                "types-stubs/a.pyi",
                "docs/readme.txt",
                "distutils-precedence.pth",
                "__pycache__/six.cpython-310.pyc",
                "LICENSE",
                "tests/",
            ]
            .into_iter(),
        );
        assert_eq!(
            names,
            ["_cffi_backend", "google", "six", "tensorflow", "top"]
        );
    }

    #[test]
    fn notes_of_build_tools_are_cleaned() {
        assert_eq!(of_top_level("b\r\n\na\nnot-a-name\nb\n"), ["a", "b"]);
    }
}
