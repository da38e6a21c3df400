//! The interpreters that a root offers, and the choice among them.

use super::discovery;
use super::error::EnvironmentError;
use super::prefix::Identified;
use super::venv::VenvConfig;
use crate::image_path::ImagePath;
use crate::rootfs::RootFs;

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

    /// Flags of the ABI of a build that was made as most are.
    pub(super) fn usual_abi_flags(self) -> &'static str {
        if self.free_threaded {
            "t"
        } else if (self.major, self.minor) < (3, 8) {
            "m"
        } else {
            ""
        }
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

    /// The installation itself, or the one that a virtual environment was made from, when that is there.
    pub(super) fn base(&self) -> Option<&Installation> {
        match self {
            Self::Installation(installation) => Some(installation),
            Self::Venv(venv) => venv.base.as_ref(),
        }
    }

    /// The candidate in words, such as `Python 3.10 at /opt/conda/bin/python3`.
    pub(super) fn describe(&self) -> String {
        let place = self.executable().unwrap_or(self.prefix());
        format!("Python {} at {place}", self.minor())
    }
}

/// An interpreter of a kind that is not understood: told and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    /// In words, such as `PyPy at /usr/bin/pypy3`.
    pub words: String,
    /// Name of the implementation, such as `PyPy`.
    pub implementation: String,
    /// Version of the language, where it is known without looking further.
    pub version: Option<String>,
    pub executable: Option<ImagePath>,
    pub prefix: ImagePath,
    /// The installation of a CPython that is too old.
    pub installation: Option<Installation>,
    /// What the `pyvenv.cfg` of a virtual environment says.
    pub config: Option<VenvConfig>,
}

impl Foreign {
    /// Whether this is what `wanted` means, such as `2.7`, `python2`, `pypy` or `pypy3.10`.
    fn is_called(&self, wanted: &str) -> bool {
        let wanted = wanted.to_ascii_lowercase();
        let implementation = self.implementation.to_ascii_lowercase();
        let version = match wanted.strip_prefix(&implementation) {
            Some(version) => version,
            None => wanted.strip_prefix("python").unwrap_or(&wanted),
        };
        let own = match (&self.version, &self.installation) {
            (Some(version), _) => version.clone(),
            (None, Some(installation)) => installation.minor.to_string(),
            (None, None) => String::new(),
        };
        // "2.7.18" is asked for where no more than "2.7" is known of this one.
        [(own.as_str(), version), (version, own.as_str())]
            .iter()
            .any(|(whole, start)| {
                let rest = whole.strip_prefix(start);
                !own.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
            || (version.is_empty() && wanted == implementation)
    }
}

/// What was found: interpreters of a kind that is understood, the default first, and those that are not.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub candidates: Vec<Candidate>,
    pub foreign: Vec<Foreign>,
    /// What the image's `PATH` starts, where that is an interpreter that is not understood: another would be another
    /// answer than the one that was asked for.
    pub refused: Option<Foreign>,
    /// Whether the first candidate is what the image's `PATH` starts.
    pub first_is_on_path: bool,
    /// The script that `PATH` finds first, where only running it would tell what it starts.
    pub script: Option<ImagePath>,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.foreign.is_empty()
    }

    /// Takes in what was identified, unless it is known; says where a candidate is.
    pub(super) fn push(&mut self, identified: Identified) -> Option<usize> {
        match identified {
            Identified::Candidate(candidate) => {
                let known = self.candidates.iter().position(|known| {
                    known.prefix() == candidate.prefix() && known.minor() == candidate.minor()
                });
                Some(known.unwrap_or_else(|| {
                    self.candidates.push(candidate);
                    self.candidates.len() - 1
                }))
            }
            Identified::Foreign(foreign) => {
                let is_known = self.foreign.iter().any(|known| {
                    known.prefix == foreign.prefix
                        && known.implementation == foreign.implementation
                        && known.version == foreign.version
                        && known.installation.as_ref().map(|known| known.minor)
                            == foreign.installation.as_ref().map(|foreign| foreign.minor)
                });
                if !is_known {
                    self.foreign.push(foreign);
                }
                None
            }
        }
    }

    /// Makes `identified` the default; `is_started` where it is known to be what the image's `PATH` starts.
    pub(super) fn put_first(&mut self, identified: Identified, is_started: bool) {
        if let Identified::Foreign(foreign) = &identified {
            self.refused = Some(foreign.clone());
        }
        if let Some(at) = self.push(identified) {
            self.candidates[..=at].rotate_right(1);
            self.first_is_on_path = is_started;
        }
    }
}

/// Whether `wanted` asks for no more than a Python: what those words start is the default.
pub(super) fn is_default(wanted: &str) -> bool {
    ["python", "python3", "cpython"]
        .iter()
        .any(|name| wanted.eq_ignore_ascii_case(name))
}

/// Chooses by `wanted`: a path, a version such as `3.10`, `3.10.13` or `python3.10`, or the default, which is the first.
///
/// `release` tells the exact release of a candidate; it is asked only when `wanted` names one.
pub(super) fn choose(
    root: &dyn RootFs,
    found: &Found,
    wanted: Option<&str>,
    name: &str,
    release: impl Fn(&Candidate) -> String,
) -> Result<Candidate, EnvironmentError> {
    let in_words = |candidates: &[Candidate], foreign: &[Foreign]| {
        let mut words: Vec<String> = candidates.iter().map(Candidate::describe).collect();
        words.extend(foreign.iter().map(|foreign| foreign.words.clone()));
        if words.is_empty() {
            "none".to_owned()
        } else {
            words.join(", ")
        }
    };
    let no_such = |wanted: &str| EnvironmentError::NoSuchPython {
        path: name.to_owned(),
        wanted: wanted.to_owned(),
        found: in_words(&found.candidates, &found.foreign),
    };
    let unsupported = |foreign: &[Foreign]| EnvironmentError::Unsupported {
        path: name.to_owned(),
        found: in_words(&[], foreign),
    };
    match wanted {
        Some(path) if path.contains('/') => {
            let at = discovery::find_at(root, &ImagePath::new(path));
            match at.candidates.into_iter().next() {
                Some(candidate) => Ok(candidate),
                None if at.foreign.is_empty() => Err(no_such(path)),
                None => Err(unsupported(&at.foreign)),
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
                .ok_or_else(|| {
                    match found
                        .foreign
                        .iter()
                        .find(|foreign| foreign.is_called(version))
                    {
                        Some(foreign) => unsupported(std::slice::from_ref(foreign)),
                        None => no_such(version),
                    }
                })
        }
        None => match (&found.refused, found.candidates.first()) {
            (Some(foreign), _) => Err(unsupported(std::slice::from_ref(foreign))),
            (None, Some(candidate)) => Ok(candidate.clone()),
            (None, None) => Err(unsupported(&found.foreign)),
        },
    }
}
