//! The cheapest way to move distributions of the base so that every known conflict loses one of its facts.
//!
//! A conflict of the solver rests on facts of the base, such as "protobuf is held at 3.20.3". Unless one of them is
//! given up, the conflict stands: that is a [`Core`]. A set of moves that gives up a fact of every core known so far, a
//! *hitting set*, costs at most what the best answer costs, because the best answer hits them too. So the cheapest
//! hitting set that turns out to be solvable is the best answer (Moreno-Centeno and Karp, "The implicit hitting set
//! approach", 2013; Davies and Bacchus for MaxSAT, 2011).

use std::collections::BTreeSet;

use crate::packaging::PackageName;

use super::latitude::{Cost, Latitude, Latitudes};

/// Facts of the base of which one must be given up: each names a distribution and how far it must be let go at least.
/// Sorted, none twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Core(BTreeSet<(PackageName, Latitude)>);

impl Core {
    /// A core of these alternatives.
    #[must_use]
    pub fn new(alternatives: impl IntoIterator<Item = (PackageName, Latitude)>) -> Self {
        Self(alternatives.into_iter().collect())
    }

    /// Whether there is no alternative: then nothing helps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each distribution and how far it must be let go at least.
    pub fn alternatives(&self) -> impl Iterator<Item = (&PackageName, Latitude)> {
        self.0.iter().map(|(name, least)| (name, *least))
    }
}

/// The cheapest latitudes that hit every core, with their cost; `None` where that would cost more than `limit`, or a
/// core has no alternative. Of several that cost the same, always the same one, and rather one of `favourites`.
#[must_use]
pub fn cheapest(
    cores: &[Core],
    limit: Option<Cost>,
    favourites: &BTreeSet<PackageName>,
) -> Option<(Latitudes, Cost)> {
    // Numbers instead of names: this is the inner loop of a search that may have hundreds of cores.
    let names: BTreeSet<&PackageName> = cores
        .iter()
        .flat_map(|core| core.0.iter().map(|(name, _)| name))
        .collect();
    let names: Vec<&PackageName> = names.into_iter().collect();
    let number = |name: &PackageName| names.binary_search(&name).unwrap_or_default();
    let mut search = Search {
        cores: cores
            .iter()
            .map(|core| {
                let alternatives = core.0.iter();
                alternatives
                    .map(|(name, least)| (number(name), *least))
                    .collect()
            })
            .collect(),
        is_favourite: names
            .iter()
            .map(|name| favourites.contains(*name))
            .collect(),
        latitudes: vec![None; names.len()],
        ruled_out: vec![None; names.len()],
        cost: Cost::default(),
        best: None,
        limit,
    };
    search.go();
    let (latitudes, cost) = search.best?;
    let moved = names
        .into_iter()
        .zip(latitudes)
        .filter_map(|(name, latitude)| Some((name.clone(), latitude?)));
    Some((moved.collect(), cost))
}

/// A distribution, by its number, and how far it must be let go.
type Alternative = (usize, Latitude);

struct Search {
    cores: Vec<Vec<Alternative>>,
    is_favourite: Vec<bool>,
    latitudes: Vec<Option<Latitude>>,
    /// What was tried to the end already on the way here: so far, or further, a distribution is not let go again.
    ruled_out: Vec<Option<Latitude>>,
    /// What `latitudes` cost.
    cost: Cost,
    best: Option<(Vec<Option<Latitude>>, Cost)>,
    limit: Option<Cost>,
}

impl Search {
    fn is_too_dear(&self, cost: Cost) -> bool {
        self.best.as_ref().is_some_and(|(_, best)| cost >= *best)
            || self.limit.is_some_and(|limit| cost > limit)
    }

    fn is_hit(&self, core: &[Alternative]) -> bool {
        core.iter()
            .any(|(at, least)| self.latitudes[*at].is_some_and(|has| has >= *least))
    }

    fn is_open(&self, (at, to): Alternative) -> bool {
        self.ruled_out[at].is_none_or(|least| to < least)
    }

    /// A bound from below for what is still to be paid: cores that share no distribution are paid for one by one.
    /// Also says which core is to be decided next: the one with the fewest alternatives.
    fn outlook(&self) -> (Cost, Option<usize>) {
        let mut taken = vec![false; self.latitudes.len()];
        let mut bound = Cost::default();
        let mut next: Option<(usize, usize)> = None;
        for (position, core) in self.cores.iter().enumerate() {
            if self.is_hit(core) {
                continue;
            }
            let open = core.iter().filter(|it| self.is_open(**it)).count();
            if next.is_none_or(|(_, fewest)| open < fewest) {
                next = Some((position, open));
            }
            if core.iter().any(|(at, _)| taken[*at]) {
                continue;
            }
            for (at, _) in core {
                taken[*at] = true;
            }
            // Only whole changes count here: that raising a latitude costs less than a change keeps this a bound.
            let fresh = core.iter().all(|(at, _)| self.latitudes[*at].is_none());
            bound.changes += u32::from(fresh);
        }
        (bound, next.map(|(position, _)| position))
    }

    /// As deep as there are distributions in the cores.
    fn go(&mut self) {
        if self.is_too_dear(self.cost) {
            return;
        }
        let (bound, next) = self.outlook();
        if self.is_too_dear(self.cost.plus(bound)) {
            return;
        }
        let Some(next) = next else {
            self.best = Some((self.latitudes.clone(), self.cost));
            return;
        };
        let mut alternatives: Vec<Alternative> = self.cores[next]
            .iter()
            .copied()
            .filter(|it| self.is_open(*it))
            .collect();
        alternatives.sort_by_key(|(at, to)| {
            let is_strange = !self.is_favourite[*at];
            (self.latitudes[*at].is_none(), is_strange, *to, *at)
        });
        let mut tried: Vec<(usize, Option<Latitude>)> = Vec::new();
        for (at, to) in alternatives {
            let before = (self.latitudes[at], self.cost);
            self.latitudes[at] = Some(to);
            self.cost = self.cost.raised(before.0, to);
            self.go();
            (self.latitudes[at], self.cost) = before;
            tried.push((at, self.ruled_out[at]));
            let least = self.ruled_out[at].map_or(to, |least| least.min(to));
            self.ruled_out[at] = Some(least);
        }
        for (at, before) in tried.into_iter().rev() {
            self.ruled_out[at] = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    const ALL: [Latitude; 3] = [Latitude::Upward, Latitude::Any, Latitude::Gone];

    fn name(position: usize) -> PackageName {
        PackageName::from_str(NAMES[position]).expect("a name")
    }

    fn core(alternatives: &[(usize, Latitude)]) -> Core {
        Core::new(alternatives.iter().map(|(at, least)| (name(*at), *least)))
    }

    fn is_hit(core: &Core, latitudes: &Latitudes) -> bool {
        core.0
            .iter()
            .any(|(name, least)| latitudes.get(name).is_some_and(|has| has >= least))
    }

    fn cost(latitudes: &Latitudes) -> Cost {
        latitudes
            .values()
            .fold(Cost::default(), |cost, it| cost.plus(Cost::of(*it)))
    }

    /// The cheapest of all latitudes that there are.
    fn exhaustive(cores: &[Core]) -> Option<Cost> {
        (0..4_usize.pow(5))
            .map(|mut number| {
                let mut latitudes = Latitudes::new();
                for position in 0..NAMES.len() {
                    if let Some(latitude) = (number % 4).checked_sub(1) {
                        latitudes.insert(name(position), ALL[latitude]);
                    }
                    number /= 4;
                }
                latitudes
            })
            .filter(|latitudes| cores.iter().all(|core| is_hit(core, latitudes)))
            .map(|latitudes| cost(&latitudes))
            .min()
    }

    #[test]
    fn one_distribution_that_hits_two_cores_is_cheaper_than_two() {
        let up = Latitude::Upward;
        let cores = [core(&[(0, up), (1, up)]), core(&[(1, up), (2, up)])];
        let (latitudes, cost) = cheapest(&cores, None, &BTreeSet::new()).expect("can be hit");
        assert_eq!(latitudes, Latitudes::from([(name(1), up)]));
        assert_eq!(cost.changes, 1);
        assert_eq!(
            cheapest(&cores, Some(Cost::default()), &BTreeSet::new()),
            None
        );
        assert_eq!(cheapest(&[Core::default()], None, &BTreeSet::new()), None);
        assert_eq!(
            cheapest(&[], None, &BTreeSet::new()),
            Some((Latitudes::new(), Cost::default()))
        );
    }

    proptest! {
        #[test]
        fn no_hitting_set_is_cheaper(
            stated in vec(vec((0..NAMES.len(), 0..ALL.len()), 0..4), 0..8)
        ) {
            let cores: Vec<Core> = stated
                .iter()
                .map(|core| Core::new(core.iter().map(|(at, least)| (name(*at), ALL[*least]))))
                .collect();
            let found = cheapest(&cores, None, &BTreeSet::new());
            prop_assert_eq!(found.as_ref().map(|(_, cost)| *cost), exhaustive(&cores));
            if let Some((latitudes, stated)) = found {
                prop_assert_eq!(cost(&latitudes), stated);
                prop_assert!(cores.iter().all(|core| is_hit(core, &latitudes)));
            }
        }
    }
}
