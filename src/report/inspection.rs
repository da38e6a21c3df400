//! What `imgtool inspect` found, as every form of its answer reads it.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::image::Descriptor;

use crate::environment::{CondaPackage, Environment, Footprint, FoundInterpreter};
use crate::image::AttachmentKind;
use crate::packaging::{PackageName, Requirement};
use crate::resolution::base::requirements_of_extra;
use crate::transport::Image;

use super::BaseLabel;

/// An environment and what is known around it.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// What the base is called.
    pub label: BaseLabel,
    /// The environment; installers of its distributions are filled in where they are known.
    pub environment: Environment,
    /// Every interpreter of the root; empty where there is no root to search: a prefix, a snapshot.
    pub interpreters: Vec<FoundInterpreter>,
    /// The image; `None` for a folder and a snapshot.
    pub image: Option<ImageFacts>,
    /// Size and layers of each distribution, where they were asked for.
    pub footprints: Option<BTreeMap<PackageName, Footprint>>,
}

/// What an image says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// The image as a person would name it again, transport included, without credentials.
    pub reference: String,
    /// Digest of its manifest, where it has one.
    pub manifest_digest: Option<String>,
    /// `OS/ARCH` or `OS/ARCH/VARIANT`.
    pub platform: String,
    /// When it was created, as its configuration says it (RFC 3339).
    pub created: Option<String>,
    /// Its layers, lowest first.
    pub layers: Vec<LayerFacts>,
    /// What is attached to it; `None` where it is not known or was not asked for.
    pub attached: Option<Vec<AttachedFacts>>,
}

/// Something that is attached to an image: a manifest that names the image as its subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachedFacts {
    /// What it is, where imgtool attaches such itself.
    pub kind: Option<AttachmentKind>,
    /// Its type as its manifest or the list says it; empty where neither does.
    pub artifact_type: String,
    /// When it was created, as its annotations say it.
    pub created: Option<String>,
    /// Digest of its manifest.
    pub digest: String,
    /// Size of its manifest in bytes.
    pub size: u64,
}

impl AttachedFacts {
    /// What a list of referrers says of one.
    #[must_use]
    pub fn of(referrer: &Descriptor) -> Self {
        let artifact_type = referrer
            .artifact_type()
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        Self {
            kind: AttachmentKind::of(referrer),
            artifact_type,
            created: referrer
                .annotations()
                .as_ref()
                .and_then(|annotations| annotations.get("org.opencontainers.image.created"))
                .cloned(),
            digest: referrer.digest().to_string(),
            size: referrer.size(),
        }
    }
}

/// One layer of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayerFacts {
    /// Place in the image, from 0, lowest first.
    pub index: usize,
    /// Digest of the blob, where the medium says it.
    pub digest: Option<String>,
    /// Digest of the uncompressed archive.
    pub diff_id: String,
    /// Size of the blob in bytes, where it is known.
    pub size: Option<u64>,
    /// The command that made the layer, as the image's history has it.
    pub created_by: Option<String>,
}

impl ImageFacts {
    /// What `image` says of itself.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        let config = &image.config;
        let mut platform = format!("{}/{}", config.os(), config.architecture());
        if let Some(variant) = config.variant().as_deref().filter(|text| !text.is_empty()) {
            platform.push('/');
            platform.push_str(variant);
        }
        // History has an entry for each step; those that changed no file have no layer. One that does not come out even
        // tells of no layer which step made it.
        let steps: Vec<Option<&String>> = config
            .history()
            .iter()
            .flatten()
            .filter(|step| step.empty_layer() != Some(true))
            .map(|step| step.created_by().as_ref())
            .collect();
        let is_even = steps.len() == image.layers.len();
        let layers = image
            .layers
            .iter()
            .map(|layer| LayerFacts {
                index: layer.index,
                digest: layer.digest.as_ref().map(ToString::to_string),
                diff_id: layer.diff_id.to_string(),
                size: layer.size,
                created_by: steps
                    .get(layer.index)
                    .copied()
                    .flatten()
                    .filter(|step| is_even && !step.trim().is_empty())
                    .cloned(),
            })
            .collect();
        Self {
            reference: image.reference.clone(),
            manifest_digest: image.digest.as_ref().map(ToString::to_string),
            platform,
            created: config.created().clone(),
            layers,
            attached: None,
        }
    }
}

impl Inspection {
    /// The footprint of an installed distribution, where footprints were asked for.
    #[must_use]
    pub fn footprint(&self, name: &PackageName) -> Option<&Footprint> {
        self.footprints.as_ref()?.get(name)
    }

    /// The layer that brought the metadata of an installed distribution, where that is known.
    #[must_use]
    pub fn layer_of(&self, name: &PackageName) -> Option<&LayerFacts> {
        let index = self.footprint(name)?.layer?;
        self.image.as_ref()?.layers.get(index)
    }

    /// Whether `interpreter` is the one whose environment this is.
    #[must_use]
    pub fn is_inspected(&self, interpreter: &FoundInterpreter) -> bool {
        interpreter.prefix == self.environment.interpreter.prefix
            && interpreter.version == self.environment.interpreter.version
    }

    /// How many installed distributions have their metadata in each layer, by the layer's place.
    #[must_use]
    pub fn distributions_by_layer(&self) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for footprint in self.footprints.iter().flat_map(BTreeMap::values) {
            if let Some(layer) = footprint.layer {
                *counts.entry(layer).or_default() += 1;
            }
        }
        counts
    }

    /// The notes on the environment. Why its interpreter is read is the first; the other ones are named by it only where
    /// they are not listed.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let are_listed = self.interpreters.len() > 1;
        match &self.environment.choice {
            Some(choice) if are_listed => [&choice.reason]
                .into_iter()
                .chain(&self.environment.notes)
                .cloned()
                .collect(),
            _ => self.environment.all_notes().collect(),
        }
    }

    /// What conda recorded under the names of installed distributions. Where its version is not the one that is
    /// installed, something else has replaced it since.
    #[must_use]
    pub fn conda_records(&self) -> BTreeMap<PackageName, &CondaPackage> {
        self.environment
            .conda_packages
            .iter()
            .filter_map(|package| Some((package.name.parse::<PackageName>().ok()?, package)))
            .filter(|(name, _)| self.environment.distributions.contains_key(name))
            .collect()
    }

    /// The packages of conda that are no installed distribution: libraries, programs, the interpreter itself.
    pub fn conda_only(&self) -> impl Iterator<Item = &CondaPackage> {
        self.environment.conda_packages.iter().filter(|package| {
            package.name.parse::<PackageName>().map_or(true, |name| {
                !self.environment.distributions.contains_key(&name)
            })
        })
    }

    /// Which installed distribution requires which, in the order of their names:
    /// markers evaluated for the environment, extras that another distribution asks for included, and nothing that is
    /// not installed.
    #[must_use]
    pub fn dependencies(&self) -> BTreeMap<&PackageName, Vec<&PackageName>> {
        let environment = &self.environment;
        let mut found: BTreeMap<&PackageName, Vec<&PackageName>> = BTreeMap::new();
        // Each distribution with each extra that is asked of it is looked at once; `None` is itself, without extras.
        let mut waiting: Vec<(PackageName, Option<_>)> = environment
            .distributions
            .keys()
            .map(|name| (name.clone(), None))
            .collect();
        let mut seen: BTreeSet<_> = waiting.iter().cloned().collect();
        while let Some((name, extra)) = waiting.pop() {
            let Some((name, distribution)) = environment.distributions.get_key_value(&name) else {
                continue;
            };
            let requirements: Vec<Requirement> = match &extra {
                None => distribution
                    .requires_dist
                    .iter()
                    .filter_map(|text| Requirement::parse_lenient(text).ok())
                    .filter(|requirement| requirement.applies(&environment.markers))
                    .collect(),
                Some(extra) => requirements_of_extra(distribution, extra, &environment.markers),
            };
            let edges = found.entry(name).or_default();
            for requirement in requirements {
                let required = environment.distributions.get_key_value(&requirement.name);
                if let Some((required, _)) = required
                    && required != name
                {
                    edges.push(required);
                }
                for extra in requirement.extras {
                    let asked = (requirement.name.clone(), Some(extra));
                    if seen.insert(asked.clone()) {
                        waiting.push(asked);
                    }
                }
            }
        }
        for edges in found.values_mut() {
            edges.sort_unstable();
            edges.dedup();
        }
        found
    }
}
