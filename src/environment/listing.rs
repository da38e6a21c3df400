//! Every interpreter of a root, found without running anything.

use super::candidates::{Candidate, Foreign};
use super::interpreter::{find_abi_flags, find_release};
use super::notes::Notes;
use super::{Search, discovery};
use crate::image_path::ImagePath;
use crate::rootfs::{RootFs, resolve};

/// An interpreter that lies in a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundInterpreter {
    /// `CPython` or `PyPy`.
    pub implementation: String,
    /// Full version, or as much of it as can be told.
    pub version: String,
    /// Tag of its ABI, such as `cp310` or `cp313t`; `None` for one that is no CPython 3.
    pub abi: Option<String>,
    /// Path of the executable; `None` where only the prefix is there.
    pub executable: Option<String>,
    /// `sys.prefix`.
    pub prefix: String,
    /// What it is.
    pub kind: InterpreterKind,
    /// Whether it is the default: what `python3`, else `python`, on the image's `PATH` starts; where neither starts one,
    /// the first that can be read.
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

/// All interpreters of `root`, the default first, then in the order in which they are found, those that cannot be read
/// last. `search.python` is passed over: this is what it chooses among.
#[must_use]
pub fn list_interpreters(root: &dyn RootFs, search: Search<'_>) -> Vec<FoundInterpreter> {
    let found = discovery::find(root, search);
    let mut list: Vec<FoundInterpreter> = found
        .candidates
        .iter()
        .map(|candidate| describe(root, candidate))
        .chain(
            found
                .foreign
                .iter()
                .map(|foreign| describe_foreign(root, foreign)),
        )
        .collect();
    let default = match &found.refused {
        Some(refused) => list
            .iter()
            .position(|listed| {
                listed.implementation == refused.implementation
                    && listed.prefix == refused.prefix.as_str()
            })
            .unwrap_or(0),
        None => 0,
    };
    if let Some(listed) = list.get_mut(default) {
        listed.is_default = true;
        list[..=default].rotate_right(1);
    }
    list
}

fn describe(root: &dyn RootFs, candidate: &Candidate) -> FoundInterpreter {
    let minor = candidate.minor();
    let flags = match candidate.base() {
        Some(base) if base.minor == minor => find_abi_flags(root, base),
        _ => minor.usual_abi_flags().to_owned(),
    };
    FoundInterpreter {
        implementation: "CPython".to_owned(),
        version: super::find_release(root, candidate, &mut Notes::default()),
        abi: Some(format!("cp{}{}{flags}", minor.major, minor.minor)),
        executable: candidate.executable().map(ToString::to_string),
        prefix: candidate.prefix().to_string(),
        kind: match candidate {
            Candidate::Installation(installation) => {
                kind_of_installation(root, &installation.prefix)
            }
            Candidate::Venv(venv) => InterpreterKind::Venv {
                base: venv.base.as_ref().map(|base| base.prefix.to_string()),
                system_site_packages: venv.config.system_site_packages,
            },
        },
        is_default: false,
    }
}

fn describe_foreign(root: &dyn RootFs, foreign: &Foreign) -> FoundInterpreter {
    let installation = foreign.installation.as_ref();
    let version = foreign
        .version
        .clone()
        .or_else(|| find_release(root, installation?))
        .or_else(|| Some(installation?.minor.to_string()));
    FoundInterpreter {
        implementation: foreign.implementation.clone(),
        version: version.unwrap_or_else(|| "unknown".to_owned()),
        // Python 2 had further flags, which nothing but running it tells.
        abi: None,
        executable: foreign.executable.as_ref().map(ToString::to_string),
        prefix: foreign.prefix.to_string(),
        kind: match &foreign.config {
            Some(config) => InterpreterKind::Venv {
                base: None,
                system_site_packages: config.system_site_packages,
            },
            None => kind_of_installation(root, &foreign.prefix),
        },
        is_default: false,
    }
}

fn kind_of_installation(root: &dyn RootFs, prefix: &ImagePath) -> InterpreterKind {
    match resolve::resolve(root, &prefix.join("conda-meta")) {
        Ok(Some(found)) if found.is_directory() => InterpreterKind::Conda,
        _ => InterpreterKind::Installation,
    }
}
