//! Whiteouts, links and replaced entries over several layers.

use std::collections::BTreeMap;

use imgtool::image_path::ImagePath;
use imgtool::rootfs::{Attributes, RootFs, RootFsError, resolve};
use tar::{EntryType, Header};

use crate::support::layers::{Archive, Reading, image, nothing, overlay, told, tree};

fn expect(layers: Vec<Archive>, entries: &[(&str, &str)]) {
    let layers: Vec<Vec<u8>> = layers.into_iter().map(Archive::finish).collect();
    let expected: BTreeMap<String, String> = entries
        .iter()
        .map(|(path, what)| ((*path).to_owned(), (*what).to_owned()))
        .collect();
    assert_eq!(tree(&overlay(&layers)), expected);
}

fn base() -> Archive {
    Archive::new()
        .file("d/a", b"0")
        .file("d/b", b"0")
        .file("e", b"0")
}

#[test]
fn whiteouts_hide_lower_layers_only_whatever_the_order() {
    let whiteout = Archive::new().file("d/.wh.a", b"").file("d/a", b"1");
    let reversed = Archive::new().file("d/a", b"1").file("d/.wh.a", b"");
    for layer in [whiteout, reversed] {
        expect(
            vec![base(), layer],
            &[("d", "d"), ("d/a", "f:1"), ("d/b", "f:0"), ("e", "f:0")],
        );
    }
    expect(
        vec![base(), Archive::new().file(".wh.d", b"")],
        &[("e", "f:0")],
    );
    // A folder that comes beside its own whiteout has nothing of the layers below.
    for layer in [
        Archive::new().file(".wh.d", b"").file("d/c", b"1"),
        Archive::new().file("d/c", b"1").file(".wh.d", b""),
    ] {
        expect(
            vec![base(), layer],
            &[("d", "d"), ("d/c", "f:1"), ("e", "f:0")],
        );
    }
}

#[test]
fn opaque_folders_hide_lower_layers_only_whatever_the_order() {
    for layer in [
        Archive::new().file("d/.wh..wh..opq", b"").file("d/c", b"1"),
        Archive::new().file("d/c", b"1").file("d/.wh..wh..opq", b""),
    ] {
        expect(
            vec![base(), layer],
            &[("d", "d"), ("d/c", "f:1"), ("e", "f:0")],
        );
    }
    expect(
        vec![
            base(),
            Archive::new().file(".wh..wh..opq", b"").file("x", b"1"),
        ],
        &[("x", "f:1")],
    );
    expect(
        vec![
            base(),
            Archive::new().file("d/.wh..wh..opq", b""),
            Archive::new().file("d/z", b"2"),
        ],
        &[("d", "d"), ("d/z", "f:2"), ("e", "f:0")],
    );
}

#[test]
fn only_the_exact_name_is_opaque_and_names_of_aufs_are_passed_over() {
    let layer = Archive::new()
        .file("d/.wh..wh..opqX", b"")
        .file(".wh..wh.aufs", b"")
        .folder(".wh..wh.orph")
        .file(".wh..wh.plnk/1.2", b"linked")
        .hard_link("d/c", ".wh..wh.plnk/1.2");
    expect(
        vec![base(), layer],
        &[
            ("d", "d"),
            ("d/a", "f:0"),
            ("d/b", "f:0"),
            ("d/c", "f:linked"),
            ("e", "f:0"),
        ],
    );
}

#[test]
fn a_whiteout_that_names_nothing_is_invalid() {
    for name in ["d/.wh.", "d/.wh..", "d/.wh..."] {
        let layers = [base().finish(), Archive::new().file(name, b"").finish()];
        let error = Reading::default()
            .root(image(&layers).0)
            .expect_err("an error");
        assert!(
            told(&error).contains("a whiteout that names nothing"),
            "{name}"
        );
    }
}

#[test]
fn whiteouts_of_the_lowest_layer_hide_nothing() {
    expect(
        vec![
            Archive::new()
                .file(".wh.x", b"")
                .file("d/.wh..wh..opq", b"")
                .file("y", b"0"),
        ],
        &[("d", "d"), ("y", "f:0")],
    );
}

#[test]
fn whiteouts_do_not_go_through_links_of_lower_layers() {
    let lower = Archive::new().file("real/x", b"0").symlink("link", "real");
    // The folder that the whiteout needs hides the link, as in a layer of an overlay file system.
    expect(
        vec![lower, Archive::new().file("link/.wh.x", b"")],
        &[("real", "d"), ("real/x", "f:0"), ("link", "d")],
    );
}

#[test]
fn a_folder_over_a_link_of_a_lower_layer_replaces_it() {
    let lower = Archive::new()
        .symlink("lib", "usr/lib")
        .file("usr/lib/libc.so.6", b"0");
    expect(
        vec![lower, Archive::new().folder("lib").file("lib/x", b"1")],
        &[
            ("lib", "d"),
            ("lib/x", "f:1"),
            ("usr", "d"),
            ("usr/lib", "d"),
            ("usr/lib/libc.so.6", "f:0"),
        ],
    );
}

#[test]
fn links_of_the_same_layer_are_followed_inside_the_root() {
    let layer = Archive::new()
        .folder("venv/lib")
        .symlink("venv/lib64", "lib")
        .file("venv/lib64/x", b"1")
        .symlink("absolute", "/venv/lib")
        .file("absolute/y", b"2")
        .symlink("up", "../../../venv")
        .file("up/z", b"3")
        .symlink("nowhere", "made/later")
        .file("nowhere/w", b"4");
    expect(
        vec![layer],
        &[
            ("absolute", "l:/venv/lib"),
            ("made", "d"),
            ("made/later", "d"),
            ("made/later/w", "f:4"),
            ("nowhere", "l:made/later"),
            ("up", "l:../../../venv"),
            ("venv", "d"),
            ("venv/lib", "d"),
            ("venv/lib/x", "f:1"),
            ("venv/lib/y", "f:2"),
            ("venv/lib64", "l:lib"),
            ("venv/z", "f:3"),
        ],
    );
}

#[test]
fn of_entries_with_one_path_the_later_stays() {
    let layer = Archive::new()
        .file("a", b"1")
        .file("a", b"2")
        .file("d/x", b"1")
        .file("d", b"file")
        .folder("d")
        .file("f/x", b"1")
        .folder("f")
        .file("g", b"1")
        .file("g/below", b"2")
        .symlink("h", "a")
        .file("h", b"3");
    expect(
        vec![layer],
        &[
            ("a", "f:2"),
            ("d", "d"),
            ("f", "d"),
            ("f/x", "f:1"),
            ("g", "d"),
            ("g/below", "f:2"),
            ("h", "f:3"),
        ],
    );
}

#[test]
fn an_entry_of_another_kind_hides_all_that_lies_below() {
    expect(
        vec![
            base(),
            Archive::new().file("d", b"1"),
            Archive::new().file("d/new", b"2"),
        ],
        &[("d", "d"), ("d/new", "f:2"), ("e", "f:0")],
    );
    expect(
        vec![base(), Archive::new().symlink("d", "e")],
        &[("d", "l:e"), ("e", "f:0")],
    );
}

#[test]
fn hard_links_lead_to_what_the_layer_had_when_they_came() {
    let layer = Archive::new()
        .file("pkgs/m", b"one")
        .hard_link("site/m", "pkgs/m")
        .hard_link("site/n", "/site/m")
        .file("pkgs/m", b"two")
        .symlink("s", "pkgs/m")
        .hard_link("t", "s")
        .hard_link("self", "self")
        .hard_link("site/m", "./site/m");
    expect(
        vec![layer],
        &[
            ("pkgs", "d"),
            ("pkgs/m", "f:two"),
            ("s", "l:pkgs/m"),
            ("self", "o"),
            ("site", "d"),
            ("site/m", "f:one"),
            ("site/n", "f:one"),
            ("t", "l:pkgs/m"),
        ],
    );
}

#[test]
fn hard_links_lead_to_lower_layers_whatever_happens_there_later() {
    expect(
        vec![
            Archive::new()
                .file("real/m", b"one")
                .symlink("pkgs", "real"),
            Archive::new()
                .hard_link("site/m", "pkgs/m")
                .file("real/.wh.m", b""),
            Archive::new()
                .file(".wh.real", b"")
                .hard_link("again", "site/m"),
        ],
        &[
            ("again", "f:one"),
            ("pkgs", "l:real"),
            ("site", "d"),
            ("site/m", "f:one"),
        ],
    );
    expect(
        vec![
            base(),
            Archive::new()
                .hard_link("d/a", "d/b")
                .hard_link("e", "e")
                .hard_link("x", "d"),
        ],
        &[
            ("d", "d"),
            ("d/a", "f:0"),
            ("d/b", "f:0"),
            ("e", "f:0"),
            ("x", "o"),
        ],
    );
}

#[test]
fn a_file_is_of_the_layer_that_brought_its_name() {
    let root = overlay(&[
        base().finish(),
        Archive::new()
            .file("d/b", b"new")
            .hard_link("linked", "e")
            .finish(),
    ]);
    let facts = |path: &str| {
        let facts = root.file_facts(&ImagePath::new(path)).expect("an answer");
        facts.map(|facts| (facts.size, facts.layer))
    };
    assert_eq!(facts("d/a"), Some((1, Some(0))));
    assert_eq!(facts("d/b"), Some((3, Some(1))));
    assert_eq!(facts("linked"), Some((1, Some(1))));
    assert_eq!((facts("d"), facts("none")), (None, None));
}

#[test]
fn questions_that_have_no_answer() {
    let root = overlay(&[base().symlink("link", "e").finish()]);
    let path = ImagePath::new;
    assert!(matches!(
        root.read(&path("none"), 9),
        Err(RootFsError::NotFound(_))
    ));
    assert!(matches!(
        root.read(&path("e/below"), 9),
        Err(RootFsError::NotFound(_))
    ));
    assert!(matches!(
        root.read(&path("d"), 9),
        Err(RootFsError::NotAFile(_))
    ));
    assert!(matches!(
        root.read(&path("link"), 9),
        Err(RootFsError::NotAFile(_))
    ));
    assert!(matches!(
        root.read(&path("e"), 0),
        Err(RootFsError::TooLarge { size: 1, .. })
    ));
    assert!(matches!(
        root.list(&path("e")),
        Err(RootFsError::NotADirectory(_))
    ));
    assert!(matches!(
        root.list(&path("none")),
        Err(RootFsError::NotFound(_))
    ));
    assert_eq!(root.entry(&path("none")).expect("an answer"), None);
    let found = resolve::resolve(&root, &path("link"))
        .expect("an answer")
        .expect("a file");
    assert_eq!(found.path, path("/e"));
    assert_eq!(root.read_range(&path("e"), 0, 5).expect("a file"), b"0");
    assert_eq!(root.read_range(&path("e"), 7, 5).expect("a file"), b"");
}

#[test]
fn what_was_not_kept_is_told_and_there_when_the_image_is_read_again() {
    let layers = [
        Archive::new()
            .file("pkgs/m", b"contents")
            .hard_link("site/m", "pkgs/m")
            .finish(),
        Archive::new().hard_link("later", "site/m").finish(),
    ];
    let mut reading = Reading {
        retention: nothing,
        ..Reading::default()
    };
    let root = reading.root(image(&layers).0).expect("an image");
    assert!(root.missed().is_empty());
    for name in ["site/m", "later"] {
        let error = root.read(&ImagePath::new(name), 99).expect_err("not kept");
        assert!(matches!(error, RootFsError::NotRetained(path) if path == ImagePath::new(name)));
    }
    // Both are the same contents, which the lower layer has under its first name.
    let mut expected = imgtool::rootfs::WantedFiles::default();
    let diff_id = imgtool::digest::sha256(&layers[0]);
    expected.insert(&diff_id, &ImagePath::new("pkgs/m"));
    assert_eq!(root.missed(), expected);
    assert!(reading.wanted.extend(&root.missed()));
    assert!(!reading.wanted.extend(&root.missed()));
    let root = reading.root(image(&layers).0).expect("an image");
    for name in ["site/m", "later", "pkgs/m"] {
        assert_eq!(
            root.read(&ImagePath::new(name), 99).expect("kept"),
            b"contents"
        );
    }
    assert!(root.missed().is_empty());
}

#[test]
fn names_that_are_not_utf_8_are_passed_over() {
    let layer = Archive::new()
        .entry(EntryType::Regular, b"bad\xff", b"", b"1")
        .entry(EntryType::Regular, b"worse\xff/x", b"", b"1")
        .entry(EntryType::Symlink, b"link", b"to\xff", b"")
        .entry(EntryType::Link, b"hard", b"bad\xff", b"")
        .file("good", b"2");
    expect(
        vec![layer],
        &[("good", "f:2"), ("hard", "o"), ("link", "l:to\u{fffd}")],
    );
}

/// An entry with permissions and owner.
fn with_attributes(
    archive: Archive,
    kind: EntryType,
    path: &str,
    attributes: Attributes,
) -> Archive {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(0);
    // As some programs do, with the kind of file before the permissions.
    header.set_mode(0o040_000 | attributes.mode);
    header.set_uid(attributes.uid);
    header.set_gid(attributes.gid);
    archive.with_header(header, b"")
}

fn attributes(mode: u32, uid: u64, gid: u64) -> Attributes {
    Attributes { mode, uid, gid }
}

#[test]
fn the_highest_layer_that_lists_a_folder_tells_its_permissions_and_owner() {
    let large = 1 << 33;
    let (folder, file) = (EntryType::Directory, EntryType::Regular);
    let lowest = with_attributes(Archive::new(), folder, "./", attributes(0o711, 3, 4));
    let lowest = with_attributes(lowest, folder, "d", attributes(0o2775, 1000, large));
    let lowest = with_attributes(lowest, file, "d/f", attributes(0o4711, 7, 8));
    let lowest = with_attributes(lowest, file, "implied/f", attributes(0o600, 7, 8));
    let lowest = with_attributes(lowest, folder, "o", attributes(0o700, 1, 1));
    let lowest = with_attributes(lowest, file, "linked", attributes(0o640, 9, 9))
        .hard_link("same", "linked")
        .pax(&[("uid", b"4294967296"), ("gid", b"none")]);
    let lowest = with_attributes(lowest, file, "pax", attributes(0o600, 1, 2));
    // Only implied here: what is below counts.
    let middle = with_attributes(Archive::new(), file, "d/g", attributes(0o600, 0, 0))
        .hard_link("other", "linked")
        .file("o/.wh..wh..opq", b"");
    let middle = with_attributes(middle, folder, "late/in", attributes(0o700, 5, 5));
    let middle = with_attributes(middle, folder, "late", attributes(0o750, 6, 6));
    let middle = with_attributes(middle, folder, "late", attributes(0o751, 6, 6));
    let highest = with_attributes(Archive::new(), folder, "implied", attributes(0o1777, 2, 2));
    let root = overlay(&[lowest.finish(), middle.finish(), highest.finish()]);
    for (path, expected) in [
        ("/", Some(attributes(0o711, 3, 4))),
        ("/d", Some(attributes(0o2775, 1000, large))),
        ("/d/f", Some(attributes(0o4711, 7, 8))),
        ("/d/g", Some(attributes(0o600, 0, 0))),
        ("/implied", Some(attributes(0o1777, 2, 2))),
        ("/linked", Some(attributes(0o640, 9, 9))),
        ("/same", Some(attributes(0o640, 9, 9))),
        ("/other", Some(attributes(0o640, 9, 9))),
        ("/pax", Some(attributes(0o600, 1 << 32, 2))),
        ("/late", Some(attributes(0o751, 6, 6))),
        ("/late/in", Some(attributes(0o700, 5, 5))),
        // Opaque in a layer that does not list it: nothing of the layers below is left, its permissions neither.
        ("/o", Some(Attributes::IMPLIED)),
        ("/none", None),
        ("/d/f/below", None),
    ] {
        let told = root.attributes(&ImagePath::new(path)).expect("an answer");
        assert_eq!(told, expected, "{path}");
    }
}
