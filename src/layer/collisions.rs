//! What is written where, and by whom: two distributions, or a new one and the base, may want one path.
//!
//! - Two new distributions with one path: the same bytes are fine, others an error. Distributions that were made from one
//!   source share files (mlflow and mlflow-skinny more than a thousand), and all of a family bring one `__init__.py`.
//! - A file of the base that a distribution which stays names in its record: the same.
//! - One that nobody names is overwritten, as pip does, and that is told.
//! - A folder where a file shall be, or a file where a folder shall be: an error, unless it leaves.
//!
//! Paths are compared once links of the base are followed. Links themselves are never replaced on the way to a file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest as _, Sha256};

use super::base_files::{Listings, Owner, owners, some_of};
use super::removals::{EmptiedFolders, Removals};
use super::{FileSource, InstalledWheel, LayerFile};
use crate::environment::{Environment, InstalledDistribution};
use crate::image_path::ImagePath;
use crate::packaging::PackageName;
use crate::rootfs::resolve::{Prospect, prospect};
use crate::rootfs::{EntryKind, RootFs, RootFsError};

/// Why distributions cannot be installed beside one another, or into the base.
#[derive(Debug, thiserror::Error)]
pub enum CollisionError {
    /// Two new distributions have different files for one path.
    #[error("{first} and {second} both bring `{path}`, with different contents")]
    Different {
        /// One distribution.
        first: PackageName,
        /// The other; the same where links of the base lead two of its files to one place.
        second: PackageName,
        /// The path.
        path: ImagePath,
    },
    /// One brings a file where the other needs a folder.
    #[error("{file_of} brings the file `{path}`, which {folder_of} needs as a folder")]
    FileAndFolder {
        /// Whose file it is.
        file_of: PackageName,
        /// Who has something in the folder.
        folder_of: PackageName,
        /// The path.
        path: ImagePath,
    },
    /// A file of the base that stays would change.
    #[error("{name} would overwrite `{path}` of {owner}, which stays, with different contents")]
    Owned {
        /// The new distribution.
        name: PackageName,
        /// The distribution of the base.
        owner: PackageName,
        /// The path.
        path: ImagePath,
    },
    /// A folder of the base is in the way of a file.
    #[error("{name} brings the file `{path}`, where the base has a folder")]
    FolderInTheWay {
        /// The new distribution.
        name: PackageName,
        /// The path.
        path: ImagePath,
    },
    /// A file or a link to none is in the way of a folder.
    #[error("{name} brings `{path}`, but `{at}` of the base is no folder")]
    FileInTheWay {
        /// The new distribution.
        name: PackageName,
        /// The file that cannot be written.
        path: ImagePath,
        /// What is in its way.
        at: ImagePath,
    },
    /// The root file system did not answer.
    #[error(transparent)]
    RootFs(#[from] RootFsError),
}

/// A file and the new distribution that brings it, by its place in the list.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) file: LayerFile,
    pub(super) distribution: usize,
    /// The last folder on the way that the base has.
    pub(super) nearest: ImagePath,
}

/// What is written, by real path.
#[derive(Debug, Default)]
pub(super) struct Placement {
    pub(super) files: BTreeMap<ImagePath, Placed>,
    /// Files that each distribution has in common with one before it: places of both in the list, and the paths.
    pub(super) shared: BTreeMap<(usize, usize), Vec<ImagePath>>,
    pub(super) notes: Vec<String>,
}

/// Finds the real place of every file of `installed`, and whether two want one.
///
/// # Errors
/// When two do and differ, and when a folder cannot be made.
pub(super) fn place(
    root: &dyn RootFs,
    installed: Vec<InstalledWheel>,
    removals: &Removals,
) -> Result<Placement, CollisionError> {
    let mut placement = Placement::default();
    let names: Vec<PackageName> = installed.iter().map(|wheel| wheel.name.clone()).collect();
    let is_gone = |path: &ImagePath| removals.files.contains(path);
    let mut folders: HashMap<ImagePath, Prospect> = HashMap::new();
    for (distribution, wheel) in installed.into_iter().enumerate() {
        for (path, file) in wheel.files {
            let Some(folder) = path.parent() else {
                continue;
            };
            if !folders.contains_key(&folder) {
                let found = prospect(root, &folder, &is_gone)?;
                folders.insert(folder.clone(), found);
            }
            let (real, nearest) = match &folders[&folder] {
                Prospect::Folder {
                    path: real,
                    nearest,
                } => (real.join(path.file_name()), nearest.clone()),
                Prospect::Obstructed(at) => {
                    let at = at.clone();
                    return Err(CollisionError::FileInTheWay {
                        name: wheel.name,
                        path,
                        at,
                    });
                }
            };
            match placement.files.get(&real) {
                None => {
                    let placed = Placed {
                        file,
                        distribution,
                        nearest,
                    };
                    placement.files.insert(real, placed);
                }
                Some(known) if known.file.sha256 == file.sha256 => {
                    let pair = (known.distribution, distribution);
                    if pair.0 != pair.1 {
                        placement.shared.entry(pair).or_default().push(real);
                    }
                }
                Some(known) => {
                    return Err(CollisionError::Different {
                        first: names[known.distribution].clone(),
                        second: wheel.name,
                        path: real,
                    });
                }
            }
        }
    }
    for ((first, second), paths) in &placement.shared {
        placement.notes.push(format!(
            "{} and {} have {} in common, with the same contents",
            names[*first],
            names[*second],
            counted(paths)
        ));
    }
    check_folders(&placement, &names)?;
    Ok(placement)
}

fn counted(paths: &[ImagePath]) -> String {
    match paths {
        [path] => format!("`{path}`"),
        many => format!("{} files", many.len()),
    }
}

/// No file may lie where another needs a folder.
fn check_folders(placement: &Placement, names: &[PackageName]) -> Result<(), CollisionError> {
    let mut checked: BTreeSet<ImagePath> = BTreeSet::new();
    for (path, placed) in &placement.files {
        let mut folder = path.parent();
        while let Some(at) = folder {
            if checked.contains(&at) {
                break;
            }
            if let Some(file) = placement.files.get(&at) {
                return Err(CollisionError::FileAndFolder {
                    file_of: names[file.distribution].clone(),
                    folder_of: names[placed.distribution].clone(),
                    path: at,
                });
            }
            folder = at.parent();
            checked.insert(at);
        }
    }
    Ok(())
}

/// Compares what is written with what the base has and keeps there.
///
/// # Errors
/// When something is in the way, or belongs to a distribution that stays and differs.
pub(super) fn check_base(
    listings: &mut Listings<'_>,
    environment: &Environment,
    names: &[PackageName],
    removals: &Removals,
    emptied: &mut EmptiedFolders<'_>,
    placement: &Placement,
) -> Result<Vec<String>, CollisionError> {
    let mut met: BTreeSet<&ImagePath> = BTreeSet::new();
    for (path, placed) in &placement.files {
        // Below what is new there is nothing.
        if path.parent().as_ref() != Some(&placed.nearest) {
            continue;
        }
        match listings.kind(path)? {
            None => {}
            Some(_) if removals.files.contains(path) => {}
            Some(EntryKind::Directory) if emptied.is_emptied(listings, path)? => {}
            Some(EntryKind::Directory) => {
                return Err(CollisionError::FolderInTheWay {
                    name: names[placed.distribution].clone(),
                    path: path.clone(),
                });
            }
            Some(_) => {
                met.insert(path);
            }
        }
    }
    let root = listings.root();
    let stays =
        |distribution: &InstalledDistribution| !removals.locations.contains(&distribution.location);
    let owners = owners(root, environment, &stays, &met);
    let mut same: BTreeMap<(usize, &PackageName), Vec<ImagePath>> = BTreeMap::new();
    let mut overwritten: BTreeMap<usize, Vec<&ImagePath>> = BTreeMap::new();
    for path in met {
        let placed = &placement.files[path];
        let Some(owners) = owners.get(path) else {
            let of_one = overwritten.entry(placed.distribution).or_default();
            of_one.push(path);
            continue;
        };
        // Byte code belongs to its module, which is the same where it is owned; of the module's time, which the base's byte
        // code is tied to, nothing is left.
        if matches!(placed.file.source, FileSource::Compiled { .. }) {
            continue;
        }
        for owner in owners {
            if !is_same(root, path, owner, &placed.file)? {
                return Err(CollisionError::Owned {
                    name: names[placed.distribution].clone(),
                    owner: owner.name.clone(),
                    path: path.clone(),
                });
            }
            let of_pair = same.entry((placed.distribution, &owner.name)).or_default();
            of_pair.push(path.clone());
        }
    }
    let mut notes = Vec::new();
    for ((distribution, owner), paths) in same {
        notes.push(format!(
            "{} has {} in common with {owner} of the base, with the same contents",
            names[distribution],
            counted(&paths)
        ));
    }
    for (distribution, paths) in overwritten {
        notes.push(format!(
            "{} overwrites {} of the base, which no record names",
            names[distribution],
            some_of(&paths)
        ));
    }
    Ok(notes)
}

/// Whether the base has the very file at `path`: by the record of its owner, else by its bytes where they are at hand.
fn is_same(
    root: &dyn RootFs,
    path: &ImagePath,
    owner: &Owner,
    file: &LayerFile,
) -> Result<bool, RootFsError> {
    if let Some(recorded) = owner.sha256 {
        return Ok(recorded == file.sha256);
    }
    match root.file_facts(path)? {
        Some(facts) if facts.size == file.size => {}
        _ => return Ok(false),
    }
    let bytes = root.read(path, file.size)?;
    Ok(<[u8; 32]>::from(Sha256::digest(&bytes)) == file.sha256)
}
