//! An index that offers what pins name, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::environment::Environment;
use crate::package_index::{IndexError, IndexFile, PackageIndex, Project};
use crate::packaging::metadata::CoreMetadata;
use crate::packaging::wheel_name::WheelName;
use crate::packaging::{ExtraName, PackageName, Requirement, Version, VersionSet, specifiers};
use crate::resolution::base::requirements_of_extra;
use crate::resolution::candidates::{Admission, Candidates, Exclusion};

use super::pins::{Pin, Pins};
use super::pins_error::{PinsError, Unsatisfied};

/// What `pins` name, of what `inner` offers.
pub struct PinnedIndex<'a> {
    inner: &'a dyn PackageIndex,
    pins: &'a Pins,
    /// Whether projects that are not pinned are offered as `inner` offers them.
    with_others: bool,
}

impl<'a> PinnedIndex<'a> {
    /// An index with these pins, whose files and metadata come from `inner`.
    #[must_use]
    pub fn new(pins: &'a Pins, inner: &'a dyn PackageIndex) -> Self {
        Self {
            inner,
            pins,
            with_others: false,
        }
    }

    /// What `inner` offers, where of the projects that are pinned nothing else counts.
    #[must_use]
    pub fn beside_others(pins: &'a Pins, inner: &'a dyn PackageIndex) -> Self {
        Self {
            with_others: true,
            ..Self::new(pins, inner)
        }
    }

    /// The files that a pin means, each with its version.
    fn files(&self, pin: &Pin) -> Result<Vec<(Version, IndexFile)>, IndexError> {
        let found = if pin.wheels.is_empty() {
            self.offered(pin)?
        } else {
            let wheels = pin.wheels.iter();
            let named = wheels.filter_map(|wheel| {
                let name: WheelName = wheel.filename.parse().ok()?;
                (name.name == *pin.name() && pin.accepts(&name.version))
                    .then(|| (name.version, wheel.clone()))
            });
            named.collect()
        };
        let is_pinned = |file: &IndexFile| match &file.sha256 {
            // What nobody announces is compared when the file is there: see `Pins::vouch_for`.
            None => true,
            Some(sha256) => pin.sha256s.is_empty() || pin.sha256s.contains(sha256),
        };
        let mut pinned: Vec<_> = found
            .into_iter()
            .filter(|(_, file)| is_pinned(file))
            .collect();
        if let [only] = &pin.sha256s.iter().collect::<Vec<_>>()[..] {
            for (_, file) in &mut pinned {
                file.sha256.get_or_insert_with(|| (*only).clone());
            }
        }
        Ok(pinned)
    }

    /// The files of the pinned version that the index has, whatever their hashes.
    fn offered(&self, pin: &Pin) -> Result<Vec<(Version, IndexFile)>, IndexError> {
        let Some(project) = self.inner.project(pin.name())? else {
            return Ok(Vec::new());
        };
        let versions = project.versions().iter();
        let accepted = versions.filter(|version| pin.accepts(&version.version));
        Ok(accepted
            .flat_map(|version| {
                let files = project.files(version).into_iter();
                files.map(|file| (version.version.clone(), file))
            })
            .collect())
    }

    /// Checks that of every pin a wheel can be installed in `environment`, and that pins and base together have all that
    /// the pins require. What the base requires of the pins is left to a resolution, which can explain it.
    ///
    /// # Errors
    /// What is wrong with the pins, and when the index cannot be asked.
    pub fn check(&self, environment: &Environment) -> Result<(), PinsError> {
        let request = self.pins.to_request();
        let admission = Arc::new(Admission::new(environment, &request));
        let mut metadata = BTreeMap::new();
        for (name, pin) in &self.pins.pins {
            let is_there = environment
                .distributions
                .get(name)
                .is_some_and(|installed| pin.accepts(&installed.version));
            if !is_there {
                metadata.insert(name, self.metadata_of(pin, environment, &admission)?);
            }
        }
        let check = Check {
            environment,
            pins: self.pins,
            metadata,
        };
        let unsatisfied = check.unsatisfied();
        if unsatisfied.is_empty() {
            Ok(())
        } else {
            Err(PinsError::Unsatisfied(unsatisfied))
        }
    }

    fn metadata_of(
        &self,
        pin: &Pin,
        environment: &Environment,
        admission: &Arc<Admission>,
    ) -> Result<(Version, Arc<CoreMetadata>), PinsError> {
        let files = self.files(pin)?;
        if files.is_empty() {
            let offered = if pin.wheels.is_empty() {
                self.offered(pin)?
            } else {
                Vec::new()
            };
            return Err(match offered.first() {
                None if pin.wheels.is_empty() => {
                    pin.not_installable("no index has that version".to_owned())
                }
                None => pin.not_installable("no wheel that is named there is of it".to_owned()),
                Some((_, file)) => pin.other_hash(format!(
                    "the index has {} with sha256:{}",
                    file.filename,
                    file.sha256.as_deref().unwrap_or("?")
                )),
            });
        }
        let project = Arc::new(Project::new(files));
        let candidates = Candidates::new(
            pin.name().clone(),
            Some(Arc::clone(&project)),
            Arc::clone(admission),
        );
        let all = VersionSet::full();
        let Some((version, installable)) = candidates.in_order(&all).next() else {
            let excluded = candidates.excluded(&all);
            return Err(pin.not_installable(excluded.first().map_or_else(
                || "it has no wheel".to_owned(),
                |(_, exclusion)| reason(exclusion, environment),
            )));
        };
        match self.inner.metadata(&installable.wheel)? {
            Ok(metadata) => Ok((version.clone(), metadata)),
            Err(fault) => Err(pin.not_installable(format!(
                "{} is not a valid wheel: {fault}",
                installable.wheel.filename
            ))),
        }
    }
}

impl PackageIndex for PinnedIndex<'_> {
    fn project(&self, name: &PackageName) -> Result<Option<Arc<Project>>, IndexError> {
        match self.pins.pins.get(name) {
            Some(pin) => Ok(Some(Arc::new(Project::new(self.files(pin)?)))),
            None if self.with_others => self.inner.project(name),
            None => Ok(None),
        }
    }

    fn promised_metadata(&self, source: &IndexFile) -> Option<Arc<CoreMetadata>> {
        self.inner.promised_metadata(source)
    }

    fn metadata(&self, wheel: &IndexFile) -> Result<Result<Arc<CoreMetadata>, String>, IndexError> {
        self.inner.metadata(wheel)
    }

    fn prefetch(&self, name: &PackageName, versions: &VersionSet) {
        // Where the pins say where their wheels are no page is needed.
        let is_asked_for = match self.pins.pins.get(name) {
            Some(pin) => pin.wheels.is_empty(),
            None => self.with_others,
        };
        if is_asked_for {
            self.inner.prefetch(name, versions);
        }
    }

    fn prefetch_metadata(&self, wheels: &mut dyn Iterator<Item = IndexFile>) {
        self.inner.prefetch_metadata(wheels);
    }
}

/// Pins whose metadata is known, in an environment.
struct Check<'a> {
    environment: &'a Environment,
    pins: &'a Pins,
    /// Of the pins that come in.
    metadata: BTreeMap<&'a PackageName, (Version, Arc<CoreMetadata>)>,
}

impl Check<'_> {
    /// The requirements of pins, and of extras that they ask for, that the result does not satisfy.
    fn unsatisfied(&self) -> Vec<Unsatisfied> {
        let markers = &self.environment.markers;
        let mut found = Vec::new();
        let mut extras: Vec<(PackageName, ExtraName)> = Vec::new();
        for pin in self.pins.pins.values() {
            extras.extend(extras_of(&pin.requirement));
        }
        for (name, (version, metadata)) in &self.metadata {
            let required = metadata.requires_dist.iter();
            for requirement in required.filter(|requirement| requirement.applies(markers)) {
                extras.extend(extras_of(requirement));
                found.extend(self.judge(name, version, requirement));
            }
        }
        let mut done: BTreeSet<(PackageName, ExtraName)> = BTreeSet::new();
        while let Some(asked) = extras.pop() {
            if !done.insert(asked.clone()) {
                continue;
            }
            let (name, extra) = &asked;
            let (version, requirements) = match self.metadata.get(name) {
                Some((version, metadata)) => {
                    // What cannot be read of an extra is told where the extra is resolved.
                    let of_extra = metadata.requires_with_extra(extra).unwrap_or_default();
                    let required = metadata.requires_dist.iter().cloned().chain(of_extra);
                    let required = required.filter(|requirement| {
                        requirement.applies_with_extra(markers, extra)
                            && !requirement.applies(markers)
                    });
                    (version.clone(), required.collect())
                }
                None => match self.environment.distributions.get(name) {
                    Some(installed) => (
                        installed.version.clone(),
                        requirements_of_extra(installed, extra, markers),
                    ),
                    None => continue,
                },
            };
            for requirement in &requirements {
                extras.extend(extras_of(requirement));
                found.extend(self.judge(name, &version, requirement));
            }
        }
        found.sort_by(|a, b| {
            (&a.by, &a.requirement.name, a.requirement.to_string()).cmp(&(
                &b.by,
                &b.requirement.name,
                b.requirement.to_string(),
            ))
        });
        found.dedup();
        found
    }

    fn judge(
        &self,
        by: &PackageName,
        version: &Version,
        requirement: &Requirement,
    ) -> Option<Unsatisfied> {
        let name = &requirement.name;
        let pinned = self.metadata.get(name).map(|(version, _)| version);
        let found = pinned.or_else(|| {
            let stays = !self.pins.leaving.contains(name);
            let installed = self.environment.distributions.get(name).filter(|_| stays);
            installed.map(|installed| &installed.version)
        });
        let is_satisfied = found.is_some_and(|found| {
            requirement.url.is_some() || specifiers::allows(&requirement.specifiers, found)
        });
        (!is_satisfied).then(|| Unsatisfied {
            by: by.clone(),
            version: version.clone(),
            requirement: requirement.without_marker(),
            found: found.cloned(),
            pinned: pinned.is_some(),
        })
    }
}

fn extras_of(requirement: &Requirement) -> impl Iterator<Item = (PackageName, ExtraName)> {
    let extras = requirement.extras.iter();
    extras.map(|extra| (requirement.name.clone(), extra.clone()))
}

/// Why no wheel of a pinned version can be installed.
fn reason(exclusion: &Exclusion, environment: &Environment) -> String {
    let (major, minor) = environment.platform.python;
    match exclusion {
        Exclusion::RequiresPython(python) => format!(
            "it requires Python {python}, the base has {}",
            environment.interpreter.version
        ),
        Exclusion::NoCompatibleWheel { .. } => {
            let libc = environment
                .platform
                .libc
                .map_or_else(String::new, |libc| format!(", {libc}"));
            format!(
                "no wheel of it that is pinned fits CPython {major}.{minor} on {}{libc}",
                environment.platform.architecture
            )
        }
        Exclusion::OnlySource => {
            "no wheel of it is pinned, only a source distribution, which would have to be built"
                .to_owned()
        }
        Exclusion::Yanked(_)
        | Exclusion::Constraint(_)
        | Exclusion::TooNew(_)
        | Exclusion::UploadTimeUnknown => "the request leaves it out".to_owned(),
    }
}
