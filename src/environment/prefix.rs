//! What an executable or a folder belongs to: the steps by which CPython finds its own prefix, done from outside.
//!
//! See "Finding the standard library" in CPython's `Modules/getpath.py`: the executable's links are followed, and of
//! the folders above it the first with `lib/pythonX.Y/os.py` is the prefix. A `pyvenv.cfg` beside the executable or
//! above it makes a virtual environment (PEP 405).

use super::candidates::{Candidate, Foreign, Installation, MinorVersion, Venv};
use super::venv::VenvConfig;
use crate::image_path::ImagePath;
use crate::rootfs::{EntryKind, RootFs, resolve};

/// How many folders above an executable are looked at for its standard library.
const MAX_ASCENT: usize = 5;

/// What an executable, or a virtual environment, turned out to be.
#[derive(Debug)]
pub(super) enum Identified {
    /// Something that can be read.
    Candidate(Candidate),
    /// An interpreter of another kind.
    Foreign(Foreign),
}

/// What `executable`, a file at the real path `real`, is; `None` for what is no interpreter.
pub(super) fn identify(
    root: &dyn RootFs,
    executable: &ImagePath,
    real: &ImagePath,
) -> Option<Identified> {
    if real.file_name().starts_with("pypy") {
        return Some(Identified::Foreign(pypy(root, executable, real)));
    }
    let installation = installation_of(root, executable.clone(), real)?;
    if installation.minor.major >= 3 {
        return Some(Identified::Candidate(Candidate::Installation(installation)));
    }
    Some(Identified::Foreign(Foreign {
        words: format!("Python {} at {executable}", installation.minor),
        implementation: "CPython".to_owned(),
        version: None,
        executable: Some(executable.clone()),
        prefix: installation.prefix.clone(),
        installation: Some(installation),
        config: None,
    }))
}

/// PyPy lies in a prefix of its own, whose headers tell which Python it speaks.
fn pypy(root: &dyn RootFs, executable: &ImagePath, real: &ImagePath) -> Foreign {
    let mut folder = real.parent();
    let mut prefix = folder.as_ref().and_then(ImagePath::parent);
    let mut version = None;
    for _ in 0..MAX_ASCENT {
        let Some(ancestor) = folder else { break };
        let library = resolve::list_directory(root, &ancestor.join("lib"))
            .ok()
            .flatten();
        let minor = library
            .iter()
            .flat_map(|(_, entries)| entries)
            .find_map(|entry| MinorVersion::parse(entry.name.strip_prefix("pypy")?));
        if let Some(minor) = minor {
            let headers = ancestor.join("include").join(&format!("pypy{minor}"));
            version = super::interpreter::header_version(root, &headers, minor)
                .or_else(|| Some(minor.to_string()));
            prefix = Some(ancestor);
            break;
        }
        folder = ancestor.parent();
    }
    // Without its library, the name of the executable: pypy3.10.
    let named = real
        .file_name()
        .strip_prefix("pypy")
        .filter(|rest| !rest.is_empty());
    Foreign {
        words: format!("PyPy at {executable}"),
        implementation: "PyPy".to_owned(),
        version: version.or_else(|| named.map(ToOwned::to_owned)),
        executable: Some(executable.clone()),
        prefix: prefix.unwrap_or_else(ImagePath::root),
        installation: None,
        config: None,
    }
}

/// Whether the file at the real path `path` is a script; a file that cannot be read is none.
pub(super) fn is_script(root: &dyn RootFs, path: &ImagePath) -> bool {
    root.header_facts(path).is_ok_and(|facts| facts.is_script)
}

/// The installation that the executable at the real path `real` belongs to.
fn installation_of(
    root: &dyn RootFs,
    executable: ImagePath,
    real: &ImagePath,
) -> Option<Installation> {
    let name = real.file_name();
    let named = name
        // Red Hat keeps the Python of its own tools apart, and links to it as /usr/bin/python3.6.
        .strip_prefix("platform-")
        .unwrap_or(name)
        .strip_prefix("python")
        .and_then(MinorVersion::parse);
    // A script that starts Python from elsewhere, such as a shim of pyenv: what it starts, only running it tells.
    if named.is_none() && is_script(root, real) {
        return None;
    }
    let folder = real.parent()?;
    let mut ancestor = Some(folder.clone());
    for _ in 0..MAX_ASCENT {
        let Some(prefix) = ancestor else { break };
        let library = standard_libraries(root, &prefix)
            .into_iter()
            .find(|(minor, ..)| named.is_none_or(|named| named == *minor));
        if let Some((minor, library_folder, standard_library)) = library {
            return Some(Installation {
                executable: Some(executable),
                real_executable: Some(real.clone()),
                prefix,
                standard_library: Some(standard_library),
                library_folder,
                minor,
            });
        }
        ancestor = prefix.parent();
    }
    // No standard library, or one in a zip file: the executable's name and place are all there is.
    Some(Installation {
        executable: Some(executable),
        real_executable: Some(real.clone()),
        prefix: folder.parent()?,
        standard_library: None,
        library_folder: "lib",
        minor: named?,
    })
}

/// The standard libraries in a real prefix, newest first.
pub(super) fn standard_libraries(
    root: &dyn RootFs,
    prefix: &ImagePath,
) -> Vec<(MinorVersion, &'static str, ImagePath)> {
    let mut found: Vec<(MinorVersion, &'static str, ImagePath)> = Vec::new();
    for library_folder in ["lib", "lib64"] {
        let Ok(Some((folder, entries))) =
            resolve::list_directory(root, &prefix.join(library_folder))
        else {
            continue;
        };
        for entry in entries {
            // A link is the short name that conda gives a folder: python3.1 for python3.13.
            let minor = (entry.kind == EntryKind::Directory)
                .then(|| {
                    entry
                        .name
                        .strip_prefix("python")
                        .and_then(MinorVersion::parse)
                })
                .flatten();
            let Some(minor) = minor else { continue };
            let folder = folder.join(&entry.name);
            let has = |name| matches!(resolve::resolve_from(root, &folder, name), Ok(Some(_)));
            let known = found.iter().any(|(known, ..)| *known == minor);
            if !known && (has("os.py") || has("os.pyc")) {
                found.push((minor, library_folder, folder));
            }
        }
    }
    found.sort_by_key(|(minor, ..)| std::cmp::Reverse(*minor));
    found
}

/// The virtual environment at `prefix`, when it has a `pyvenv.cfg`. One of another kind than CPython 3, or of a version
/// that cannot be told, is foreign.
pub(super) fn read_venv(root: &dyn RootFs, prefix: &ImagePath) -> Option<Identified> {
    let prefix = resolve::resolve(root, prefix).ok()??;
    if !prefix.is_directory() {
        return None;
    }
    let prefix = prefix.path;
    let config = VenvConfig::read(root, &prefix)?;
    let bin = prefix.join("bin");
    let executable = ["python", "python3"]
        .iter()
        .map(|name| bin.join(name))
        .find(|path| matches!(resolve::resolve(root, path), Ok(Some(_))));
    let foreign = |words: String, implementation: &str| {
        Identified::Foreign(Foreign {
            words,
            implementation: implementation.to_owned(),
            version: config.version.clone(),
            executable: executable.clone(),
            prefix: prefix.clone(),
            installation: None,
            config: Some(config.clone()),
        })
    };
    // `venv` does not say the implementation; the executable that it links to does.
    let is_pypy = || {
        let real = executable
            .as_ref()
            .and_then(|path| resolve::resolve(root, path).ok()?);
        real.is_some_and(|real| real.path.file_name().starts_with("pypy"))
    };
    let implementation = match config.implementation.as_deref() {
        Some(implementation) => implementation,
        None if is_pypy() => "PyPy",
        None => "CPython",
    };
    if !implementation.eq_ignore_ascii_case("cpython") {
        return Some(foreign(
            format!("{implementation} at {prefix}"),
            implementation,
        ));
    }
    let minors = site_packages_versions(root, &prefix);
    let base = base_of(root, &prefix, executable.as_ref(), &config, minors.first());
    // The folder of site-packages is what its Python looks into, whatever pyvenv.cfg says; but of two such folders
    // (an environment that was upgraded in place) the base tells which one is in use.
    let configured = config.minor();
    let in_use = |minor: &MinorVersion| minors.is_empty() || minors.contains(minor);
    let minor = base
        .as_ref()
        .map(|base| base.minor)
        .filter(in_use)
        .or_else(|| {
            let mut minors = minors.iter().copied();
            minors
                .find(|minor| configured.is_some_and(|(a, b)| (minor.major, minor.minor) == (a, b)))
        })
        .or_else(|| minors.first().copied())
        .or_else(|| base.as_ref().map(|base| base.minor))
        .or_else(|| {
            configured.map(|(major, minor)| MinorVersion {
                major,
                minor,
                free_threaded: false,
            })
        });
    Some(match minor {
        Some(minor) if minor.major >= 3 => Identified::Candidate(Candidate::Venv(Venv {
            executable,
            prefix,
            config,
            minor,
            base,
        })),
        Some(minor) => foreign(format!("Python {minor} at {prefix}"), "CPython"),
        None => foreign(
            format!("a virtual environment of an unknown Python at {prefix}"),
            "CPython",
        ),
    })
}

/// The versions whose `lib/pythonX.Y/site-packages` lies in a virtual environment, newest first.
fn site_packages_versions(root: &dyn RootFs, prefix: &ImagePath) -> Vec<MinorVersion> {
    let mut versions = Vec::new();
    for library in ["lib", "lib64"] {
        let Ok(Some((folder, entries))) = resolve::list_directory(root, &prefix.join(library))
        else {
            continue;
        };
        versions.extend(entries.iter().filter_map(|entry| {
            let minor = MinorVersion::parse(entry.name.strip_prefix("python")?)?;
            let site = folder.join(&entry.name).join("site-packages");
            resolve::resolve(root, &site)
                .ok()??
                .is_directory()
                .then_some(minor)
        }));
    }
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.dedup();
    versions
}

/// The installation that a virtual environment was made from: what its executable is a link to, else what lies in
/// the folder that `home` names.
fn base_of(
    root: &dyn RootFs,
    prefix: &ImagePath,
    executable: Option<&ImagePath>,
    config: &VenvConfig,
    minor: Option<&MinorVersion>,
) -> Option<Installation> {
    let linked = executable
        .and_then(|executable| resolve::resolve(root, executable).ok().flatten())
        .filter(|real| real.is_file() && !real.path.starts_with(prefix));
    if let Some(real) = linked {
        let installation = installation_of(root, real.path.clone(), &real.path);
        if installation.is_some() {
            return installation;
        }
    }
    let home = ImagePath::new(config.home.as_deref()?);
    let mut names = vec!["python3".to_owned(), "python".to_owned()];
    if let Some((major, minor)) = config.minor() {
        names.insert(0, format!("python{major}.{minor}"));
    }
    if let Some(minor) = minor {
        names.insert(0, format!("python{minor}"));
    }
    names.iter().find_map(|name| {
        let executable = home.join(name);
        let real = resolve::resolve(root, &executable).ok()??;
        installation_of(root, executable, &real.path)
    })
}
