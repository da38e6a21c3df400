//! What is kept of layers between runs, for `imgtool cache`.

use crate::cache_folder::{CacheLayout, CachePart};

/// The folder of layer inventories.
pub const CACHE_LAYOUT: CacheLayout = CacheLayout {
    folder: "layers-v2",
    parts: &[CachePart {
        name: "layer-inventories",
        holds: "inventories of layers",
        folder: "",
    }],
};
