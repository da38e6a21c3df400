//! Where an interpreter's installer puts the parts of a wheel.
//!
//! What `sysconfig` says of the running interpreter, told from outside: the scheme `venv` or `posix_prefix` of CPython,
//! `posix_local` of Debian (and what its distutils did before Python 3.10), and the prefix `/usr/local` that Fedora's
//! Python has for everything but its own packages. Headers are where pip puts them, which in a virtual environment is
//! nothing that `sysconfig` knows of.

use super::Environment;
use super::candidates::{Candidate, Installation};
use super::prefix::{Identified, identify, read_venv, standard_libraries};
use super::site::{is_of_debian, is_of_fedora, own_sites};
use super::venv::VenvConfig;
use crate::image_path::ImagePath;
use crate::rootfs::resolve::{Prospect, prospect, resolve};
use crate::rootfs::{RootFs, RootFsError};

/// The installation scheme of an interpreter: real paths inside the root.
///
/// Specification: `sysconfig` of Python, <https://docs.python.org/3/library/sysconfig.html#installation-paths>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallationScheme {
    /// Modules of wheels whose `Root-Is-Purelib` is true.
    pub purelib: ImagePath,
    /// Modules of the others.
    pub platlib: ImagePath,
    /// Console and GUI scripts.
    pub scripts: ImagePath,
    /// The folder that gets a folder of headers for each distribution.
    pub headers: ImagePath,
    /// What a wheel's `data` is relative to: the prefix.
    pub data: ImagePath,
    /// The interpreter that scripts name in their first line.
    pub executable: ImagePath,
}

/// Why it cannot be told where a wheel would be installed.
#[derive(Debug, thiserror::Error)]
pub enum SchemeError {
    /// What was read as an environment is none in this root.
    #[error("there is no interpreter at `{prefix}` to install for")]
    NoInterpreter {
        /// Prefix of the interpreter.
        prefix: String,
    },
    /// Scripts must name an executable.
    #[error("the Python at `{prefix}` has no executable, so no script can name one")]
    NoExecutable {
        /// Prefix of the interpreter.
        prefix: String,
    },
    /// What would be installed could not be imported.
    #[error(
        "`{folder}`, where modules are installed, is not on the sys.path of the Python at `{prefix}`"
    )]
    NotSearched {
        /// Where modules would go.
        folder: ImagePath,
        /// Prefix of the interpreter.
        prefix: String,
    },
    /// A folder cannot be made.
    #[error("`{folder}` cannot be made: `{at}` is no folder")]
    Obstructed {
        /// The folder of the scheme.
        folder: ImagePath,
        /// What is in its way.
        at: ImagePath,
    },
    /// The root file system did not answer.
    #[error(transparent)]
    RootFs(#[from] RootFsError),
}

impl SchemeError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoInterpreter { .. } | Self::NoExecutable { .. } | Self::NotSearched { .. } => Some(
                "`--python` takes the path of another interpreter of the image, such as that of a virtual environment"
                    .to_owned(),
            ),
            Self::Obstructed { .. } | Self::RootFs(_) => None,
        }
    }
}

/// A scheme before its links are followed.
struct Written {
    purelib: ImagePath,
    platlib: ImagePath,
    scripts: ImagePath,
    headers: ImagePath,
    data: ImagePath,
}

/// The scheme by which pip, run as root by the interpreter of `environment`, would install in `root`.
///
/// Folders need not exist; the links of those that do are followed.
///
/// # Errors
/// When the interpreter is missing or has no executable, when modules would lie where it does not look for them, when
/// something is in the way of a folder, and when the root does not answer.
pub fn installation_scheme(
    root: &dyn RootFs,
    environment: &Environment,
) -> Result<InstallationScheme, SchemeError> {
    let interpreter = &environment.interpreter;
    let candidate = find(root, environment).ok_or_else(|| SchemeError::NoInterpreter {
        prefix: interpreter.prefix.clone(),
    })?;
    let executable = interpreter
        .executable
        .as_deref()
        .or_else(|| candidate.executable().map(ImagePath::as_str))
        .map(ImagePath::new)
        .ok_or_else(|| SchemeError::NoExecutable {
            prefix: interpreter.prefix.clone(),
        })?;
    let real = |folder: &ImagePath| match prospect(root, folder, &|_| false)? {
        Prospect::Folder { path, .. } => Ok(path),
        Prospect::Obstructed(at) => Err(SchemeError::Obstructed {
            folder: folder.clone(),
            at,
        }),
    };
    let written = written(root, environment, &candidate);
    let scheme = InstallationScheme {
        purelib: real(&written.purelib)?,
        platlib: real(&written.platlib)?,
        scripts: real(&written.scripts)?,
        headers: real(&written.headers)?,
        data: real(&written.data)?,
        executable,
    };
    let mut searched = Vec::new();
    for site in own_sites(root, &candidate) {
        // One that cannot be made is none that modules are found in.
        searched.extend(real(&site).ok());
    }
    searched.extend(
        interpreter
            .site_directories
            .iter()
            .map(|site| ImagePath::new(site)),
    );
    for folder in [&scheme.purelib, &scheme.platlib] {
        if !searched.contains(folder) {
            return Err(SchemeError::NotSearched {
                folder: folder.clone(),
                prefix: interpreter.prefix.clone(),
            });
        }
    }
    Ok(scheme)
}

/// Whether the environment is a virtual one (PEP 405).
#[must_use]
pub fn is_virtual(root: &dyn RootFs, environment: &Environment) -> bool {
    let prefix = ImagePath::new(&environment.interpreter.prefix);
    VenvConfig::read(root, &prefix).is_some()
}

/// The interpreter that `environment` was read from.
fn find(root: &dyn RootFs, environment: &Environment) -> Option<Candidate> {
    let interpreter = &environment.interpreter;
    let prefix = ImagePath::new(&interpreter.prefix);
    let is_of_environment = |candidate: &Candidate| {
        let minor = candidate.minor();
        (minor.major, minor.minor) == environment.platform.python && *candidate.prefix() == prefix
    };
    if let Some(Identified::Candidate(candidate)) = read_venv(root, &prefix) {
        return Some(candidate);
    }
    if let Some(executable) = interpreter.executable.as_deref().map(ImagePath::new)
        && let Ok(Some(real)) = resolve(root, &executable)
        && let Some(Identified::Candidate(candidate)) = identify(root, &executable, &real.path)
        && is_of_environment(&candidate)
    {
        return Some(candidate);
    }
    standard_libraries(root, &prefix)
        .into_iter()
        .map(|(minor, library_folder, standard_library)| {
            Candidate::Installation(Installation {
                executable: None,
                real_executable: None,
                prefix: prefix.clone(),
                standard_library: Some(standard_library),
                library_folder,
                minor,
            })
        })
        .find(is_of_environment)
}

fn written(root: &dyn RootFs, environment: &Environment, candidate: &Candidate) -> Written {
    let prefix = candidate.prefix();
    let minor = candidate.minor();
    let number = minor.number();
    let abi_flags = &environment.platform.abi_flags;
    let packages = format!("python{minor}/site-packages");
    // `sys.platlibdir`: that of the build, which a virtual environment shares.
    let platform_libraries = candidate.base().map_or("lib", |base| base.library_folder);
    let below = |base: &ImagePath, headers: ImagePath| Written {
        purelib: base.join("lib").join(&packages),
        platlib: base.join(platform_libraries).join(&packages),
        scripts: base.join("bin"),
        headers,
        data: base.clone(),
    };
    let installation = match candidate {
        Candidate::Venv(venv) => {
            return below(
                &venv.prefix,
                // pip's own choice, as the headers of the base are shared: `include/site/pythonX.Y`, without the ABI.
                venv.prefix.join(&format!("include/site/python{number}")),
            );
        }
        Candidate::Installation(installation) => installation,
    };
    let include = format!("include/python{number}{abi_flags}");
    let local = ImagePath::new("/usr/local");
    // Up to Python 3.9 pip asks distutils, whose headers are in the prefix that it installs to.
    let by_distutils = (minor.major, minor.minor) < (3, 10);
    if is_of_debian(root, installation) {
        let packages = local.join(&format!("lib/python{minor}/dist-packages"));
        return Written {
            purelib: packages.clone(),
            platlib: packages,
            scripts: local.join("bin"),
            headers: if by_distutils {
                local.join(&format!("include/python{number}"))
            } else {
                prefix.join(&include)
            },
            data: local,
        };
    }
    if is_of_fedora(installation) {
        let headers = if by_distutils { &local } else { prefix };
        return below(&local, headers.join(&include));
    }
    below(prefix, prefix.join(&include))
}
