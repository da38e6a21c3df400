//! Any bytes as a layer: unpacked, walked, laid over another layer, listed and read. No input may panic, hang, take more
//! memory than the limits allow, or show a path outside of the root.
#![no_main]

use std::collections::BTreeSet;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use imgtool::digest::sha256;
use imgtool::image_path::ImagePath;
use imgtool::rootfs::budget::ImageBudget;
use imgtool::rootfs::inventory::builder::Keeping;
use imgtool::rootfs::inventory::{Contents, Inventory, InventoryBuilder};
use imgtool::rootfs::layer_entries::decompress::decompress;
use imgtool::rootfs::retention::Retention;
use imgtool::rootfs::{Entry, Limits, Overlay, RootFs, resolve};
use libfuzzer_sys::fuzz_target;

/// Small, so that the limits themselves are tried.
const LIMITS: Limits = Limits {
    layers: 2,
    layer_entries: 2_000,
    image_entries: 4_000,
    layer_retained: 1 << 20,
    image_retained: 2 << 20,
    layer_uncompressed: 8 << 20,
    image_uncompressed: 16 << 20,
};

fn retention(path: &str) -> Retention {
    match path.len() % 3 {
        0 => Retention::Nothing,
        1 => Retention::Executable,
        _ => Retention::Contents { limit: 4096 },
    }
}

fn inventory(layer: &[u8], budget: &ImageBudget) -> Option<Inventory> {
    let wanted = BTreeSet::from(["a".to_owned()]);
    let keeping = Keeping {
        retention: &retention,
        wanted: &wanted,
    };
    let budget = budget.layer();
    let builder = InventoryBuilder::new(keeping, &budget, Contents::in_memory());
    let archive = decompress(layer).ok()?;
    // As far as a layer may go: the reader of layers counts what is unpacked.
    let archive = BufReader::new(std::io::Read::take(archive, LIMITS.layer_uncompressed));
    let unsealed = builder.read(archive).ok()?;
    let (inventory, _) = unsealed.seal(&sha256(b""), Path::new("")).expect("memory");
    assert!(inventory.len() <= LIMITS.layer_entries);
    budget.settle(&inventory).ok()?;
    Some(inventory)
}

fuzz_target!(|data: &[u8]| {
    // Two layers, one over the other.
    let (lower, upper) = data.split_at(data.len() / 2 / 512 * 512);
    let budget = ImageBudget::new(LIMITS);
    let inventories = [lower, upper, data].map(|layer| inventory(layer, &budget));
    let layers: Vec<_> = inventories
        .into_iter()
        .flatten()
        .map(|inventory| (sha256(b""), Arc::new(inventory)))
        .collect();
    let root = Overlay::new(layers);
    let mut waiting = vec![ImagePath::root()];
    while let Some(folder) = waiting.pop() {
        for listed in root.list(&folder).expect("a folder") {
            assert!(!listed.name.is_empty() && !listed.name.contains('/'));
            assert!(!matches!(listed.name.as_str(), "." | ".."));
            let path = folder.join(&listed.name);
            match root
                .entry(&path)
                .expect("an answer")
                .expect("what was listed")
            {
                Entry::Directory => waiting.push(path),
                Entry::File => {
                    let _ = root.read(&path, 1 << 16);
                    let _ = root.executable_facts(&path);
                    assert!(root.file_facts(&path).expect("an answer").is_some());
                }
                Entry::Symlink(_) => {
                    let _ = resolve::resolve(&root, &path);
                }
                Entry::Other => {}
            }
        }
    }
});
