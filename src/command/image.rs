//! From a reference to the environment of its image: open, read the layers, find Python.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr as _;
use std::thread;
use std::time::Duration;

use oci_distribution::Reference;

use crate::environment::{
    Environment, EnvironmentError, FoundInterpreter, PipPlaces, PipSettings, Provenance, Search,
    files_named_by_variables, home_of, list_interpreters, read_pip_settings, read_root,
};
use crate::http::HttpError;
use crate::packaging::Version;
use crate::report::BaseLabel;
use crate::report::inspection::{AttachedFacts, ImageFacts};
use crate::rootfs::retention::{Retention, retention};
use crate::rootfs::{
    InventoryCache, Limits, Overlay, ReadImage, ReadSettings, WantedFiles, read_image,
};
use crate::transport::engine::PATIENCE;
use crate::transport::open::OpenSettings;
use crate::transport::reference::{ImageReference, VersionPattern};
use crate::transport::referrers;
use crate::transport::registry::RegistryClient;
use crate::transport::{Image, OpenedImage, TransportError};

use super::base::{BaseSettings, Mirror, OpenBase};
use super::spool;
use super::{CommandError, Talk};

/// How often layers are read again because a file that turned out to matter was not kept. A file leads to the next in
/// strange images alone: a link whose target has another name.
const MOST_READS_AGAIN: usize = 2;
/// How many layers are read at once, however many processors there are: each takes some 10 MiB, and images have one or two
/// layers that are large.
const MOST_LAYERS_AT_ONCE: usize = 4;
/// `PATH` of an image whose config names none: Docker, containerd and Podman start its programs with this one.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is kept of a file of pip that the image's variables name.
const NAMED_FILE: Retention = Retention::Contents { limit: 1 << 20 };
/// How many tags an error names.
const TAGS_SHOWN: usize = 3;

/// Opens the image that `reference` means, and reads its environment.
///
/// # Errors
/// When the image cannot be had or read, or has no Python that can be read.
pub(super) fn open(
    reference: &ImageReference,
    label: BaseLabel,
    settings: &BaseSettings,
) -> Result<OpenBase, CommandError> {
    let spooled = if settings.needs_image {
        spool::spool(reference, settings)?
    } else {
        None
    };
    let reference = spooled.as_ref().map_or(reference, |(spooled, _)| spooled);
    let client = RegistryClient::new(settings.registry.clone());
    let cache = settings
        .cache_dir
        .as_deref()
        .map(|folder| InventoryCache::new(folder, Duration::from_millis((settings.clock)())));
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MOST_LAYERS_AT_ONCE);

    let mut wanted = WantedFiles::default();
    let mut reads_left = if comes_once(reference) {
        0
    } else {
        MOST_READS_AGAIN
    };
    loop {
        let opened = open_image(reference, &client, settings)?;
        // The image may name files that nothing in their own names tells to keep. Where its configuration comes after
        // its layers, they are read a second time.
        let named = match &opened {
            OpenedImage::Image(image) if settings.reads_pip_settings => files_named_by_variables(
                &|name| variable_of(image, name).map(str::to_owned),
                working_directory(image).unwrap_or("/"),
            ),
            _ => BTreeSet::new(),
        };
        let keep = |path: &str| {
            if named.contains(path) {
                NAMED_FILE
            } else {
                retention(path)
            }
        };
        let ReadImage { image, root } = read_image(
            opened,
            &ReadSettings {
                cache: cache.as_ref(),
                progress: &*settings.progress,
                limits: Limits::default(),
                threads,
                wanted: &wanted,
                retention: &keep,
            },
        )?;
        let found = look(&root, &image, &label, settings);
        if reads_left > 0 && wanted.extend(&root.missed()) {
            reads_left -= 1;
            continue;
        }
        let Seen {
            environment,
            interpreters,
            pip_settings,
        } = found?;
        let mut talk: Vec<Talk> = cache
            .iter()
            .flat_map(InventoryCache::warnings)
            .map(Talk::Warning)
            .collect();
        let mut facts = ImageFacts::of(&image);
        if settings.lists_attached {
            match attached(&image) {
                Ok(attached) => facts.attached = attached,
                // Without the network nobody expects to hear of it.
                Err(TransportError::Http(HttpError::Offline { .. })) => {}
                Err(error) => talk.push(Talk::Note(format!(
                    "it is not known what is attached to the image: {}",
                    error.with_cause()
                ))),
            }
        }
        talk.push(Talk::Detail(format!(
            "registry requests: {}",
            client.requests_made()
        )));
        return Ok(OpenBase {
            label,
            environment,
            image: Some(facts),
            opened: Some(image),
            spooled: spooled.map(|(_, file)| file),
            root: Some(Box::new(root)),
            interpreters,
            pip_settings,
            talk,
        });
    }
}

/// Opens the image that `reference` means, without reading its layers.
///
/// # Errors
/// When the image cannot be had or its documents not be read.
pub(super) fn open_image(
    reference: &ImageReference,
    client: &RegistryClient,
    settings: &BaseSettings,
) -> Result<OpenedImage, TransportError> {
    let from_registry = |reference: &Reference, pattern: Option<&VersionPattern>| {
        let reference = mirrored(reference, &settings.mirrors)?;
        let reference = chosen(client, reference, pattern)?;
        client.open(&reference).map(OpenedImage::Image)
    };
    let open_settings = OpenSettings {
        platform: settings.registry.platform.clone(),
        program_path: settings.program_path.clone(),
        engine_patience: PATIENCE,
        registry: &from_registry,
    };
    crate::transport::open::open(reference, &open_settings)
}

/// What is attached to an image, in an order that does not depend on that of its registry.
fn attached(image: &Image) -> Result<Option<Vec<AttachedFacts>>, TransportError> {
    let found = referrers::list(image, None)?;
    Ok(found.map(|found| {
        let mut facts: Vec<AttachedFacts> = found.iter().map(AttachedFacts::of).collect();
        // Kinds that imgtool knows come first.
        facts.sort_by(|a, b| {
            let key = |one: &AttachedFacts| (one.kind.is_none(), one.kind);
            key(a).cmp(&key(b)).then_with(|| a.cmp(b))
        });
        facts
    }))
}

/// Whether the image cannot be opened a second time.
fn comes_once(reference: &ImageReference) -> bool {
    match reference {
        ImageReference::OciArchive { path, .. } | ImageReference::DockerArchive { path, .. } => {
            path == Path::new("-") || path.metadata().is_ok_and(|metadata| !metadata.is_file())
        }
        _ => false,
    }
}

/// A variable of an image's config; one that is empty is none.
fn variable_of<'a>(image: &'a Image, name: &str) -> Option<&'a str> {
    let config = image.config.config().as_ref();
    config
        .and_then(|config| config.env().as_ref())
        .into_iter()
        .flatten()
        .filter_map(|line| line.split_once('='))
        // Of two, the last counts, as it does for an engine.
        .rfind(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

/// The folder that an image's programs start in; `None` where its config does not say.
fn working_directory(image: &Image) -> Option<&str> {
    let config = image.config.config().as_ref();
    config
        .and_then(|config| config.working_dir().as_deref())
        .filter(|folder| !folder.is_empty())
}

/// What is in an image.
struct Seen {
    environment: Environment,
    interpreters: Vec<FoundInterpreter>,
    pip_settings: Option<PipSettings>,
}

/// Finds the interpreters of an image, and reads the environment of the one that is meant.
fn look(
    root: &Overlay,
    image: &Image,
    label: &BaseLabel,
    settings: &BaseSettings,
) -> Result<Seen, EnvironmentError> {
    let config = image.config.config().as_ref();
    let variable = |name: &str| variable_of(image, name);
    let user = config
        .and_then(|config| config.user().as_deref())
        .unwrap_or_default();
    let home = variable("HOME")
        .map(str::to_owned)
        .or_else(|| home_of(root, user));
    let search = Search {
        python: settings.python.as_deref(),
        path: Some(variable("PATH").unwrap_or(DEFAULT_PATH)),
        python_path: variable("PYTHONPATH"),
        working_directory: working_directory(image),
        python_home: variable("PYTHONHOME"),
        no_user_site: variable("PYTHONNOUSERSITE").is_some(),
        virtual_env: variable("VIRTUAL_ENV"),
        home: home.as_deref(),
    };
    let provenance = Provenance::Image {
        reference: image.reference.clone(),
        digest: image.digest.as_ref().map(ToString::to_string),
    };
    let environment = read_root(root, &label.asked, search, provenance)?;
    let interpreters = if settings.lists_interpreters {
        list_interpreters(root, search)
    } else {
        Vec::new()
    };
    let pip_settings = settings.reads_pip_settings.then(|| {
        let places = PipPlaces {
            variable: &|name| variable(name).map(str::to_owned),
            home: home.as_deref(),
            prefix: &environment.interpreter.prefix,
            working_directory: working_directory(image).unwrap_or("/"),
            whole_root: true,
        };
        read_pip_settings(root, places)
    });
    Ok(Seen {
        environment,
        interpreters,
        pip_settings,
    })
}

/// The reference with the tag that `pattern` means, where there is one.
///
/// # Errors
/// When the registry cannot be asked or has no such tag.
pub(super) fn chosen(
    client: &RegistryClient,
    reference: Reference,
    pattern: Option<&VersionPattern>,
) -> Result<Reference, TransportError> {
    let Some(pattern) = pattern else {
        return Ok(reference);
    };
    let (registry, repository) = (reference.registry(), reference.repository());
    let tags = client.tags(&reference)?;
    let tag = select_tag(pattern, &tags).ok_or_else(|| {
        TransportError::NotFound(format!(
            "docker://{registry}/{repository} has no tag `{pattern}`: it has {} tags{}",
            tags.len(),
            newest_of(&tags)
        ))
    })?;
    Ok(Reference::with_tag(
        registry.to_owned(),
        repository.to_owned(),
        tag,
    ))
}

/// The reference in the registry that stands in for its own.
///
/// # Errors
/// When the mirror is no place of a registry.
pub(super) fn mirrored(
    reference: &Reference,
    mirrors: &[Mirror],
) -> Result<Reference, TransportError> {
    let Some(mirror) = mirrors
        .iter()
        .find(|mirror| mirror.registry == reference.registry())
    else {
        return Ok(reference.clone());
    };
    let location = mirror.location.trim_end_matches('/');
    let name = reference.to_string();
    let rest = name
        .strip_prefix(reference.registry())
        .unwrap_or(name.as_str());
    parse(&format!("{location}{rest}"))
}

/// The reference that `text` is.
///
/// # Errors
/// When it is none.
pub(super) fn parse(text: &str) -> Result<Reference, TransportError> {
    Reference::from_str(text).map_err(|error| TransportError::Invalid {
        what: format!("the reference `{text}`"),
        reason: error.to_string(),
    })
}

/// The tag that `pattern` means: of those that are versions the newest that fits.
pub(super) fn select_tag(pattern: &VersionPattern, tags: &[String]) -> Option<String> {
    let versions = versions_of(tags);
    let known: Vec<(&str, &Version)> = versions
        .iter()
        .map(|(tag, version)| (*tag, version))
        .collect();
    pattern
        .select(&known)
        .map(|place| known[place].0.to_owned())
}

/// The newest of the tags that are versions, in words for the end of a sentence.
pub(super) fn newest_of(tags: &[String]) -> String {
    let mut versions = versions_of(tags);
    versions.sort_by(|a, b| b.1.cmp(&a.1));
    let newest: Vec<&str> = versions
        .iter()
        .take(TAGS_SHOWN)
        .map(|(tag, _)| *tag)
        .collect();
    if newest.is_empty() {
        String::new()
    } else {
        format!(", the newest are {}", newest.join(", "))
    }
}

/// The tags that are versions, in their order.
fn versions_of(tags: &[String]) -> Vec<(&str, Version)> {
    tags.iter()
        .filter_map(|tag| Some((tag.as_str(), Version::from_str(tag).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    #[test]
    fn a_pattern_chooses_among_tags_that_are_versions() {
        let tags = tags(&[
            "latest",
            "1.9.0",
            "1.16.0",
            "1.17.0rc1",
            "nightly-2026",
            "1.15.1",
        ]);
        let select = |pattern: &str| select_tag(&pattern.parse().expect("a pattern"), &tags);
        assert_eq!(select("1.x").as_deref(), Some("1.16.0"));
        assert_eq!(select("1.15.x").as_deref(), Some("1.15.1"));
        assert_eq!(select("1.17").as_deref(), Some("1.17.0rc1"));
        assert_eq!(select("2.x"), None);
        assert_eq!(
            newest_of(&tags),
            ", the newest are 1.17.0rc1, 1.16.0, 1.15.1"
        );
        assert_eq!(newest_of(&[]), "");
    }

    #[test]
    fn a_mirror_stands_in_for_one_registry() {
        let mirrors = [Mirror {
            registry: "registry.example".to_owned(),
            location: "mirror.example:5000/cache/".to_owned(),
        }];
        let at = |text: &str| {
            let reference = parse(text).expect("a reference");
            mirrored(&reference, &mirrors)
                .expect("a reference")
                .to_string()
        };
        assert_eq!(
            at("registry.example/team/base:1.0"),
            "mirror.example:5000/cache/team/base:1.0"
        );
        assert_eq!(
            at("other.example/team/base:1.0"),
            "other.example/team/base:1.0"
        );
    }
}
