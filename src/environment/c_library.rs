//! The C library that an interpreter runs on, and its version: it decides which binary wheels fit.
//!
//! Specifications: PEP 600 (glibc), PEP 656 (musl).

use super::package_database;
use crate::image_path::ImagePath;
use crate::packaging::tags::Libc;
use crate::rootfs::executable::two_numbers;
use crate::rootfs::{ElfFacts, RootFs, resolve};

/// Finds the C library of an executable, or of the whole root where `elf` names no loader. The error says, as a
/// sentence, why it cannot be told.
pub(super) fn find_c_library(root: &dyn RootFs, elf: Option<&ElfFacts>) -> Result<Libc, String> {
    let architecture = elf.and_then(|elf| elf.architecture.as_deref());
    match elf.and_then(|elf| elf.interpreter.as_deref()) {
        Some(loader) if loader.contains("ld-musl") => find_musl(root, &ImagePath::new(loader)),
        Some(loader) => find_glibc(root, Some(loader), architecture),
        // A static executable, or none: only the root can tell.
        None => find_glibc(root, None, architecture).or_else(|error| {
            musl_loader(root)
                .ok_or(error)
                .and_then(|loader| find_musl(root, &loader))
        }),
    }
    .map_err(|reason| {
        format!("the version of the C library cannot be told, so only wheels that need none fit: {reason}")
    })
}

/// What the whole root runs on, told from its loaders: for an interpreter whose executable is missing or is a script.
pub(super) fn find_loader(root: &dyn RootFs) -> Option<ElfFacts> {
    let known = [
        "/lib64/ld-linux-x86-64.so.2",
        "/lib/ld-linux-aarch64.so.1",
        "/lib64/ld64.so.2",
        "/lib/ld64.so.1",
        "/lib/ld-linux-riscv64-lp64d.so.1",
        "/lib/ld-linux-armhf.so.3",
        "/lib/ld-linux.so.2",
    ];
    known
        .iter()
        .map(|path| ImagePath::new(path))
        .chain(musl_loader(root))
        .find_map(|loader| {
            let real = resolve::resolve(root, &loader).ok()??;
            let elf = root.header_facts(&real.path).ok()?.elf?;
            Some(ElfFacts {
                interpreter: Some(loader.to_string()),
                ..elf
            })
        })
}

fn musl_loader(root: &dyn RootFs) -> Option<ImagePath> {
    let (folder, entries) = resolve::list_directory(root, &ImagePath::new("/lib")).ok()??;
    entries
        .iter()
        .find(|entry| entry.name.starts_with("ld-musl-"))
        .map(|entry| folder.join(&entry.name))
}

/// musl says its version when it is run as a program; its bytes hold it as a string of its own.
fn find_musl(root: &dyn RootFs, loader: &ImagePath) -> Result<Libc, String> {
    if let Some(version) = package_database::apk_version(root, "musl")
        && let Some((major, minor)) = two_numbers(&version)
    {
        return Ok(Libc::Musl(major, minor));
    }
    let missing = || format!("`{loader}` does not exist");
    let versions = resolve::resolve(root, loader)
        .and_then(|found| match found {
            Some(found) if found.is_file() => root.executable_facts(&found.path).map(Some),
            _ => Ok(None),
        })
        .map_err(|error| error.with_cause())?
        .ok_or_else(missing)?
        .versions;
    versions
        .iter()
        .filter(|text| text.starts_with("1."))
        .find_map(|text| two_numbers(text))
        .map(|(major, minor)| Libc::Musl(major, minor))
        .ok_or_else(|| format!("`{loader}` does not name the version of musl"))
}

fn find_glibc(
    root: &dyn RootFs,
    loader: Option<&str>,
    architecture: Option<&str>,
) -> Result<Libc, String> {
    let mut folders = Vec::new();
    // The library lies beside its loader, wherever a distribution puts both.
    if let Some(loader) = loader
        && let Ok(Some(found)) = resolve::resolve(root, &ImagePath::new(loader))
        && let Some(folder) = found.path.parent()
    {
        folders.push(folder);
    }
    let triplet = match architecture {
        Some("i686") => "i386-linux-gnu".to_owned(),
        Some("armv7l") => "arm-linux-gnueabihf".to_owned(),
        Some("ppc64le") => "powerpc64le-linux-gnu".to_owned(),
        architecture => format!("{}-linux-gnu", architecture.unwrap_or("x86_64")),
    };
    for folder in ["/lib", "/usr/lib"] {
        folders.push(ImagePath::new(folder).join(&triplet));
    }
    for folder in ["/lib64", "/usr/lib64", "/lib", "/usr/lib"] {
        folders.push(ImagePath::new(folder));
    }
    let mut reason = "the root has no libc.so.6".to_owned();
    for folder in folders {
        let path = folder.join("libc.so.6");
        let found = match resolve::resolve(root, &path) {
            Ok(Some(found)) if found.is_file() => found.path,
            Ok(_) => continue,
            Err(error) => {
                reason = error.with_cause();
                continue;
            }
        };
        // Before glibc 2.34 the library's name had the version: libc-2.31.so.
        let from_name = found
            .file_name()
            .strip_prefix("libc-")
            .and_then(two_numbers);
        if let Some((major, minor)) = from_name {
            return Ok(Libc::Glibc(major, minor));
        }
        match root.executable_facts(&found) {
            Ok(facts) => match glibc_version(&facts.versions) {
                Some((major, minor)) => return Ok(Libc::Glibc(major, minor)),
                None => reason = format!("`{found}` does not name the version of glibc"),
            },
            Err(error) => reason = error.with_cause(),
        }
    }
    Err(reason)
}

/// The version in glibc's banner, else the newest of the symbol versions that the library defines.
fn glibc_version(versions: &[String]) -> Option<(u16, u16)> {
    let banner = versions
        .iter()
        .filter_map(|text| text.split_once("release version "));
    let symbol = versions
        .iter()
        .filter_map(|text| text.strip_prefix("GLIBC_"));
    banner
        .map(|(_, version)| version)
        .chain(symbol)
        .find_map(two_numbers)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Root;
    use super::*;

    fn elf(loader: Option<&str>) -> ElfFacts {
        ElfFacts {
            architecture: Some("x86_64".to_owned()),
            interpreter: loader.map(ToOwned::to_owned),
        }
    }

    const GLIBC_LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

    #[test]
    fn glibc_says_its_version_in_its_banner_its_name_or_its_symbols() {
        let root = Root::new();
        root.write(
            "/usr/lib/x86_64-linux-gnu/libc.so.6",
            b"\0GLIBC_2.2.5\0GLIBC_2.35\0GNU C Library (Debian GLIBC 2.36-9+deb12u7) stable release version 2.36.\n\0",
        );
        root.link("usr/lib", "/lib");
        let found = find_c_library(&root.view(), Some(&elf(Some(GLIBC_LOADER))));
        assert_eq!(found, Ok(Libc::Glibc(2, 36)));

        let root = Root::new();
        root.write("/lib64/libc-2.17.so", b"");
        root.link("libc-2.17.so", "/lib64/libc.so.6");
        root.link("ld-2.17.so", GLIBC_LOADER);
        let found = find_c_library(&root.view(), Some(&elf(Some(GLIBC_LOADER))));
        assert_eq!(found, Ok(Libc::Glibc(2, 17)));

        let root = Root::new();
        root.write(
            "/lib64/libc.so.6",
            b"\0GLIBC_2.2.5\0GLIBC_2.10\0GLIBC_2.9\0GLIBC_PRIVATE\0",
        );
        let found = find_c_library(&root.view(), Some(&elf(None)));
        assert_eq!(found, Ok(Libc::Glibc(2, 10)));
    }

    #[test]
    fn musl_says_its_version_in_the_apk_database_or_its_bytes() {
        let loader = "/lib/ld-musl-x86_64.so.1";
        let root = Root::new();
        root.write(
            loader,
            b"\x7fELF\0musl libc (x86_64)\nVersion %s\n\0x1.0.0\x001.2.4\0",
        );
        // glibc may lie there too (gcompat): the loader decides.
        root.write("/lib64/libc-2.17.so", b"");
        root.link("libc-2.17.so", "/lib64/libc.so.6");
        let found = find_c_library(&root.view(), Some(&elf(Some(loader))));
        assert_eq!(found, Ok(Libc::Musl(1, 2)));

        let root = Root::new();
        root.write(loader, b"\x7fELF");
        root.write(
            "/lib/apk/db/installed",
            b"P:zlib\nV:1.3\n\nC:x\nP:musl\nV:1.2.5-r0\n\n",
        );
        let found = find_c_library(&root.view(), Some(&elf(None)));
        assert_eq!(found, Ok(Libc::Musl(1, 2)));
    }

    #[test]
    fn a_missing_library_is_said() {
        let root = Root::new();
        let error = find_c_library(&root.view(), None).expect_err("nothing there");
        assert!(error.ends_with("the root has no libc.so.6"), "{error}");
    }
}
