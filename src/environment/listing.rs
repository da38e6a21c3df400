//! Every interpreter of a root, found without running anything.

use super::Search;
use crate::rootfs::RootFs;

/// An interpreter that lies in a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundInterpreter {
    /// `CPython` or `PyPy`.
    pub implementation: String,
    /// Full version, or as much of it as can be told.
    pub version: String,
    /// Tag of its ABI, such as `cp310` or `cp313t`; `None` for one that is no CPython.
    pub abi: Option<String>,
    /// Path of the executable; `None` where only the prefix is there.
    pub executable: Option<String>,
    /// `sys.prefix`.
    pub prefix: String,
    /// What it is.
    pub kind: InterpreterKind,
    /// Whether it is what `python3` or `python` on the image's `PATH` starts: the default.
    pub is_default: bool,
}

/// What an interpreter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterpreterKind {
    /// An installation of its own.
    Installation,
    /// An installation in a prefix that conda manages.
    Conda,
    /// A virtual environment.
    Venv {
        /// Prefix of the installation that it was made from, where that is there.
        base: Option<String>,
        /// Whether it sees that installation's distributions.
        system_site_packages: bool,
    },
}

/// All interpreters of `root`, the default first, then in the order in which they are found. `search.python` is passed
/// over: this is what it chooses among.
#[must_use]
pub fn list_interpreters(_root: &dyn RootFs, _search: Search<'_>) -> Vec<FoundInterpreter> {
    Vec::new()
}
