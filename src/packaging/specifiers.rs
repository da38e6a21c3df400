//! From version specifiers (PEP 440) to sets of versions.
//!
//! `pep440_rs` has a conversion of its own, and a `contains` beside it; the two disagree about local versions, and
//! neither follows the present specification for exclusive comparisons (`>1.0a1` admits `1.0.post0`). The solver, the
//! check of the base and the explanation must not disagree, so there is one definition, here, and "does this version
//! satisfy that specifier" is membership in the set.
//!
//! Pre-releases are members: whether one may be *chosen* is a matter of policy, not of the set.
//! Specification: <https://packaging.python.org/en/latest/specifications/version-specifiers/>.

use std::str::FromStr;

use pep440_rs::{
    LocalSegment, Operator, Prerelease, Version, VersionSpecifier, VersionSpecifiers,
    VersionSpecifiersParseError,
};

use super::VersionSet;

/// The epoch of a version that stands for a text which is no version; no project will get that far.
const NO_VERSION: u64 = u64::MAX;

/// Parses specifiers, separated by commas; `===text` included where the text is no version, which `pep440_rs` refuses.
///
/// # Errors
/// When one of them is not a specifier.
pub fn parse(text: &str) -> Result<VersionSpecifiers, VersionSpecifiersParseError> {
    VersionSpecifiers::from_str(text).or_else(|error| {
        text.split(',')
            .map(|part| {
                let arbitrary = part.trim().strip_prefix("===").map(str::trim_start);
                match arbitrary.and_then(arbitrary_equality) {
                    Some(specifier) => Ok(VersionSpecifiers::from(specifier)),
                    None => VersionSpecifiers::from_str(part),
                }
            })
            .try_fold(Vec::new(), |mut all, specifiers| {
                all.extend(specifiers.ok()?.iter().cloned());
                Some(all)
            })
            .map(VersionSpecifiers::from_iter)
            .ok_or(error)
    })
}

/// `===text` for a text that is no version. It is satisfied by nothing that an index can offer or an image can have,
/// so its set is empty; the text is kept for the explanation. `None` where the text is a version, or no word at all.
pub(super) fn arbitrary_equality(text: &str) -> Option<VersionSpecifier> {
    let is_word = !text.is_empty() && !text.contains([' ', '\t', '\r', '\n', ';', ')', ',']);
    if !is_word || Version::from_str(text).is_ok() {
        return None;
    }
    let stand_in = Version::new([0])
        .with_epoch(NO_VERSION)
        .with_local(vec![LocalSegment::String(text.to_owned())]);
    VersionSpecifier::from_version(Operator::ExactEqual, stand_in).ok()
}

/// A specifier as it is written in requirements, without spaces.
#[must_use]
pub fn to_text(specifier: &VersionSpecifier) -> String {
    match specifier.version().local() {
        [LocalSegment::String(text)] if specifier.version().epoch() == NO_VERSION => {
            format!("==={text}")
        }
        _ => specifier.to_string().replace(' ', ""),
    }
}

/// The versions that satisfy every one of `specifiers`; all versions when there are none.
#[must_use]
pub fn version_set(specifiers: &VersionSpecifiers) -> VersionSet {
    specifiers
        .iter()
        .fold(VersionSet::full(), |set, specifier| {
            if set == VersionSet::full() {
                set_of_one(specifier)
            } else {
                set.intersection(&set_of_one(specifier))
            }
        })
}

/// Whether `version` satisfies `specifiers`, pre-releases included.
#[must_use]
pub fn allows(specifiers: &VersionSpecifiers, version: &Version) -> bool {
    specifiers
        .iter()
        .all(|specifier| set_of_one(specifier).contains(version))
}

/// Whether one of `specifiers` names a pre-release, which makes pre-releases of the project acceptable.
#[must_use]
pub fn names_prerelease(specifiers: &VersionSpecifiers) -> bool {
    specifiers.iter().any(|specifier| {
        specifier.version().any_prerelease()
            && !matches!(
                specifier.operator(),
                Operator::NotEqual | Operator::NotEqualStar
            )
    })
}

/// Whether `specifiers` pin one version with `==` or `===` (not a prefix).
#[must_use]
pub fn pins_exactly(specifiers: &VersionSpecifiers) -> bool {
    specifiers
        .iter()
        .any(|specifier| matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual))
}

fn set_of_one(specifier: &VersionSpecifier) -> VersionSet {
    let version = specifier.version();
    match specifier.operator() {
        Operator::Equal => equal(version),
        Operator::NotEqual => equal(version).complement(),
        Operator::ExactEqual if version.epoch() == NO_VERSION => VersionSet::empty(),
        Operator::ExactEqual => VersionSet::singleton(version.clone()),
        Operator::GreaterThanEqual => VersionSet::higher_than(version.clone()),
        // Locals of the bound itself satisfy `<=`: the comparison ignores the candidate's local segment.
        Operator::LessThanEqual => {
            if version.is_local() {
                VersionSet::lower_than(version.clone())
            } else {
                VersionSet::strictly_lower_than(after_locals(version))
            }
        }
        Operator::LessThan => {
            if version.any_prerelease() {
                VersionSet::strictly_lower_than(version.clone())
            } else {
                // "Must not allow a pre-release of the specified version unless the specified version is itself one."
                VersionSet::strictly_lower_than(version.clone().without_local().with_dev(Some(0)))
            }
        }
        Operator::GreaterThan => {
            if version.dev().is_some() || version.is_post() {
                VersionSet::higher_than(after_locals(version))
            } else {
                // "Must not allow a post-release of the given version": skip all of them, and the locals.
                VersionSet::strictly_higher_than(version.clone().with_max(Some(0)))
            }
        }
        Operator::EqualStar => prefix(version),
        Operator::NotEqualStar => prefix(version).complement(),
        Operator::TildeEqual => {
            let release = version.release();
            let kept = release.len().saturating_sub(1).max(1);
            let series = Version::new(release[..kept].iter().copied()).with_epoch(version.epoch());
            VersionSet::higher_than(version.clone()).intersection(&prefix(&series))
        }
    }
}

/// `==V`: V itself and, where V has no local segment, every local version of it.
fn equal(version: &Version) -> VersionSet {
    if version.is_local() {
        VersionSet::singleton(version.clone())
    } else {
        VersionSet::from_range_bounds(version.clone()..after_locals(version))
    }
}

/// The smallest version above `version` and all of its local versions.
fn after_locals(version: &Version) -> Version {
    let version = version.clone().without_local();
    if let Some(dev) = version.dev() {
        version.with_dev(Some(dev.saturating_add(1)))
    } else if let Some(post) = version.post() {
        version
            .with_post(Some(post.saturating_add(1)))
            .with_dev(Some(0))
    } else {
        version.with_post(Some(0)).with_dev(Some(0))
    }
}

/// `==V.*`: everything between the first development release of V and that of its successor.
fn prefix(version: &Version) -> VersionSet {
    let low = version.clone().with_dev(Some(0));
    let high = if let Some(post) = low.post() {
        low.clone().with_post(Some(post.saturating_add(1)))
    } else if let Some(pre) = low.pre() {
        low.clone().with_pre(Some(Prerelease {
            kind: pre.kind,
            number: pre.number.saturating_add(1),
        }))
    } else {
        let mut release = low.release().to_vec();
        if let Some(last) = release.last_mut() {
            *last = last.saturating_add(1);
        }
        low.clone().with_release(release)
    };
    VersionSet::from_range_bounds(low..high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(specifier: &str, version: &str) -> bool {
        let specifiers = VersionSpecifiers::from_str(specifier).expect("a specifier");
        let version = Version::from_str(version).expect("a version");
        let answer = allows(&specifiers, &version);
        assert_eq!(answer, version_set(&specifiers).contains(&version));
        answer
    }

    #[test]
    fn a_public_pin_admits_local_versions_and_a_local_pin_only_itself() {
        assert!(check("==2.8.0", "2.8.0+cu126"));
        assert!(check("<=2.8.0", "2.8.0+cu126"));
        assert!(!check("==2.8.0+cu121", "2.8.0+cu126"));
        assert!(!check("!=2.8.0", "2.8.0+cu126"));
        assert!(!check("===2.8.0", "2.8.0+cu126"));
        assert!(!check(">2.8.0", "2.8.0+cu126"));
    }

    #[test]
    fn exclusive_comparisons_skip_only_what_the_specification_names() {
        assert!(!check(">1.0", "1.0.post1"));
        assert!(check(">1.0.post0", "1.0.post1"));
        assert!(check(">1.0.dev1", "1.0.post0"));
        assert!(!check("<1.0", "1.0rc1"));
        assert!(check("<1.0rc2", "1.0rc1"));
        assert!(check("<1.0.post3", "1.0rc1"));
    }

    #[test]
    fn compatible_release_keeps_the_epoch_and_the_series() {
        assert!(check("~=1!2.3.1", "1!2.3.9"));
        assert!(!check("~=1!2.3.1", "2.3.9"));
        assert!(!check("~=2.3.1", "2.4"));
        assert!(check("~=2.3a1", "2.3"));
        assert!(check("~=2.2.post3", "2.9"));
        assert!(!check("~=2.2.post3", "2.2"));
    }

    #[test]
    fn the_largest_number_has_no_successor_and_ends_nothing() {
        for part in [".dev", ".post", "rc", "."] {
            for operator in [">", "<=", "==", "!="] {
                let _ = check(&format!("{operator}1{part}{}", u64::MAX), "1");
            }
        }
        let _ = check(&format!("=={}.*", u64::MAX), "1");
    }

    #[test]
    fn prefixes_cover_pre_and_post_releases() {
        assert!(check("==3.1.*", "3.1.0rc1"));
        assert!(check("==3.1.*", "3.1.post2"));
        assert!(!check("==3.1.*", "3.10"));
        assert!(check("!=3.1.*", "3.10"));
    }
}
