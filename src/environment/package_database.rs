//! What the package managers of Linux distributions (dpkg, apk) say of the versions they installed.
//!
//! Both keep paragraphs of `field: value` lines; `deb-control(5)`, <https://wiki.alpinelinux.org/wiki/Apk_spec>.

use crate::image_path::ImagePath;
use crate::rootfs::{RootFs, resolve};

/// Largest database that is read, in bytes: that of a desktop with 5,000 packages has about 5 MB.
const MAX_DATABASE: u64 = 64 << 20;

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
    // Since apk 3 the database lies below /usr.
    ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"]
        .iter()
        .find_map(|path| {
            let bytes = resolve::read_file(root, &ImagePath::new(path), MAX_DATABASE).ok()??;
            paragraph_value(&bytes, b"P:", package, b"V:")
        })
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
