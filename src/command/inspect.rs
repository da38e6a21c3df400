//! `imgtool inspect`: what Python environment a base has, and what is installed in it.

use std::path::{Path, PathBuf};

use crate::environment::{Environment, FoundInterpreter, footprint, installer};
use crate::package_index::Clock;
use crate::report::bill_of_materials::Created;
use crate::report::inspection::{ImageFacts, Inspection};
use crate::report::text::inspect::Shown;
use crate::report::{BaseLabel, cyclonedx, freeze, json, snapshot_note, spdx, text};
use crate::rootfs::RootFs;

use super::base::{self, BaseSettings};
use super::file::write_text;
use super::{Answer, CommandError, ExitStatus, Talk};

/// What `imgtool inspect` was asked.
#[derive(Clone)]
pub struct InspectSettings {
    /// The base.
    pub reference: String,
    /// How it is opened.
    pub base: BaseSettings,
    /// The form of the answer.
    pub format: Format,
    /// What is shown beside names and versions.
    pub shown: Shown,
    /// The file that receives the answer instead of stdout.
    pub output: Option<PathBuf>,
    /// SOURCE_DATE_EPOCH: the time that documents bear, in seconds since the epoch.
    pub source_date: Option<i64>,
    /// The time, for documents that must bear one.
    pub clock: Clock,
    /// Width of the terminal in cells; `None` where there is none.
    pub width: Option<usize>,
}

/// A form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table for people.
    Text,
    /// JSON v1.
    Json,
    /// A requirements file that holds every version.
    Requirements,
    /// CycloneDX 1.6.
    CycloneDx,
    /// SPDX 2.3.
    Spdx,
}

impl Format {
    /// The form that the name of a file asks for, where it asks for one.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        [
            (".cdx.json", Self::CycloneDx),
            (".spdx.json", Self::Spdx),
            (".json", Self::Json),
        ]
        .into_iter()
        .find_map(|(end, format)| name.ends_with(end).then_some(format))
    }
}

/// What is inspected: an environment that has been read, and where it was read from.
#[derive(Clone)]
pub struct Subject<'a> {
    /// What reports call the base.
    pub label: BaseLabel,
    /// Its environment.
    pub environment: Environment,
    /// The root that it was read from; `None` for a snapshot.
    pub root: Option<&'a dyn RootFs>,
    /// All interpreters of the root; empty where the root is not what was asked about, as around a virtual environment.
    pub interpreters: Vec<FoundInterpreter>,
    /// The image, where it is one.
    pub image: Option<ImageFacts>,
}

/// Inspects.
///
/// # Errors
/// When the base cannot be opened or read, or the answer not be written.
pub fn run(settings: &InspectSettings) -> Result<Answer, CommandError> {
    let base = base::open(&settings.reference, &settings.base)?;
    let subject = Subject {
        label: base.label,
        environment: base.environment,
        root: base.root.as_deref(),
        interpreters: base.interpreters,
        image: base.image,
    };
    let mut answer = inspect(subject, settings)?;
    answer.talk.splice(0..0, base.talk);
    Ok(answer)
}

/// Answers about an environment that has been read.
///
/// # Errors
/// When the answer cannot be written.
pub fn inspect(subject: Subject<'_>, settings: &InspectSettings) -> Result<Answer, CommandError> {
    let mut talk = Vec::new();
    let (wants_layers, wants_size) = (settings.shown.layers, settings.shown.size);
    if wants_layers && subject.image.is_none() {
        talk.push(Talk::Note(
            "`--layers` adds nothing: this base has no layers".to_owned(),
        ));
    }
    if wants_size && subject.root.is_none() {
        talk.push(Talk::Note(
            "`--size` adds nothing: a snapshot does not know sizes".to_owned(),
        ));
    }
    let is_bill = matches!(settings.format, Format::CycloneDx | Format::Spdx);
    let wants_footprints = wants_layers || wants_size || (is_bill && subject.image.is_some());
    let found = look(subject, wants_footprints);

    let created = Created::choose(
        settings.source_date,
        found
            .image
            .as_ref()
            .and_then(|image| image.created.as_deref()),
        (settings.clock)(),
    );
    let width = settings.width.filter(|_| settings.output.is_none());
    let mut data = match settings.format {
        Format::Text => text::inspect::inspect(&found, settings.shown, width),
        Format::Json => json::inspect::inspect(&found),
        Format::Requirements => freeze::freeze(&found.label, &found.environment),
        Format::CycloneDx => cyclonedx::cyclonedx(&found, &created),
        Format::Spdx => spdx::spdx(&found, &created),
    };
    // The table and JSON say by themselves what is doubtful.
    if !matches!(settings.format, Format::Text | Format::Json) {
        let provenance = snapshot_note(&found.environment);
        talk.extend(provenance.map(|note| Talk::Note(format!("this is {note}"))));
        talk.extend(found.environment.all_notes().map(Talk::Note));
    }
    if let Some(path) = &settings.output {
        write_text(path, &anstream::adapter::strip_str(&data).to_string())?;
        data.clear();
    }
    Ok(Answer {
        data,
        talk,
        status: ExitStatus::Success,
    })
}

/// Reads what the environment itself does not tell.
fn look(subject: Subject<'_>, wants_footprints: bool) -> Inspection {
    let Subject {
        label,
        mut environment,
        root,
        interpreters,
        image,
    } = subject;
    let mut footprints = None;
    if let Some(root) = root {
        let shadowed = environment.shadowed.iter_mut();
        for distribution in environment.distributions.values_mut().chain(shadowed) {
            if distribution.installer.is_none() {
                distribution.installer = installer(root, distribution);
            }
        }
        if wants_footprints {
            let of_each = environment
                .distributions
                .iter()
                .map(|(name, distribution)| (name.clone(), footprint(root, distribution)));
            footprints = Some(of_each.collect());
        }
    }
    Inspection {
        label,
        environment,
        interpreters,
        image,
        footprints,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_ask_for_a_form() {
        for (name, format) in [
            ("a/sbom.cdx.json", Some(Format::CycloneDx)),
            ("SBOM.SPDX.JSON", Some(Format::Spdx)),
            ("base.json", Some(Format::Json)),
            ("pins.txt", None),
            ("json", None),
            ("", None),
        ] {
            assert_eq!(Format::of_file(Path::new(name)), format, "{name}");
        }
    }
}
