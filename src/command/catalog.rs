//! `imgtool catalog`: the bases that are known by name, and how a snapshot of one is made.

use std::path::{Path, PathBuf};

use crate::catalog::from_pins::{SnapshotTarget, build_from_pins, parse_pins};
use crate::catalog::snapshot::Snapshot;
use crate::catalog::{Catalog, CatalogError, Entry, Family, parse_libc};
use crate::environment::{import_names, installer};
use crate::package_index::{Clock, IndexClient, IndexSettings};
use crate::report;
use crate::transport::reference::{BaseReference, ImageReference, ReferenceError};
use crate::transport::registry::RegistryClient;

use super::base::{self, BaseSettings, OpenBase};
use super::file::{read_text, write_text};
use super::image::{chosen, mirrored};
use super::snapshot::snapshot_of;
use super::snapshot_index::ClientIndex;
use super::{Answer, CommandError, ExitStatus, Talk};

/// How many doubts about a snapshot are told one by one when it is made; all of them are in it.
const DOUBTS_SHOWN: usize = 20;

/// What `imgtool catalog snapshot` was asked.
#[derive(Clone)]
pub struct SnapshotSettings {
    /// A folder or an image with its transport (`dir:PATH`, `docker://…`), or the path of a pin list.
    pub source: String,
    /// The base that the snapshot is of, such as `tfx:1.16.0`.
    pub base: String,
    /// What the snapshot is made from; told from the source where it is not given.
    pub made_from: Option<String>,
    /// Full version of Python, for a base that is not in the catalog.
    pub python: Option<String>,
    /// How a base is opened that a snapshot is made of.
    pub opening: BaseSettings,
    /// The C library (`glibc:2.35`), for a base that is not in the catalog.
    pub libc: Option<String>,
    /// Machine name, for a base that is not in the catalog.
    pub architecture: String,
    /// Installation prefix, for a base that is not in the catalog.
    pub prefix: String,
    /// The file that receives the snapshot instead of stdout.
    pub output: Option<PathBuf>,
    /// The index that is asked about pins.
    pub index: IndexSettings,
    /// The day, as `2026-11-24`: what the index says of a version can change.
    pub today: String,
    /// The time, for the index.
    pub clock: Clock,
}

/// Lists the catalog: as JSON, or as a table for a terminal of `width` cells.
///
/// # Errors
/// When the catalog is broken.
pub fn list(json: bool, width: Option<usize>) -> Result<Answer, CommandError> {
    let catalog = Catalog::embedded()?;
    let data = if json {
        report::json::catalog::list(&catalog)
    } else {
        report::text::catalog::list(&catalog, width)
    };
    Ok(Answer {
        data,
        talk: vec![Talk::Note(
            "each snapshot was made as `imgtool catalog show` says of it, and none was read from an image".to_owned(),
        )],
        status: ExitStatus::Success,
    })
}

/// Shows what is installed in one base: as JSON, or as a table for a terminal of `width` cells.
///
/// # Errors
/// When the reference is malformed or matches nothing, or its folder cannot be read.
pub fn show(
    reference: &str,
    json: bool,
    width: Option<usize>,
    settings: &BaseSettings,
) -> Result<Answer, CommandError> {
    let catalog = Catalog::embedded()?;
    let (snapshot, is_read, talk) =
        match BaseReference::parse(reference, &catalog.known_families())? {
            BaseReference::Catalog { family, version } => {
                let entry = catalog.select(&family, &version)?;
                let talk = Vec::from_iter(entry.note().map(|note| Talk::Note(note.to_owned())));
                (entry.snapshot()?, false, talk)
            }
            BaseReference::Directory(_) | BaseReference::Image(_) => {
                let base = base::open(reference, settings)?;
                let made_from = match &base.image {
                    Some(image) => format!("the image {}", image.reference),
                    None => format!("the folder {}", reference.trim_start_matches("dir:")),
                };
                let snapshot = snapshot_of(&base.environment, reference, made_from, None);
                (snapshot, true, base.talk)
            }
        };
    let data = if json {
        report::json::catalog::show(&snapshot, is_read)
    } else {
        report::text::catalog::show(&snapshot, is_read, width)
    };
    Ok(Answer {
        data,
        talk,
        status: ExitStatus::Success,
    })
}

/// Makes a snapshot.
///
/// # Errors
/// When the source cannot be read, the base's Python is not known, the index does not answer, or the snapshot cannot
/// be written.
pub fn snapshot(settings: &SnapshotSettings) -> Result<Answer, CommandError> {
    let catalog = Catalog::embedded()?;
    let mut talk = Vec::new();
    let made = if is_reference(&settings.source) {
        from_base(settings, &catalog, &mut talk)?
    } else {
        from_pins(Path::new(&settings.source), settings, &catalog, &mut talk)?
    };
    for doubt in made.notes.iter().take(DOUBTS_SHOWN) {
        talk.push(Talk::Warning(doubt.clone()));
    }
    if made.notes.len() > DOUBTS_SHOWN {
        let more = made.notes.len() - DOUBTS_SHOWN;
        talk.push(Talk::Warning(format!(
            "{more} more doubts are in the snapshot"
        )));
    }
    let document = made.to_json();
    let data = match &settings.output {
        None => document,
        Some(path) => {
            write_text(path, &document)?;
            String::new()
        }
    };
    Ok(Answer {
        data,
        talk,
        status: ExitStatus::Success,
    })
}

/// Whether the source of a snapshot is a base rather than a file: it says its transport. A file may have any other name.
fn is_reference(source: &str) -> bool {
    const TRANSPORTS: [&str; 7] = [
        "dir:",
        "docker://",
        "oci:",
        "oci-archive:",
        "docker-archive:",
        "docker-daemon:",
        "containers-storage:",
    ];
    TRANSPORTS
        .iter()
        .any(|transport| source.starts_with(transport))
}

/// A snapshot of an environment that is read now.
fn from_base(
    settings: &SnapshotSettings,
    catalog: &Catalog,
    talk: &mut Vec<Talk>,
) -> Result<Snapshot, CommandError> {
    // What the tag leads to is asked first, and then read by its digest: a tag may move in between. It may be an index;
    // that is what will be compared, and not the manifest in it.
    let (source, digest) = match BaseReference::parse(&settings.source, &catalog.known_families())?
    {
        BaseReference::Image(ImageReference::Registry { reference, pattern }) => {
            let client = RegistryClient::new(settings.opening.registry.clone());
            let reference = mirrored(&reference, &settings.opening.mirrors)?;
            let reference = chosen(&client, reference, pattern.as_ref())?;
            let digest = client.digest_of(&reference)?.to_string();
            let place = format!("{}/{}", reference.registry(), reference.repository());
            (format!("docker://{place}@{digest}"), Some(digest))
        }
        _ => (settings.source.clone(), None),
    };
    let OpenBase {
        mut environment,
        root,
        image,
        talk: opening,
        ..
    } = base::open(&source, &settings.opening)?;
    talk.extend(opening);
    // Import names and installers cost files of each distribution, so reading an environment leaves them out.
    if let Some(root) = root.as_deref() {
        for distribution in environment.distributions.values_mut() {
            distribution.import_names = import_names(root, distribution);
            distribution.installer = installer(root, distribution);
        }
    }
    let made_from = settings.made_from.clone().unwrap_or_else(|| {
        let source = match &image {
            Some(_) => format!("the image {}", settings.source),
            // The path says something on this machine alone; its last part is a name that people gave.
            None => Path::new(&settings.source["dir:".len()..])
                .file_name()
                .map_or_else(
                    || "an unpacked root".to_owned(),
                    |name| format!("the folder `{}`", name.display()),
                ),
        };
        format!(
            "{source} ({} distributions) as it was on {}",
            environment.distributions.len(),
            settings.today
        )
    });
    Ok(snapshot_of(&environment, &settings.base, made_from, digest))
}

fn from_pins(
    path: &Path,
    settings: &SnapshotSettings,
    catalog: &Catalog,
    talk: &mut Vec<Talk>,
) -> Result<Snapshot, CommandError> {
    let pins = read_text(path)?;
    let count = parse_pins(&pins)?.len();
    let mut target = target(settings, catalog)?;
    target.made_from = settings.made_from.clone().unwrap_or_else(|| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        let libc = target.platform.libc.map_or_else(
            || "an unknown C library".to_owned(),
            |libc| libc.to_string(),
        );
        format!(
            "the pin list {} ({count} distributions) and the package index on {}, with Python {} and {libc} assumed",
            name.display(),
            settings.today,
            target.python_full_version
        )
    });
    let client = IndexClient::new(settings.index.clone(), settings.clock.clone())?;
    let index = ClientIndex::new(&client, settings.index.exclude_newer);
    let snapshot = build_from_pins(&pins, &target, &index)?;
    talk.extend(client.warnings().into_iter().map(Talk::Warning));
    talk.push(Talk::Detail(format!(
        "http requests: {}",
        client.requests_made()
    )));
    Ok(snapshot)
}

/// What the snapshot is a snapshot of: as the command line says, else as the catalog does.
fn target(settings: &SnapshotSettings, catalog: &Catalog) -> Result<SnapshotTarget, CommandError> {
    let base = &settings.base;
    let invalid = |option: &'static str, value: &str| CatalogError::InvalidOption {
        option,
        value: value.to_owned(),
    };
    let libc = match &settings.libc {
        None => None,
        Some(text) => Some(parse_libc(text).ok_or_else(|| invalid("--libc", text))?),
    };
    if let Some(python) = &settings.python {
        let target = SnapshotTarget::new(
            base,
            String::new(),
            python,
            libc,
            &settings.architecture,
            &settings.prefix,
        );
        return Ok(target.ok_or_else(|| invalid("--python", python))?);
    }
    let Some((family, entry)) = known(base, catalog)? else {
        return Err(CatalogError::UnknownPlatform { base: base.clone() }.into());
    };
    let mut target = SnapshotTarget::of_entry(family, entry, String::new())
        .ok_or_else(|| CatalogError::UnknownPlatform { base: base.clone() })?;
    if libc.is_some() {
        target.platform.libc = libc;
    }
    Ok(target)
}

/// The entry of the catalog that has exactly this name.
fn known<'a>(
    base: &str,
    catalog: &'a Catalog,
) -> Result<Option<(&'a Family, &'a Entry)>, CommandError> {
    match BaseReference::parse(base, &catalog.known_families()) {
        Ok(BaseReference::Catalog { family, .. }) => {
            let family = catalog.family(&family)?;
            let entry = family.versions().iter().find(|entry| entry.base() == base);
            Ok(entry.map(|entry| (family, entry)))
        }
        Ok(BaseReference::Directory(_) | BaseReference::Image(_))
        | Err(ReferenceError::UnknownFamily { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn settings(source: &str, base: &str) -> SnapshotSettings {
        SnapshotSettings {
            source: source.to_owned(),
            base: base.to_owned(),
            made_from: None,
            python: None,
            opening: BaseSettings::default(),
            libc: None,
            architecture: "x86_64".to_owned(),
            prefix: "/usr".to_owned(),
            output: None,
            today: "2026-11-24".to_owned(),
            index: IndexSettings {
                offline: true,
                ..IndexSettings::default()
            },
            clock: Arc::new(|| 0),
        }
    }

    #[test]
    fn a_target_comes_from_the_catalog_or_from_options() {
        let catalog = Catalog::embedded().expect("the catalog");
        let known = target(&settings("pins.txt", "tfx:1.12.0"), &catalog).expect("a target");
        assert_eq!(known.python_full_version, "3.7.16");
        assert_eq!(known.platform.abi_flags, "m");
        assert_eq!(known.prefix, "/opt/conda");

        let mut own = settings("pins.txt", "own:1");
        let error = target(&own, &catalog).expect_err("no Python");
        assert_eq!(
            error.to_string(),
            "the catalog does not know `own:1`, so the Python that a snapshot of it is for is not known"
        );
        own.python = Some("3.12.4".to_owned());
        own.libc = Some("musl:1.2".to_owned());
        let own_target = target(&own, &catalog).expect("a target");
        assert_eq!(own_target.platform.python, (3, 12));
        assert_eq!(own_target.prefix, "/usr");
        own.libc = Some("musl".to_owned());
        let error = target(&own, &catalog).expect_err("no C library");
        assert_eq!(error.to_string(), "`musl` is not a value for `--libc`");
        own.libc = None;
        own.python = Some("3".to_owned());
        let error = target(&own, &catalog).expect_err("no version");
        assert_eq!(error.to_string(), "`3` is not a value for `--python`");
    }

    #[test]
    fn a_source_that_cannot_be_read_is_an_error() {
        for source in ["dir:", "dir:no-such-folder", "no-such-file.txt"] {
            let error = snapshot(&settings(source, "tfx:1.16.0")).expect_err(source);
            assert_eq!(error.status(), ExitStatus::BadInput, "{source}: {error}");
        }
    }

    #[test]
    fn an_index_that_is_out_of_reach_is_its_own_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pins.txt");
        write_text(&path, "six==1.16.0\n").expect("a file");
        let source = path.to_str().expect("UTF-8");
        let error = snapshot(&settings(source, "tfx:1.16.0")).expect_err("offline");
        assert_eq!(error.status(), ExitStatus::Remote, "{error}");
        assert!(error.to_string().contains("`six`"), "{error}");
    }

    #[test]
    fn a_base_is_shown_by_pattern() {
        let answer = show("tfx:1.15.x", true, None, &BaseSettings::default()).expect("an answer");
        assert!(answer.data.contains("\"reference\": \"tfx:1.15.1\""));
        let error =
            show("tfx:9", false, None, &BaseSettings::default()).expect_err("no such version");
        assert_eq!(error.status(), ExitStatus::BadInput);
    }
}
