//! From PubGrub's derivation to facts that a person can act on.
//!
//! The derivation is a graph of conclusions over facts. A person needs the facts: the conclusions follow. They are
//! collected in one pass (without recursion: a derivation may be thousands of steps deep), facts of the same project
//! about the same requirement are joined, what is superfluous is left out, and what remains is ordered from what was
//! asked to where it meets the base.
//!
//! - `leaves`: the leaves of a derivation, and which fact each belongs to.
//! - `reduce`: leaves without which the rest is still a proof are left out.
//! - `facts`: leaves as facts.
//! - `ways_out`: what would fit instead, found by solving.

mod facts;
mod leaves;
mod reduce;
mod ways_out;

use std::collections::BTreeMap;

use crate::environment::Obstacle;
use crate::packaging::{ExtraName, PackageName, Requirement, Version, VersionSet};

use super::base::{BaseRequirement, BrokenRequirement};
use super::candidates::Exclusion;
use super::request::Requested;
use super::solution::Resolution;
use super::source::SourceNeeds;

pub use facts::explain;
pub(super) use leaves::{leaves_of, projects_of};
pub use ways_out::KeptOut;

/// A request that cannot be satisfied on the base as it is.
#[derive(Debug, Clone, Default)]
pub struct Conflict {
    /// Why, from what was asked to where it meets the base. Together they rule the request out, and each is needed for
    /// that.
    pub facts: Vec<Fact>,
    /// What would keep the request out as well, were the facts different.
    pub besides: Vec<Besides>,
    /// What would fit, one for each requirement of the request.
    pub fitting: Vec<Fitting>,
    /// What the requested projects come to when the constraints of the request are dropped; empty where it has none,
    /// where dropping them does not help, or where dropping one of them is enough.
    pub without_constraints: Vec<(PackageName, Version)>,
    /// What the requested projects come to when one constraint is dropped: those of which that helps.
    pub relaxed: Vec<Relaxed>,
    /// The smallest change of the base with which the request as it stands would fit, under a policy that lets anything
    /// change that can; `None` where nothing would, or where the policy allowed that already.
    pub smallest_change: Option<Box<Resolution>>,
    /// Distributions of the base that the proof rests on and that no installer could change, each with the reason.
    pub obstacles: Vec<(PackageName, Obstacle)>,
    /// Distributions whose removal would let the request fit: one at a time, each found by solving. Only where no change
    /// would.
    pub removals: Vec<PackageName>,
    /// Whether the changes and removals that would let the request fit were searched to the end: where nothing is said
    /// of them then, there is nothing to say. See [`Hints`](super::Hints).
    pub is_searched: bool,
    /// What the base itself violates, whatever is asked for.
    pub broken_base: Vec<BrokenRequirement>,
}

/// The newest version of a requested project that fits the base, found by solving.
#[derive(Debug, Clone)]
pub struct Fitting {
    /// The requirement of the request.
    pub requested: Requirement,
    /// Whether the project is installed in the base.
    pub held: bool,
    /// The newest version that fits when the bounds on the project are dropped; `None` where no version does, or
    /// where there were no bounds to drop.
    pub version: Option<Version>,
}

/// A constraint of the request without which it fits, found by solving.
#[derive(Debug, Clone)]
pub struct Relaxed {
    /// The constraint.
    pub constraint: Requested,
    /// What the requested projects come to without it.
    pub versions: Vec<(PackageName, Version)>,
}

/// Why there is no solution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The facts that rule it out, each of which is needed.
    pub facts: Vec<Fact>,
    /// What would rule it out as well.
    pub besides: Vec<Besides>,
}

/// Something else that rules out a version which the facts rule out already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Besides {
    /// What the version requires, or what else is asked: a [`Fact::Requires`] or a [`Fact::Asked`].
    pub requires: Fact,
    /// What the base has instead: a [`Fact::Held`].
    pub held: Fact,
}

/// One fact of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The request asks for something.
    Asked {
        /// What it asks for.
        requirement: Requirement,
        /// The file and line it stands in.
        origin: Option<String>,
    },
    /// What a requested project would be if it were newer: the question why an answer is not.
    Newest {
        /// The project.
        name: PackageName,
        /// The extras of it that the request asks for.
        extras: Vec<ExtraName>,
        /// The newest version that the request allows.
        version: Version,
        /// The version of the answer, where all that are newer are meant and not only the newest.
        above: Option<Version>,
    },
    /// The base has a distribution that may change, and that has to stay in some version.
    Stays {
        /// The distribution.
        name: PackageName,
        /// The version that the base has.
        version: Version,
    },
    /// A project requires another.
    Requires {
        /// The project that has the requirement.
        project: PackageName,
        /// The extra of it that has the requirement.
        extra: Option<ExtraName>,
        /// The project that is required.
        required: PackageName,
        /// What exactly is required, by groups of versions of `project`, newest group first.
        bounds: Vec<Bound>,
        /// How the versions of all groups lie among those of the project.
        span: Span,
    },
    /// The base has a distribution at a version that does not satisfy what was said before.
    Held {
        /// The distribution.
        name: PackageName,
        /// The version that the base has.
        version: Version,
        /// Distributions of the base that require it, but for those whose requirement the base violates already: those
        /// that rule out what is wanted first.
        required_by: Vec<BaseRequirement>,
        /// The versions that would do instead.
        wanted: VersionSet,
        /// The constraints of the request that rule this version out.
        constraints: Vec<String>,
    },
    /// A distribution of the base, which is held, binds a project that comes in or that may change.
    BaseRequires {
        /// Who requires what.
        by: BaseRequirement,
        /// Others of the base that rule out the same versions.
        also: Vec<BaseRequirement>,
        /// The versions of the project that it rules out, newest first.
        ruled_out: Vec<Version>,
    },
    /// No index knows the project.
    UnknownProject {
        /// The project.
        name: PackageName,
    },
    /// An index knows the project, but nothing in the range that is asked for can be installed.
    NoCandidate {
        /// The project.
        name: PackageName,
        /// The versions in the range, each with the reason why it is no candidate; groups of the same reason, newest
        /// first. Empty where the index has no version in the range.
        excluded: Vec<(Exclusion, Vec<Version>)>,
        /// The newest version that the index has.
        newest: Option<Version>,
        /// What the newest of these versions would require if it were built, where it has no wheel and its source
        /// distribution promises that.
        source: Option<SourceNeeds>,
    },
    /// Candidates that turned out to be unusable.
    Unusable {
        /// The project.
        name: PackageName,
        /// The versions, newest first.
        versions: Vec<Version>,
        /// Why.
        reason: String,
    },
}

/// What a group of versions of one project requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The versions that have this requirement, newest first.
    pub versions: Vec<Version>,
    /// How they lie among the versions of the project that could be installed.
    pub span: Span,
    /// The requirement as the newest of them states it.
    pub requirement: Requirement,
}

/// How some versions of a project lie among those that could be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// They are all of them, and several.
    Every,
    /// The oldest of them and everything newer.
    From,
    /// The newest of them and everything older.
    UpTo,
    /// Everything between the oldest and the newest of them.
    Between,
    /// There are others between them.
    Scattered,
}

impl Span {
    /// How `versions` lie among `all`, both newest first. Pre-releases count only where there is nothing else: nobody
    /// means them.
    #[must_use]
    pub fn of(versions: &[Version], all: &[Version]) -> Self {
        let stable = versions.iter().any(|version| !version.any_prerelease());
        let counts = |version: &&Version| !stable || !version.any_prerelease();
        let versions: Vec<&Version> = versions.iter().filter(counts).collect();
        let all: Vec<&Version> = all.iter().filter(counts).collect();
        let (Some(newest), Some(oldest)) = (versions.first(), versions.last()) else {
            return Self::Scattered;
        };
        let start = all.iter().position(|version| version == newest);
        let end = all.iter().position(|version| version == oldest);
        match (start, end) {
            (Some(start), Some(end)) if end + 1 - start == versions.len() => {
                match (start == 0, end + 1 == all.len()) {
                    (true, true) if all.len() > 1 => Self::Every,
                    (true, false) => Self::From,
                    (false, true) => Self::UpTo,
                    _ => Self::Between,
                }
            }
            _ => Self::Scattered,
        }
    }
}

impl Fact {
    /// The project that the fact says something of; `None` for what is asked.
    #[must_use]
    pub fn subject(&self) -> Option<&PackageName> {
        match self {
            Self::Asked { .. } | Self::Newest { .. } => None,
            Self::Stays { name, .. }
            | Self::Requires { project: name, .. }
            | Self::Held { name, .. }
            | Self::UnknownProject { name }
            | Self::NoCandidate { name, .. }
            | Self::Unusable { name, .. } => Some(name),
            Self::BaseRequires { by, .. } => Some(&by.requirement.name),
        }
    }

    /// Of what the base has, how many distributions there rule out what is wanted instead.
    #[must_use]
    pub fn firmness(&self) -> usize {
        match self {
            Self::Held {
                required_by,
                wanted,
                ..
            } => required_by
                .iter()
                .filter(|by| by.requirement.version_set().is_disjoint(wanted))
                .count(),
            _ => 0,
        }
    }

    /// The project that the fact brings into play.
    #[must_use]
    pub fn brings_in(&self) -> Option<&PackageName> {
        match self {
            Self::Asked { requirement, .. } => Some(&requirement.name),
            Self::Newest { name, .. } | Self::Stays { name, .. } => Some(name),
            Self::Requires { required, .. } => Some(required),
            _ => None,
        }
    }
}

/// For each fact the positions of those that it follows upon: the earlier ones that bring its project into play. What
/// is asked follows upon nothing.
#[must_use]
pub fn follows(facts: &[Fact]) -> Vec<Vec<usize>> {
    let mut brought: BTreeMap<&PackageName, Vec<usize>> = BTreeMap::new();
    facts
        .iter()
        .enumerate()
        .map(|(position, fact)| {
            let follows = fact
                .subject()
                .and_then(|name| brought.get(name))
                .cloned()
                .unwrap_or_default();
            if let Some(name) = fact.brings_in() {
                brought.entry(name).or_default().push(position);
            }
            follows
        })
        .collect()
}
