//! What stands in the way of replacing or removing an installed distribution in an image.
//!
//! Told from the files of the root, for all distributions at once: [`obstacles`].

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::installed::installer_in;
use super::{Environment, InstalledDistribution, RecordKind, conda, package_database};
use crate::image_path::ImagePath;
use crate::packaging::PackageName;
use crate::rootfs::{Entry, RootFs, resolve};

/// Why an installed distribution cannot be replaced or removed.
///
/// Rules: "Recording installed projects" (<https://packaging.python.org/en/latest/specifications/recording-installed-packages/>):
/// a distribution without `RECORD` must not be removed by tools.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Its `.dist-info` has no `RECORD`: nobody knows which files are its own.
    NoRecord,
    /// distutils installed it (an `.egg-info` file, or a folder without `installed-files.txt`): no list of files.
    Distutils,
    /// It is in development: its files lie in a source folder.
    Editable,
    /// A package manager of the image owns it and would overwrite or miss what changes.
    Owned {
        /// The package manager, such as `dpkg` or `conda`.
        manager: String,
        /// The manager's package, where it is known.
        package: Option<String>,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecord => f.write_str("it has no RECORD of its files"),
            Self::Distutils => f.write_str("distutils installed it and recorded no files"),
            Self::Editable => f.write_str("it is installed from a source folder"),
            Self::Owned {
                manager,
                package: Some(package),
            } => write!(f, "{manager} owns it (package {package})"),
            Self::Owned {
                manager,
                package: None,
            } => write!(f, "{manager} owns it"),
        }
    }
}

impl Obstacle {
    fn owned(manager: &str, package: Option<String>) -> Self {
        Self::Owned {
            manager: manager.to_owned(),
            package,
        }
    }
}

/// The distributions of `environment` that no installer could replace or remove in `root`, each with the reason.
///
/// - A package manager owns it: dpkg, where a list of its files names the metadata, or where that lies in a
///   `dist-packages` of `/usr/lib`, which is dpkg's own; apk, where its database names the metadata's folder; rpm and
///   any other, where the distribution's `INSTALLER` says so; conda, where a record of `conda-meta` names the metadata
///   and no other installer has written it since, so that a stale record does not count.
/// - It is in development.
/// - Nothing records its files: no `RECORD`, and no `installed-files.txt` of an `.egg-info`. An egg is a folder of its
///   own and needs no record.
///
/// Without a root, of a snapshot, nobody knows: none is told.
#[must_use]
pub fn obstacles(
    root: Option<&dyn RootFs>,
    environment: &Environment,
) -> BTreeMap<PackageName, Obstacle> {
    let Some(root) = root else {
        return BTreeMap::new();
    };
    let looked_at: Vec<Looked<'_>> = environment
        .distributions
        .values()
        .filter_map(|distribution| Looked::at(root, environment, distribution))
        .collect();
    let owners = Owners::of(root, environment, &looked_at);
    looked_at
        .iter()
        .filter_map(|looked| {
            let obstacle = owners.owner(looked).or_else(|| looked.by_itself(root))?;
            Some((looked.distribution.name.clone(), obstacle))
        })
        .collect()
}

/// A distribution and what its metadata tells of how it came in.
struct Looked<'a> {
    distribution: &'a InstalledDistribution,
    /// The real path of the metadata.
    info: ImagePath,
    installer: Option<String>,
    has_record: bool,
}

impl<'a> Looked<'a> {
    /// `None` for what is no file or folder of the root.
    fn at(
        root: &dyn RootFs,
        environment: &Environment,
        distribution: &'a InstalledDistribution,
    ) -> Option<Self> {
        if distribution.location.is_empty() || distribution.record == RecordKind::Snapshot {
            return None;
        }
        let location = ImagePath::new(&distribution.location);
        // The folder that it lies in is a real path.
        let info = match root.entry(&location) {
            Ok(Some(Entry::Directory | Entry::File)) => location,
            _ => resolve::resolve(root, &location).ok()??.path,
        };
        let is_dist_info = distribution.record == RecordKind::DistInfo;
        // One more file of each: it is read where something depends on it.
        let matters = is_in_system(&info) || !environment.conda_packages.is_empty();
        Some(Self {
            has_record: is_dist_info && has_file(root, &info, "RECORD"),
            installer: (is_dist_info && matters)
                .then(|| installer_in(root, &info))
                .flatten(),
            distribution,
            info,
        })
    }

    /// Whether an installer of Python distributions put it there, and recorded what.
    fn is_by_installer(&self) -> bool {
        self.has_record
            && matches!(
                self.installer.as_deref(),
                Some("pip" | "uv" | "poetry" | "pdm" | "installer")
            )
    }

    /// What speaks against a change without any package manager.
    fn by_itself(&self, root: &dyn RootFs) -> Option<Obstacle> {
        if self.distribution.editable.is_some() {
            return Some(Obstacle::Editable);
        }
        match self.distribution.record {
            RecordKind::DistInfo if !self.has_record => Some(Obstacle::NoRecord),
            RecordKind::EggInfoFile => Some(Obstacle::Distutils),
            RecordKind::EggInfo if !has_file(root, &self.info, "installed-files.txt") => {
                Some(Obstacle::Distutils)
            }
            RecordKind::EggLink => Some(Obstacle::Editable),
            _ => None,
        }
    }
}

/// Whether the real folder `info` has a file of that name that is not empty.
fn has_file(root: &dyn RootFs, info: &ImagePath, name: &str) -> bool {
    if let Ok(Some(facts)) = root.file_facts(&info.join(name)) {
        return facts.size > 0;
    }
    match resolve::resolve_from(root, info, name) {
        Ok(Some(found)) if found.is_file() => {
            matches!(root.file_facts(&found.path), Ok(Some(facts)) if facts.size > 0)
        }
        _ => false,
    }
}

/// What the package managers of a root say of the distributions in it, by the real path of the metadata.
struct Owners {
    /// Whether dpkg manages the root.
    is_debian: bool,
    dpkg: HashMap<String, String>,
    apk: HashMap<String, String>,
    conda: HashMap<String, String>,
}

impl Owners {
    fn of(root: &dyn RootFs, environment: &Environment, looked_at: &[Looked<'_>]) -> Self {
        // What lies elsewhere is nothing that a package manager of the system would bring.
        let in_system: Vec<&str> = looked_at
            .iter()
            .filter(|looked| is_in_system(&looked.info) && !looked.is_by_installer())
            .map(|looked| looked.info.as_str())
            .collect();
        let is_debian = matches!(resolve::resolve(root, &ImagePath::new("/var/lib/dpkg")), Ok(Some(found)) if found.is_directory());
        let (dpkg, apk) = if in_system.is_empty() {
            (HashMap::new(), HashMap::new())
        } else {
            (
                package_database::dpkg_owners(root, &in_system),
                package_database::apk_owners(root, &in_system),
            )
        };
        let of_conda: Vec<(&PackageName, &ImagePath)> = looked_at
            .iter()
            .filter(|looked| may_be_of_conda(looked))
            .map(|looked| (&looked.distribution.name, &looked.info))
            .collect();
        let prefix = ImagePath::new(&environment.interpreter.prefix);
        Self {
            is_debian,
            dpkg,
            apk,
            conda: conda::owners(root, &prefix, &environment.conda_packages, &of_conda),
        }
    }

    fn owner(&self, looked: &Looked<'_>) -> Option<Obstacle> {
        let path = looked.info.as_str();
        let by = [
            ("dpkg", self.dpkg.get(path)),
            ("apk", self.apk.get(path)),
            ("conda", self.conda.get(path)),
        ];
        if let Some((manager, package)) = by
            .into_iter()
            .find_map(|(manager, package)| Some((manager, package?.clone())))
        {
            return Some(Obstacle::owned(manager, Some(package)));
        }
        if self.is_debian && is_of_dpkg(&looked.info) && !looked.is_by_installer() {
            return Some(Obstacle::owned("dpkg", None));
        }
        match looked.installer.as_deref() {
            Some("rpm") => Some(Obstacle::owned("rpm", None)),
            Some("debian") => Some(Obstacle::owned("dpkg", None)),
            _ => None,
        }
    }
}

/// Whether conda may have brought this as it is: nothing else has put its name there.
fn may_be_of_conda(looked: &Looked<'_>) -> bool {
    matches!(looked.installer.as_deref(), None | Some("conda"))
        && !matches!(looked.distribution.record, RecordKind::EggLink)
}

/// Whether a package manager of the system has its files there.
fn is_in_system(path: &ImagePath) -> bool {
    path.starts_with(&ImagePath::new("/usr")) && !path.starts_with(&ImagePath::new("/usr/local"))
}

/// Whether `path` lies in a `dist-packages` of `/usr/lib`: Debian's Python policy keeps these for Debian's packages, and
/// its pip installs to `/usr/local`.
fn is_of_dpkg(path: &ImagePath) -> bool {
    let Some(rest) = path.as_str().strip_prefix("/usr/lib/python3") else {
        return false;
    };
    rest.split('/').nth(1) == Some("dist-packages")
}
