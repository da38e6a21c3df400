//! What the layers of one image take together, counted while they are read: several are on their way at once, and none
//! of them may take what the others leave no room for.

use std::sync::atomic::{AtomicU64, Ordering};

use super::inventory::Inventory;
use super::limits::{Bounded, LimitExceeded, Limits};

/// What the layers of an image may take, and what they have taken so far.
#[derive(Debug)]
pub struct ImageBudget {
    limits: Limits,
    entries: AtomicU64,
    retained: AtomicU64,
    uncompressed: AtomicU64,
}

impl ImageBudget {
    /// The budget of an image of which nothing has been read.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: AtomicU64::new(0),
            retained: AtomicU64::new(0),
            uncompressed: AtomicU64::new(0),
        }
    }

    /// What one more layer may take.
    #[must_use]
    pub fn layer(&self) -> LayerBudget<'_> {
        LayerBudget {
            image: self,
            entries: AtomicU64::new(0),
            retained: AtomicU64::new(0),
            uncompressed: AtomicU64::new(0),
            is_settled: false,
        }
    }

    fn entries(&self) -> Bound<'_> {
        Bound {
            taken: &self.entries,
            most: self.limits.image_entries,
            what: Bounded::ImageEntries,
        }
    }

    fn retained(&self) -> Bound<'_> {
        Bound {
            taken: &self.retained,
            most: self.limits.image_retained,
            what: Bounded::ImageRetained,
        }
    }
}

/// What a layer may take, of its own and of what its image has left. A layer that is not settled gives back what it took
/// of memory, as nothing is kept of it; what was unpacked of it has cost its time.
#[derive(Debug)]
pub struct LayerBudget<'a> {
    image: &'a ImageBudget,
    entries: AtomicU64,
    retained: AtomicU64,
    uncompressed: AtomicU64,
    is_settled: bool,
}

impl LayerBudget<'_> {
    /// Takes what is missing to so many entries in all.
    ///
    /// # Errors
    /// When that is more than a layer may have, or than the image has left.
    pub fn entries(&self, total: u64) -> Result<(), LimitExceeded> {
        let most = self.image.limits.layer_entries;
        let bound = Bound {
            taken: &self.entries,
            most,
            what: Bounded::LayerEntries,
        };
        bound.raise(total, &self.image.entries())
    }

    /// Takes what is missing to so many bytes of names and kept files in all.
    ///
    /// # Errors
    /// As [`LayerBudget::entries`].
    pub fn retained(&self, total: u64) -> Result<(), LimitExceeded> {
        let most = self.image.limits.layer_retained;
        let bound = Bound {
            taken: &self.retained,
            most,
            what: Bounded::LayerRetained,
        };
        bound.raise(total, &self.image.retained())
    }

    /// Takes so many more bytes that were unpacked.
    ///
    /// # Errors
    /// As [`LayerBudget::entries`].
    pub fn uncompressed(&self, more: u64) -> Result<(), LimitExceeded> {
        let limits = &self.image.limits;
        for (taken, most, what) in [
            (
                &self.uncompressed,
                limits.layer_uncompressed,
                Bounded::LayerUncompressed,
            ),
            (
                &self.image.uncompressed,
                limits.image_uncompressed,
                Bounded::ImageUncompressed,
            ),
        ] {
            Bound { taken, most, what }.take(more)?;
        }
        Ok(())
    }

    /// Ends the account with what the inventory has, which is what stays in memory.
    ///
    /// # Errors
    /// When the image has not so much left.
    pub fn settle(mut self, inventory: &Inventory) -> Result<(), LimitExceeded> {
        self.is_settled = true;
        for (taken, total, bound) in [
            (&self.entries, inventory.len(), self.image.entries()),
            (&self.retained, inventory.retained(), self.image.retained()),
        ] {
            bound.replace(taken.swap(total, Ordering::Relaxed), total)?;
        }
        Ok(())
    }
}

impl Drop for LayerBudget<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            let image = self.image;
            image.entries().give_back(*self.entries.get_mut());
            image.retained().give_back(*self.retained.get_mut());
        }
    }
}

/// One number and its bound. Nothing is ordered by these numbers, so their order among other accesses does not matter.
struct Bound<'a> {
    taken: &'a AtomicU64,
    most: u64,
    what: Bounded,
}

impl Bound<'_> {
    fn take(&self, more: u64) -> Result<(), LimitExceeded> {
        let before = self.taken.fetch_add(more, Ordering::Relaxed);
        self.check(before.saturating_add(more))
    }

    /// Takes what is missing to `total`, of `image` as well where it is not too much already.
    fn raise(&self, total: u64, image: &Bound<'_>) -> Result<(), LimitExceeded> {
        self.check(total)?;
        let before = self.taken.fetch_max(total, Ordering::Relaxed);
        match total.saturating_sub(before) {
            0 => Ok(()),
            more => image.take(more),
        }
    }

    /// Takes `new` for what was taken as `old`, in one step: no other layer sees both or neither.
    fn replace(&self, old: u64, new: u64) -> Result<(), LimitExceeded> {
        let change = new.wrapping_sub(old);
        let before = self.taken.fetch_add(change, Ordering::Relaxed);
        self.check(before.wrapping_add(change))
    }

    fn give_back(&self, taken: u64) {
        self.taken.fetch_sub(taken, Ordering::Relaxed);
    }

    fn check(&self, total: u64) -> Result<(), LimitExceeded> {
        if total > self.most {
            return Err(self.what.at(self.most));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::inventory::builder::Keeping;
    use super::super::inventory::{Contents, InventoryBuilder};
    use super::super::retention::Retention;
    use super::*;
    use crate::digest::sha256;

    const LIMITS: Limits = Limits {
        layers: 2,
        layer_entries: 10,
        image_entries: 15,
        layer_retained: 10,
        image_retained: 15,
        layer_uncompressed: 10,
        image_uncompressed: 15,
    };

    /// The inventory of a layer without entries: the root is there.
    fn empty() -> Inventory {
        let keeping = Keeping {
            retention: &|_| Retention::Nothing,
            wanted: &BTreeSet::new(),
        };
        let budget = ImageBudget::new(Limits::default());
        let archive: &[u8] = &[0; 1024];
        let unsealed = InventoryBuilder::new(keeping, &budget.layer(), Contents::in_memory())
            .read(archive)
            .expect("an archive");
        let sealed = unsealed.seal(&sha256(archive), Path::new(""));
        sealed.expect("an inventory").0
    }

    #[test]
    fn the_bound_of_the_layer_comes_before_that_of_the_image() {
        let image = ImageBudget::new(LIMITS);
        let layer = image.layer();
        assert_eq!(layer.entries(10), Ok(()));
        assert_eq!(layer.entries(100), Err(Bounded::LayerEntries.at(10)));
        assert_eq!(layer.retained(11), Err(Bounded::LayerRetained.at(10)));
        assert_eq!(layer.uncompressed(10), Ok(()));
        assert_eq!(
            layer.uncompressed(1),
            Err(Bounded::LayerUncompressed.at(10))
        );
        // A total that is told again, or was larger before, takes nothing.
        assert_eq!(layer.entries(10), Ok(()));
        assert_eq!(layer.entries(3), Ok(()));
        assert_eq!(image.entries.load(Ordering::Relaxed), 10);
    }

    #[test]
    fn layers_that_are_read_at_once_share_one_budget() {
        let image = ImageBudget::new(LIMITS);
        let (one, other) = (image.layer(), image.layer());
        for step in 1..=7 {
            assert_eq!(one.entries(step), Ok(()));
            assert_eq!(other.entries(step), Ok(()));
            assert_eq!(one.retained(step), Ok(()));
            assert_eq!(other.retained(step), Ok(()));
            assert_eq!(one.uncompressed(1), Ok(()));
            assert_eq!(other.uncompressed(1), Ok(()));
        }
        assert_eq!(one.entries(9), Err(Bounded::ImageEntries.at(15)));
        assert_eq!(one.retained(9), Err(Bounded::ImageRetained.at(15)));
        assert_eq!(
            other.uncompressed(2),
            Err(Bounded::ImageUncompressed.at(15))
        );
    }

    #[test]
    fn what_is_not_kept_gives_back_its_memory_and_not_its_time() {
        let image = ImageBudget::new(LIMITS);
        let failed = image.layer();
        for taken in [
            failed.entries(10),
            failed.retained(10),
            failed.uncompressed(10),
        ] {
            assert_eq!(taken, Ok(()));
        }
        drop(failed);
        let next = image.layer();
        assert_eq!(next.entries(10), Ok(()));
        assert_eq!(next.retained(10), Ok(()));
        assert_eq!(next.uncompressed(6), Err(Bounded::ImageUncompressed.at(15)));
    }

    #[test]
    fn a_layer_that_was_read_counts_as_what_is_left_of_it() {
        let image = ImageBudget::new(LIMITS);
        let layer = image.layer();
        // More than its inventory has: entries that others took the place of.
        assert_eq!(layer.entries(10), Ok(()));
        assert_eq!(layer.retained(10), Ok(()));
        assert_eq!(layer.settle(&empty()), Ok(()));
        assert_eq!(image.entries.load(Ordering::Relaxed), 1);
        assert_eq!(image.retained.load(Ordering::Relaxed), 0);
        // One from the cache has taken nothing before.
        for _ in 2..=LIMITS.image_entries {
            assert_eq!(image.layer().settle(&empty()), Ok(()));
        }
        assert_eq!(
            image.layer().settle(&empty()),
            Err(Bounded::ImageEntries.at(15))
        );
    }
}
