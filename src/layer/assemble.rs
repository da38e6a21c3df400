//! From installed wheels and distributions that leave to the contents of a layer.

use std::collections::{BTreeMap, BTreeSet};

use super::base_files::Listings;
use super::collisions::{self, CollisionError, Placement};
use super::removals::{self, EmptiedFolders, RemovalError};
use super::{InstalledWheel, LayerContents, LayerEntry};
use crate::environment::{Environment, InstallationScheme, SchemeError, installation_scheme};
use crate::image_path::ImagePath;
use crate::packaging::{PackageName, Version};
use crate::rootfs::{Attributes, EntryKind, RootFs, RootFsError};

/// Permissions of new folders.
const NEW_FOLDER: u32 = 0o755;

/// Makes what is created in a folder belong to its group, and new folders do the same (`inode(7)`).
const SET_GROUP_ID: u32 = 0o2000;

/// Why no layer can be made.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// It cannot be told where things are installed.
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    /// Something cannot be removed.
    #[error(transparent)]
    Removal(#[from] RemovalError),
    /// Something cannot be written where it belongs.
    #[error(transparent)]
    Collision(#[from] CollisionError),
    /// The root file system did not answer.
    #[error(transparent)]
    RootFs(#[from] RootFsError),
}

impl AssembleError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Scheme(error) => error.hint(),
            Self::Removal(RemovalError::NotInstalled { .. } | RemovalError::RootFs(_))
            | Self::RootFs(_)
            | Self::Collision(_) => None,
            Self::Removal(_) => Some(
                "requirements that the base's version meets leave it as it is; to replace it, change the base".to_owned(),
            ),
        }
    }
}

/// What a layer consists of that installs and removes distributions.
#[derive(Debug, Clone, Default)]
pub struct Assembled {
    /// All of it.
    pub contents: LayerContents,
    /// The new distributions in the order in which they were given, with the paths of the entries that each brings.
    pub distributions: Vec<AssembledDistribution>,
    /// Number of files of the base that are gone, those that are written anew left out.
    pub removed_files: usize,
    /// Number of files of the base that are written anew.
    pub replaced_files: usize,
    /// What is worth telling, one sentence each.
    pub notes: Vec<String>,
}

/// What one new distribution brings.
#[derive(Debug, Clone)]
pub struct AssembledDistribution {
    /// Its normalized name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Real paths of its files, also of those that it has in common with another.
    pub paths: BTreeSet<ImagePath>,
}

/// The part of a layer that belongs to one distribution.
#[derive(Debug, Clone)]
pub struct DistributionLayer {
    /// Name and version of the distribution; `None` where nothing is installed and the layer only removes.
    pub distribution: Option<(PackageName, Version)>,
    /// Its files, the folders that lead to them, and in the first layer all whiteouts.
    pub contents: LayerContents,
}

impl Assembled {
    /// The contents as one layer for each distribution, to be laid over one another in this order. Each has the metadata
    /// beside the files, as scanners read one layer at a time; what is removed is in the first.
    #[must_use]
    pub fn per_distribution(&self) -> Vec<DistributionLayer> {
        let is_whiteout = |path: &&ImagePath| {
            matches!(self.contents.entries.get(path), Some(LayerEntry::Whiteout))
        };
        let whiteouts: BTreeSet<&ImagePath> =
            self.contents.entries.keys().filter(is_whiteout).collect();
        let mut layers: Vec<DistributionLayer> = self
            .distributions
            .iter()
            .enumerate()
            .map(|(place, distribution)| {
                let removed = whiteouts.iter().copied().filter(|_| place == 0);
                DistributionLayer {
                    distribution: Some((distribution.name.clone(), distribution.version.clone())),
                    contents: self.part(distribution.paths.iter().chain(removed)),
                }
            })
            .collect();
        if layers.is_empty() && !whiteouts.is_empty() {
            layers.push(DistributionLayer {
                distribution: None,
                contents: self.contents.clone(),
            });
        }
        layers
    }

    fn part<'a>(&self, paths: impl Iterator<Item = &'a ImagePath>) -> LayerContents {
        let mut part = LayerContents::default();
        for path in paths {
            let Some(entry) = self.contents.entries.get(path) else {
                continue;
            };
            part.entries.insert(path.clone(), entry.clone());
            let mut folder = path.parent();
            while let Some(at) = folder {
                let Some(attributes) = self.contents.directories.get(&at) else {
                    break;
                };
                folder = at.parent();
                if part.directories.insert(at, *attributes).is_some() {
                    break;
                }
            }
        }
        part
    }
}

/// Makes the contents of the layer that brings `installed` to `base`, in which `environment` was read, and takes `leaving`
/// away. What is installed and has a predecessor of the same name there replaces it, named in `leaving` or not.
///
/// New files and folders belong to whom the nearest folder of the base belongs to.
///
/// # Errors
/// When something cannot be removed safely, two distributions want one path, something is in the way, or the base does not
/// answer.
pub fn assemble(
    base: &dyn RootFs,
    environment: &Environment,
    installed: Vec<InstalledWheel>,
    leaving: &[PackageName],
) -> Result<Assembled, AssembleError> {
    let scheme = installation_scheme(base, environment)?;
    let mut listings = Listings::new(base);
    let names: Vec<PackageName> = installed.iter().map(|wheel| wheel.name.clone()).collect();
    let new: BTreeSet<&PackageName> = names.iter().collect();
    let is_there = |name: &&&PackageName| environment.distributions.contains_key(**name);
    let leaving: BTreeSet<&PackageName> = new
        .iter()
        .filter(is_there)
        .copied()
        .chain(leaving)
        .collect();
    let removals = removals::plan(&mut listings, environment, &scheme, &leaving, &new)?;

    let mut notes = Vec::new();
    let mut versions = Vec::new();
    for wheel in &installed {
        versions.push(wheel.version.clone());
        notes.extend(wheel.notes.iter().cloned());
    }
    let placement = collisions::place(base, installed, &removals)?;
    let written: BTreeSet<ImagePath> = placement.files.keys().cloned().collect();
    let kept = kept_folders(environment, &scheme);
    let mut emptied = EmptiedFolders::new(&removals.files, &written, &kept);
    let met = collisions::check_base(
        &mut listings,
        environment,
        &names,
        &removals,
        &mut emptied,
        &placement,
    )?;
    let whiteouts = emptied.whiteouts(&mut listings)?;
    let replaced_files = removals.files.intersection(&written).count();
    notes.extend(removals.notes.iter().cloned());
    notes.extend(placement.notes.iter().cloned());
    notes.extend(met);
    let distributions = distributions(&names, versions, &placement);
    Ok(Assembled {
        contents: contents(&mut listings, placement, whiteouts)?,
        distributions,
        removed_files: removals.files.len() - replaced_files,
        replaced_files,
        notes,
    })
}

/// Folders that an environment has even where nothing is in them.
fn kept_folders(environment: &Environment, scheme: &InstallationScheme) -> BTreeSet<ImagePath> {
    let interpreter = &environment.interpreter;
    let own = [&interpreter.prefix];
    let own = own.into_iter().chain(&interpreter.site_directories);
    let mut kept: BTreeSet<ImagePath> = own.map(|path| ImagePath::new(path)).collect();
    kept.extend(
        [
            &scheme.purelib,
            &scheme.platlib,
            &scheme.scripts,
            &scheme.headers,
            &scheme.data,
        ]
        .into_iter()
        .cloned(),
    );
    kept
}

fn distributions(
    names: &[PackageName],
    versions: Vec<Version>,
    placement: &Placement,
) -> Vec<AssembledDistribution> {
    let mut distributions: Vec<AssembledDistribution> = names
        .iter()
        .zip(versions)
        .map(|(name, version)| AssembledDistribution {
            name: name.clone(),
            version,
            paths: BTreeSet::new(),
        })
        .collect();
    for (path, placed) in &placement.files {
        distributions[placed.distribution]
            .paths
            .insert(path.clone());
    }
    for ((_, second), paths) in &placement.shared {
        distributions[*second].paths.extend(paths.iter().cloned());
    }
    distributions
}

/// Puts together entries and the folders that lead to them.
fn contents(
    listings: &mut Listings<'_>,
    placement: Placement,
    whiteouts: BTreeSet<ImagePath>,
) -> Result<LayerContents, RootFsError> {
    let base = listings.root();
    let attributes_of = |folder: &ImagePath| -> Result<Attributes, RootFsError> {
        Ok(base.attributes(folder)?.unwrap_or(Attributes::IMPLIED))
    };
    // In this order a folder comes before what lies in it.
    let mut folders: BTreeSet<ImagePath> = BTreeSet::new();
    for path in placement.files.keys().chain(&whiteouts) {
        let mut folder = path.parent();
        while let Some(at) = folder {
            folder = at.parent();
            if at.is_root() || !folders.insert(at) {
                break;
            }
        }
    }
    let mut directories: BTreeMap<ImagePath, Attributes> = BTreeMap::new();
    for folder in folders {
        let attributes = if listings.kind(&folder)? == Some(EntryKind::Directory) {
            attributes_of(&folder)?
        } else {
            let parent = folder.parent().unwrap_or_else(ImagePath::root);
            let above = match directories.get(&parent) {
                Some(attributes) => *attributes,
                None => attributes_of(&parent)?,
            };
            Attributes {
                mode: NEW_FOLDER | (above.mode & SET_GROUP_ID),
                ..above
            }
        };
        directories.insert(folder, attributes);
    }
    let mut owners: BTreeMap<ImagePath, Attributes> = BTreeMap::new();
    let mut entries: BTreeMap<ImagePath, LayerEntry> = BTreeMap::new();
    for (path, placed) in placement.files {
        let owner = match owners.get(&placed.nearest) {
            Some(owner) => *owner,
            None => attributes_of(&placed.nearest)?,
        };
        let mut file = placed.file;
        file.attributes.uid = owner.uid;
        file.attributes.gid = owner.gid;
        owners.insert(placed.nearest, owner);
        entries.insert(path, LayerEntry::File(file));
    }
    entries.extend(
        whiteouts
            .into_iter()
            .map(|path| (path, LayerEntry::Whiteout)),
    );
    Ok(LayerContents {
        entries,
        directories,
    })
}
