//! The exact release and the build of an interpreter, told from the files around it.

use super::candidates::{Installation, MinorVersion};
use super::package_database;
use crate::image_path::ImagePath;
use crate::rootfs::{ListedEntry, RootFs, resolve};

/// Largest header or JSON file that is read, in bytes.
const MAX_HEADER: u64 = 1 << 20;

/// The release of an installation, such as `3.10.13`; `None` where nothing tells it.
///
/// The sources go from the most certain and cheapest to the least: the C header, conda's record, Debian's record,
/// and the bytes of the executable and of libpython.
pub(super) fn find_release(root: &dyn RootFs, installation: &Installation) -> Option<String> {
    let minor = installation.minor;
    let prefix = &installation.prefix;
    from_header(root, prefix, minor)
        .or_else(|| from_conda(root, prefix, minor))
        .or_else(|| from_dpkg(root, prefix, minor))
        .or_else(|| from_bytes(root, installation.real_executable.as_ref()?, minor))
        .or_else(|| from_libpython(root, installation))
}

/// `include/pythonX.Y/patchlevel.h`, which defines `PY_VERSION`.
fn from_header(root: &dyn RootFs, prefix: &ImagePath, minor: MinorVersion) -> Option<String> {
    let number = minor.number();
    let folders = if minor.free_threaded {
        vec![format!("python{number}t")]
    } else {
        // The suffix was that of the ABI until 3.7.
        vec![format!("python{number}"), format!("python{number}m")]
    };
    let include = prefix.join("include");
    folders
        .iter()
        .find_map(|folder| header_version(root, &include.join(folder), minor))
}

/// What `patchlevel.h` in `folder` defines as `PY_VERSION`, when that is a release of `minor`.
pub(super) fn header_version(
    root: &dyn RootFs,
    folder: &ImagePath,
    minor: MinorVersion,
) -> Option<String> {
    let path = folder.join("patchlevel.h");
    let bytes = resolve::read_file(root, &path, MAX_HEADER).ok()??;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let line = text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("#define")?.trim_start();
        rest.strip_prefix("PY_VERSION")?.trim().strip_prefix('"')
    })?;
    release_at_start(line.as_bytes(), minor)
}

/// The name of conda's record: `conda-meta/python-3.10.13-hd12c33a_0_cpython.json`.
fn from_conda(root: &dyn RootFs, prefix: &ImagePath, minor: MinorVersion) -> Option<String> {
    let (_, entries) = resolve::list_directory(root, &prefix.join("conda-meta")).ok()??;
    entries.iter().find_map(|entry| {
        let stem = entry.name.strip_suffix(".json")?;
        let (rest, _build) = stem.rsplit_once('-')?;
        let version = rest.strip_prefix("python-")?;
        let release = release_at_start(version.as_bytes(), minor)?;
        // "python-3.10.13" and not "python-3.10.13-extra".
        (release == version).then_some(release)
    })
}

fn from_dpkg(root: &dyn RootFs, prefix: &ImagePath, minor: MinorVersion) -> Option<String> {
    if prefix.as_str() != "/usr" {
        return None;
    }
    let number = minor.number();
    [
        format!("libpython{number}-minimal"),
        format!("python{number}-minimal"),
    ]
    .iter()
    .find_map(|package| {
        let version = package_database::dpkg_version(root, package)?;
        release_at_start(version.as_bytes(), minor)
    })
}

/// `libpythonX.Y.so.1.0` in the prefix, or in Debian's folder of the architecture below it.
fn from_libpython(root: &dyn RootFs, installation: &Installation) -> Option<String> {
    let minor = installation.minor;
    let library = installation.prefix.join(installation.library_folder);
    let (folder, entries) = resolve::list_directory(root, &library).ok()??;
    let wanted = format!("libpython{}", minor.number());
    let matches =
        |entry: &&ListedEntry| entry.name.starts_with(&wanted) && entry.name.contains(".so");
    let multiarch = entries
        .iter()
        .filter(|entry| entry.name.contains("-linux-gnu"))
        .filter_map(|entry| resolve::list_directory(root, &folder.join(&entry.name)).ok()?);
    std::iter::once((folder.clone(), entries.clone()))
        .chain(multiarch)
        .find_map(|(folder, entries)| {
            entries.iter().filter(matches).find_map(|entry| {
                let real = resolve::resolve_from(root, &folder, &entry.name).ok()??;
                from_bytes(root, &real.path, minor)
            })
        })
}

/// Takes the string that `Py_GetVersion` returns out of what the file at the real path `path` says of itself.
fn from_bytes(root: &dyn RootFs, path: &ImagePath, minor: MinorVersion) -> Option<String> {
    let versions = root.executable_facts(path).ok()?.versions;
    let is_release = |text: &&str| {
        release_at_start(text.as_bytes(), minor).is_some_and(|release| release == *text)
    };
    let whole = versions.iter().map(String::as_str).find(is_release);
    // A linker may let the version be the tail of a longer string.
    let mut tails = versions.iter().filter_map(|text| text.strip_prefix(' '));
    whole
        .or_else(|| tails.find(is_release))
        .map(ToOwned::to_owned)
}

/// The release at the start of `text`, such as `3.13.0rc2`, when it is one of `minor`.
fn release_at_start(text: &[u8], minor: MinorVersion) -> Option<String> {
    let digits = |bytes: &[u8]| {
        bytes
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let start = format!("{}.", minor.number());
    let mut end = start.len();
    let rest = text.strip_prefix(start.as_bytes())?;
    let micro = digits(rest);
    if micro == 0 {
        return None;
    }
    end += micro;
    let rest = &rest[micro..];
    for level in ["a", "b", "rc"] {
        if let Some(serial) = rest.strip_prefix(level.as_bytes()) {
            let length = digits(serial);
            if length > 0 {
                end += level.len() + length;
            }
        }
    }
    Some(String::from_utf8_lossy(&text[..end]).into_owned())
}

/// Flags of the ABI: `t` for a free-threaded build (PEP 703), `m` for the usual build before Python 3.8.
pub(super) fn find_abi_flags(root: &dyn RootFs, installation: &Installation) -> String {
    let minor = installation.minor;
    if minor.free_threaded {
        return "t".to_owned();
    }
    if (minor.major, minor.minor) >= (3, 8) {
        return String::new();
    }
    // The one build without pymalloc that is met in practice is one that says so: its sysconfig data has no flag.
    let plain = installation
        .standard_library
        .as_ref()
        .and_then(|folder| root.list(folder).ok())
        .is_some_and(|entries| {
            let starts = |start| entries.iter().any(|entry| entry.name.starts_with(start));
            starts("_sysconfigdata__") && !starts("_sysconfigdata_m_")
        });
    if plain { String::new() } else { "m".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Root;
    use super::*;

    fn minor(text: &str) -> MinorVersion {
        MinorVersion::parse(text).expect("a version")
    }

    fn installation(version: &str) -> Installation {
        Installation {
            executable: None,
            real_executable: Some(ImagePath::new("/opt/python/bin/python")),
            prefix: ImagePath::new("/opt/python"),
            standard_library: Some(
                ImagePath::new("/opt/python/lib").join(&format!("python{version}")),
            ),
            library_folder: "lib",
            minor: minor(version),
        }
    }

    fn release(root: &Root, version: &str) -> Option<String> {
        find_release(&root.view(), &installation(version))
    }

    #[test]
    fn a_release_is_told_from_whole_strings() {
        let root = Root::new();
        let path = "/opt/python/bin/python";
        for (bytes, found) in [
            (&b"\0xx\x003.10.13\0"[..], Some("3.10.13")),
            (
                b"\x003.10.13 (main\0expat_3.10.9\x00v3.10.8\x0013.10.7\x003.10.x\0",
                None,
            ),
            (b"CPython 3.10.13\0", Some("3.10.13")),
            (b"CPython 3.10.12\0\x003.10.13+\0", Some("3.10.13")),
            (b"\x003.10.0rc2\0", Some("3.10.0rc2")),
            (b"\x003.11.1\0", None),
            (b"\x003.10.13", None),
            (b"", None),
        ] {
            root.write(path, bytes);
            assert_eq!(release(&root, "3.10").as_deref(), found);
        }
    }

    #[test]
    fn the_most_certain_source_wins() {
        let root = Root::new();
        root.write("/opt/python/lib/libpython3.10.so.1.0", b"\x003.10.1\0");
        assert_eq!(release(&root, "3.10").as_deref(), Some("3.10.1"));
        root.write("/opt/python/bin/python", b"\x003.10.2\0");
        assert_eq!(release(&root, "3.10").as_deref(), Some("3.10.2"));
        root.write("/opt/python/conda-meta/python-dateutil-3.10.9-0.json", b"");
        root.write(
            "/opt/python/conda-meta/python-3.10.3-h1_0_cpython.json",
            b"",
        );
        assert_eq!(release(&root, "3.10").as_deref(), Some("3.10.3"));
        root.write(
            "/opt/python/include/python3.10/patchlevel.h",
            b"/* Version */\n#define PY_VERSION_HEX 1\n#define PY_VERSION      \t\"3.10.4+\"\n",
        );
        assert_eq!(release(&root, "3.10").as_deref(), Some("3.10.4"));
        // A header of another release does not speak for this one.
        root.write(
            "/opt/python/include/python3.13t/patchlevel.h",
            b"#define PY_VERSION \"3.13.0\"\n",
        );
        assert_eq!(release(&root, "3.13").as_deref(), None);
        assert_eq!(release(&root, "3.13t").as_deref(), Some("3.13.0"));
    }

    #[test]
    fn abi_flags_depend_on_the_version() {
        let root = Root::new();
        let flags = |version| find_abi_flags(&root.view(), &installation(version));
        assert_eq!(flags("3.13t"), "t");
        assert_eq!(flags("3.8"), "");
        assert_eq!(flags("3.7"), "m");
        root.write("/opt/python/lib/python3.7/_sysconfigdata__linux_.py", b"");
        assert_eq!(find_abi_flags(&root.view(), &installation("3.7")), "");
        root.write("/opt/python/lib/python3.7/_sysconfigdata_m_linux_.py", b"");
        assert_eq!(find_abi_flags(&root.view(), &installation("3.7")), "m");
    }
}
