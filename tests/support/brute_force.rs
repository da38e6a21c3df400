//! The meaning of a resolution without any cleverness: an exhaustive search, and a check of an answer.
//!
//! Shares the PyPA vocabulary with the resolver (what a requirement is, which version satisfies it), and nothing else.

use std::cmp::Reverse;
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

/// What becomes of the base: what is named in neither stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fates {
    /// What gets another version.
    pub changed: Additions,
    /// What leaves.
    pub removed: BTreeSet<PackageName>,
}

/// What must hold of the base in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rigour {
    /// What held before: the base's own violations stay as they are.
    AsBefore,
    /// Everything: what is missing comes in, and what is violated is mended.
    Whole,
}

/// One version of a project, read.
pub(super) struct Known {
    pub(super) version: Version,
    requires: Vec<Requirement>,
}

/// What stays of the base, as far as it binds the rest.
struct Staying<'w> {
    /// Requirements that are in force; who has them, and whether the base satisfies them. Those on projects that the
    /// base does not have bind what comes in.
    in_force: Vec<(&'w PackageName, &'w Requirement, bool)>,
    /// The extras that it asks for, in requirements that it satisfies.
    extras: BTreeSet<(PackageName, ExtraName)>,
}

/// A request on a base, with a universe to choose from.
pub struct World<'a> {
    pub(super) environment: &'a Environment,
    pub(super) request: &'a Request,
    /// The versions that may be chosen, in the order of preference.
    pub(super) offered: BTreeMap<PackageName, Vec<Known>>,
    /// What is installed.
    pub(super) base: BTreeMap<PackageName, Known>,
}

/// A requirement that is still to be looked at.
#[derive(Clone)]
struct Due {
    requirement: Requirement,
    /// Whether constraints narrow it: not what the base requires of itself.
    constrained: bool,
}

impl Due {
    fn new(requirement: &Requirement) -> Self {
        Self {
            requirement: requirement.clone(),
            constrained: true,
        }
    }
}

/// The state of a search: what was decided, and what follows from it.
#[derive(Clone)]
struct State<'f> {
    /// What comes in or changes.
    chosen: Additions,
    removed: &'f BTreeSet<PackageName>,
    extras: BTreeSet<(PackageName, ExtraName, bool)>,
    agenda: Vec<Due>,
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
            known.sort_by_key(|known| rank(&known.version));
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
        Self {
            environment,
            request,
            offered,
            base,
        }
    }

    /// What stays of the base, the extras that it asks for of itself included.
    fn staying(&self, fates: &Fates) -> Staying<'_> {
        let markers = &self.environment.markers;
        let mut extras: BTreeSet<(PackageName, ExtraName)> = BTreeSet::new();
        loop {
            let mut in_force = Vec::new();
            for (name, known) in self.base.iter().filter(|(name, _)| stays(name, fates)) {
                for requirement in &known.requires {
                    let applies = requirement.applies(markers)
                        || extras.iter().any(|(of, extra)| {
                            of == name && requirement.applies_with_extra(markers, extra)
                        });
                    let required = self.base.get(&requirement.name);
                    let holds =
                        required.is_some_and(|it| allows(&requirement.specifiers, &it.version));
                    if applies {
                        in_force.push((name, requirement, holds));
                    }
                }
            }
            let asked: BTreeSet<(PackageName, ExtraName)> = in_force
                .iter()
                .filter(|(_, _, holds)| *holds)
                .flat_map(|(_, requirement, _)| {
                    let asked = requirement.extras.iter();
                    asked.map(|extra| (requirement.name.clone(), extra.clone()))
                })
                .collect();
            if asked == extras {
                return Staying { in_force, extras };
            }
            extras = asked;
        }
    }

    /// The first solution in the order of preference, what is requested first decided first; the base stays as it is.
    pub fn search(&self, steps: usize) -> Found {
        let mut left = steps;
        match self.search_after(&Fates::default(), Rigour::AsBefore, &mut left) {
            Some(additions) => Found::Solution(additions),
            None if left == 0 => Found::TooLarge,
            None => Found::Nothing,
        }
    }

    /// The same where the base has changed. `left` is how many steps may be taken; at 0 the search was given up.
    pub(super) fn search_after(
        &self,
        fates: &Fates,
        rigour: Rigour,
        left: &mut usize,
    ) -> Option<Additions> {
        let staying = self.staying(fates);
        if !disturbed(&staying, fates).is_empty() {
            return None;
        }
        let start = self.start(&staying, fates, rigour);
        let mut found = self.descend(start, &staying, left)?;
        found.retain(|name, _| !fates.changed.contains_key(name));
        Some(found)
    }

    /// What is due once the fates are decided: the request, and what the changed distributions require.
    fn start<'f>(&self, staying: &Staying<'_>, fates: &'f Fates, rigour: Rigour) -> State<'f> {
        let markers = &self.environment.markers;
        let requested = self.request.requirements.iter();
        let mut state = State {
            chosen: fates.changed.clone(),
            removed: &fates.removed,
            extras: BTreeSet::new(),
            agenda: requested.map(|it| Due::new(&it.requirement)).collect(),
            done: 0,
        };
        for name in fates.changed.keys() {
            let known = self.at(name, &state).expect("on offer");
            let due: Vec<Due> = known
                .requires
                .iter()
                .filter(|it| it.applies(markers))
                .map(Due::new)
                .collect();
            state.agenda.extend(due);
            for (_, extra) in staying.extras.iter().filter(|(of, _)| of == name) {
                self.add_extra(name, extra, true, &mut state);
            }
        }
        if rigour == Rigour::Whole {
            let stay = self.base.iter().filter(|(name, _)| stays(name, fates));
            let requires = stay.flat_map(|(_, known)| &known.requires);
            state.agenda.extend(
                requires
                    .filter(|it| it.applies(markers))
                    .map(|requirement| Due {
                        requirement: requirement.clone(),
                        constrained: false,
                    }),
            );
        }
        state
    }

    fn descend(
        &self,
        mut state: State<'_>,
        staying: &Staying<'_>,
        left: &mut usize,
    ) -> Option<Additions> {
        *left = left.checked_sub(1)?;
        while let Some(Due {
            requirement,
            constrained,
        }) = state.agenda.get(state.done).cloned()
        {
            state.done += 1;
            let name = &requirement.name;
            if requirement.url.is_some() {
                return None;
            }
            if let Some(known) = self.at(name, &state) {
                if !allows(&requirement.specifiers, &known.version)
                    || (constrained && !self.constraints_allow(name, &known.version))
                {
                    return None;
                }
                self.add_extras(&requirement, constrained, &mut state);
                continue;
            }
            if state.removed.contains(name) {
                return None;
            }
            for known in self.offered.get(name).into_iter().flatten() {
                if !allows(&requirement.specifiers, &known.version)
                    || !self.constraints_allow(name, &known.version)
                    || !bounds_allow(staying, name, &known.version)
                {
                    continue;
                }
                let mut next = state.clone();
                next.chosen.insert(name.clone(), known.version.clone());
                let own = known.requires.iter();
                next.agenda.extend(
                    own.filter(|it| it.applies(&self.environment.markers))
                        .map(Due::new),
                );
                self.add_extras(&requirement, constrained, &mut next);
                if let Some(found) = self.descend(next, staying, left) {
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

    fn add_extras(&self, requirement: &Requirement, constrained: bool, state: &mut State<'_>) {
        for extra in &requirement.extras {
            self.add_extra(&requirement.name, extra, constrained, state);
        }
    }

    /// Brings in the requirements of an extra, unless somebody has asked for it before.
    fn add_extra(
        &self,
        name: &PackageName,
        extra: &ExtraName,
        constrained: bool,
        state: &mut State<'_>,
    ) {
        // Constraints narrow whatever comes in or changes requires, whoever asks for the extra.
        let constrained = constrained || state.chosen.contains_key(name);
        if !state
            .extras
            .insert((name.clone(), extra.clone(), constrained))
        {
            return;
        }
        let known = self.at(name, state).expect("chosen");
        let markers = &self.environment.markers;
        let due: Vec<Due> = known
            .requires
            .iter()
            .filter(|it| it.applies_with_extra(markers, extra) && !it.applies(markers))
            .map(|requirement| Due {
                requirement: requirement.clone(),
                constrained,
            })
            .collect();
        state.agenda.extend(due);
    }

    /// What stands in the end under that name.
    fn at(&self, name: &PackageName, state: &State<'_>) -> Option<&Known> {
        if let Some(version) = state.chosen.get(name) {
            return self.offer(name, version);
        }
        if state.removed.contains(name) {
            return None;
        }
        self.base.get(name)
    }

    fn offer(&self, name: &PackageName, version: &Version) -> Option<&Known> {
        let offered = self.offered.get(name)?;
        offered.iter().find(|it| it.version == *version)
    }

    pub(super) fn constraints_allow(&self, name: &PackageName, version: &Version) -> bool {
        let mut constraints = self.request.constraints.iter().map(|it| &it.requirement);
        constraints.all(|it| it.name != *name || allows(&it.specifiers, version))
    }

    /// What is wrong with an answer that leaves the base as it is; empty when it is right.
    pub fn violations(&self, added: &Additions) -> Vec<String> {
        self.violations_after(&Fates::default(), added, Rigour::AsBefore)
    }

    /// What is wrong with an answer; empty when it is right.
    pub fn violations_after(
        &self,
        fates: &Fates,
        added: &Additions,
        rigour: Rigour,
    ) -> Vec<String> {
        let staying = self.staying(fates);
        let mut wrong = disturbed(&staying, fates);
        for (name, version) in added {
            if self.base.contains_key(name) {
                wrong.push(format!("{name} is held, and added"));
            } else if self.offer(name, version).is_none() {
                wrong.push(format!("{name} {version} is not on offer"));
            } else if !bounds_allow(&staying, name, version) {
                wrong.push(format!("{name} {version} breaks what the base requires"));
            }
        }
        for (name, version) in &fates.changed {
            let installed = self.base.get(name).map(|known| &known.version);
            if installed.is_none_or(|installed| installed == version) {
                wrong.push(format!("{name} {version} is no change of {installed:?}"));
            } else if self.offer(name, version).is_none() {
                wrong.push(format!("{name} {version} is not on offer"));
            } else if !self.constraints_allow(name, version) {
                wrong.push(format!("{name} {version} breaks a constraint"));
            }
        }
        for name in &fates.removed {
            if !self.base.contains_key(name) || fates.changed.contains_key(name) {
                wrong.push(format!("{name} cannot be removed"));
            }
        }
        if !wrong.is_empty() {
            return wrong;
        }
        let mut state = self.start(&staying, fates, rigour);
        state.chosen.extend(added.clone());
        let mut reached = BTreeSet::new();
        while let Some(Due {
            requirement,
            constrained,
        }) = state.agenda.get(state.done).cloned()
        {
            state.done += 1;
            let Some(known) = self.at(&requirement.name, &state) else {
                wrong.push(format!("{requirement} is satisfied by nothing"));
                continue;
            };
            if !allows(&requirement.specifiers, &known.version)
                || (constrained && !self.constraints_allow(&requirement.name, &known.version))
                || requirement.url.is_some()
            {
                wrong.push(format!("{requirement} is violated by {}", known.version));
            }
            if reached.insert(requirement.name.clone()) && added.contains_key(&requirement.name) {
                let own = known.requires.iter();
                state.agenda.extend(
                    own.filter(|it| it.applies(&self.environment.markers))
                        .map(Due::new),
                );
            }
            self.add_extras(&requirement, constrained, &mut state);
        }
        for name in added.keys().filter(|name| !reached.contains(*name)) {
            wrong.push(format!("nobody requires {name}"));
        }
        wrong
    }
}

/// Whether what stays of the base lets a project that it does not have come in at that version.
fn bounds_allow(staying: &Staying<'_>, name: &PackageName, version: &Version) -> bool {
    let mut bounds = staying.in_force.iter();
    bounds.all(|(_, bound, _)| bound.name != *name || allows(&bound.specifiers, version))
}

/// What held in the base, is still required by what stays, and holds no more.
fn disturbed(staying: &Staying<'_>, fates: &Fates) -> Vec<String> {
    let held = staying.in_force.iter().filter(|(_, _, holds)| *holds);
    held.filter(|(_, requirement, _)| {
        let changed = fates.changed.get(&requirement.name);
        fates.removed.contains(&requirement.name)
            || changed.is_some_and(|version| !allows(&requirement.specifiers, version))
    })
    .map(|(requirer, requirement, _)| format!("{requirer} requires {requirement}, which held"))
    .collect()
}

fn stays(name: &PackageName, fates: &Fates) -> bool {
    !fates.changed.contains_key(name) && !fates.removed.contains(name)
}

/// The place of a version in the order of preference: stable before pre-release, newer before older.
pub fn rank(version: &Version) -> (bool, Reverse<Version>) {
    (version.any_prerelease(), Reverse(version.clone()))
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
