//! Which layers of an image brought the distributions that an explanation names.

use std::collections::{BTreeMap, BTreeSet};

use crate::environment::{Environment, layer_of};
use crate::packaging::PackageName;
use crate::resolution::conflict::Fact;
use crate::rootfs::RootFs;

/// The layer, from 0, lowest first, of each installed distribution that `facts` and `obstacles` name; empty where the
/// base has no layers.
pub(super) fn explained_layers<'f>(
    facts: impl IntoIterator<Item = &'f Fact>,
    obstacles: impl IntoIterator<Item = &'f PackageName>,
    environment: &Environment,
    root: &dyn RootFs,
) -> BTreeMap<PackageName, usize> {
    let mut named: BTreeSet<&PackageName> = BTreeSet::new();
    for fact in facts {
        match fact {
            Fact::Held {
                name, required_by, ..
            } => {
                named.insert(name);
                named.extend(required_by.iter().map(|by| &by.requirer));
            }
            Fact::BaseRequires { by, .. } => {
                named.insert(&by.requirer);
            }
            _ => {}
        }
    }
    named.extend(obstacles);
    named
        .into_iter()
        .filter_map(|name| {
            let distribution = environment.distributions.get(name)?;
            Some((name.clone(), layer_of(root, distribution)?))
        })
        .collect()
}
