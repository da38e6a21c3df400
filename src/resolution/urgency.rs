//! The order in which the solver decides on packages.

/// What the solver decides on: most pressing first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Every other project, the earlier met the earlier decided.
    Ordinary,
    /// Its range has been narrowed to one version.
    OneVersion,
    /// Stands in the way of others again and again: deciding it early spares backtracking.
    Contested,
    /// Asked for by the user, whose newest version matters most.
    Requested,
    /// Installed: there is nothing to decide.
    Held,
    /// Must move away from its installed version, and there is no other: the shortest proof there is.
    DeadEnd,
    /// The root.
    Root,
}
