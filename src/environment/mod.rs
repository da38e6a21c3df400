//! The Python environment of a base: which interpreter, and what is installed for it. Read, never run.

mod c_library;
mod candidates;
mod conda;
mod discovery;
mod error;
mod footprint;
mod home;
mod import_names;
mod installed;
mod installed_files;
mod interpreter;
mod listing;
mod notes;
mod obstacle;
mod package_database;
mod pip_settings;
mod places;
mod prefix;
mod scheme;
mod site;
mod venv;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::image_path::ImagePath;
use crate::packaging::marker_environment;
use crate::packaging::tags::{TagPlatform, WheelTags};
use crate::packaging::{MarkerEnvironment, PackageName, Version};
use crate::rootfs::{DirectoryRoot, RootFs, resolve};

use candidates::{Candidate, Found};
use notes::{Notes, shortened};

pub use conda::{CondaPackage, conda_channel};
pub use error::EnvironmentError;
pub use footprint::{Footprint, footprint, layer_of};
pub use home::home_of;
pub use import_names::import_names;
pub use installed::installer;
pub use installed_files::{FilesUnknown, InstalledFile, for_each_installed_file, installed_files};
pub use listing::{FoundInterpreter, InterpreterKind, list_interpreters};
pub use obstacle::{Obstacle, obstacles};
pub use pip_settings::{
    FoundConstraint, PipPlaces, PipSettings, files_named_by_variables, read_pip_settings,
};
pub use scheme::{InstallationScheme, SchemeError, installation_scheme, is_virtual};

/// How many things of one kind a note names before it counts the rest.
const MAX_NAMED: usize = 3;

/// A Python environment as a solver needs it: what is installed, and what could be.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The interpreter whose environment this is.
    pub interpreter: Interpreter,
    /// Values of environment markers (PEP 508) for that interpreter.
    pub markers: MarkerEnvironment,
    /// The platform that `tags` were made from.
    pub platform: TagPlatform,
    /// Compatibility tags of that interpreter on its platform.
    pub tags: WheelTags,
    /// Installed distributions by normalized name; where `sys.path` has two of one name, the first, which is the
    /// one that Python imports.
    pub distributions: BTreeMap<PackageName, InstalledDistribution>,
    /// Distributions that one of the same name hides, in an earlier folder of `sys.path` or earlier in the same folder, in
    /// the order of `sys.path`.
    pub shadowed: Vec<InstalledDistribution>,
    /// What conda says that it installed into the interpreter's prefix (`conda-meta`), by name. It goes stale where pip
    /// upgrades or removes: of Python distributions the metadata in the site folders is what counts.
    pub conda_packages: Vec<CondaPackage>,
    /// Why this interpreter is read, where there are several and none was asked for.
    pub choice: Option<Choice>,
    /// What could not be read, or was read with a doubt, in the order in which it was met. One sentence each.
    pub notes: Vec<String>,
    /// Where this knowledge comes from.
    pub provenance: Provenance,
}

impl Environment {
    /// All that is worth a note: why this interpreter is read, and then the notes.
    pub fn all_notes(&self) -> impl Iterator<Item = String> {
        let choice = self.choice.iter().map(Choice::to_string);
        choice.chain(self.notes.iter().cloned())
    }
}

/// Why one of several interpreters is read. As text it names the others, where no list shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What is read and why, such as `Python 3.10 at /opt/conda/bin/python3 is read, as it is what PATH starts`.
    pub reason: String,
    /// The first of the others, and how many more there are.
    pub others: String,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; there is also {}", self.reason, self.others)
    }
}

/// A Python interpreter that was found without running it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interpreter {
    /// Full version, such as `3.10.13`.
    pub version: String,
    /// Path of the executable inside the root, where it is known.
    pub executable: Option<String>,
    /// Installation prefix (`sys.prefix`) inside the root, such as `/opt/conda`.
    pub prefix: String,
    /// Real paths, inside the root, of the folders that are searched for distributions, in the order of `sys.path`.
    pub site_directories: Vec<String>,
    /// Whether a distribution's own package manager claims the environment (PEP 668): pip refuses to install there.
    pub externally_managed: bool,
}

/// One installed distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledDistribution {
    /// Normalized name.
    pub name: PackageName,
    /// Version; of a legacy version that PEP 440 does not know, the longest beginning that it does.
    pub version: Version,
    /// The version as it is written.
    pub version_text: String,
    /// `Requires-Dist` fields as they are written: parsed only when they matter.
    pub requires_dist: Vec<String>,
    /// `Requires-Python` as it is written.
    pub requires_python: Option<String>,
    /// `Provides-Extra` fields as they are written.
    pub provides_extra: Vec<String>,
    /// Top-level import names, sorted, where they are known.
    pub import_names: Vec<String>,
    /// Path of the `.dist-info`/`.egg-info` inside the root; empty for a distribution of a snapshot made from pins.
    pub location: String,
    /// Contents of `INSTALLER`, such as `pip`, `uv` or `conda`, where it has been asked for with [`installer`].
    pub installer: Option<String>,
    /// How it is recorded that it is installed.
    pub record: RecordKind,
    /// The source folder of a distribution in development (an editable install, `setup.py develop`), as it is written;
    /// it may be missing from the image.
    pub editable: Option<String>,
}

/// How it is recorded that a distribution is installed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RecordKind {
    /// A folder `*.dist-info`.
    #[default]
    DistInfo,
    /// A folder `*.egg-info`.
    EggInfo,
    /// A file `*.egg-info`, as distutils wrote it: nothing records its files.
    EggInfoFile,
    /// An `EGG-INFO` inside of an egg.
    Egg,
    /// An `*.egg-link` to a source folder.
    EggLink,
    /// None that was seen: a snapshot says so.
    Snapshot,
}

/// Where the knowledge of an environment comes from; every answer that rests on a snapshot says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// Read from a folder on this machine.
    Directory {
        /// The folder as the user named it.
        path: String,
    },
    /// Read from the layers of an image.
    Image {
        /// The image as a person would name it again, transport included.
        reference: String,
        /// Digest of its manifest, where it has one.
        digest: Option<String>,
    },
    /// An embedded snapshot of the catalog, not read from the image.
    Snapshot {
        /// Base as `family:version`, such as `tfx:1.16.0`.
        base: String,
        /// What the snapshot was made from, as a sentence fragment.
        made_from: String,
    },
}

/// Where to look for the interpreter, and which one is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Search<'a> {
    /// The interpreter that is wanted: a version (`3.10`, `3.10.13`) or a path inside the root (of an executable, a
    /// prefix, or a folder of executables). Without it, or where it is no more than `python`, `python3` or `cpython`, what `PATH` starts as `python3`, else as `python`; without that,
    /// the first that is found.
    pub python: Option<&'a str>,
    /// `PATH` of the image's config; its folders are searched before those that images are known to use.
    pub path: Option<&'a str>,
    /// `PYTHONPATH` of the image's config; its folders come before every other.
    pub python_path: Option<&'a str>,
    /// `WorkingDir` of the image's config, which relative folders of `PYTHONPATH` lie in; `/` where it has none.
    pub working_directory: Option<&'a str>,
    /// `PYTHONHOME` of the image's config: told and not followed.
    pub python_home: Option<&'a str>,
    /// Whether the image's config has `PYTHONNOUSERSITE`: no user site counts then.
    pub no_user_site: bool,
    /// `VIRTUAL_ENV` of the image's config: a prefix to look at where `PATH` does not name its folder.
    pub virtual_env: Option<&'a str>,
    /// `HOME` of the image's config, or the home of its user ([`home_of`]): where the user site lies. Without it, that of
    /// nobody is read.
    pub home: Option<&'a str>,
}

/// Reads the environment in a folder of this machine.
///
/// The folder may be a virtual environment (it has a `pyvenv.cfg`), a conda environment or another prefix of Python,
/// or an unpacked root file system. Links of a prefix are followed inside the root that it lies in, see
/// [`DirectoryRoot::enclosing`]. `python` chooses among several interpreters, see [`Search::python`].
///
/// # Errors
/// When there is no such folder, no interpreter in it, not the one that is wanted, or none that is CPython 3.
pub fn read_directory(path: &Path, python: Option<&str>) -> Result<Environment, EnvironmentError> {
    let name = path.display().to_string();
    let unreadable = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => EnvironmentError::NotFound { path: name.clone() },
        std::io::ErrorKind::NotADirectory => EnvironmentError::NotADirectory { path: name.clone() },
        _ => EnvironmentError::Unreadable {
            path: name.clone(),
            source,
        },
    };
    let itself = DirectoryRoot::open(path).map_err(unreadable)?;
    let provenance = Provenance::Directory { path: name.clone() };
    if !itself.is_root_file_system() {
        let (root, prefix) = DirectoryRoot::enclosing(path).map_err(unreadable)?;
        let found = discovery::find_in_prefix(&root, &prefix);
        if !found.is_empty() {
            return read_chosen(
                &root,
                &found,
                &name,
                Search {
                    python,
                    ..Search::default()
                },
                provenance,
            );
        }
    }
    let search = Search {
        python,
        ..Search::default()
    };
    read_root(&itself, &name, search, provenance)
}

/// Reads the environment of a root file system; `name` is what errors call it.
///
/// # Errors
/// As [`read_directory`].
pub fn read_root(
    root: &dyn RootFs,
    name: &str,
    search: Search<'_>,
    provenance: Provenance,
) -> Result<Environment, EnvironmentError> {
    let found = discovery::find(root, search);
    let asked_for_path = search.python.is_some_and(|python| python.contains('/'));
    if found.is_empty() && !asked_for_path {
        return Err(EnvironmentError::NoPython {
            path: name.to_owned(),
            looked_for: "a virtual environment (pyvenv.cfg), a prefix (bin/python3, lib/python3.*), and python3 in \
                         the folders of PATH, /opt/conda/bin, /usr/local/bin, /usr/bin, /bin, the versions of a \
                         pyenv, /opt/*/bin, and the virtual environments of applications"
                .to_owned(),
        });
    }
    read_chosen(root, &found, name, search, provenance)
}

/// Reads the environment of the interpreter that `search` chooses among `found`.
fn read_chosen(
    root: &dyn RootFs,
    found: &Found,
    name: &str,
    search: Search<'_>,
    provenance: Provenance,
) -> Result<Environment, EnvironmentError> {
    let python = search
        .python
        .filter(|python| !candidates::is_default(python));
    let chosen = candidates::choose(root, found, python, name, |candidate| {
        find_release(root, candidate, &mut Notes::default())
    })?;
    let mut notes = Notes::default();
    let mut choice = None;
    if python.is_none() {
        notes.extend(note_script(&chosen, found));
        choice = choice_of(&chosen, found);
    }
    notes.extend(note_config(search));
    let version = find_release(root, &chosen, &mut notes);
    let platform = find_platform(root, &chosen, &mut notes);
    let markers = marker_environment::for_cpython_on_linux(&version, &platform.architecture)
        .map_err(|_| EnvironmentError::InvalidVersion {
            prefix: chosen.prefix().to_string(),
            version: version.clone(),
        })?;
    let sites = site::find_site_directories(root, &chosen, search, &mut notes)?;
    let installed = installed::read_distributions(root, &sites, &mut notes);
    let conda_packages = conda::read_conda_packages(root, chosen.prefix());
    notes.extend(conda::note_stale(
        &conda_packages,
        chosen.prefix(),
        &installed.distributions,
    ));
    Ok(Environment {
        interpreter: Interpreter {
            version,
            executable: chosen.executable().map(ToString::to_string),
            prefix: chosen.prefix().to_string(),
            site_directories: sites.iter().map(|site| site.path.to_string()).collect(),
            externally_managed: is_externally_managed(root, &chosen),
        },
        markers,
        tags: WheelTags::for_cpython(&platform),
        platform,
        distributions: installed.distributions,
        shadowed: installed.shadowed,
        conda_packages,
        choice,
        notes: notes.into_list(),
        provenance,
    })
}

/// Says that `PATH` starts something of which nobody knows what it starts in turn.
fn note_script(chosen: &Candidate, found: &Found) -> Option<String> {
    let script = found.script.as_ref()?;
    Some(format!(
        "`{script}`, which PATH finds first, is a script; what it starts is not known, so {} is read",
        chosen.describe()
    ))
}

/// Says what of the image's config is not followed.
fn note_config(search: Search<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(home) = search.python_home.filter(|home| !home.is_empty()) {
        notes.push(format!(
            "the image sets PYTHONHOME to `{}`, which is not followed: its Python may look elsewhere",
            shortened(home)
        ));
    }
    let relative: Vec<String> = search
        .path
        .into_iter()
        .flat_map(|path| path.split(':'))
        .filter(|folder| !folder.is_empty() && !folder.starts_with('/'))
        .take(MAX_NAMED)
        .map(|folder| format!("`{}`", shortened(folder)))
        .collect();
    if !relative.is_empty() {
        notes.push(format!(
            "PATH has folders that are not absolute, which are passed over: {}",
            relative.join(", ")
        ));
    }
    notes
}

/// Says why one interpreter is read where there are more.
fn choice_of(chosen: &Candidate, found: &Found) -> Option<Choice> {
    let others: Vec<String> = found
        .candidates
        .iter()
        .skip(1)
        .map(Candidate::describe)
        .collect();
    let why = if found.first_is_on_path {
        "as it is what PATH starts"
    } else {
        "as it is found first"
    };
    let others = match &others[..] {
        [] => return None,
        few if few.len() <= MAX_NAMED => few.join(", "),
        many => format!(
            "{} and {} more",
            many[..MAX_NAMED].join(", "),
            many.len() - MAX_NAMED
        ),
    };
    Some(Choice {
        reason: format!("{} is read, {why}", chosen.describe()),
        others,
    })
}

/// The release of the interpreter; where nothing tells it exactly, `X.Y` and a note.
fn find_release(root: &dyn RootFs, candidate: &Candidate, notes: &mut Notes) -> String {
    let base = candidate.base();
    let config = match candidate {
        Candidate::Installation(_) => None,
        Candidate::Venv(venv) => Some(&venv.config),
    };
    let minor = candidate.minor();
    if let (None, Some(config)) = (base, config) {
        let home = config.home.as_deref().unwrap_or("nowhere");
        notes.push(format!(
            "the base interpreter of `{}` is missing from `{home}`",
            candidate.prefix()
        ));
    }
    base.filter(|base| base.minor == minor)
        .and_then(|base| interpreter::find_release(root, base))
        .or_else(|| {
            let configured =
                config.filter(|config| config.minor() == Some((minor.major, minor.minor)))?;
            configured.version.clone()
        })
        .unwrap_or_else(|| {
            notes.push(format!(
                "the release of {} cannot be told, so it counts as {}",
                candidate.describe(),
                minor.number()
            ));
            minor.number()
        })
}

fn find_platform(root: &dyn RootFs, candidate: &Candidate, notes: &mut Notes) -> TagPlatform {
    let minor = candidate.minor();
    let base = candidate.base();
    let executable = candidate
        .executable()
        .and_then(|path| resolve::resolve(root, path).ok()?)
        .map(|real| real.path)
        .or_else(|| base.and_then(|base| base.real_executable.clone()));
    let elf = executable
        .as_ref()
        .and_then(|path| root.header_facts(path).ok()?.elf);
    let elf = elf.or_else(|| {
        let loader = c_library::find_loader(root);
        notes.push(match &executable {
            Some(path) => format!(
                "`{path}` is not an executable, so the platform is that of the root's loader"
            ),
            None => {
                "the interpreter has no executable, so the platform is that of the root's loader"
                    .to_owned()
            }
        });
        loader
    });
    let architecture = elf.as_ref().and_then(|elf| elf.architecture.as_deref());
    if architecture.is_none() {
        notes.push(
            "the architecture cannot be told, so only wheels for every platform fit".to_owned(),
        );
    }
    let libc = c_library::find_c_library(root, elf.as_ref())
        .map_err(|note| notes.push(note))
        .ok();
    let abi_flags = match base {
        Some(base) if base.minor == minor => interpreter::find_abi_flags(root, base),
        _ => minor.usual_abi_flags().to_owned(),
    };
    TagPlatform {
        python: (minor.major, minor.minor),
        abi_flags,
        architecture: architecture.unwrap_or("unknown").to_owned(),
        libc,
    }
}

/// Whether `EXTERNALLY-MANAGED` lies beside the standard library; a virtual environment is never managed (PEP 668).
fn is_externally_managed(root: &dyn RootFs, candidate: &Candidate) -> bool {
    let Candidate::Installation(installation) = candidate else {
        return false;
    };
    let marker = |folder: &ImagePath| root.entry(&folder.join("EXTERNALLY-MANAGED"));
    installation
        .standard_library
        .as_ref()
        .is_some_and(|folder| matches!(marker(folder), Ok(Some(_))))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// A small root file system in a temporary folder.
    pub(super) struct Root(tempfile::TempDir);

    impl Root {
        pub(super) fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        pub(super) fn view(&self) -> DirectoryRoot {
            DirectoryRoot::open(self.0.path()).expect("a root")
        }

        fn make_way(&self, path: &str) -> PathBuf {
            let path = self.0.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            path
        }

        pub(super) fn write(&self, path: &str, bytes: &[u8]) {
            let mut file = fs::File::create(self.make_way(path)).expect("a file");
            file.write_all(bytes).expect("written");
        }

        pub(super) fn link(&self, target: &str, path: &str) {
            symlink(target, self.make_way(path)).expect("a link");
        }
    }
}
