//! Inventories of layers between runs.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use imgtool::digest::sha256;
use imgtool::image_path::ImagePath;
use imgtool::rootfs::inventory::Inventory;
use imgtool::rootfs::retention::Retention;
use imgtool::rootfs::{InventoryCache, LayerError, RootFs, RootFsError};

use crate::support::layers::{
    Archive, Blobs, Reading, gzip, image, image_of, nothing, overlay, tree,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The time of these tests.
const NOW: Duration = Duration::from_secs(20_000 * 24 * 60 * 60);

fn sample() -> Vec<u8> {
    Archive::new()
        .file("d/a", b"some contents")
        .file("d/b", b"other contents")
        .symlink("l", "d/a")
        .hard_link("h", "d/a")
        .hard_link("lower", "elsewhere")
        .file("d/.wh.x", b"")
        .file("o/.wh..wh..opq", b"")
        .finish()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn write(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).expect("a file");
    file.write_all(bytes).expect("written");
}

fn read(cache: &InventoryCache, layers: &[Vec<u8>]) -> (imgtool::rootfs::Overlay, Blobs) {
    let reading = Reading {
        cache: Some(cache),
        ..Reading::default()
    };
    let (image, blobs) = image(layers);
    (reading.root(image).expect("an image"), blobs)
}

#[test]
fn a_second_read_opens_no_blob_and_tells_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let layers = [sample(), Archive::new().file("d/.wh.b", b"").finish()];
    let expected = tree(&overlay(&layers));
    for opened in [2, 0] {
        let cache = InventoryCache::new(folder.path(), NOW);
        let (root, blobs) = read(&cache, &layers);
        assert_eq!(blobs.opened(), opened);
        assert_eq!(tree(&root), expected);
        assert!(cache.warnings().is_empty());
    }
    // A new image that shares a layer reads the new one alone.
    let cache = InventoryCache::new(folder.path(), NOW);
    let (_, blobs) = read(
        &cache,
        &[sample(), Archive::new().file("new", b"").finish()],
    );
    assert_eq!(blobs.opened(), 1);
    let blob = sha256(&gzip(&sample()));
    let known = cache.known_blob(&blob).map(|(diff_id, _)| diff_id);
    assert_eq!(known, Some(sha256(&sample())));
    assert_eq!(cache.known_blob(&sha256(b"unknown")), None);
}

#[test]
fn a_layer_that_is_not_what_was_promised_is_never_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = InventoryCache::new(folder.path(), NOW);
    let reading = Reading {
        cache: Some(&cache),
        ..Reading::default()
    };
    let promised = sha256(b"another archive");
    let (image, _) = image_of(vec![(gzip(&sample()), promised.clone())]);
    assert!(matches!(
        reading.root(image),
        Err(LayerError::DiffId { .. })
    ));
    assert!(cache.read(&promised).is_none());
    assert!(cache.read(&sha256(&sample())).is_none());
    assert_eq!(files(cache.folder()), Vec::<PathBuf>::new());
}

#[test]
fn a_known_blob_cannot_pass_for_another_layer() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = InventoryCache::new(folder.path(), NOW);
    let other = Archive::new().file("other", b"").finish();
    read(&cache, &[sample(), other.clone()]);
    let reading = Reading {
        cache: Some(&cache),
        ..Reading::default()
    };
    let (image, _) = image_of(vec![(gzip(&sample()), sha256(&other))]);
    assert!(matches!(
        reading.root(image),
        Err(LayerError::DiffId { .. })
    ));
}

#[test]
fn a_cached_layer_does_not_vouch_for_another_blob() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = InventoryCache::new(folder.path(), NOW);
    read(&cache, &[sample()]);
    let reading = Reading {
        cache: Some(&cache),
        ..Reading::default()
    };
    // The configuration promises the layer that is known, and the blob is another.
    let other = gzip(&Archive::new().file("other", b"").finish());
    let whole = gzip(&sample());
    for blob in [
        other,
        b"garbage".to_vec(),
        whole[..whole.len() - 9].to_vec(),
    ] {
        let (image, blobs) = image_of(vec![(blob, sha256(&sample()))]);
        assert!(reading.root(image).is_err());
        assert_eq!(blobs.opened(), 1);
    }
    // So is one whose size is another than promised, though its digest is known.
    let (mut image, _) = image_of(vec![(whole, sha256(&sample()))]);
    image.layers[0].size = image.layers[0].size.map(|size| size + 1);
    assert!(matches!(
        reading.root(image),
        Err(LayerError::Mismatch { .. })
    ));
    // The same layer in another compression is read once, and then known.
    for opened in [1, 0] {
        let (image, blobs) = image_of(vec![(sample(), sha256(&sample()))]);
        assert!(reading.root(image).is_ok());
        assert_eq!(blobs.opened(), opened);
    }
}

#[test]
fn a_damaged_note_of_a_blob_is_a_miss() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = InventoryCache::new(folder.path(), NOW);
    read(&cache, &[sample()]);
    let path = files(cache.folder())
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "blob"))
        .expect("a note");
    let whole = fs::read(&path).expect("a note");
    for position in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 1;
        write(&path, &damaged);
        let (root, blobs) = read(&cache, &[sample()]);
        assert_eq!(blobs.opened(), 1, "byte {position}");
        assert_eq!(tree(&root), tree(&overlay(&[sample()])));
    }
    assert_eq!(read(&cache, &[sample()]).1.opened(), 0);
}

#[test]
fn every_damage_is_a_miss_and_mended_by_the_next_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = InventoryCache::new(folder.path(), NOW);
    let layers = [sample()];
    let expected = tree(&read(&cache, &layers).0);
    let diff_id = sha256(&layers[0]);
    let path = cache.folder().join(diff_id.to_string().replace(':', "-"));
    let whole = fs::read(&path).expect("an inventory");
    for length in 0..whole.len() {
        write(&path, &whole[..length]);
        assert!(cache.read(&diff_id).is_none(), "{length} bytes");
    }
    let mut misses = 0;
    for position in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x10;
        write(&path, &damaged);
        let reading = Reading {
            cache: Some(&cache),
            ..Reading::default()
        };
        let (image, blobs) = image(&layers);
        let root = reading.root(image).expect("an image");
        // Contents are looked at when they are asked for, and then are missing, not wrong.
        let contents = root.read(&ImagePath::new("d/a"), 99);
        match contents {
            Ok(contents) => assert_eq!(contents, b"some contents", "byte {position}"),
            Err(error) => {
                assert!(
                    matches!(error, RootFsError::NotRetained(_)),
                    "byte {position}"
                );
                assert!(!root.missed().is_empty());
                assert!(cache.read(&diff_id).is_none(), "byte {position}");
                misses += 1;
            }
        }
        misses += blobs.opened();
        let _ = fs::remove_file(&path);
        assert_eq!(tree(&read(&cache, &layers).0), expected);
    }
    assert!(misses > whole.len() / 2, "{misses} of {}", whole.len());
    // An inventory under another layer's name is none.
    let other = sha256(b"other");
    let renamed = cache.folder().join(other.to_string().replace(':', "-"));
    write(&renamed, &whole);
    assert!(cache.read(&other).is_none());
    assert!(Inventory::from_bytes(whole.clone(), &diff_id).is_some());
    assert!(Inventory::from_bytes(whole, &other).is_none());
}

#[test]
fn what_is_wanted_is_read_once_and_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = InventoryCache::new(folder.path(), NOW);
    let layers = [sample(), Archive::new().file("x", b"x").finish()];
    let mut reading = Reading {
        cache: Some(&cache),
        retention: nothing,
        ..Reading::default()
    };
    let a = ImagePath::new("d/a");
    let b = ImagePath::new("d/b");
    let (first, _) = image(&layers);
    let root = reading.root(first).expect("an image");
    assert!(root.read(&a, 99).is_err());
    reading.wanted = root.missed();
    let (second, blobs) = image(&layers);
    let root = reading.root(second).expect("an image");
    assert_eq!(blobs.opened(), 1, "only the layer that has it");
    assert_eq!(root.read(&a, 99).expect("kept"), b"some contents");
    assert!(root.read(&b, 99).is_err());
    reading.wanted = root.missed();
    let (third, blobs) = image(&layers);
    let root = reading.root(third).expect("an image");
    assert_eq!(blobs.opened(), 1);
    // What another run wanted is not lost.
    for path in [&a, &b] {
        assert!(root.read(path, 99).is_ok());
    }
    let (fourth, blobs) = image(&layers);
    reading.root(fourth).expect("an image");
    assert_eq!(blobs.opened(), 0);
}

#[test]
fn facts_of_executables_are_kept_without_their_contents() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = InventoryCache::new(folder.path(), NOW);
    let layers = [Archive::new().file("bin/python3", &[0x7f; 5000]).finish()];
    for _ in 0..2 {
        let reading = Reading {
            cache: Some(&cache),
            retention: |_| Retention::Executable,
            ..Reading::default()
        };
        let root = reading.root(image(&layers).0).expect("an image");
        let path = ImagePath::new("bin/python3");
        assert!(root.executable_facts(&path).is_ok());
        assert!(matches!(
            root.read(&path, 9999),
            Err(RootFsError::NotRetained(_))
        ));
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_one_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let occupied = folder.path().join("file");
    File::create(&occupied).expect("a file");
    let cache = InventoryCache::new(&occupied, NOW);
    for _ in 0..2 {
        let (root, blobs) = read(&cache, &[sample(), Archive::new().finish()]);
        assert_eq!(blobs.opened(), 2);
        assert_eq!(tree(&root), tree(&overlay(&[sample()])));
    }
    assert_eq!(cache.warnings().len(), 1);
}

fn set_age(path: &Path, age: Duration) {
    let file = File::options().append(true).open(path).expect("a file");
    file.set_modified(UNIX_EPOCH + NOW - age).expect("a time");
}

#[test]
fn a_layer_that_is_read_is_young_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = InventoryCache::new(folder.path(), NOW);
    let old = Archive::new().file("old", b"").finish();
    read(&cache, &[sample(), old.clone()]);
    for path in files(cache.folder()) {
        set_age(&path, 40 * DAY);
    }
    assert!(cache.read(&sha256(&sample())).is_some());
    let young = files(cache.folder())
        .into_iter()
        .filter(|path| {
            let modified = path.metadata().and_then(|metadata| metadata.modified());
            modified.expect("a time") == UNIX_EPOCH + NOW
        })
        .count();
    assert_eq!(young, 1, "of two layers and two aliases one was read");
    assert!(folder.path().join("CACHEDIR.TAG").is_file());
}

#[test]
fn two_readers_share_a_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let layers: Vec<Vec<u8>> = (0..8)
        .map(|number| {
            Archive::new()
                .file(&format!("f{number}"), b"contents")
                .finish()
        })
        .collect();
    let expected = tree(&overlay(&layers));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cache = InventoryCache::new(folder.path(), NOW);
                assert_eq!(tree(&read(&cache, &layers).0), expected);
                assert!(cache.warnings().is_empty());
            });
        }
    });
    let cache = InventoryCache::new(folder.path(), NOW);
    assert_eq!(read(&cache, &layers).1.opened(), 0);
    assert!(
        files(cache.folder())
            .iter()
            .all(|path| !path.to_string_lossy().contains(".new-"))
    );
}
