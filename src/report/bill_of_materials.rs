//! What the two forms of a software bill of materials share: names that follow from the content, and times.

use std::collections::BTreeMap;

use crate::digest;
use crate::environment::{InstalledDistribution, RecordKind};
use crate::packaging::{PackageName, Version};

use super::inspection::{ImageFacts, Inspection};

/// What a new image is made of, beside its base.
#[derive(Debug, Clone)]
pub struct Composition {
    /// The base; `None` where it is not known as an image.
    pub base: Option<ImageFacts>,
    /// What was installed, by name.
    pub added: BTreeMap<PackageName, WheelOrigin>,
    /// What of the base is not there any more, with its version; what was replaced is in `added`, too.
    pub left: BTreeMap<PackageName, String>,
}

/// Where an installed distribution comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelOrigin {
    /// Name of the wheel's file.
    pub file_name: String,
    /// SHA-256 of the wheel, hexadecimal.
    pub sha256: String,
    /// Its address as everybody may see it, without credentials; `None` for a file of the building machine.
    pub url: Option<String>,
    /// Address of the index that offered it, likewise.
    pub index: Option<String>,
}

/// A distribution that was installed on a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedDistribution {
    /// Normalized name.
    pub name: PackageName,
    /// Version.
    pub version: Version,
    /// Path of its `.dist-info` inside the root.
    pub location: String,
    /// `Requires-Dist` of its metadata.
    pub requires_dist: Vec<String>,
    /// `Requires-Python` of its metadata.
    pub requires_python: Option<String>,
    /// `Provides-Extra` of its metadata.
    pub provides_extra: Vec<String>,
    /// Where it comes from.
    pub wheel: WheelOrigin,
}

/// The environment that comes out where `leaving` leave `base` and `added` come to it, and what is what in it. `image` is
/// the new image.
#[must_use]
pub fn compose(
    base: &Inspection,
    leaving: &[PackageName],
    added: Vec<AddedDistribution>,
    image: ImageFacts,
) -> (Inspection, Composition) {
    let mut result = base.clone();
    let mut composition = Composition {
        base: result.image.replace(image),
        added: BTreeMap::new(),
        left: BTreeMap::new(),
    };
    let distributions = &mut result.environment.distributions;
    let footprints = &mut result.footprints;
    let mut take_out = |name: &PackageName| {
        // Nothing is known of the files of what comes in its place.
        if let Some(footprints) = footprints.as_mut() {
            footprints.remove(name);
        }
        if let Some(gone) = distributions.remove(name) {
            composition.left.insert(name.clone(), gone.version_text);
        }
    };
    for name in leaving.iter().chain(added.iter().map(|added| &added.name)) {
        take_out(name);
    }
    for one in added {
        let installed = InstalledDistribution {
            name: one.name.clone(),
            version_text: one.version.to_string(),
            version: one.version,
            requires_dist: one.requires_dist,
            requires_python: one.requires_python,
            provides_extra: one.provides_extra,
            import_names: Vec::new(),
            location: one.location,
            installer: None,
            record: RecordKind::DistInfo,
            editable: None,
        };
        distributions.insert(one.name.clone(), installed);
        composition.added.insert(one.name, one.wheel);
    }
    // What conda recorded of a distribution that is gone would be taken for a package that is none.
    result.environment.conda_packages.retain(|package| {
        let name = package.name.parse::<PackageName>().ok();
        name.is_none_or(|name| {
            !composition.left.contains_key(&name) || composition.added.contains_key(&name)
        })
    });
    (result, composition)
}

/// The time that stands in a bill of materials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// RFC 3339 in UTC with whole seconds, such as `2026-11-24T13:00:00Z`.
    pub time: String,
    /// Whether it follows from what was inspected or was prescribed, so that the same is written again tomorrow.
    pub is_repeatable: bool,
}

impl Created {
    /// The time to write: `prescribed` (SOURCE_DATE_EPOCH, in seconds) before that of the image (RFC 3339) before `now`
    /// (milliseconds since the epoch).
    #[must_use]
    pub fn choose(prescribed: Option<i64>, of_image: Option<&str>, now: u64) -> Self {
        let of_image = || of_image?.trim().parse::<jiff::Timestamp>().ok();
        let prescribed = prescribed.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        let known = prescribed.or_else(of_image);
        let now = || {
            i64::try_from(now)
                .ok()
                .and_then(|now| jiff::Timestamp::from_millisecond(now).ok())
                .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        };
        Self {
            is_repeatable: known.is_some(),
            time: known
                .unwrap_or_else(now)
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
        }
    }
}

/// A UUID that follows from `content`: version 8 of RFC 9562, of the beginning of its SHA-256.
#[must_use]
pub fn uuid_of(content: &[u8]) -> String {
    let digest = digest::sha256(content);
    let hash = digest.digest();
    // Of these four bits the first two are the variant's, the others the hash's.
    let variant = match hash.as_bytes()[16] {
        b'0' | b'4' | b'8' | b'c' => '8',
        b'1' | b'5' | b'9' | b'd' => '9',
        b'2' | b'6' | b'a' | b'e' => 'a',
        _ => 'b',
    };
    format!(
        "{}-{}-8{}-{variant}{}-{}",
        &hash[..8],
        &hash[8..12],
        &hash[13..16],
        &hash[17..20],
        &hash[20..32]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_repeatable_where_they_can_be() {
        let created = |prescribed, image| {
            let created = Created::choose(prescribed, image, 1_000);
            (created.time, created.is_repeatable)
        };
        let image = Some("2024-05-01T12:00:00.123456789+02:00");
        assert_eq!(
            created(Some(0), image),
            ("1970-01-01T00:00:00Z".to_owned(), true)
        );
        assert_eq!(
            created(None, image),
            ("2024-05-01T10:00:00Z".to_owned(), true)
        );
        for none in [None, Some("yesterday")] {
            assert_eq!(
                created(None, none),
                ("1970-01-01T00:00:01Z".to_owned(), false)
            );
        }
    }

    #[test]
    fn a_uuid_follows_from_the_content() {
        // SHA-256 of "abc" is ba7816bf 8f01cfea 414140de 5dae2223 ...
        assert_eq!(uuid_of(b"abc"), "ba7816bf-8f01-8fea-8141-40de5dae2223");
        assert_ne!(uuid_of(b"abd"), uuid_of(b"abc"));
    }
}
