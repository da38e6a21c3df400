//! `imgtool lock`: what recipes come to, written beside them, and whether that still holds.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::environment::Provenance;
use crate::package_index::IndexClient;
use crate::plan::{Lock, LockedPlatform, PinnedIndex, Pins, PinsError, Recipe};
use crate::report::invocation::Invocation;
use crate::report::text;
use crate::resolution::{Outcome, Resolver};

use super::file::write_text;
use super::question::{Posed, pose};
use super::recipe::{
    RecipeSettings, found_base, found_platform, question_digest, question_of, read_lock,
    read_recipe,
};
use super::resolve::hash_pins;
use super::{Answer, CommandError, ExitStatus, Talk};

/// What `imgtool lock` was asked.
#[derive(Clone)]
pub struct LockSettings {
    /// The recipes.
    pub recipes: Vec<PathBuf>,
    /// Whether to say only whether their locks are up to date.
    pub check: bool,
    /// How what they name is opened and asked.
    pub opening: RecipeSettings,
}

/// Locks recipes, or checks their locks.
///
/// # Errors
/// When something kept it from an answer. That a recipe does not come out, or that a lock is not up to date, is an answer:
/// [`ExitStatus::No`].
pub fn run(settings: &LockSettings) -> Result<Answer, CommandError> {
    let mut answer = Answer {
        data: String::new(),
        talk: Vec::new(),
        status: ExitStatus::Success,
    };
    for path in &settings.recipes {
        let recipe = read_recipe(path)?;
        let wheels = Pins::of_wheels(&recipe.wheels)?;
        let of_one = OneRecipe {
            question: question_digest(&recipe, &wheels, &settings.opening.variables)?.to_string(),
            recipe,
            wheels,
            settings,
        };
        let is_yes = if settings.check {
            of_one.check(&mut answer)?
        } else {
            of_one.lock(&mut answer)?
        };
        if !is_yes {
            answer.status = ExitStatus::No;
        }
    }
    Ok(answer)
}

/// One recipe, and what it asks.
struct OneRecipe<'s> {
    recipe: Recipe,
    wheels: Pins,
    question: String,
    settings: &'s LockSettings,
}

impl OneRecipe<'_> {
    /// The question for each platform.
    fn posed(&self) -> Result<Vec<Posed>, CommandError> {
        let platforms = &self.recipe.platforms;
        let pose_for = |platform| {
            let question =
                question_of(&self.recipe, &self.wheels, platform, &self.settings.opening);
            pose(&question)
        };
        if platforms.is_empty() {
            return Ok(vec![pose_for(None)?]);
        }
        platforms.iter().map(Some).map(pose_for).collect()
    }

    fn name(&self) -> String {
        let name = self.recipe.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Resolves for every platform and writes the lock; a platform on which the recipe does not come out leaves the lock as
    /// it was.
    fn lock(&self, answer: &mut Answer) -> Result<bool, CommandError> {
        let before = read_lock(&self.recipe).ok().flatten();
        let path = self.recipe.lock_path();
        let mut lock = Lock::new(
            self.question.clone(),
            self.recipe.base.clone(),
            self.recipe.requirements.clone(),
        );
        let mut told = String::new();
        for posed in self.posed()? {
            self.refuse_without_digest(&posed)?;
            let Some(platform) = self.resolve(&posed, answer)? else {
                return Ok(false);
            };
            let changed = platform.pins.iter().filter(|pin| pin.replaces.is_some());
            let changed = changed.count();
            let _ = writeln!(
                told,
                "{}: {}, Python {} on {} ({}): {} added, {changed} replaced, {} removed",
                path.display(),
                platform.platform,
                platform.python,
                posed.label.reference,
                platform.digest.as_deref().unwrap_or("a snapshot"),
                platform.pins.len() - changed,
                platform.removed.len(),
            );
            lock.platforms.push(platform);
        }
        answer.data.push_str(&told);
        if before.as_ref() == Some(&lock) {
            let note = format!("`{}` was up to date", path.display());
            answer.talk.push(Talk::Note(note));
        } else {
            write_text(&path, &lock.to_text(&self.name()))?;
        }
        Ok(true)
    }

    /// A lock without a digest is none for a build, so it is written only where that is what the user wants.
    fn refuse_without_digest(&self, posed: &Posed) -> Result<(), CommandError> {
        let is_wanted = self.settings.opening.base.snapshot;
        match &posed.environment.provenance {
            Provenance::Image {
                digest: Some(_), ..
            } => Ok(()),
            Provenance::Snapshot { .. } if is_wanted => Ok(()),
            Provenance::Snapshot { .. } => {
                Err(CommandError::LockedSnapshot(posed.label.reference.clone()))
            }
            Provenance::Image { digest: None, .. } | Provenance::Directory { .. } => {
                Err(CommandError::LockedFolder(posed.label.reference.clone()))
            }
        }
    }

    /// What the recipe comes to on one platform; `None` where it does not, and why has been told.
    fn resolve(
        &self,
        posed: &Posed,
        answer: &mut Answer,
    ) -> Result<Option<LockedPlatform>, CommandError> {
        let index = posed.index(&self.settings.opening.clock)?;
        let with_wheels = PinnedIndex::beside_others(&self.wheels, &index);
        let resolver = Resolver::new(&posed.environment, &with_wheels);
        let outcome = resolver.resolve(&posed.request, &posed.policy)?;
        let locked = match outcome {
            Outcome::Resolution(mut resolution) => {
                hash_pins(&mut resolution, &index)?;
                let warnings = resolution.warnings.iter().cloned();
                let warnings = warnings.map(Talk::Warning).collect::<Vec<_>>();
                answer
                    .talk
                    .extend(posed.talk(resolver.base(), &index, warnings));
                let folder = self.recipe.path.parent();
                Some(LockedPlatform::of(
                    &resolution,
                    &posed.environment,
                    found_platform(posed),
                    &|name| index.index_of(name),
                    folder.unwrap_or(std::path::Path::new("")),
                )?)
            }
            Outcome::Conflict(conflict) => {
                let label = posed.label_for(&conflict);
                answer.talk.extend(posed.talk(resolver.base(), &index, []));
                answer.data.push_str(&text::conflict::conflict(
                    &conflict,
                    &posed.request,
                    &posed.policy,
                    &Invocation::default(),
                    &label,
                    &posed.environment,
                ));
                None
            }
        };
        Ok(locked)
    }

    /// Whether the lock is what the recipe asks, the base is the one that was locked, and every locked wheel is still to be
    /// had. Newer versions on the index do not make a lock out of date.
    fn check(&self, answer: &mut Answer) -> Result<bool, CommandError> {
        let path = self.recipe.lock_path();
        let mut wrong: Vec<String> = Vec::new();
        let mut tell = |reason: String| {
            if !wrong.contains(&reason) {
                wrong.push(reason);
            }
        };
        match read_lock(&self.recipe)? {
            None => tell("there is none".to_owned()),
            Some(lock) => {
                let posed = self.posed()?;
                if lock.platforms.len() > posed.len() {
                    tell("it is for platforms that the recipe does not name".to_owned());
                }
                for posed in &posed {
                    answer.talk.extend(posed.talk.iter().cloned());
                    let platform = found_platform(posed);
                    let base = found_base(posed, &platform);
                    let snapshots = self.settings.opening.base.snapshot;
                    match lock.matches_with(&self.question, base, snapshots) {
                        Ok(locked) => {
                            let index = posed.index(&self.settings.opening.clock)?;
                            if let Err(reason) = still_there(locked, &self.recipe, posed, &index)? {
                                tell(reason);
                            }
                        }
                        Err(differences) => {
                            for difference in differences {
                                tell(difference.to_string());
                            }
                        }
                    }
                }
            }
        }
        if wrong.is_empty() {
            let _ = writeln!(answer.data, "{}: up to date", path.display());
        }
        for reason in &wrong {
            let _ = writeln!(answer.data, "{}: not up to date: {reason}", path.display());
        }
        Ok(wrong.is_empty())
    }
}

/// Whether every locked wheel can still be had and all of them go together; the inner error says why not.
fn still_there(
    locked: &LockedPlatform,
    recipe: &Recipe,
    posed: &Posed,
    index: &IndexClient,
) -> Result<Result<(), String>, CommandError> {
    let pins = locked.to_pins(&recipe.lock_path())?;
    match PinnedIndex::new(&pins, index).check(&posed.environment) {
        Ok(()) => Ok(Ok(())),
        Err(PinsError::Index(error)) => Err(error.into()),
        Err(error) => Ok(Err(error.to_string())),
    }
}
