//! The part of a requirement that matters: what it has against certain versions.
//!
//! A requirement such as `>=3.20.2,!=4.21.0,!=4.21.1,<6.0.0.dev0` rules out protobuf 6 by one of its bounds, and a
//! person would say `<6`. Where several requirements rule out the same, the loosest of their bounds is true of all.

use std::ops::Bound;

use crate::packaging::{Version, VersionSet, VersionSpecifiers, specifiers};

/// On which side of the versions that it rules out a requirement lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It wants older ones.
    Below,
    /// It wants newer ones.
    Above,
    /// Neither.
    Beside,
}

/// What a requirement has against certain versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// On which side of them it lies.
    pub side: Side,
    /// The bounds that rule them out, such as `<6`.
    pub text: String,
    /// The outermost version that the requirement allows in their direction.
    outermost: Bound<Version>,
}

impl Limit {
    /// What `specifiers` have against `versions`: those of the bounds that suffice to rule them all out.
    #[must_use]
    pub fn against(bounds: &VersionSpecifiers, versions: &VersionSet) -> Self {
        let allowed = specifiers::version_set(bounds);
        let (side, outermost) = side(&allowed, versions);
        let enough: Vec<String> = bounds
            .iter()
            .filter(|specifier| {
                let set = specifiers::version_set(&VersionSpecifiers::from((*specifier).clone()));
                set.is_disjoint(versions) && self::side(&set, versions).0 == side
            })
            .map(specifiers::to_text)
            .collect();
        let text = match (enough.as_slice(), side) {
            ([], Side::Below | Side::Above) if bounds.len() > 1 => outermost_text(side, &outermost),
            ([], _) => None,
            // A bound on a development release of nothing else is a bound on the release.
            ([one], Side::Below) if one.starts_with('<') => outermost_text(side, &outermost),
            _ => Some(enough.join(",")),
        };
        let all = || {
            let all: Vec<String> = bounds.iter().map(specifiers::to_text).collect();
            all.join(",")
        };
        Self {
            side,
            text: text.unwrap_or_else(all),
            outermost,
        }
    }

    /// What is true of both, where they lie on one side.
    #[must_use]
    pub fn or(self, other: Self) -> Option<Self> {
        if self.side != other.side || (self.side == Side::Beside && self.text != other.text) {
            return None;
        }
        if self.text == other.text {
            return Some(self);
        }
        let looser = if self.is_looser_than(&other) {
            self
        } else {
            other
        };
        let text = outermost_text(looser.side, &looser.outermost)?;
        Some(Self { text, ..looser })
    }

    fn is_looser_than(&self, other: &Self) -> bool {
        let reach = |limit: &Self| match &limit.outermost {
            Bound::Unbounded => VersionSet::full(),
            bound if limit.side == Side::Below => {
                VersionSet::from_range_bounds((Bound::Unbounded, bound.clone()))
            }
            bound => VersionSet::from_range_bounds((bound.clone(), Bound::Unbounded)),
        };
        reach(other).subset_of(&reach(self))
    }
}

/// The bounds around all that any of `all` allows, such as `>=0.2,<3`; `None` where they bound nothing.
#[must_use]
pub fn around<'a>(all: impl Iterator<Item = &'a VersionSpecifiers>) -> Option<String> {
    let together = all.fold(VersionSet::empty(), |set, bounds| {
        set.union(&specifiers::version_set(bounds))
    });
    let (low, high) = together.bounding_range()?;
    let low = outermost_text(Side::Above, &low.cloned());
    let high = outermost_text(Side::Below, &high.cloned());
    let texts: Vec<String> = low.into_iter().chain(high).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

/// On which side of `versions` the `allowed` ones lie, and the outermost of these.
fn side(allowed: &VersionSet, versions: &VersionSet) -> (Side, Bound<Version>) {
    let beside = (Side::Beside, Bound::Unbounded);
    let (Some((low, high)), false) = (allowed.bounding_range(), versions.is_empty()) else {
        return beside;
    };
    let below = VersionSet::from_range_bounds((Bound::Unbounded, high.cloned()));
    let above = VersionSet::from_range_bounds((low.cloned(), Bound::Unbounded));
    if below.is_disjoint(versions) {
        (Side::Below, high.cloned())
    } else if above.is_disjoint(versions) {
        (Side::Above, low.cloned())
    } else {
        beside
    }
}

/// The outermost version as a bound that a person would write; `None` where there is no short one.
fn outermost_text(side: Side, outermost: &Bound<Version>) -> Option<String> {
    // See `specifiers`: bounds on releases become bounds on what lies right before or behind them.
    let release = |version: &Version| {
        let mut numbers = version.release().to_vec();
        while numbers.len() > 1 && numbers.last() == Some(&0) {
            numbers.pop();
        }
        Version::new(numbers).with_epoch(version.epoch())
    };
    let is_before = |version: &Version| {
        version.dev() == Some(0) && !version.is_pre() && !version.is_post() && !version.is_local()
    };
    let is_behind = |version: &Version| {
        version.dev() == Some(0) && version.post() == Some(0) && !version.is_pre()
    };
    Some(match (side, outermost) {
        (Side::Below, Bound::Excluded(version)) if is_before(version) => {
            format!("<{}", release(version))
        }
        (Side::Below, Bound::Excluded(version)) if is_behind(version) => {
            let version = version.clone().with_post(None).with_dev(None);
            format!("<={version}")
        }
        (Side::Below, Bound::Excluded(version)) if version.dev().is_none() => format!("<{version}"),
        (Side::Below, Bound::Included(version)) => format!("<={version}"),
        (Side::Above, Bound::Included(version)) if is_before(version) => {
            format!(">={}", release(version))
        }
        (Side::Above, Bound::Included(version)) => format!(">={version}"),
        (Side::Above, Bound::Excluded(version)) => {
            format!(">{}", version.clone().with_max(None))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specifiers_of(text: &str) -> VersionSpecifiers {
        text.parse().expect("specifiers")
    }

    fn against(text: &str, versions: &str) -> Limit {
        let versions = specifiers::version_set(&specifiers_of(versions));
        Limit::against(&specifiers_of(text), &versions)
    }

    #[test]
    fn the_bound_that_matters_is_named() {
        for (bounds, versions, side, text) in [
            (
                ">=3.20.2,!=4.21.0,!=4.21.1,<6.0.0.dev0",
                ">=6",
                Side::Below,
                "<6",
            ),
            (">=4.0.0,<7", "==7.1.0", Side::Below, "<7"),
            ("<=4.1,>=2", "==5", Side::Below, "<=4.1"),
            ("<2.10.0", "==3", Side::Below, "<2.10"),
            ("<2.0rc1", "==3", Side::Below, "<2.0rc1"),
            (">=6.0,<=8.4.0", "<6,>=3.7", Side::Above, ">=6.0"),
            (">2,<9", "==1", Side::Above, ">2"),
            ("==2.3.0", "==7", Side::Below, "==2.3.0"),
            ("~=2.3", "==7", Side::Below, "~=2.3"),
            ("==2.*", "<1", Side::Above, "==2.*"),
            ("!=4.7.0,>=3", "==4.7.0", Side::Beside, "!=4.7.0"),
            (">=3,!=4.*,<9", "==4.1", Side::Beside, "!=4.*"),
        ] {
            let limit = against(bounds, versions);
            assert_eq!((limit.side, limit.text.as_str()), (side, text), "{bounds}");
        }
    }

    #[test]
    fn many_bounds_have_one_around_them() {
        let around = |texts: &[&str]| {
            let all: Vec<VersionSpecifiers> = texts.iter().map(|it| specifiers_of(it)).collect();
            super::around(all.iter())
        };
        assert_eq!(
            around(&[">=1.2,<2", ">=1.4,<3.0"]).as_deref(),
            Some(">=1.2,<3")
        );
        assert_eq!(around(&[">=1.2", "<3"]), None);
        assert_eq!(around(&["==1.2", ">1.0"]).as_deref(), Some(">1.0"));
        assert_eq!(around(&[]), None);
    }

    #[test]
    fn the_loosest_of_several_is_true_of_all() {
        let together = |texts: &[&str], versions: &str| -> Option<String> {
            let limits = texts.iter().map(|text| against(text, versions));
            let together = limits.map(Some).reduce(|a, b| a?.or(b?))??;
            Some(together.text)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            together(&["<5", "<4.26.0", "<6.0.0.dev0"], ">=6"),
            some("<6")
        );
        assert_eq!(together(&["==4.1.3", "==4.2"], ">=6"), some("<=4.2"));
        assert_eq!(together(&["~=4.1", "==4.1"], ">=6"), some("<5"));
        assert_eq!(together(&[">=6", "==7.*", ">8"], "<6"), some(">=6"));
        assert_eq!(together(&["==3.*", "<3"], ">=6"), some("<4"));
        assert_eq!(together(&["<3", ">9"], ">=6,<7"), None);
        assert_eq!(together(&["!=6.1", "!=6.1"], "==6.1"), some("!=6.1"));
    }
}
