//! Any bytes as an inventory from the cache, their checksum made right where there is room for one: no walk of it may
//! panic or go in circles.
#![no_main]

use std::sync::Arc;

use imgtool::digest::sha256;
use imgtool::image_path::ImagePath;
use imgtool::rootfs::inventory::Inventory;
use imgtool::rootfs::{EntryKind, Overlay, RootFs};
use libfuzzer_sys::fuzz_target;

/// Folders that are looked at: bytes can describe more than anybody can list.
const FOLDERS: usize = 2_000;

/// `data` with a header before it that fits and a checksum that is right: numbers of records, extents and attributes,
/// length of the contents, then contents and table.
fn sealed(data: &[u8], diff_id: &str) -> Option<Vec<u8>> {
    let (numbers, rest) = data.split_first_chunk::<5>()?;
    let contents = usize::from(numbers[4]).min(rest.len());
    let table = &rest[contents..];
    let mut bytes = b"imglayr2".to_vec();
    bytes.extend((48 + contents as u64).to_le_bytes());
    bytes.extend((table.len() as u64).to_le_bytes());
    bytes.extend(u32::from(u16::from_le_bytes([numbers[0], numbers[1]])).to_le_bytes());
    bytes.extend(u32::from(numbers[2]).to_le_bytes());
    bytes.extend(u32::from(numbers[3]).to_le_bytes());
    let mut crc = flate2::Crc::new();
    for part in [&bytes, diff_id.as_bytes(), table] {
        crc.update(part);
    }
    bytes.extend(crc.sum().to_le_bytes());
    bytes.resize(48, 0);
    bytes.extend_from_slice(rest);
    Some(bytes)
}

fuzz_target!(|data: &[u8]| {
    let diff_id = sha256(b"");
    let inventory = Inventory::from_bytes(data.to_vec(), &diff_id)
        .or_else(|| Inventory::from_bytes(sealed(data, diff_id.as_ref())?, &diff_id));
    let Some(inventory) = inventory else {
        return;
    };
    let root = Overlay::new(vec![(diff_id, Arc::new(inventory))]);
    let mut waiting = vec![ImagePath::root()];
    let mut seen = 0;
    while let Some(folder) = waiting.pop() {
        seen += 1;
        let Ok(listed) = root.list(&folder) else {
            continue;
        };
        for listed in listed.into_iter().take(FOLDERS) {
            let path = folder.join(&listed.name);
            let _ = root.entry(&path);
            let _ = root.attributes(&path);
            let _ = root.read(&path, 1 << 16);
            let _ = root.executable_facts(&path);
            if listed.kind == EntryKind::Directory && seen + waiting.len() < FOLDERS {
                waiting.push(path);
            }
        }
    }
});
