//! Finding interpreters without running them: the steps by which CPython finds its own prefix, done from outside.
//!
//! See "Finding the standard library" in CPython's `Modules/getpath.py`: the executable's links are followed, and of
//! the folders above it the first with `lib/pythonX.Y/os.py` is the prefix. A `pyvenv.cfg` beside the executable or
//! above it makes a virtual environment (PEP 405).

use super::error::EnvironmentError;
use super::venv::{self, VenvConfig};
use crate::image_path::ImagePath;
use crate::rootfs::{EntryKind, Resolved, RootFs, resolve};

/// How many folders above an executable are looked at for its standard library.
const MAX_ASCENT: usize = 5;

/// Folders with executables that are searched in a root that does not say its `PATH`, in this order: conda first, as
/// images that have it put it first on `PATH`.
const EXECUTABLE_FOLDERS: [&str; 4] = ["/opt/conda/bin", "/usr/local/bin", "/usr/bin", "/bin"];
/// Home of the user who builds most images; `~` in the places below.
pub(super) const HOME: &str = "/root";
/// Places of pyenv.
const PYENV_ROOTS: [&str; 4] = ["~/.pyenv", "/opt/pyenv", "/opt/.pyenv", "/usr/local/pyenv"];
/// Places of conda, whose environments lie below `envs`.
const CONDA_ROOTS: [&str; 6] = [
    "/opt/conda",
    "/opt/miniconda3",
    "/opt/miniforge3",
    "~/miniconda3",
    "~/miniforge3",
    "~/anaconda3",
];
/// Virtual environments and other prefixes where images are known to have them.
const OTHER_PREFIXES: [&str; 8] = [
    "/opt/venv",
    "/venv",
    "/app/.venv",
    "/app/venv",
    "~/.venv",
    "/usr/local/python",
    "/opt/bitnami/python",
    "/var/lang",
];

/// Major, minor and whether the build is free-threaded: what names `lib/pythonX.Yt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MinorVersion {
    pub major: u16,
    pub minor: u16,
    pub free_threaded: bool,
}

impl MinorVersion {
    /// Reads `3.13t` as it stands in `python3.13t`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (text, free_threaded) = match text.strip_suffix('t') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (major, minor) = text.split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (digits(major) && digits(minor)).then_some(())?;
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            free_threaded,
        })
    }

    /// `3.13`, without the mark of a free-threaded build.
    pub(super) fn number(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

impl std::fmt::Display for MinorVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let suffix = if self.free_threaded { "t" } else { "" };
        write!(f, "{}.{}{suffix}", self.major, self.minor)
    }
}

/// A Python installation: an interpreter that is no virtual environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installation {
    /// The executable as it was found, such as `/usr/bin/python3`.
    pub executable: Option<ImagePath>,
    /// The real path of the executable.
    pub real_executable: Option<ImagePath>,
    /// `sys.prefix`, a real path.
    pub prefix: ImagePath,
    /// Folder of the standard library, a real path.
    pub standard_library: Option<ImagePath>,
    /// Name of the folder of libraries in the prefix: `lib` or `lib64`.
    pub library_folder: &'static str,
    pub minor: MinorVersion,
}

/// An interpreter that could be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Candidate {
    Installation(Installation),
    Venv(Venv),
}

/// A virtual environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Venv {
    /// The executable as it was found, when it is there at all.
    pub executable: Option<ImagePath>,
    /// The folder with `pyvenv.cfg`, a real path.
    pub prefix: ImagePath,
    pub config: VenvConfig,
    pub minor: MinorVersion,
    /// The installation it was made from, when that is there.
    pub base: Option<Installation>,
}

impl Candidate {
    pub(super) fn minor(&self) -> MinorVersion {
        match self {
            Self::Installation(installation) => installation.minor,
            Self::Venv(venv) => venv.minor,
        }
    }

    pub(super) fn prefix(&self) -> &ImagePath {
        match self {
            Self::Installation(installation) => &installation.prefix,
            Self::Venv(venv) => &venv.prefix,
        }
    }

    pub(super) fn executable(&self) -> Option<&ImagePath> {
        match self {
            Self::Installation(installation) => installation.executable.as_ref(),
            Self::Venv(venv) => venv.executable.as_ref(),
        }
    }

    /// The candidate in words, such as `Python 3.10 at /opt/conda/bin/python3`.
    pub(super) fn describe(&self) -> String {
        let place = self.executable().unwrap_or(self.prefix());
        format!("Python {} at {place}", self.minor())
    }
}

/// What was found: interpreters of a kind that is understood, and the names of those that are not.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub candidates: Vec<Candidate>,
    /// In words, such as `PyPy at /usr/bin/pypy3`.
    pub unsupported: Vec<String>,
}

impl Found {
    fn push(&mut self, candidate: Candidate) {
        let known = self.candidates.iter().any(|known| {
            known.prefix() == candidate.prefix() && known.minor() == candidate.minor()
        });
        if !known {
            self.candidates.push(candidate);
        }
    }

    /// Adds the virtual environment at `prefix` and says whether there is one.
    fn add_venv(&mut self, root: &dyn RootFs, prefix: &ImagePath) -> bool {
        match read_venv(root, prefix) {
            None => false,
            Some(Ok(venv)) => {
                self.push(Candidate::Venv(venv));
                true
            }
            Some(Err(unsupported)) => {
                self.push_unsupported(unsupported);
                true
            }
        }
    }

    fn push_unsupported(&mut self, found: String) {
        if !self.unsupported.contains(&found) {
            self.unsupported.push(found);
        }
    }
}

/// The folders that a root is searched in; `path` is the `PATH` of the image's config, where there is one.
pub(super) fn search_folders(root: &dyn RootFs, path: Option<&str>) -> Vec<ImagePath> {
    let mut folders: Vec<ImagePath> = path
        .into_iter()
        .flat_map(|path| path.split(':'))
        .filter(|folder| folder.starts_with('/'))
        .map(ImagePath::new)
        .collect();
    folders.extend(
        EXECUTABLE_FOLDERS
            .iter()
            .map(|folder| ImagePath::new(folder)),
    );
    for conda in CONDA_ROOTS.map(place) {
        folders.push(conda.join("bin"));
        let environments = conda.join("envs");
        folders.extend(executable_folders_below(root, &environments));
    }
    for pyenv in PYENV_ROOTS.map(place) {
        folders.extend(pyenv_folders(root, &pyenv));
    }
    for prefix in OTHER_PREFIXES.map(place) {
        folders.push(prefix.join("bin"));
    }
    folders.extend(executable_folders_below(root, &ImagePath::new("/opt")));
    folders
}

/// A place whose `~` is the home of the user root.
fn place(text: &str) -> ImagePath {
    match text.strip_prefix("~/") {
        Some(rest) => ImagePath::new(HOME).join(rest),
        None => ImagePath::new(text),
    }
}

/// The `bin` of each entry of `folder`.
fn executable_folders_below(root: &dyn RootFs, folder: &ImagePath) -> Vec<ImagePath> {
    match resolve::list_directory(root, folder) {
        Ok(Some((folder, entries))) => entries
            .iter()
            .map(|entry| folder.join(&entry.name).join("bin"))
            .collect(),
        _ => Vec::new(),
    }
}

/// The versions of a pyenv: those of `pyenv global` first, as their shims come first, then the newest.
fn pyenv_folders(root: &dyn RootFs, pyenv: &ImagePath) -> Vec<ImagePath> {
    let Ok(Some((versions, entries))) = resolve::list_directory(root, &pyenv.join("versions"))
    else {
        return Vec::new();
    };
    let chosen = resolve::read_file(root, &pyenv.join("version"), venv::MAX_CONFIG)
        .ok()
        .flatten()
        .unwrap_or_default();
    let chosen = String::from_utf8_lossy(&chosen).into_owned();
    let chosen: Vec<&str> = chosen.split_whitespace().collect();
    let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    names.sort_by_cached_key(|name| {
        let rank = chosen.iter().position(|chosen| chosen == name);
        let numbers: Vec<u32> = name
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        (rank.unwrap_or(usize::MAX), std::cmp::Reverse(numbers))
    });
    let folder = |name: &String| versions.join(name).join("bin");
    names.iter().map(folder).collect()
}

/// The interpreters in the given folders, in their order.
pub(super) fn find_in_folders(root: &dyn RootFs, folders: &[ImagePath]) -> Found {
    let mut found = Found::default();
    let mut seen = Vec::new();
    for folder in folders {
        let Ok(Some(real)) = resolve::resolve(root, folder) else {
            continue;
        };
        if !seen.contains(&real.path) {
            seen.push(real.path);
            find_in_folder(root, folder, &mut found);
        }
    }
    found
}

/// The interpreters of one prefix: those in its `bin`, else the one whose standard library lies there.
pub(super) fn find_in_prefix(root: &dyn RootFs, prefix: &ImagePath) -> Found {
    let mut found = Found::default();
    if found.add_venv(root, prefix) {
        return found;
    }
    find_in_folder(root, &prefix.join("bin"), &mut found);
    if found.candidates.is_empty() && found.unsupported.is_empty() {
        let Ok(Some(real)) = resolve::resolve(root, prefix) else {
            return found;
        };
        for (minor, library_folder, standard_library) in standard_libraries(root, &real.path) {
            found.push(Candidate::Installation(Installation {
                executable: None,
                real_executable: None,
                prefix: real.path.clone(),
                standard_library: Some(standard_library),
                library_folder,
                minor,
            }));
        }
    }
    found
}

/// Looks at one folder of executables; `python3` before `python` before the versioned names, newest first.
fn find_in_folder(root: &dyn RootFs, folder: &ImagePath, found: &mut Found) {
    if folder
        .parent()
        .is_some_and(|prefix| found.add_venv(root, &prefix))
    {
        return;
    }
    let Ok(Some((real_folder, entries))) = resolve::list_directory(root, folder) else {
        return;
    };
    let mut names: Vec<(usize, std::cmp::Reverse<Option<MinorVersion>>, &str)> = entries
        .iter()
        .filter(|entry| entry.kind != EntryKind::Directory)
        .filter_map(|entry| {
            let name = entry.name.as_str();
            let version = name.strip_prefix("python").and_then(MinorVersion::parse);
            let rank = match name {
                "python3" => 0,
                "python" => 1,
                _ if version.is_some() => 2,
                "pypy3" | "pypy" => 3,
                _ => return None,
            };
            Some((rank, std::cmp::Reverse(version), name))
        })
        .collect();
    names.sort_unstable();
    for (_, _, name) in names {
        let executable = folder.join(name);
        let Ok(Some(real)) = resolve::resolve_from(root, &real_folder, name) else {
            continue;
        };
        if real.is_file() {
            add_executable(root, &executable, &real.path, found);
        }
    }
}

/// What a path that the user named leads to: an executable, a prefix, or a folder of executables.
pub(super) fn find_at(root: &dyn RootFs, path: &ImagePath) -> Found {
    let mut found = Found::default();
    let real = resolve::resolve(root, path).ok().flatten();
    if real.as_ref().is_none_or(Resolved::is_file) {
        // The executable of a virtual environment may lead nowhere while everything else is there.
        let prefix = path.parent().and_then(|bin| bin.parent());
        let is_venv = prefix.is_some_and(|prefix| found.add_venv(root, &prefix));
        if let (false, Some(real)) = (is_venv, real) {
            add_executable(root, path, &real.path, &mut found);
        }
        return found;
    }
    let in_prefix = find_in_prefix(root, path);
    if in_prefix.candidates.is_empty() && in_prefix.unsupported.is_empty() {
        find_in_folder(root, path, &mut found);
        return found;
    }
    in_prefix
}

fn add_executable(root: &dyn RootFs, executable: &ImagePath, real: &ImagePath, found: &mut Found) {
    if real.file_name().starts_with("pypy") {
        found.push_unsupported(format!("PyPy at {executable}"));
        return;
    }
    let Some(installation) = installation_of(root, executable.clone(), real) else {
        return;
    };
    if installation.minor.major < 3 {
        found.push_unsupported(format!("Python {} at {executable}", installation.minor));
        return;
    }
    found.push(Candidate::Installation(installation));
}

/// The installation that the executable at the real path `real` belongs to.
fn installation_of(
    root: &dyn RootFs,
    executable: ImagePath,
    real: &ImagePath,
) -> Option<Installation> {
    let named = real
        .file_name()
        .strip_prefix("python")
        .and_then(MinorVersion::parse);
    // A script that starts Python from elsewhere, such as a shim of pyenv: what it starts, only running it tells.
    let is_script = || {
        root.read_range(real, 0, 2)
            .is_ok_and(|start| start == b"#!")
    };
    if named.is_none() && is_script() {
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
fn standard_libraries(
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

/// The virtual environment at `prefix`, when it has a `pyvenv.cfg`; the error says what it is when it is not one of
/// CPython 3, or of no version that can be told.
fn read_venv(root: &dyn RootFs, prefix: &ImagePath) -> Option<Result<Venv, String>> {
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
    let implementation = config.implementation.as_deref().unwrap_or("CPython");
    if !implementation.eq_ignore_ascii_case("cpython") {
        return Some(Err(format!("{implementation} at {prefix}")));
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
        Some(minor) if minor.major >= 3 => Ok(Venv {
            executable,
            prefix,
            config,
            minor,
            base,
        }),
        Some(minor) => Err(format!("Python {minor} at {prefix}")),
        None => Err(format!(
            "a virtual environment of an unknown Python at {prefix}"
        )),
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

/// Chooses by `wanted`: a path, a version such as `3.10`, `3.10.13` or `python3.10`, or the first.
///
/// `release` tells the exact release of a candidate; it is asked only when `wanted` names one.
pub(super) fn choose(
    root: &dyn RootFs,
    found: &Found,
    wanted: Option<&str>,
    name: &str,
    release: impl Fn(&Candidate) -> String,
) -> Result<Candidate, EnvironmentError> {
    let in_words = |candidates: &[Candidate], unsupported: &[String]| {
        let mut words: Vec<String> = candidates.iter().map(Candidate::describe).collect();
        words.extend_from_slice(unsupported);
        if words.is_empty() {
            "none".to_owned()
        } else {
            words.join(", ")
        }
    };
    let no_such = |wanted: &str| EnvironmentError::NoSuchPython {
        path: name.to_owned(),
        wanted: wanted.to_owned(),
        found: in_words(&found.candidates, &found.unsupported),
    };
    let unsupported = |found: &Found| EnvironmentError::Unsupported {
        path: name.to_owned(),
        found: in_words(&[], &found.unsupported),
    };
    match wanted {
        Some(path) if path.contains('/') => {
            let at = find_at(root, &ImagePath::new(path));
            match at.candidates.into_iter().next() {
                Some(candidate) => Ok(candidate),
                None if at.unsupported.is_empty() => Err(no_such(path)),
                None => Err(EnvironmentError::Unsupported {
                    path: name.to_owned(),
                    found: in_words(&[], &at.unsupported),
                }),
            }
        }
        Some(version) => {
            let wanted = version.strip_prefix("python").unwrap_or(version);
            let find = |matches: &dyn Fn(&Candidate) -> bool| {
                found.candidates.iter().find(|candidate| matches(candidate))
            };
            // "3.13" is the ordinary build where there is also a free-threaded one.
            find(&|candidate| wanted == candidate.minor().to_string())
                .or_else(|| find(&|candidate| wanted == candidate.minor().number()))
                .or_else(|| find(&|candidate| wanted == candidate.minor().major.to_string()))
                .or_else(|| {
                    find(&|candidate| {
                        let minor = format!("{}.", candidate.minor().number());
                        wanted.starts_with(&minor) && wanted == release(candidate)
                    })
                })
                .cloned()
                .ok_or_else(|| no_such(version))
        }
        None => match found.candidates.first() {
            Some(candidate) => Ok(candidate.clone()),
            None => Err(unsupported(found)),
        },
    }
}
