//! Why an answer is what it is, as every form of `imgtool explain` reads it.

use crate::resolution::Resolution;
use crate::resolution::conflict::KeptOut;
use crate::resolution::solution::Behind;

/// A request that fits, and why it comes to just these versions.
#[derive(Debug, Clone)]
pub struct Answered<'a> {
    /// The answer.
    pub resolution: &'a Resolution,
    /// The requested projects that are not the newest, and what keeps the newest out.
    pub kept: Vec<Kept<'a>>,
}

/// What keeps the newest version of a requested project out.
#[derive(Debug, Clone)]
pub struct Kept<'a> {
    /// The project.
    pub behind: &'a Behind,
    /// What keeps it out.
    pub out: KeptOut,
}
