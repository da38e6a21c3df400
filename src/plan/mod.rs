//! What a resolution means for a base: what is added, replaced and removed, each with its reason.
//!
//! [`pins`] is a decision that was made before and stands in a file: requirements with exact versions, or a lock file.
//! [`pinned_index`] offers what the pins name and nothing else, so that what comes out of them is checked against a base
//! by the same rules as any request. [`recipe`] is a whole image as a file, [`lock`] what
//! it came to.

pub mod lock;
pub mod pinned_index;
pub mod pins;
mod pins_error;
pub mod recipe;

pub use lock::{FoundBase, Lock, LockDifference, LockError, LockedPlatform};
pub use pinned_index::PinnedIndex;
pub use pins::{Pin, PinFile, Pins};
pub use pins_error::{PinsError, Unsatisfied};
pub use recipe::{Recipe, RecipeError};

use std::collections::BTreeSet;

use crate::package_index::IndexFile;
use crate::packaging::{ExtraName, PackageName, Version};
use crate::resolution::Resolution;
use crate::resolution::solution::{Addition, Reason, Requirer};

/// What is to be done to a base, in the order of the names.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What comes in: beside what the base has, or in the place of it.
    pub installs: Vec<Install>,
    /// What leaves, and nothing takes its place.
    pub removals: Vec<Departure>,
}

/// A distribution that comes in.
#[derive(Debug, Clone)]
pub struct Install {
    /// Normalized name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Extras of it that somebody asks for.
    pub extras: BTreeSet<ExtraName>,
    /// Whether the request names it, which installers record as `REQUESTED`.
    pub requested: bool,
    /// What of the base it takes the place of.
    pub replaces: Option<Departure>,
    /// Who requires it.
    pub required_by: Vec<Requirer>,
    /// The wheel that it comes from.
    pub wheel: IndexFile,
}

/// A distribution of the base that does not stay.
#[derive(Debug, Clone)]
pub struct Departure {
    /// Normalized name.
    pub name: PackageName,
    /// The version that the base has.
    pub version: Version,
    /// Why it cannot stay.
    pub reasons: Vec<Reason>,
}

impl Plan {
    /// What `resolution` means for its base.
    #[must_use]
    pub fn of(resolution: &Resolution) -> Self {
        let requested: BTreeSet<&PackageName> = resolution
            .requested
            .iter()
            .map(|satisfied| &satisfied.requirement.name)
            .collect();
        let install = |addition: &Addition, replaces: Option<Departure>| Install {
            name: addition.name.clone(),
            version: addition.version.clone(),
            extras: addition.extras.clone(),
            requested: requested.contains(&addition.name),
            replaces,
            required_by: addition.required_by.clone(),
            wheel: addition.wheel.clone(),
        };
        let added = resolution.added.iter().map(|added| install(added, None));
        let changed = resolution.changed.iter().map(|change| {
            let departure = Departure {
                name: change.to.name.clone(),
                version: change.from.clone(),
                reasons: change.reasons.clone(),
            };
            install(&change.to, Some(departure))
        });
        let mut installs: Vec<Install> = added.chain(changed).collect();
        installs.sort_by(|a, b| a.name.cmp(&b.name));
        let removals = resolution
            .removed
            .iter()
            .map(|removal| Departure {
                name: removal.name.clone(),
                version: removal.version.clone(),
                reasons: removal.reasons.clone(),
            })
            .collect();
        Self { installs, removals }
    }

    /// Whether the base stays as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.installs.is_empty() && self.removals.is_empty()
    }

    /// What leaves the base, whether something takes its place or not, by name.
    #[must_use]
    pub fn departures(&self) -> Vec<&Departure> {
        let replaced = self.installs.iter().filter_map(|i| i.replaces.as_ref());
        let mut departures: Vec<&Departure> = replaced.chain(&self.removals).collect();
        departures.sort_by(|a, b| a.name.cmp(&b.name));
        departures
    }

    /// How many bytes of wheels must be fetched, where the index says it of all of them.
    #[must_use]
    pub fn download_size(&self) -> Option<u64> {
        self.installs.iter().map(|i| i.wheel.size).sum()
    }
}
