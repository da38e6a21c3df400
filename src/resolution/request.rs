//! What is asked for.

use crate::packaging::{Requirement, VersionSpecifiers};

/// A request: requirements that must hold, and constraints that bind only what comes in.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What must be there in the end, markers already evaluated.
    pub requirements: Vec<Requested>,
    /// Bounds on projects, should they come in (`-c`), markers already evaluated.
    pub constraints: Vec<Requested>,
    /// What stands in the place of every requirement on its project that the index or the base states
    /// (`--override`). Of several on one project all hold whose marker does; where none of them does, nothing is required
    /// of the project any more: as in uv.
    pub overrides: Vec<Requested>,
    /// Files of the index that were uploaded at this time or later are left out (`--exclude-newer`).
    pub exclude_newer: Option<jiff::Timestamp>,
}

/// A requirement and where the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The requirement.
    pub requirement: Requirement,
    /// The file and line it was read from, such as `requirements.txt:3`; `None` for the command line.
    pub origin: Option<String>,
}

impl Requested {
    /// A requirement of the command line.
    #[must_use]
    pub fn on_command_line(requirement: Requirement) -> Self {
        Self {
            requirement,
            origin: None,
        }
    }
}

impl Request {
    /// The same request with the bounds dropped from its requirement at `position`, and from every other requirement
    /// on the same project.
    #[must_use]
    pub fn with_any_version_of(&self, position: usize) -> Self {
        let name = &self.requirements[position].requirement.name;
        let mut relaxed = self.clone();
        for requested in &mut relaxed.requirements {
            if requested.requirement.name == *name {
                requested.requirement.specifiers = VersionSpecifiers::empty();
            }
        }
        relaxed
    }
}
