//! JSON for programs: frozen shapes of their own, never the internal types.

pub mod build;
pub mod cache;
pub mod catalog;
pub mod explain;
pub mod facts;
pub mod frontier;
pub mod inspect;
mod solution;
pub mod v1;

/// One JSON document with a final newline.
fn document(shape: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(shape).unwrap_or_default();
    text.push('\n');
    text
}
