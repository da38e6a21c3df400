//! What a version without a wheel would require: for explanations. It is never installed, as a build could do anything.

use crate::packaging::{PackageName, Requirement, Version};

use super::candidates::{Candidates, Exclusion};
use super::provider::Provider;

/// What a build of a source distribution would require, as its metadata promises (2.2 or later, nothing of it dynamic).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceNeeds {
    /// The version of the project.
    pub version: Version,
    /// What it would require, markers evaluated and left out, by name.
    pub requirements: Vec<Requirement>,
}

/// What the newest of the versions that would have to be built would require; `None` where there is no such version, or
/// where its source distribution promises nothing.
pub(super) fn needs(
    provider: &Provider<'_>,
    name: &PackageName,
    candidates: &Candidates,
    excluded: &[(Exclusion, Vec<Version>)],
) -> Option<SourceNeeds> {
    let (exclusion, version) = excluded
        .iter()
        .flat_map(|(exclusion, versions)| versions.iter().map(move |version| (exclusion, version)))
        .max_by(|a, b| a.1.cmp(b.1))?;
    // Of an older version that could be built nobody asks while there is a newer one that cannot.
    if !matches!(
        exclusion,
        Exclusion::OnlySource | Exclusion::NoCompatibleWheel { source: true }
    ) {
        return None;
    }
    let metadata = candidates
        .sources(version)
        .iter()
        .find_map(|source| provider.index().promised_metadata(source))?;
    let mut requirements: Vec<Requirement> = metadata
        .requires_dist
        .iter()
        .filter(|requirement| requirement.name != *name)
        .filter(|requirement| requirement.applies(&provider.environment.markers))
        .map(Requirement::without_marker)
        .collect();
    requirements.sort_by(|a, b| a.name.cmp(&b.name));
    Some(SourceNeeds {
        version: version.clone(),
        requirements,
    })
}
