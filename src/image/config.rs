//! The configuration of a new image: that of its base, with the new layers and with what was asked for.
//!
//! Everything else stays as it is, byte for byte, fields that no specification knows among them. What stays and is no
//! longer true is set anew where it can be known: labels that name the base's own base, or the time of its build.
//!
//! Specification: OCI image-spec, `config.md` and `annotations.md`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::value::RawValue;

use super::append::NewLayer;
use super::document::Members;
use super::error::ImageError;
use super::format::ManifestFormat;

/// Annotation and label: the name of the base.
pub(super) const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// Annotation and label: the digest of the base's manifest.
pub(super) const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// Annotation and label: when the image was created.
pub(super) const CREATED: &str = "org.opencontainers.image.created";

/// What the history says beside each step that imgtool adds.
const COMMENT: &str = concat!("imgtool ", env!("CARGO_PKG_VERSION"));

/// What a new image has otherwise than its base. By default that is nothing but its layers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Environment variables, name and value: each is set where the base has it, else added behind all others, in the order
    /// given.
    pub env: Vec<(String, String)>,
    /// Names of environment variables that are taken out, before any is set.
    pub unset_env: Vec<String>,
    /// Labels that are set.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest that are set; Docker's manifests have none.
    pub annotations: BTreeMap<String, String>,
    /// What the image starts. The base's `Cmd` were its arguments, so it goes where [`Changes::cmd`] sets no other, as
    /// with a `Dockerfile`'s `ENTRYPOINT`.
    pub entrypoint: Option<Vec<String>>,
    /// Arguments of the entrypoint, or what the image starts where it has none.
    pub cmd: Option<Vec<String>>,
    /// The user that the image runs as.
    pub user: Option<String>,
    /// The folder that the image starts in.
    pub working_dir: Option<String>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// When the image was created (SOURCE_DATE_EPOCH). Without it the image has the time of its base.
    pub created: Option<jiff::Timestamp>,
    /// Who made it.
    pub author: Option<String>,
    /// The family of the manifest.
    pub format: ManifestFormat,
    /// What the base is called, without transport: `registry.example/team/base:1.0`. Without it the base is called what its
    /// reference says, where that is one of a registry.
    pub base_name: Option<String>,
}

/// A step of the history.
#[derive(Serialize)]
struct Step<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    created_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

/// What is known of the step of the base.
#[derive(Default, serde::Deserialize)]
struct KnownStep {
    #[serde(default)]
    empty_layer: Option<bool>,
}

/// A changed configuration.
pub(super) struct NewConfig {
    pub(super) bytes: Vec<u8>,
    /// When the image was created, in RFC 3339, where that is known.
    pub(super) created: Option<String>,
    /// What a person should know of it.
    pub(super) notes: Vec<String>,
}

/// Changes the configuration `bytes`. `labels` are those of [`Changes::labels`] and what else must stand there;
/// `base_labels` replace labels of the base, and are not added where it has none of their name.
pub(super) fn change(
    bytes: &[u8],
    layers: &[NewLayer],
    changes: &Changes,
    labels: &BTreeMap<String, String>,
    base_labels: &BTreeMap<&str, Option<String>>,
    base: &str,
) -> Result<NewConfig, ImageError> {
    check(changes)?;
    let wrong = |error: serde_json::Error| ImageError::Base {
        what: "the configuration",
        base: base.to_owned(),
        reason: error.to_string(),
    };
    let mut config: Members = serde_json::from_slice(bytes).map_err(wrong)?;
    let mut notes = Vec::new();

    let own: Option<String> = config.read("created").map_err(wrong)?;
    let created = match changes.created {
        Some(time) => {
            let text = time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            config.set("created", &text);
            Some(text)
        }
        // What is no time stays where it stands, and goes nowhere else.
        None => own.filter(|text| text.parse::<jiff::Timestamp>().is_ok()),
    };
    if let Some(author) = &changes.author {
        config.set("author", author);
    }

    let mut run: Members = config.read("config").map_err(wrong)?;
    let had_cmd = run.get("Cmd").is_some();
    let all_labels =
        with_base_labels(&run, labels, base_labels, created.as_deref()).map_err(wrong)?;
    let instructions = change_run(&mut run, changes, all_labels.as_ref(), labels).map_err(wrong)?;
    if changes.entrypoint.is_some() && changes.cmd.is_none() && had_cmd {
        notes.push(
            "the base's Cmd were arguments of its entrypoint, so they are not those of the new one"
                .to_owned(),
        );
    }
    if !instructions.is_empty() || all_labels.is_some() {
        config.set("config", &run);
    }

    let mut rootfs: Members = config.read("rootfs").map_err(wrong)?;
    let mut diff_ids: Vec<String> = rootfs.read("diff_ids").map_err(wrong)?;
    let below = diff_ids.len();
    diff_ids.extend(layers.iter().map(|layer| layer.diff_id.to_string()));
    if rootfs.get("type").is_none() {
        rootfs.set("type", "layers");
    }
    rootfs.set("diff_ids", &diff_ids);
    config.set("rootfs", &rootfs);

    let history: Vec<Box<RawValue>> = config.read("history").map_err(wrong)?;
    let history = extended(
        history,
        below,
        layers,
        &instructions,
        created.as_deref(),
        changes,
    )
    .map_err(wrong)?;
    config.set("history", &history);

    Ok(NewConfig {
        bytes: config.to_bytes(),
        created,
        notes,
    })
}

/// Refuses what no program could be started with.
fn check(changes: &Changes) -> Result<(), ImageError> {
    for name in changes
        .env
        .iter()
        .map(|(name, _)| name)
        .chain(&changes.unset_env)
    {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(ImageError::Variable(name.clone()));
        }
    }
    let words = |name: &'static str, words: &Option<Vec<String>>| {
        let mut words = words.iter().flatten();
        words
            .any(|word| word.contains('\0'))
            .then(|| ImageError::NullCharacter(name.to_owned()))
    };
    let of_variable = changes
        .env
        .iter()
        .find(|(_, value)| value.contains('\0'))
        .map(|(name, _)| ImageError::NullCharacter(format!("the environment variable `{name}`")));
    let found = of_variable
        .or_else(|| words("the entrypoint", &changes.entrypoint))
        .or_else(|| words("the command", &changes.cmd));
    found.map_or(Ok(()), Err)
}

/// The labels of the image, where they are others than the base's.
fn with_base_labels(
    run: &Members,
    labels: &BTreeMap<String, String>,
    base_labels: &BTreeMap<&str, Option<String>>,
    created: Option<&str>,
) -> Result<Option<Members>, serde_json::Error> {
    let mut all: Members = run.read("Labels")?;
    let mut is_changed = !labels.is_empty();
    let truth = base_labels
        .iter()
        .map(|(name, value)| (*name, value.as_deref()))
        .chain([(CREATED, created)]);
    for (name, value) in truth {
        if all.get(name).is_none() {
            continue;
        }
        is_changed = true;
        match value {
            Some(value) => all.set(name, value),
            None => all.remove(name),
        }
    }
    for (name, value) in labels {
        all.set(name, value);
    }
    Ok(is_changed.then_some(all))
}

/// Changes how the image is run; what was changed, as a `Dockerfile` would say it.
fn change_run(
    run: &mut Members,
    changes: &Changes,
    all_labels: Option<&Members>,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<String>, serde_json::Error> {
    let mut instructions = Vec::new();
    if !changes.env.is_empty() || !changes.unset_env.is_empty() {
        let mut env: Vec<String> = run.read("Env")?;
        let before = env.clone();
        change_env(&mut env, changes);
        if env != before {
            run.set("Env", &env);
        }
        let set = changes
            .env
            .iter()
            .map(|(name, value)| format!("ENV {name}={value}"));
        // A Dockerfile cannot take one out.
        let unset = changes.unset_env.iter().map(|name| format!("UNSET {name}"));
        instructions.extend(unset.chain(set));
    }
    if let Some(all) = all_labels {
        run.set("Labels", all);
    }
    if !labels.is_empty() {
        let words: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        instructions.push(format!("LABEL {}", words.join(" ")));
    }
    let mut text = |name: &str, instruction: &str, value: &Option<String>| {
        if let Some(value) = value {
            run.set(name, value);
            instructions.push(format!("{instruction} {value}"));
        }
    };
    text("User", "USER", &changes.user);
    text("WorkingDir", "WORKDIR", &changes.working_dir);
    text("StopSignal", "STOPSIGNAL", &changes.stop_signal);
    let as_json = |words: &[String]| serde_json::to_string(words);
    if let Some(words) = &changes.entrypoint {
        run.set("Entrypoint", words);
        if changes.cmd.is_none() {
            run.remove("Cmd");
        }
        instructions.push(format!("ENTRYPOINT {}", as_json(words)?));
    }
    if let Some(words) = &changes.cmd {
        run.set("Cmd", words);
        instructions.push(format!("CMD {}", as_json(words)?));
    }
    // Windows alone has it: it tells whether the words of a command are quoted already, which new ones are not.
    if (changes.entrypoint.is_some() || changes.cmd.is_some()) && run.get("ArgsEscaped").is_some() {
        run.set("ArgsEscaped", &false);
    }
    Ok(instructions)
}

/// Sets variables where they stand. Of a name that the base has twice the last counts for an engine, so no other is left.
fn change_env(env: &mut Vec<String>, changes: &Changes) {
    let name_of = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    let unset: BTreeSet<&str> = changes.unset_env.iter().map(String::as_str).collect();
    env.retain(|line| !unset.contains(name_of(line).as_str()));
    for (name, value) in &changes.env {
        let line = format!("{name}={value}");
        let Some(place) = env.iter().position(|own| name_of(own) == *name) else {
            env.push(line);
            continue;
        };
        env[place] = line;
        let mut at = 0;
        env.retain(|own| {
            at += 1;
            at - 1 <= place || name_of(own) != *name
        });
    }
}

/// The history with a step for each new layer, and one for each instruction.
fn extended(
    base: Vec<Box<RawValue>>,
    layers_below: usize,
    layers: &[NewLayer],
    instructions: &[String],
    created: Option<&str>,
    changes: &Changes,
) -> Result<Vec<Box<RawValue>>, serde_json::Error> {
    let mut with_layer = 0;
    for step in &base {
        let step: Option<KnownStep> = serde_json::from_str(step.get())?;
        with_layer += usize::from(step.and_then(|step| step.empty_layer) != Some(true));
    }
    let mut history = base;
    // Steps are matched to layers by counting, so a base whose history lacks some gets steps that say nothing: else the
    // new ones would be taken for those of its layers. Their time is the image's: readers count on there being one.
    for _ in with_layer..layers_below {
        let unknown = Step {
            created,
            created_by: "",
            author: None,
            comment: Some("a layer of the base that its history does not tell of"),
            empty_layer: false,
        };
        history.push(serde_json::value::to_raw_value(&unknown)?);
    }
    let step = |created_by: &str, comment: Option<&str>, empty_layer| {
        serde_json::value::to_raw_value(&Step {
            created,
            created_by,
            author: changes.author.as_deref(),
            comment: Some(comment.unwrap_or(COMMENT)),
            empty_layer,
        })
    };
    for layer in layers {
        history.push(step(&layer.created_by, layer.comment.as_deref(), false)?);
    }
    for instruction in instructions {
        history.push(step(instruction, None, true)?);
    }
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(lines: &[&str], set: &[(&str, &str)], unset: &[&str]) -> Vec<String> {
        let mut env: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let changes = Changes {
            env: set
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            unset_env: unset.iter().map(|name| (*name).to_owned()).collect(),
            ..Changes::default()
        };
        change_env(&mut env, &changes);
        env
    }

    #[test]
    fn variables_are_set_where_they_stand() {
        assert_eq!(
            env(&["A=1", "B=2", "C"], &[("B", "x=y"), ("D", "")], &[]),
            ["A=1", "B=x=y", "C", "D="]
        );
        assert_eq!(
            env(&["A=1", "B=2", "A=3"], &[("A", "4")], &[]),
            ["A=4", "B=2"]
        );
        assert_eq!(env(&["AB=1", "A=2"], &[("A", "3")], &[]), ["AB=1", "A=3"]);
        assert_eq!(env(&["A=1", "B=2", "A=3"], &[], &["A"]), ["B=2"]);
        assert_eq!(env(&["A=1"], &[("A", "2")], &["A"]), ["A=2"]);
        assert_eq!(env(&["A"], &[("A", "2")], &[]), ["A=2"]);
    }

    #[test]
    fn names_and_values_that_no_program_can_have_are_refused() {
        for name in ["", "A=B", "A\0"] {
            let changes = Changes {
                env: vec![(name.to_owned(), String::new())],
                ..Changes::default()
            };
            assert_eq!(check(&changes), Err(ImageError::Variable(name.to_owned())));
        }
        let changes = Changes {
            env: vec![("A".to_owned(), "\0".to_owned())],
            ..Changes::default()
        };
        assert!(matches!(check(&changes), Err(ImageError::NullCharacter(_))));
        let changes = Changes {
            cmd: Some(vec!["a\0".to_owned()]),
            ..Changes::default()
        };
        assert!(matches!(check(&changes), Err(ImageError::NullCharacter(_))));
    }
}
