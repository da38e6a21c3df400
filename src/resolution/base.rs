//! What the installed distributions say of each other.
//!
//! Every requirement of the base is one of four things: it holds, and goes on to hold because the base does not move;
//! it is violated already, which is reported and never held against a request; its project is not installed although
//! it should be, which is reported too, and binds that project should the request bring it in; or it belongs to an
//! extra that nobody asked for.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::environment::{Environment, InstalledDistribution};
use crate::packaging::requirement::{RequirementError, is_confined_to_extras, may_concern_extra};
use crate::packaging::{
    ExtraName, MarkerEnvironment, PackageName, Requirement, Version, specifiers,
};

/// A requirement of an installed distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRequirement {
    /// The distribution that has the requirement.
    pub requirer: PackageName,
    /// Its version.
    pub requirer_version: Version,
    /// What it requires, without the marker.
    pub requirement: Requirement,
}

/// A requirement of the base that the base itself violates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenRequirement {
    /// Who requires what.
    pub by: BaseRequirement,
    /// The version that is installed; `None` where the project is missing.
    pub installed: Option<Version>,
}

/// The requirements within a base, worked out once.
pub struct BaseFacts<'a> {
    environment: &'a Environment,
    /// Requirements that are violated or whose project is missing, by requirer.
    pub broken: Vec<BrokenRequirement>,
    /// Requirements on projects that are not installed, by the project's name.
    pub on_absent: BTreeMap<PackageName, Vec<BaseRequirement>>,
    /// Requirements that could not be read even leniently: distribution and error.
    pub unreadable: Vec<(PackageName, RequirementError)>,
    /// Extras of installed distributions that the base asks for itself, in requirements that it satisfies.
    pub extras: BTreeSet<(PackageName, ExtraName)>,
    in_force: OnceCell<InForce>,
}

/// A requirement of an installed distribution that is in force: its marker holds, and where it belongs to an extra, the
/// base asks for that.
#[derive(Debug, Clone)]
pub struct InstalledRequirement {
    /// The requirement, without its marker.
    pub requirement: Requirement,
    /// The extra that it belongs to.
    pub extra: Option<ExtraName>,
    /// Whether the base satisfies it. What it violates is not held against anybody.
    pub holds: bool,
}

/// The requirements in force within a base.
#[derive(Debug, Default)]
struct InForce {
    /// By who requires.
    of: BTreeMap<PackageName, Vec<InstalledRequirement>>,
    /// Who requires a project, by the project.
    on: BTreeMap<PackageName, BTreeSet<PackageName>>,
}

impl<'a> BaseFacts<'a> {
    /// Works out the requirements within `environment`.
    #[must_use]
    pub fn of(environment: &'a Environment) -> Self {
        let mut facts = Self {
            environment,
            broken: Vec::new(),
            on_absent: BTreeMap::new(),
            unreadable: Vec::new(),
            extras: BTreeSet::new(),
            in_force: OnceCell::new(),
        };
        // Which extras are in force follows from who requires them; a newly found extra brings in requirements that
        // may ask for further extras.
        let mut waiting: Vec<(PackageName, ExtraName)> = Vec::new();
        for distribution in environment.distributions.values() {
            for text in &distribution.requires_dist {
                if is_confined_to_extras(text) {
                    continue;
                }
                match Requirement::parse_lenient(text) {
                    Err(error) => facts.unreadable.push((distribution.name.clone(), error)),
                    Ok(requirement) => {
                        if requirement.applies(&environment.markers) {
                            facts.add(distribution, &requirement, &mut waiting);
                        }
                    }
                }
            }
        }
        while let Some(asked) = waiting.pop() {
            if !facts.extras.insert(asked.clone()) {
                continue;
            }
            let Some(distribution) = environment.distributions.get(&asked.0) else {
                continue;
            };
            for requirement in requirements_of_extra(distribution, &asked.1, &environment.markers) {
                facts.add(distribution, &requirement, &mut waiting);
            }
        }
        facts.broken.sort_by(|a, b| {
            (&a.by.requirer, &a.by.requirement.name).cmp(&(&b.by.requirer, &b.by.requirement.name))
        });
        facts.broken.dedup();
        facts
    }

    fn add(
        &mut self,
        distribution: &InstalledDistribution,
        requirement: &Requirement,
        extras: &mut Vec<(PackageName, ExtraName)>,
    ) {
        // Who has not got what it requires has not got the extras of that either: to say so once is enough.
        if self.holds(requirement) {
            extras.extend(
                requirement
                    .extras
                    .iter()
                    .map(|extra| (requirement.name.clone(), extra.clone())),
            );
        }
        let by = || BaseRequirement {
            requirer: distribution.name.clone(),
            requirer_version: distribution.version.clone(),
            requirement: requirement.without_marker(),
        };
        match self.environment.distributions.get(&requirement.name) {
            None => {
                self.broken.push(BrokenRequirement {
                    by: by(),
                    installed: None,
                });
                let bounds = self.on_absent.entry(requirement.name.clone()).or_default();
                if !requirement.specifiers.is_empty() {
                    bounds.push(by());
                }
            }
            Some(installed) => {
                if !self.holds(requirement) {
                    let installed = Some(installed.version.clone());
                    self.broken.push(BrokenRequirement {
                        by: by(),
                        installed,
                    });
                }
            }
        }
    }

    /// The requirements in force of the installed distribution `name`.
    #[must_use]
    pub fn in_force(&self, name: &PackageName) -> &[InstalledRequirement] {
        self.all_in_force().of.get(name).map_or(&[], Vec::as_slice)
    }

    /// The installed distributions that require `name`.
    pub fn requiring(&self, name: &PackageName) -> impl Iterator<Item = &PackageName> {
        self.all_in_force().on.get(name).into_iter().flatten()
    }

    /// Worked out when it is asked for: an answer that changes nothing of the base never asks.
    fn all_in_force(&self) -> &InForce {
        self.in_force.get_or_init(|| {
            let markers = &self.environment.markers;
            let mut all = InForce::default();
            for distribution in self.environment.distributions.values() {
                let without_extra = distribution
                    .requires_dist
                    .iter()
                    .filter(|text| !is_confined_to_extras(text))
                    .filter_map(|text| Requirement::parse_lenient(text).ok())
                    .filter(|requirement| requirement.applies(markers))
                    .map(|requirement| (None, requirement));
                let of_extras = self
                    .extras
                    .iter()
                    .filter(|(name, _)| *name == distribution.name)
                    .flat_map(|(_, extra)| {
                        requirements_of_extra(distribution, extra, markers)
                            .into_iter()
                            .map(|requirement| (Some(extra.clone()), requirement))
                    });
                let requirements: Vec<InstalledRequirement> = without_extra
                    .chain(of_extras)
                    .map(|(extra, requirement)| InstalledRequirement {
                        holds: self.holds(&requirement),
                        requirement: requirement.without_marker(),
                        extra,
                    })
                    .collect();
                for required in &requirements {
                    all.on
                        .entry(required.requirement.name.clone())
                        .or_default()
                        .insert(distribution.name.clone());
                }
                all.of.insert(distribution.name.clone(), requirements);
            }
            all
        })
    }

    /// Whether the base satisfies a requirement on one of its distributions, or on what it should have.
    fn holds(&self, requirement: &Requirement) -> bool {
        let installed = self.environment.distributions.get(&requirement.name);
        installed.is_some_and(|installed| {
            // A direct reference names a file, not versions: whatever is installed came from somewhere.
            requirement.url.is_some()
                || specifiers::allows(&requirement.specifiers, &installed.version)
        })
    }

    /// Who of the installed distributions requires what, by the name of what is required; requirers in order of their
    /// names.
    ///
    /// Worked out when it is asked for: only an explanation wants to know.
    #[must_use]
    pub fn requirers(&self) -> BTreeMap<PackageName, Vec<BaseRequirement>> {
        let mut found: BTreeMap<PackageName, Vec<BaseRequirement>> = BTreeMap::new();
        for distribution in self.environment.distributions.values() {
            for text in &distribution.requires_dist {
                // Requirements of extras bind only where the extra is in force, which the base rarely tells.
                if is_confined_to_extras(text) {
                    continue;
                }
                let Ok(requirement) = Requirement::parse_lenient(text) else {
                    continue;
                };
                if requirement.applies(&self.environment.markers) {
                    let of_one = found.entry(requirement.name.clone()).or_default();
                    of_one.push(BaseRequirement {
                        requirer: distribution.name.clone(),
                        requirer_version: distribution.version.clone(),
                        requirement: requirement.without_marker(),
                    });
                }
            }
        }
        found
    }
}

/// The requirements that `extra` of an installed distribution adds to what the distribution requires anyway.
#[must_use]
pub fn requirements_of_extra(
    distribution: &InstalledDistribution,
    extra: &ExtraName,
    markers: &MarkerEnvironment,
) -> Vec<Requirement> {
    distribution
        .requires_dist
        .iter()
        .filter(|text| text.contains("extra") && may_concern_extra(text, extra))
        .filter_map(|text| Requirement::parse_lenient(text).ok())
        .filter(|requirement| {
            requirement.applies_with_extra(markers, extra) && !requirement.applies(markers)
        })
        .collect()
}
