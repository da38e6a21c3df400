//! What the base requires of the rest, as the solver is told.
//!
//! The part of [`Provider`] that speaks for the installed distributions: which of their requirements have to be told at
//! all, which of them stay and have to be told that they are there, and which of their extras are in force because
//! somebody in the base asks for them.

use std::collections::BTreeSet;

use crate::packaging::requirement::presentable;
use crate::packaging::{ExtraName, PackageName, Requirement, Version, VersionSet, specifiers};

use super::base::BaseRequirement;
use super::latitude::Latitude;
use super::package::{SolverPackage, binding};
use super::provider::{Provider, Told};
use super::unusable::Unusable;

impl<'a> Provider<'a> {
    /// The requirements, without or with `extra`, by which the installed version of `name` binds the rest.
    pub(super) fn binding(
        &self,
        name: &PackageName,
        extra: Option<&ExtraName>,
    ) -> impl Iterator<Item = Requirement> {
        self.base
            .in_force(name)
            .iter()
            .filter(move |required| required.extra.as_ref() == extra)
            .filter(|required| required.holds || self.terms.mends_base)
            .filter(|required| required.requirement.url.is_none())
            .flat_map(|required| self.question.overridden(required.requirement.clone()))
    }

    /// Whether a requirement of the base has to be told: not where both ends are held and it holds.
    pub(super) fn is_open(&self, requirement: &Requirement) -> bool {
        self.held(&requirement.name).is_none_or(|held| {
            self.terms.mends_base && !specifiers::allows(&requirement.specifiers, &held.version)
        })
    }

    /// Tells by what the installed version of `name`, or an extra of it that is in force, binds the rest; the error says
    /// why it cannot stay.
    pub(super) fn push_binding(
        &self,
        name: &PackageName,
        extra: Option<&ExtraName>,
        into: &mut Told,
    ) -> Result<(), Unusable> {
        for requirement in self.binding(name, extra) {
            // As what an index offers: of itself it requires what is always true, or what never is.
            if requirement.name == *name {
                let installed = self.installed(name).map(|it| &it.version);
                if !installed.is_some_and(|it| specifiers::allows(&requirement.specifiers, it)) {
                    let text = presentable(&requirement.to_string());
                    return Err(Unusable::RequiresItself(text));
                }
                let others = requirement.extras.into_iter();
                into.extend(
                    others
                        .filter(|other| Some(other) != extra)
                        .map(|other| SolverPackage::ExtraInForce(name.clone(), other))
                        .map(|package| (package, VersionSet::full())),
                );
                continue;
            }
            let package = |name: PackageName, extra: ExtraName| {
                let extra = (name, extra);
                if self.base.extras.contains(&extra) {
                    SolverPackage::ExtraInForce(extra.0, extra.1)
                } else {
                    SolverPackage::Extra(extra.0, extra.1)
                }
            };
            if self.is_open(&requirement) {
                let set = requirement.version_set();
                self.push_versions(&requirement, &set, package, into);
                continue;
            }
            // Held at a version that will do: of that there is nothing to tell, of its extras there may be.
            for extra in requirement.extras {
                into.push((package(requirement.name.clone(), extra), VersionSet::full()));
            }
        }
        Ok(())
    }

    /// What of the base has to be told that it is there: distributions that may move, and held ones that bind them.
    pub(super) fn staying(&self) -> BTreeSet<SolverPackage> {
        let latitudes = &self.terms.latitudes;
        let mut staying: BTreeSet<SolverPackage> = latitudes
            .iter()
            .filter(|(_, latitude)| **latitude != Latitude::Gone)
            .map(|(name, _)| SolverPackage::Project(name.clone()))
            .collect();
        let mut binding: BTreeSet<&PackageName> = latitudes
            .keys()
            .flat_map(|name| self.base.requiring(name))
            .collect();
        if self.terms.mends_base {
            binding.extend(self.base.broken.iter().map(|broken| &broken.by.requirer));
        }
        for name in binding {
            let Some(held) = self.held(name) else {
                continue;
            };
            let binds = |requirement: Requirement| self.is_open(&requirement);
            if self.binding(&held.name, None).any(binds) {
                staying.insert(SolverPackage::Project(name.clone()));
            }
        }
        // Those that may move tell the extras that they ask for themselves.
        for (name, extra) in &self.base.extras {
            if !self.may_leave(name) && self.askers(name, extra).next().is_some() {
                staying.insert(SolverPackage::ExtraInForce(name.clone(), extra.clone()));
            }
        }
        staying
    }

    /// The held distributions that ask for `extra` of the installed distribution `name`, whatever else is in force.
    pub(super) fn askers(
        &self,
        name: &PackageName,
        extra: &ExtraName,
    ) -> impl Iterator<Item = &'a PackageName> {
        let is_there = self.installed(name).is_some();
        self.base.requiring(name).filter(move |requirer| {
            is_there
                && self.held(requirer).is_some()
                && self.base.in_force(requirer).iter().any(|required| {
                    required.extra.is_none()
                        && required.holds
                        && required.requirement.name == *name
                        && required.requirement.extras.contains(extra)
                })
        })
    }

    /// The extra that a requirement of the base belongs to, where it is in force for that alone.
    pub(super) fn extra_of(&self, by: &BaseRequirement) -> Option<&'a ExtraName> {
        let stated = self.base.in_force(&by.requirer).iter();
        let extras = stated
            .filter(|it| it.requirement == by.requirement)
            .map(|it| it.extra.as_ref());
        // Of several, without an extra comes first.
        extras.min().flatten()
    }

    /// As [`Self::extra_dependencies`], of an extra that the base asks for.
    pub(super) fn dependencies_in_force(
        &self,
        name: &PackageName,
        version: &Version,
        extra: &ExtraName,
    ) -> Result<Told, Unusable> {
        let same_version = VersionSet::singleton(version.clone());
        if !self.is_installed(name, version) {
            let package = SolverPackage::Extra(name.clone(), extra.clone());
            return Ok(vec![(package, same_version)]);
        }
        let mut dependencies = vec![
            (SolverPackage::Project(name.clone()), same_version),
            binding(name, Some(extra), true),
        ];
        self.push_binding(name, Some(extra), &mut dependencies)?;
        Ok(dependencies)
    }
}
