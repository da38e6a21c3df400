//! What the base has where a layer would change it, and whose it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::environment::{Environment, InstalledDistribution, for_each_installed_file};
use crate::image_path::ImagePath;
use crate::packaging::PackageName;
use crate::rootfs::{EntryKind, RootFs, RootFsError};

/// The folders of a base, each listed once.
pub(super) struct Listings<'a> {
    root: &'a dyn RootFs,
    known: HashMap<ImagePath, BTreeMap<String, EntryKind>>,
}

impl<'a> Listings<'a> {
    pub(super) fn new(root: &'a dyn RootFs) -> Self {
        Self {
            root,
            known: HashMap::new(),
        }
    }

    pub(super) fn root(&self) -> &'a dyn RootFs {
        self.root
    }

    /// What lies in the real folder `folder`; nothing where there is none.
    pub(super) fn of(
        &mut self,
        folder: &ImagePath,
    ) -> Result<&BTreeMap<String, EntryKind>, RootFsError> {
        if !self.known.contains_key(folder) {
            let listed = match self.root.list(folder) {
                Ok(listed) => listed,
                Err(RootFsError::NotFound(_) | RootFsError::NotADirectory(_)) => Vec::new(),
                Err(error) => return Err(error),
            };
            let entries = listed.into_iter().map(|entry| (entry.name, entry.kind));
            self.known.insert(folder.clone(), entries.collect());
        }
        Ok(&self.known[folder])
    }

    /// What lies at the real path `path`.
    pub(super) fn kind(&mut self, path: &ImagePath) -> Result<Option<EntryKind>, RootFsError> {
        match path.parent() {
            Some(folder) => Ok(self.of(&folder)?.get(path.file_name()).copied()),
            None => Ok(Some(EntryKind::Directory)),
        }
    }
}

/// A distribution whose record names a file, and the hash that it records.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) name: PackageName,
    pub(super) sha256: Option<[u8; 32]>,
}

/// Which of the distributions that stay name the files at `paths`, real paths. Those without a readable record name none.
pub(super) fn owners(
    root: &dyn RootFs,
    environment: &Environment,
    stays: &dyn Fn(&InstalledDistribution) -> bool,
    paths: &BTreeSet<&ImagePath>,
) -> BTreeMap<ImagePath, Vec<Owner>> {
    let mut owners: BTreeMap<ImagePath, Vec<Owner>> = BTreeMap::new();
    if paths.is_empty() {
        return owners;
    }
    let all = environment
        .distributions
        .values()
        .chain(&environment.shadowed);
    for distribution in all.filter(|distribution| stays(distribution)) {
        // Who has no record owns nothing that could be told.
        let _ = for_each_installed_file(root, distribution, &[], &mut |file| {
            if paths.contains(&file.path) {
                owners.entry(file.path).or_default().push(Owner {
                    name: distribution.name.clone(),
                    sha256: file.sha256,
                });
            }
        });
    }
    owners
}

/// Some of many, for a note: the first three and the number of the others.
pub(super) fn some_of<T: std::fmt::Display>(items: &[T]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = items
        .iter()
        .take(SHOWN)
        .map(|item| format!("`{item}`"))
        .collect();
    match items.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
