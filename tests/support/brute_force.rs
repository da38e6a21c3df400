//! The meaning of a resolution without any cleverness: an exhaustive search, and a check of an answer.
//!
//! Shares the PyPA vocabulary with the resolver (what a requirement is, which version satisfies it), and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use imgtool::environment::Environment;
use imgtool::packaging::metadata::parse_requires_python;
use imgtool::packaging::specifiers::{allows, pins_exactly};
use imgtool::packaging::wheel_name::WheelName;
use imgtool::packaging::{ExtraName, PackageName, Requirement, Version};
use imgtool::resolution::request::Request;

use super::universe::{Release, Universe};

/// What a search came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Additions that satisfy the request.
    Solution(Additions),
    /// There are none.
    Nothing,
    /// The search was given up.
    TooLarge,
}

/// Added projects and their versions.
pub type Additions = BTreeMap<PackageName, Version>;

/// One version of a project, read.
struct Known {
    version: Version,
    requires: Vec<Requirement>,
}

/// A request on a base, with a universe to choose from.
pub struct World<'a> {
    environment: &'a Environment,
    request: &'a Request,
    /// The versions that may be chosen, in the order of preference.
    offered: BTreeMap<PackageName, Vec<Known>>,
    /// What is installed.
    base: BTreeMap<PackageName, Known>,
    /// Requirements of the base on what is not installed.
    bounds: Vec<Requirement>,
}

#[derive(Clone, Default)]
struct State {
    chosen: Additions,
    extras: BTreeSet<(PackageName, ExtraName)>,
    agenda: Vec<Requirement>,
    done: usize,
}

impl<'a> World<'a> {
    /// Reads everything once.
    pub fn new(environment: &'a Environment, universe: &Universe, request: &'a Request) -> Self {
        let mut offered: BTreeMap<PackageName, Vec<Known>> = BTreeMap::new();
        for (name, release) in universe.releases() {
            let name = PackageName::from_str(name).expect("a name");
            if let Some(known) = usable(environment, request, &name, release) {
                offered.entry(name).or_default().push(known);
            }
        }
        for known in offered.values_mut() {
            known.sort_by(|a, b| {
                (a.version.any_prerelease().cmp(&b.version.any_prerelease()))
                    .then(b.version.cmp(&a.version))
            });
        }
        let base = environment
            .distributions
            .iter()
            .map(|(name, installed)| {
                let requires = installed
                    .requires_dist
                    .iter()
                    .filter_map(|text| Requirement::parse_lenient(text).ok())
                    .collect();
                let version = installed.version.clone();
                (name.clone(), Known { version, requires })
            })
            .collect();
        let mut world = Self {
            environment,
            request,
            offered,
            base,
            bounds: Vec::new(),
        };
        world.bounds = world.bounds();
        world
    }

    /// What the base requires of projects that it does not have, extras in force within the base included.
    fn bounds(&self) -> Vec<Requirement> {
        let mut extras = BTreeSet::new();
        loop {
            let before = extras.len();
            let mut bounds = Vec::new();
            for (name, known) in &self.base {
                for requirement in &known.requires {
                    let in_force = requirement.applies(&self.environment.markers)
                        || extras.iter().any(|(of, extra)| {
                            of == name
                                && requirement.applies_with_extra(&self.environment.markers, extra)
                        });
                    if in_force && self.base.contains_key(&requirement.name) {
                        for extra in &requirement.extras {
                            extras.insert((requirement.name.clone(), extra.clone()));
                        }
                    } else if in_force {
                        bounds.push(requirement.clone());
                    }
                }
            }
            if extras.len() == before {
                return bounds;
            }
        }
    }

    /// The first solution in the order of preference, what is requested first decided first.
    pub fn search(&self, steps: usize) -> Found {
        let state = State {
            agenda: self
                .request
                .requirements
                .iter()
                .map(|requested| requested.requirement.clone())
                .collect(),
            ..State::default()
        };
        let mut left = steps;
        match self.descend(state, &mut left) {
            Some(additions) => Found::Solution(additions),
            None if left == 0 => Found::TooLarge,
            None => Found::Nothing,
        }
    }

    fn descend(&self, mut state: State, left: &mut usize) -> Option<Additions> {
        *left = left.checked_sub(1)?;
        while let Some(requirement) = state.agenda.get(state.done).cloned() {
            state.done += 1;
            let name = &requirement.name;
            if requirement.url.is_some() {
                return None;
            }
            if let Some(known) = self.at(name, &state.chosen) {
                if !self.accepts(&requirement, &known.version) {
                    return None;
                }
                self.add_extras(&requirement, &mut state);
                continue;
            }
            for known in self.offered.get(name).into_iter().flatten() {
                if !self.accepts(&requirement, &known.version)
                    || !self.bounds_allow(name, &known.version)
                {
                    continue;
                }
                let mut next = state.clone();
                next.chosen.insert(name.clone(), known.version.clone());
                let own = known.requires.iter();
                next.agenda.extend(
                    own.filter(|it| it.applies(&self.environment.markers))
                        .cloned(),
                );
                self.add_extras(&requirement, &mut next);
                if let Some(found) = self.descend(next, left) {
                    return Some(found);
                }
                if *left == 0 {
                    return None;
                }
            }
            return None;
        }
        Some(state.chosen)
    }

    /// Brings in the requirements of extras that nobody has asked for so far.
    fn add_extras(&self, requirement: &Requirement, state: &mut State) {
        for extra in &requirement.extras {
            if !state
                .extras
                .insert((requirement.name.clone(), extra.clone()))
            {
                continue;
            }
            let known = self.at(&requirement.name, &state.chosen).expect("chosen");
            let markers = &self.environment.markers;
            state.agenda.extend(
                known
                    .requires
                    .iter()
                    .filter(|it| it.applies_with_extra(markers, extra) && !it.applies(markers))
                    .cloned(),
            );
        }
    }

    /// What stands in the end under that name.
    fn at(&self, name: &PackageName, chosen: &Additions) -> Option<&Known> {
        self.base.get(name).or_else(|| {
            let version = chosen.get(name)?;
            self.offered[name].iter().find(|it| it.version == *version)
        })
    }

    fn accepts(&self, requirement: &Requirement, version: &Version) -> bool {
        allows(&requirement.specifiers, version)
            && self.request.constraints.iter().all(|constraint| {
                constraint.requirement.name != requirement.name
                    || allows(&constraint.requirement.specifiers, version)
            })
    }

    fn bounds_allow(&self, name: &PackageName, version: &Version) -> bool {
        self.bounds
            .iter()
            .all(|bound| bound.name != *name || allows(&bound.specifiers, version))
    }

    /// What is wrong with an answer; empty when it is right.
    pub fn violations(&self, added: &Additions) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, version) in added {
            if self.base.contains_key(name) {
                wrong.push(format!("{name} is held, and added"));
            } else if self
                .offered
                .get(name)
                .is_none_or(|offered| offered.iter().all(|it| it.version != *version))
            {
                wrong.push(format!("{name} {version} is not on offer"));
            } else if !self.bounds_allow(name, version) {
                wrong.push(format!("{name} {version} breaks what the base requires"));
            }
        }
        if !wrong.is_empty() {
            return wrong;
        }
        let mut state = State {
            chosen: added.clone(),
            ..State::default()
        };
        let requested = self.request.requirements.iter();
        let requested = requested.map(|requested| requested.requirement.clone());
        state.agenda.extend(requested);
        let mut reached = BTreeSet::new();
        while let Some(requirement) = state.agenda.get(state.done).cloned() {
            state.done += 1;
            let Some(known) = self.at(&requirement.name, added) else {
                wrong.push(format!("{requirement} is satisfied by nothing"));
                continue;
            };
            if !self.accepts(&requirement, &known.version) || requirement.url.is_some() {
                wrong.push(format!("{requirement} is violated by {}", known.version));
            }
            let is_new = reached.insert(requirement.name.clone());
            if is_new && !self.base.contains_key(&requirement.name) {
                let own = known.requires.iter();
                state.agenda.extend(
                    own.filter(|it| it.applies(&self.environment.markers))
                        .cloned(),
                );
            }
            self.add_extras(&requirement, &mut state);
        }
        for name in added.keys().filter(|name| !reached.contains(*name)) {
            wrong.push(format!("nobody requires {name}"));
        }
        wrong
    }
}

fn usable(
    environment: &Environment,
    request: &Request,
    name: &PackageName,
    release: &Release,
) -> Option<Known> {
    let version = Version::from_str(&release.version).ok()?;
    let has_wheel = release.wheels.iter().any(|tags| {
        let filename = format!("x-1-{tags}.whl");
        WheelName::from_str(&filename)
            .is_ok_and(|wheel| environment.tags.priority(&wheel).is_some())
    });
    if let Some(text) = &release.requires_python {
        let python = Version::from_str(&environment.interpreter.version).expect("a version");
        if !allows(&parse_requires_python(text)?, &python) {
            return None;
        }
    }
    let asked_for = request.requirements.iter().any(|requested| {
        let requirement = &requested.requirement;
        requirement.name == *name
            && pins_exactly(&requirement.specifiers)
            && allows(&requirement.specifiers, &version)
    });
    if !has_wheel || (release.yanked.is_some() && !asked_for) {
        return None;
    }
    let requires: Option<Vec<Requirement>> = release
        .requires
        .iter()
        .map(|text| Requirement::from_str(text).ok())
        .collect();
    requires.map(|requires| Known { version, requires })
}
