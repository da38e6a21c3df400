//! What the package managers of Linux distributions (dpkg, apk) say of what they installed: versions, and files.
//!
//! Both keep paragraphs of `field: value` lines; `deb-control(5)`, <https://wiki.alpinelinux.org/wiki/Apk_spec>. dpkg has
//! the files of each package in a list of its own, apk beside the rest.

use std::collections::{HashMap, HashSet};

use crate::image_path::ImagePath;
use crate::rootfs::{RootFs, resolve};

/// Largest database that is read, in bytes: that of a desktop with 5,000 packages has about 5 MB.
const MAX_DATABASE: u64 = 64 << 20;
/// Where apk keeps its database; since apk 3 it lies below `/usr`.
const APK_DATABASES: [&str; 2] = ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];

/// The upstream version of the installed Debian package `package`: without epoch and Debian revision.
///
/// Distroless images have one file per package instead of one for all.
pub(super) fn dpkg_version(root: &dyn RootFs, package: &str) -> Option<String> {
    let split = ImagePath::new("/var/lib/dpkg/status.d").join(package);
    let whole = ImagePath::new("/var/lib/dpkg/status");
    [split, whole].iter().find_map(|path| {
        let bytes = resolve::read_file(root, path, MAX_DATABASE).ok()??;
        let version = paragraph_value(&bytes, b"Package: ", package, b"Version: ")?;
        Some(upstream_version(&version))
    })
}

/// The version, with its revision (`-r0`), of the installed Alpine package `package`.
pub(super) fn apk_version(root: &dyn RootFs, package: &str) -> Option<String> {
    APK_DATABASES.iter().find_map(|path| {
        let bytes = resolve::read_file(root, &ImagePath::new(path), MAX_DATABASE).ok()??;
        paragraph_value(&bytes, b"P:", package, b"V:")
    })
}

/// Which packages of dpkg brought the files or folders `paths`, by path. Only the packages of Python are looked at, which
/// Debian names `python3-NAME` (Debian Python Policy): others have thousands of lists.
pub(super) fn dpkg_owners(root: &dyn RootFs, paths: &[&str]) -> HashMap<String, String> {
    let wanted: HashSet<&[u8]> = paths.iter().map(|path| path.as_bytes()).collect();
    let mut owners = HashMap::new();
    let listed = resolve::list_directory(root, &ImagePath::new("/var/lib/dpkg/info"));
    let Ok(Some((folder, entries))) = listed else {
        return owners;
    };
    for entry in entries {
        let Some(package) = entry.name.strip_suffix(".list") else {
            continue;
        };
        if !package.starts_with("python") {
            continue;
        }
        let read = resolve::read_file_in(root, &folder, &entry.name, MAX_DATABASE);
        let Ok(Some(bytes)) = read else {
            continue;
        };
        // A package of one architecture has it in the name of its list.
        let package = package.split(':').next().unwrap_or(package);
        for line in bytes.split(|byte| *byte == b'\n') {
            if wanted.contains(line)
                && let Ok(path) = std::str::from_utf8(line)
            {
                owners.insert(path.to_owned(), package.to_owned());
            }
        }
    }
    owners
}

/// Which packages of apk brought the folders `paths`, by path.
pub(super) fn apk_owners(root: &dyn RootFs, paths: &[&str]) -> HashMap<String, String> {
    let wanted: HashSet<&[u8]> = paths
        .iter()
        .map(|path| path.trim_start_matches('/').as_bytes())
        .collect();
    let mut owners = HashMap::new();
    for path in APK_DATABASES {
        let read = resolve::read_file(root, &ImagePath::new(path), MAX_DATABASE);
        let Ok(Some(bytes)) = read else {
            continue;
        };
        let mut package = "";
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Some(name) = line.strip_prefix(b"P:") {
                package = std::str::from_utf8(name).unwrap_or_default();
            } else if let Some(folder) = line.strip_prefix(b"F:")
                && wanted.contains(folder)
                && let Ok(folder) = std::str::from_utf8(folder)
            {
                owners.insert(format!("/{folder}"), package.to_owned());
            }
        }
    }
    owners
}

/// The value of `wanted` in the paragraph in which `key` is `value`.
fn paragraph_value(bytes: &[u8], key: &[u8], value: &str, wanted: &[u8]) -> Option<String> {
    let line = [key, value.as_bytes()].concat();
    let start = memchr::memmem::find_iter(bytes, &line).find(|start| {
        let begins = *start == 0 || bytes[start - 1] == b'\n';
        let end = start + line.len();
        begins && matches!(bytes.get(end), None | Some(b'\n' | b'\r'))
    })?;
    // The wanted field may stand before the key.
    let paragraph = memchr::memmem::rfind(&bytes[..start], b"\n\n").map_or(0, |at| at + 2);
    let end = memchr::memmem::find(&bytes[start..], b"\n\n").map_or(bytes.len(), |at| start + at);
    bytes[paragraph..end]
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(wanted))
        .map(|value| String::from_utf8_lossy(value.trim_ascii()).into_owned())
}

/// Takes the upstream version out of `[epoch:]upstream[-revision]`, as Python would write it.
fn upstream_version(version: &str) -> String {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let upstream = version.rsplit_once('-').map_or(version, |(rest, _)| rest);
    // "3.13.0~rc2" sorts before "3.13.0" for dpkg; Python knows it as 3.13.0rc2. What follows "+" is Debian's own.
    let upstream = upstream.split_once('+').map_or(upstream, |(rest, _)| rest);
    upstream.replace('~', "")
}

#[cfg(test)]
mod tests {
    use super::super::tests::Root;
    use super::*;

    #[test]
    fn dpkg_versions_lose_epoch_and_revision() {
        for (debian, upstream) in [
            ("3.11.2-6+deb12u6", "3.11.2"),
            ("1:3.10.13-1+jammy1", "3.10.13"),
            ("3.13.0~rc2-1", "3.13.0rc2"),
            ("3.9.2", "3.9.2"),
            ("3.9.2+dfsg-1", "3.9.2"),
        ] {
            assert_eq!(upstream_version(debian), upstream);
        }
    }

    #[test]
    fn a_package_is_found_by_its_whole_name() {
        let root = Root::new();
        root.write(
            "/var/lib/dpkg/status",
            b"Package: libpython3.11-minimal\nVersion: 3.11.1-1\n\nVersion: 3.11.2-6\nPackage: python3.11-minimal\nDescription: x\n Package: python3\n\n",
        );
        let version = |package| dpkg_version(&root.view(), package);
        assert_eq!(version("python3.11-minimal").as_deref(), Some("3.11.2"));
        assert_eq!(version("python3.11"), None);
        assert_eq!(version("python3"), None);
        root.write(
            "/var/lib/dpkg/status.d/python3.11-minimal",
            b"Package: python3.11-minimal\nVersion: 3.11.4-1\n",
        );
        assert_eq!(version("python3.11-minimal").as_deref(), Some("3.11.4"));
    }
}
