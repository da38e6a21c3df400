//! How far single distributions of the base may move in one attempt to solve.

use std::collections::BTreeMap;

use crate::packaging::PackageName;

/// How far an installed distribution may move. One that has none is held at its version.
///
/// Ordered: each allows what those before it allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Latitude {
    /// To newer versions.
    Upward,
    /// To any version.
    Any,
    /// Out of the base.
    Gone,
}

/// The distributions of the base that are not held.
pub type Latitudes = BTreeMap<PackageName, Latitude>;

/// What moving costs, the most important first: a smaller set of changes is better whatever is in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Distributions that change or leave.
    pub changes: u32,
    /// Of those, how many leave.
    pub removals: u32,
    /// Of those, how many get an older version.
    pub downgrades: u32,
}

impl Cost {
    /// What it costs to let one distribution move so far.
    #[must_use]
    pub fn of(latitude: Latitude) -> Self {
        Self {
            changes: 1,
            removals: u32::from(latitude == Latitude::Gone),
            downgrades: u32::from(latitude == Latitude::Any),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            changes: self.changes + other.changes,
            removals: self.removals + other.removals,
            downgrades: self.downgrades + other.downgrades,
        }
    }

    /// The cost when one distribution is let go further.
    #[must_use]
    pub fn raised(self, from: Option<Latitude>, to: Latitude) -> Self {
        let before = from.map(Self::of).unwrap_or_default();
        let after = Self::of(to);
        Self {
            changes: self.changes + after.changes - before.changes,
            removals: self.removals + after.removals - before.removals,
            downgrades: self.downgrades + after.downgrades - before.downgrades,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_changes_are_better_whatever_they_are() {
        let cost = |latitudes: &[Latitude]| {
            latitudes
                .iter()
                .fold(Cost::default(), |cost, it| cost.plus(Cost::of(*it)))
        };
        assert!(cost(&[Latitude::Gone]) < cost(&[Latitude::Upward, Latitude::Upward]));
        assert!(cost(&[Latitude::Any, Latitude::Any]) < cost(&[Latitude::Gone, Latitude::Upward]));
        assert!(cost(&[Latitude::Upward]) < cost(&[Latitude::Any]));
        let any = cost(&[Latitude::Any]);
        let gone = any.raised(Some(Latitude::Any), Latitude::Gone);
        assert_eq!(gone, cost(&[Latitude::Gone]));
        assert_eq!(Cost::default().raised(None, Latitude::Any), any);
    }
}
