//! What a variable of the solver is, and why each kind exists.

use std::fmt;

use crate::packaging::{ExtraName, PackageName};

/// A variable of the solver: something of which exactly one version is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SolverPackage {
    /// The request: requires what is asked for. It has one version.
    Root,
    /// A project; its version is that of the distribution that will be installed.
    Project(PackageName),
    /// An extra of a project, always of the same version as the project itself. A package of its own, because who
    /// requires `uvicorn[standard]` needs more than who requires `uvicorn`, and both may be in one solution.
    Extra(PackageName, ExtraName),
}

impl SolverPackage {
    /// The project that the package belongs to; `None` for the root.
    #[must_use]
    pub fn project(&self) -> Option<&PackageName> {
        match self {
            Self::Root => None,
            Self::Project(name) | Self::Extra(name, _) => Some(name),
        }
    }
}

impl fmt::Display for SolverPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the request"),
            Self::Project(name) => write!(f, "{name}"),
            Self::Extra(name, extra) => write!(f, "{name}[{extra}]"),
        }
    }
}
