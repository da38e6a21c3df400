//! From the arguments of `imgtool build` to its settings.

use std::path::Path;
use std::sync::Arc;

use crate::command::CommandError;
use crate::command::build::{
    AttachmentChoice, BuildProgress, BuildSettings, BytecodeSettings, ConfigSettings, EngineChoice,
    LayerSplit, RecipeSource, Source, TargetSettings,
};
use crate::command::question::QuestionSettings;
use crate::command::recipe::RecipeSettings;
use crate::image::ManifestFormat;
use crate::layer::Compression;

use super::arguments::{
    AttachmentName, BuildArguments, ConfigArguments, EngineName, IndexArguments, LayersName,
    ManifestName, PlainFormatName,
};
use super::settings::Surroundings;

/// The settings that `arguments` mean.
///
/// # Errors
/// When an option has a value that it cannot have.
pub(super) fn settings(
    arguments: &BuildArguments,
    question: QuestionSettings,
    surroundings: &Surroundings,
    progress: Arc<dyn BuildProgress>,
    width: Option<usize>,
) -> Result<BuildSettings, CommandError> {
    let target = &arguments.target;
    let has = |kind: AttachmentName| {
        target.attach.contains(&kind) && !target.attach.contains(&AttachmentName::None)
    };
    let base = &question.base;
    Ok(BuildSettings {
        registry: base.registry.clone(),
        program_path: base.program_path.clone(),
        cache_dir: base.cache_dir.clone(),
        platforms: arguments.question.image.platform.clone(),
        source: source(arguments, question)?,
        targets: TargetSettings {
            tags: target.tags.clone(),
            push: target.push,
            outputs: target.outputs.clone(),
            load: target.load.map(|engine| match engine {
                EngineName::Any => EngineChoice::Any,
                EngineName::Podman => EngineChoice::Podman,
                EngineName::Docker => EngineChoice::Docker,
            }),
        },
        config: config(&arguments.config)?,
        compression: match &arguments.layer.compression {
            Some(text) => Some(compression(text)?),
            None => None,
        },
        layers: arguments.layer.layers.map(|layers| match layers {
            LayersName::PerDistribution => LayerSplit::PerDistribution,
            LayersName::Single => LayerSplit::Single,
        }),
        bytecode: BytecodeSettings {
            wanted: arguments.layer.compile_bytecode,
            pythons: surroundings.pythons(arguments.layer.bytecode_python.clone()),
        },
        attachments: AttachmentChoice {
            sbom: has(AttachmentName::Sbom),
            provenance: has(AttachmentName::Provenance),
            lock: has(AttachmentName::Lock),
        },
        dry_run: target.dry_run,
        break_system_packages: arguments.layer.break_system_packages,
        source_date: surroundings.source_date(),
        json: target.format == PlainFormatName::Json,
        metadata_file: target.metadata_file.clone(),
        iidfile: target.iidfile.clone(),
        temporary: surroundings.temporary_folder(),
        progress,
        width,
    })
}

/// What is built from: a recipe, where a file of that name is one, else the question.
fn source(arguments: &BuildArguments, question: QuestionSettings) -> Result<Source, CommandError> {
    let path = Path::new(&question.reference);
    let is_recipe = path
        .extension()
        .is_some_and(|extension| extension == "toml");
    if !is_recipe {
        if arguments.locked {
            return Err(CommandError::LockedWithoutRecipe(question.reference));
        }
        return Ok(Source::Question(
            Box::new(question),
            arguments.layer.wheels.clone(),
        ));
    }
    let asked = &arguments.question;
    if !asked.requirements.is_empty()
        || !asked.requirement_files.is_empty()
        || !arguments.layer.wheels.is_empty()
    {
        return Err(CommandError::RecipeBesideOthers(path.to_owned()));
    }
    Ok(Source::Recipe(Box::new(RecipeSource {
        path: path.to_owned(),
        locked: arguments.locked,
        opening: RecipeSettings {
            names_index: names_index(&asked.index),
            base: question.base,
            index: question.index,
            variables: question.variables,
            clock: question.clock,
        },
    })))
}

/// Whether the command line names an index.
pub(super) fn names_index(index: &IndexArguments) -> bool {
    index.index_url.is_some() || !index.extra_index_url.is_empty() || index.no_index
}

fn config(arguments: &ConfigArguments) -> Result<ConfigSettings, CommandError> {
    Ok(ConfigSettings {
        env: arguments.env.clone(),
        labels: arguments.labels.iter().cloned().collect(),
        annotations: arguments.annotations.iter().cloned().collect(),
        entrypoint: words("--entrypoint", arguments.entrypoint.as_deref())?,
        cmd: words("--cmd", arguments.cmd.as_deref())?,
        user: arguments.user.clone(),
        working_dir: arguments.workdir.clone(),
        format: match arguments.manifest {
            ManifestName::AsBase => ManifestFormat::AsBase,
            ManifestName::Oci => ManifestFormat::Oci,
        },
    })
}

/// A command: a JSON list of strings, or words apart by spaces.
fn words(option: &'static str, text: Option<&str>) -> Result<Option<Vec<String>>, CommandError> {
    let Some(text) = text.map(str::trim) else {
        return Ok(None);
    };
    if !text.starts_with('[') {
        return Ok(Some(text.split_whitespace().map(str::to_owned).collect()));
    }
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| CommandError::Option {
            option,
            value: text.to_owned(),
            reason: format!("a JSON list of strings is meant: {error}"),
        })
}

/// A compression: `gzip`, `zstd`, with a level behind a colon if need be.
fn compression(text: &str) -> Result<Compression, CommandError> {
    let refused = |reason: String| CommandError::Option {
        option: "--compression",
        value: text.to_owned(),
        reason,
    };
    let (name, level) = match text.split_once(':') {
        Some((name, level)) => (name, Some(level)),
        None => (text, None),
    };
    let number = |level: &str| {
        level
            .parse::<i64>()
            .map_err(|_| refused(format!("the level `{level}` is no number")))
    };
    let level = level.map(number).transpose()?;
    Compression::named(name, level).map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_lists_or_words() {
        let of = |text| words("--cmd", Some(text)).expect("words").expect("words");
        assert_eq!(of("python3 -m trainer"), ["python3", "-m", "trainer"]);
        assert_eq!(of(r#"["sh", "-c", "a b"]"#), ["sh", "-c", "a b"]);
        assert!(of("").is_empty());
        assert!(words("--cmd", Some("[1]")).is_err());
    }

    #[test]
    fn compressions_have_levels() {
        assert_eq!(compression("gzip").ok(), Some(Compression::GZIP));
        assert_eq!(
            compression("zstd:9").ok(),
            Some(Compression::Zstd { level: 9 })
        );
        for text in ["gzip:10", "zstd:99", "xz", "gzip:", "gzip:x"] {
            assert!(compression(text).is_err(), "{text}");
        }
    }
}
