//! From what a user calls a base to its environment: an entry of the catalog, an image, or a folder that is read.
//!
//! A name of the catalog means an image of a registry. It is read where the registry can be reached; the snapshot that
//! the program carries stands in for it where it is exact (the tag still leads to the digest that the snapshot was read
//! from), where the registry cannot be reached, and where the user wants no network. Which it was is always told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempPath;

use crate::catalog::snapshot::Snapshot;
use crate::catalog::{Catalog, Entry};
use crate::environment::{
    Environment, FoundInterpreter, PipPlaces, PipSettings, Search, home_of, list_interpreters,
    read_directory, read_pip_settings,
};
use crate::http::HttpError;
use crate::package_index::Clock;
use crate::report::BaseLabel;
use crate::report::inspection::ImageFacts;
use crate::rootfs::{DirectoryRoot, LayerProgress, RootFs, Silent};
use crate::transport::layout::packed_image;
use crate::transport::platform::OciPlatform;
use crate::transport::reference::{BaseReference, ImageReference, ReferenceError, VersionPattern};
use crate::transport::registry::{RegistryClient, RegistrySettings};
use crate::transport::{Image, TransportError};

use super::image::{self, mirrored, select_tag};
use super::snapshot::{check_python, environment_of};
use super::{CommandError, Talk};

/// How long a registry may take to say what a tag of the catalog is, before the snapshot stands in for the image.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a base is opened.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each of them is asked for by another verb"
)]
pub struct BaseSettings {
    /// The interpreter that is wanted, by version or path, where the base has several.
    pub python: Option<String>,
    /// How registries are asked, and which platform is chosen.
    pub registry: RegistrySettings,
    /// Registries that stand in for others.
    pub mirrors: Vec<Mirror>,
    /// Whether names of the catalog mean its snapshots, whatever the registry has.
    pub snapshot: bool,
    /// Folders in which the programs of engines are looked for, in order.
    pub program_path: Vec<PathBuf>,
    /// Folder of the cache, in which the inventories of layers are kept; `None` keeps none.
    pub cache_dir: Option<PathBuf>,
    /// The time, for the age of what is cached.
    pub clock: Clock,
    /// Who is told how far layers have come.
    pub progress: Arc<dyn LayerProgress + Send + Sync>,
    /// Whether all interpreters of the root are listed.
    pub lists_interpreters: bool,
    /// Whether it is read what the root's pip is told.
    pub reads_pip_settings: bool,
    /// Whether nothing but an image will do: no snapshot stands in for one then, and a folder is an error.
    pub needs_image: bool,
    /// Folder for what is too large for memory, where there is no cache.
    pub temporary: PathBuf,
    /// Whether it is asked what is attached to an image.
    pub lists_attached: bool,
}

impl Default for BaseSettings {
    /// Nothing is cached, nobody is told anything, no engine is found, and the clock stands still.
    fn default() -> Self {
        Self {
            python: None,
            registry: RegistrySettings::default(),
            mirrors: Vec::new(),
            snapshot: false,
            program_path: Vec::new(),
            cache_dir: None,
            clock: Arc::new(|| 0),
            progress: Arc::new(Silent),
            lists_interpreters: false,
            reads_pip_settings: false,
            needs_image: false,
            temporary: PathBuf::from("/var/tmp"),
            lists_attached: false,
        }
    }
}

impl fmt::Debug for BaseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaseSettings")
            .field("python", &self.python)
            .field("registry", &self.registry)
            .field("mirrors", &self.mirrors)
            .field("snapshot", &self.snapshot)
            .field("cache_dir", &self.cache_dir)
            .finish_non_exhaustive()
    }
}

/// A registry that stands in for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The registry that is named, `host` or `host:port`.
    pub registry: String,
    /// The registry that is asked, `host[:port][/prefix]`: the prefix comes before the repository.
    pub location: String,
}

/// A base whose environment is known.
pub struct OpenBase {
    /// What reports call it.
    pub label: BaseLabel,
    /// What is installed in it.
    pub environment: Environment,
    /// The root that it was read from; `None` for a snapshot.
    pub root: Option<Box<dyn RootFs>>,
    /// All interpreters of the root, where they were asked for and the root is the base: around a prefix lies the rest of
    /// the machine, about which nobody asked.
    pub interpreters: Vec<FoundInterpreter>,
    /// What the pip of the root is told, where that was asked for.
    pub pip_settings: Option<PipSettings>,
    /// What the image says of itself, where it is one.
    pub image: Option<ImageFacts>,
    /// The image, where it is one.
    pub opened: Option<Image>,
    /// The file that its layers were copied to, where they would have come only once; it goes away with this value.
    pub spooled: Option<TempPath>,
    /// What is worth knowing about the way here.
    pub talk: Vec<Talk>,
}

/// Opens the base that `reference` means.
///
/// # Errors
/// When the reference is malformed or matches nothing, or the environment cannot be read.
pub fn open(reference: &str, settings: &BaseSettings) -> Result<OpenBase, CommandError> {
    let catalog = Catalog::embedded()?;
    match BaseReference::parse(reference, &catalog.known_families())? {
        BaseReference::Catalog { family, version } => {
            open_catalog(&catalog, &family, &version, reference, settings)
        }
        BaseReference::Directory(_) if settings.needs_image => {
            Err(CommandError::NoImage(reference.to_owned()))
        }
        BaseReference::Directory(path) => open_folder(&path, reference, settings),
        BaseReference::Image(image) => {
            let label = BaseLabel {
                reference: reference.to_owned(),
                asked: reference.to_owned(),
                layers: BTreeMap::new(),
                index_end: None,
            };
            image::open(&image, label, settings)
        }
    }
}

/// Reads the environment of the folder at `path`.
///
/// # Errors
/// As [`read_directory`]; a folder that holds an image instead of its files is told apart from one that holds nothing.
pub(super) fn read_folder(path: &Path, python: Option<&str>) -> Result<Environment, CommandError> {
    read_directory(path, python).map_err(|error| match packed_image(path) {
        Some(hint) => ReferenceError::PackedFolder {
            path: path.display().to_string(),
            hint,
        }
        .into(),
        None => error.into(),
    })
}

fn open_folder(
    path: &Path,
    reference: &str,
    settings: &BaseSettings,
) -> Result<OpenBase, CommandError> {
    let environment = read_folder(path, settings.python.as_deref())?;
    let mut talk = Vec::new();
    if settings.registry.platform.is_some() {
        talk.push(Talk::Note(
            "`--platform` chooses among the images of an index, and this base is none".to_owned(),
        ));
    }
    // The environment has just been read from there.
    let (root, is_whole) =
        DirectoryRoot::around(path).map_err(|source| CommandError::ReadFile {
            path: path.to_owned(),
            error: source,
        })?;
    let pip_settings = settings.reads_pip_settings.then(|| {
        let home = is_whole.then(|| home_of(&root, "")).flatten();
        let places = PipPlaces {
            // A folder does not say which its programs start with.
            variable: &|_| None,
            home: home.as_deref(),
            prefix: &environment.interpreter.prefix,
            working_directory: "/",
            whole_root: is_whole,
        };
        read_pip_settings(&root, places)
    });
    let interpreters = if settings.lists_interpreters && is_whole {
        list_interpreters(&root, Search::default())
    } else {
        Vec::new()
    };
    Ok(OpenBase {
        label: BaseLabel {
            reference: reference.to_owned(),
            asked: reference.to_owned(),
            layers: BTreeMap::new(),
            index_end: None,
        },
        environment,
        root: Some(Box::new(root)),
        interpreters,
        pip_settings,
        image: None,
        opened: None,
        spooled: None,
        talk,
    })
}

/// What the registry says of a name of the catalog.
enum Live {
    /// There is such an image: its tag, and the digest that the tag has now.
    Image { tag: String, digest: String },
    /// The registry cannot be asked, and why.
    OutOfReach(String),
}

fn open_catalog(
    catalog: &Catalog,
    family: &str,
    version: &VersionPattern,
    asked: &str,
    settings: &BaseSettings,
) -> Result<OpenBase, CommandError> {
    let known = catalog.select(family, version);
    let wants_snapshot = settings.snapshot || settings.registry.http.offline;
    if wants_snapshot && !settings.needs_image {
        return open_snapshot(known?, asked, settings, Vec::new());
    }
    if settings.snapshot {
        return Err(CommandError::NoImage(format!("the snapshot of {asked}")));
    }
    let repository = catalog.family(family)?.repository();
    match ask_registry(repository, version, settings)? {
        Live::OutOfReach(reason) if settings.needs_image => {
            let name = format!("{repository}:{version}");
            Err(CommandError::OutOfReach { name, reason })
        }
        Live::OutOfReach(reason) => {
            let talk = Talk::Note(format!(
                "the image cannot be asked for, so the snapshot stands in for it: {reason} (`--snapshot` does not ask)"
            ));
            open_snapshot(known?, asked, settings, vec![talk])
        }
        Live::Image { tag, digest } => {
            let base = format!("{family}:{tag}");
            let of_this_tag = known.ok().filter(|entry| entry.base() == base);
            if !settings.needs_image
                && let Some(entry) = of_this_tag
                && is_exact(
                    &entry.snapshot()?,
                    &digest,
                    settings.registry.platform.as_ref(),
                )
            {
                let talk = Talk::Note(format!(
                    "the snapshot of {base} is that of {digest}, which the registry has"
                ));
                return open_snapshot(entry, asked, settings, vec![talk]);
            }
            let label = BaseLabel {
                reference: base,
                asked: asked.to_owned(),
                layers: BTreeMap::new(),
                index_end: None,
            };
            let reference = ImageReference::Registry {
                reference: image::parse(&format!("{repository}:{tag}"))?,
                pattern: None,
            };
            image::open(&reference, label, settings)
        }
    }
}

/// Whether a snapshot is of the image that would be read: from what the tag leads to now, and for the platform that would
/// be chosen there.
fn is_exact(snapshot: &Snapshot, digest: &str, platform: Option<&OciPlatform>) -> bool {
    let here = OciPlatform::of_this_machine();
    let of_snapshot = OciPlatform::new("linux", &snapshot.architecture, "");
    snapshot.digest.as_deref() == Some(digest) && platform.unwrap_or(&here).matches(&of_snapshot)
}

/// Asks the registry of a family which image is meant, without losing much time where it cannot be reached.
fn ask_registry(
    repository: &str,
    version: &VersionPattern,
    settings: &BaseSettings,
) -> Result<Live, CommandError> {
    let mut quick = settings.registry.clone();
    quick.http.retries = 0;
    quick.http.connect_timeout = PATIENCE;
    quick.http.read_timeout = PATIENCE;
    let client = RegistryClient::new(quick);
    let at = |tag: &str| -> Result<_, CommandError> {
        let reference = image::parse(&format!("{repository}:{tag}"))?;
        Ok(mirrored(&reference, &settings.mirrors)?)
    };
    if let VersionPattern::Tag(tag) = version {
        match client.digest_within(&at(tag)?, PATIENCE) {
            Ok(digest) => {
                return Ok(Live::Image {
                    tag: tag.clone(),
                    digest: digest.to_string(),
                });
            }
            // It may be the beginning of one: `1.16`.
            Err(error) if matches!(error.own(), TransportError::NotFound(_)) => {}
            Err(error) => return out_of_reach(error),
        }
    }
    let tags = match client.tags(&at("latest")?) {
        Ok(tags) => tags,
        Err(error) => return out_of_reach(error),
    };
    let tag = select_tag(version, &tags).ok_or_else(|| {
        CommandError::CatalogImage(TransportError::NotFound(format!(
            "{repository} has no tag `{version}`: it has {} tags{}",
            tags.len(),
            image::newest_of(&tags)
        )))
    })?;
    match client.digest_within(&at(&tag)?, PATIENCE) {
        Ok(digest) => Ok(Live::Image {
            tag,
            digest: digest.to_string(),
        }),
        Err(error) => out_of_reach(error),
    }
}

/// A registry that does not answer leaves the snapshot; one that answers anything else than an image is an error, or who
/// stands in between could choose what is read.
fn out_of_reach(error: TransportError) -> Result<Live, CommandError> {
    match error.own() {
        TransportError::Http(HttpError::Unreachable { .. } | HttpError::Timeout { .. }) => {
            Ok(Live::OutOfReach(error.with_cause()))
        }
        _ => Err(CommandError::CatalogImage(error)),
    }
}

fn open_snapshot(
    entry: &Entry,
    asked: &str,
    settings: &BaseSettings,
    talk: Vec<Talk>,
) -> Result<OpenBase, CommandError> {
    let environment = environment_of(entry.snapshot()?)?;
    if let Some(wanted) = &settings.registry.platform {
        let of_snapshot = OciPlatform::new("linux", &environment.platform.architecture, "");
        if !wanted.matches(&of_snapshot) {
            return Err(TransportError::NotFound(format!(
                "the snapshot of {} is for {of_snapshot}, not for {wanted}",
                entry.base()
            ))
            .into());
        }
    }
    check_python(
        entry.base(),
        &environment.interpreter,
        settings.python.as_deref(),
    )?;
    Ok(OpenBase {
        label: BaseLabel {
            reference: entry.base().to_owned(),
            asked: asked.to_owned(),
            layers: BTreeMap::new(),
            index_end: None,
        },
        environment,
        root: None,
        interpreters: Vec::new(),
        pip_settings: None,
        image: None,
        opened: None,
        spooled: None,
        talk,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_exact_for_its_digest_and_its_platform() {
        let catalog = Catalog::embedded().expect("a catalog");
        let version = "1.16.0".parse().expect("a version");
        let entry = catalog.select("tfx", &version).expect("an entry");
        let mut snapshot = entry.snapshot().expect("a snapshot");
        assert_eq!(snapshot.architecture, "x86_64");
        let amd64: OciPlatform = "linux/amd64".parse().expect("a platform");
        let arm64: OciPlatform = "linux/arm64".parse().expect("a platform");
        assert!(
            !is_exact(&snapshot, "sha256:1", Some(&amd64)),
            "made from pins"
        );
        snapshot.digest = Some("sha256:1".to_owned());
        assert!(is_exact(&snapshot, "sha256:1", Some(&amd64)));
        assert!(!is_exact(&snapshot, "sha256:2", Some(&amd64)));
        assert!(!is_exact(&snapshot, "sha256:1", Some(&arm64)));
        let here = OciPlatform::of_this_machine();
        assert_eq!(
            is_exact(&snapshot, "sha256:1", None),
            here.matches(&amd64),
            "without a platform, this machine's is chosen"
        );
    }
}
