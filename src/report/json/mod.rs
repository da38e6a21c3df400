//! JSON for programs: frozen shapes of their own, never the internal types.

pub mod cache;
pub mod catalog;
pub mod explain;
pub mod facts;
pub mod frontier;
pub mod inspect;
mod solution;
pub mod v1;
