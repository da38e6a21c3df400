//! From what decides to the plan, for one platform.

use std::collections::BTreeMap;
use std::path::Path;

use crate::environment::footprint;
use crate::layer::Compiler;
use crate::package_index::{IndexClient, PackageIndex};
use crate::packaging::PackageName;
use crate::plan::{LockedPlatform, PinnedIndex, Pins, Plan};
use crate::report::building::PlatformBuilding;
use crate::resolution::{Outcome, Resolution, Resolver};
use crate::transport::platform::OciPlatform;

use super::super::preflight::preflight;
use super::super::question::{Posed, QuestionSettings, pose, warnings};
use super::super::recipe::found_platform;
use super::super::resolve::hash_pins;
use super::super::resolve_output::{Format, Found, Writer};
use super::super::{Answer, CommandError, Talk};
use super::BuildSettings;
use super::decided::{Choice, Decided};

/// What became of a request on a base.
pub(super) enum Prepared {
    /// It fits, and it is known what must be done.
    Ready(Box<Ready>),
    /// It does not fit: the answer that says why.
    Refused(Answer),
}

/// A request that fits, and all that is needed to carry it out.
pub(super) struct Ready {
    /// What was asked.
    pub question: QuestionSettings,
    /// The base.
    pub posed: Posed,
    /// The index that has the wheels.
    pub index: IndexClient,
    /// The pins that the wheels are compared with; empty where the versions were solved for.
    pub pins: Pins,
    /// What must be done.
    pub plan: Plan,
    /// The same as a lock; `None` where a wheel has no hash to be locked by.
    pub locked: Option<LockedPlatform>,
    /// What compiles the modules; `None` where they are not compiled.
    pub compiler: Option<Compiler>,
    /// What a person should know.
    pub talk: Vec<Talk>,
}

/// Opens the base for one platform, finds out what is installed on it, and plans.
///
/// # Errors
/// What kept it from an answer; when the base is no image, or its Python belongs to a package manager.
pub(super) fn prepare(
    settings: &BuildSettings,
    decided: &Decided,
    platform: Option<&OciPlatform>,
) -> Result<Prepared, CommandError> {
    let question = decided.question(platform);
    let mut posed = pose(&question)?;
    if posed.environment.interpreter.externally_managed && !settings.break_system_packages {
        return Err(CommandError::ExternallyManaged {
            base: posed.label.reference.clone(),
            prefix: posed.environment.interpreter.prefix.clone(),
        });
    }
    // Known before anything is fetched, and before minutes are spent on a solution.
    let compiler = if settings.bytecode.wanted {
        let version = &posed.environment.interpreter.version;
        Some(Compiler::find(version, &settings.bytecode.pythons)?)
    } else {
        None
    };
    let mut talk = Vec::new();
    let choice = decided.choose(&posed, &mut talk)?;
    if let Choice::Pinned(pins) = &choice {
        posed.request.requirements = pins.to_request().requirements;
        let wanted = pins.policy(&posed.environment);
        let root = posed.root.as_deref();
        let (policy, notes) = preflight(&wanted, &posed.label, &posed.environment, root)?;
        posed.policy = policy;
        talk.extend(notes);
    }
    let index = posed.index(&question.clock)?;
    let (outcome, of_base) = {
        let offered: PinnedIndex<'_> = match &choice {
            Choice::Solved(wheels) => PinnedIndex::beside_others(wheels, &index),
            Choice::Pinned(pins) => {
                let offered = PinnedIndex::new(pins, &index);
                offered.check(&posed.environment)?;
                offered
            }
        };
        solve(&question, &posed, &index, &offered, settings)?
    };
    let mut resolution = match outcome {
        Ok(resolution) => resolution,
        Err(mut answer) => {
            answer.talk.splice(0..0, talk);
            return Ok(Prepared::Refused(answer));
        }
    };
    hash_pins(&mut resolution, &index)?;
    talk.extend(of_base);
    talk.extend(resolution.warnings.iter().cloned().map(Talk::Warning));
    let pins = match choice {
        Choice::Solved(wheels) => wheels,
        Choice::Pinned(pins) => {
            let notes = pins.notes(&resolution, &posed.environment);
            talk.extend(notes.into_iter().map(Talk::Note));
            pins
        }
    };
    let locked = locked(&resolution, &posed, &index, &mut talk);
    let mut plan = Plan::of(&resolution);
    for install in &mut plan.installs {
        if let Some(pin) = pins.pins.get(&install.name) {
            install.requested = pin.requested;
        }
    }
    Ok(Prepared::Ready(Box::new(Ready {
        question,
        posed,
        index,
        pins,
        plan,
        locked,
        compiler,
        talk,
    })))
}

/// The resolution as it would stand in a lock. Paths of this machine stay out of it: hashes say which wheels are meant.
fn locked(
    resolution: &Resolution,
    posed: &Posed,
    index: &IndexClient,
    talk: &mut Vec<Talk>,
) -> Option<LockedPlatform> {
    let of_index = |name: &PackageName| index.index_of(name);
    let locked = LockedPlatform::of(
        resolution,
        &posed.environment,
        found_platform(posed),
        &of_index,
        Path::new(""),
    );
    match locked {
        Ok(mut locked) => {
            for pin in &mut locked.pins {
                pin.path = None;
            }
            Some(locked)
        }
        Err(error) => {
            talk.push(Talk::Note(format!("no lock is attached: {error}")));
            None
        }
    }
}

/// The answer of the solver: a resolution, or why there is none. With it comes what is to be said of the base.
fn solve(
    question: &QuestionSettings,
    posed: &Posed,
    index: &IndexClient,
    offered: &dyn PackageIndex,
    settings: &BuildSettings,
) -> Result<(Result<Resolution, Answer>, Vec<Talk>), CommandError> {
    let resolver = Resolver::new(&posed.environment, offered);
    let found = match resolver.resolve(&posed.request, &posed.policy)? {
        Outcome::Resolution(resolution) => {
            let talk = posed.talk(resolver.base(), index, None);
            return Ok((Ok(resolution), talk));
        }
        Outcome::Conflict(conflict) => conflict,
    };
    let label = posed.label_for(&found);
    let talk = posed.talk(resolver.base(), index, None);
    let warnings = warnings(&talk);
    let writer = Writer {
        request: &posed.request,
        policy: &posed.policy,
        invocation: &question.invocation,
        label: &label,
        environment: &posed.environment,
        base: resolver.base(),
        index,
        warnings: &warnings,
        annotate: false,
        width: settings.width,
    };
    let format = if settings.json {
        Format::Json
    } else {
        Format::Text
    };
    let found = Found::Outcome(Outcome::Conflict(found));
    let answer = Answer {
        data: writer.write(&found, format)?,
        talk,
        status: found.status(),
    };
    Ok((Err(answer), Vec::new()))
}

impl Ready {
    /// What reports say of it; the image is not built yet.
    pub fn report(self) -> PlatformBuilding {
        let leaving: BTreeMap<_, _> = self
            .plan
            .departures()
            .into_iter()
            .filter_map(|departure| {
                let root = self.posed.root.as_deref()?;
                let installed = self.posed.environment.distributions.get(&departure.name)?;
                Some((departure.name.clone(), footprint(root, installed)))
            })
            .collect();
        let image = self.posed.image.as_ref();
        PlatformBuilding {
            platform: image
                .and_then(|image| OciPlatform::of_config(&image.config))
                .map_or_else(String::new, |platform| platform.to_string()),
            base_digest: image
                .and_then(|image| image.digest.as_ref())
                .map(ToString::to_string),
            leaving,
            label: self.posed.label,
            environment: self.posed.environment,
            plan: self.plan,
            image: None,
        }
    }
}
