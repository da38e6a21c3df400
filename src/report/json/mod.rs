//! JSON for programs: frozen shapes of their own, never the internal types.

pub mod catalog;
pub mod v1;
