//! What of the base may change.
//!
//! Every installed distribution is either held at its version or may change. The policy says which it is, and what is
//! sought where changes are allowed: as few of them as possible, or the newest versions of what is asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::environment::Obstacle;
use crate::packaging::PackageName;

/// What is sought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Aim {
    /// Nothing of the base changes, but for what [`Policy::may_change`] names: of that as little as possible.
    #[default]
    Hold,
    /// The smallest set of changes of the base, proven smallest.
    Minimal,
    /// The newest versions of what is asked for, whatever has to change; nothing in the result is broken.
    Upgrade,
}

/// What of the base may change, and what is sought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is sought.
    pub aim: Aim,
    /// Distributions that may change although the aim would hold them (`--allow-change`).
    pub may_change: BTreeSet<PackageName>,
    /// Distributions that are held although the aim would let them change (`--hold`).
    pub held: BTreeSet<PackageName>,
    /// Distributions that may leave the base (`--allow-remove`): nothing else is ever removed.
    pub may_leave: BTreeSet<PackageName>,
    /// Distributions that no installer could change in an image, each with the reason: they are held, whatever is
    /// allowed.
    pub fixed: BTreeMap<PackageName, Obstacle>,
}

impl Policy {
    /// A policy that only has an aim.
    #[must_use]
    pub fn with_aim(aim: Aim) -> Self {
        Self {
            aim,
            ..Self::default()
        }
    }

    /// Whether the installed distribution `name` may get another version.
    #[must_use]
    pub fn lets_change(&self, name: &PackageName) -> bool {
        !self.fixed.contains_key(name)
            && !self.held.contains(name)
            && (self.aim != Aim::Hold || self.may_change.contains(name))
    }

    /// Whether the installed distribution `name` may be removed.
    #[must_use]
    pub fn lets_leave(&self, name: &PackageName) -> bool {
        !self.fixed.contains_key(name) && self.may_leave.contains(name)
    }
}
