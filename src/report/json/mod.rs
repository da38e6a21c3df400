//! JSON for programs: frozen shapes of their own, never the internal types.

pub mod cache;
pub mod catalog;
pub mod inspect;
pub mod v1;
