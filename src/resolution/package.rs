//! What a variable of the solver is, and why each kind exists.

use std::fmt;

use crate::packaging::{ExtraName, PackageName, Version, VersionSet};

/// A variable of the solver: something of which exactly one version is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SolverPackage {
    /// The request: requires what is asked for, and that what the base has stays there. It has one version.
    Root,
    /// A project; its version is that of the distribution that will be installed.
    Project(PackageName),
    /// An extra of a project, always of the same version as the project itself. A package of its own, because who
    /// requires `uvicorn[standard]` needs more than who requires `uvicorn`, and both may be in one solution.
    Extra(PackageName, ExtraName),
    /// An extra of an installed distribution that the base itself asks for. At the installed version it leaves out what
    /// the base violates already, which nobody who comes new may do; at any other it is the extra.
    ExtraInForce(PackageName, ExtraName),
    /// Whether the installed version of a distribution, or an extra of it that the base asks for, binds what comes in:
    /// version 1 if it does, 0 if not. What it rules out can come in where the distribution leaves, or nobody asks for
    /// the extra any more.
    Binding(PackageName, Option<ExtraName>),
}

impl SolverPackage {
    /// The project that the package is a version or an extra of; `None` for the root and for what is bound.
    #[must_use]
    pub fn project(&self) -> Option<&PackageName> {
        match self {
            Self::Root | Self::Binding(..) => None,
            Self::Project(name) | Self::Extra(name, _) | Self::ExtraInForce(name, _) => Some(name),
        }
    }

    /// The extra that the package is of its project; `None` for everything else.
    #[must_use]
    pub fn extra(&self) -> Option<&ExtraName> {
        match self {
            Self::Root | Self::Project(_) | Self::Binding(..) => None,
            Self::Extra(_, extra) | Self::ExtraInForce(_, extra) => Some(extra),
        }
    }
}

impl fmt::Display for SolverPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the request"),
            Self::Project(name) => write!(f, "{name}"),
            Self::Extra(name, extra) | Self::ExtraInForce(name, extra) => {
                write!(f, "{name}[{extra}]")
            }
            Self::Binding(name, None) => write!(f, "what {name} rules out"),
            Self::Binding(name, Some(extra)) => write!(f, "what {name}[{extra}] rules out"),
        }
    }
}

/// The version of [`SolverPackage::Binding`] that says that what is bound is bound.
pub(super) fn bound() -> Version {
    Version::new([1])
}

/// That what the installed version of `name`, or an extra of it, rules out is bound, or is not.
pub(super) fn binding(
    name: &PackageName,
    extra: Option<&ExtraName>,
    binds: bool,
) -> (SolverPackage, VersionSet) {
    let version = if binds { bound() } else { Version::new([0]) };
    (
        SolverPackage::Binding(name.clone(), extra.cloned()),
        VersionSet::singleton(version),
    )
}
