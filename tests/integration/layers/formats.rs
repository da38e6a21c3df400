//! Every form in which archives write names, sizes and sparse files.

use std::collections::BTreeMap;

use imgtool::image_path::ImagePath;
use imgtool::rootfs::RootFs;
use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::support::layers::{Archive, Reading, gzip, image, image_of, overlay, told, tree};

fn expect(archive: Vec<u8>, entries: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> = entries
        .iter()
        .map(|(path, what)| ((*path).to_owned(), (*what).to_owned()))
        .collect();
    assert_eq!(tree(&overlay(&[archive])), expected);
}

fn refused(archive: Vec<u8>) -> String {
    told(
        &Reading::default()
            .root(image(&[archive]).0)
            .expect_err("an error"),
    )
}

#[test]
fn names_of_every_spelling_are_one_path() {
    let archive = Archive::new()
        .folder("./")
        .file("./x", b"1")
        .file("/y", b"2")
        .file("z//w/./v", b"3")
        .folder("z/w/u/")
        .finish();
    let expected = [
        ("x", "f:1"),
        ("y", "f:2"),
        ("z", "d"),
        ("z/w", "d"),
        ("z/w/u", "d"),
        ("z/w/v", "f:3"),
    ];
    expect(archive, &expected);
}

#[test]
fn long_names_of_gnu_and_ustar() {
    let long = format!("{}/{}", "folder".repeat(20), "file".repeat(30));
    let target = "target/".repeat(40);
    let mut ustar = Header::new_ustar();
    let name = ustar.as_ustar_mut().expect("a header of ustar");
    name.prefix[..6].copy_from_slice(b"prefix");
    name.name[..4].copy_from_slice(b"name");
    ustar.set_entry_type(EntryType::Regular);
    ustar.set_size(1);
    let mut old = Header::new_old();
    old.as_old_mut().name[..3].copy_from_slice(b"old");
    old.set_size(1);
    let mut folder = Header::new_old();
    folder.as_old_mut().name[..7].copy_from_slice(b"folder/");
    folder.as_old_mut().linkflag = [0];
    folder.set_size(0);
    let archive = Archive::new()
        .file(&long, b"x")
        .entry(EntryType::Symlink, b"link", target.as_bytes(), b"")
        .with_header(ustar, b"u")
        .with_header(old, b"o")
        .with_header(folder, b"")
        .finish();
    let target = format!("l:{target}");
    expect(
        archive,
        &[
            (&"folder".repeat(20), "d"),
            (&long, "f:x"),
            ("link", &target),
            ("prefix", "d"),
            ("prefix/name", "f:u"),
            ("old", "f:o"),
            ("folder", "d"),
        ],
    );
}

#[test]
fn pax_records_replace_what_the_header_says() {
    let archive = Archive::new()
        .raw(
            EntryType::XGlobalHeader,
            b"global",
            b"",
            14,
            b"14 path=bogus\n",
        )
        .pax(&[
            ("path", b"real/name"),
            ("size", b"3"),
            ("SCHILY.xattr.x", b"\n\0\n"),
        ])
        .raw(EntryType::Regular, b"short", b"", 0, b"abc")
        .pax(&[("linkpath", b"/absolute")])
        .raw(EntryType::Symlink, b"link", b"other", 0, b"")
        .pax(&[("path", b"")])
        .file("kept", b"k")
        .finish();
    expect(
        archive,
        &[
            ("real", "d"),
            ("real/name", "f:abc"),
            ("link", "l:/absolute"),
            ("kept", "f:k"),
        ],
    );
}

#[test]
fn entries_that_are_only_headers_have_no_body() {
    let archive = Archive::new()
        .file("a", b"contents")
        .raw(EntryType::Link, b"b", b"a", 8, b"")
        .raw(EntryType::Directory, b"c", b"", 512, b"")
        .file("d", b"d")
        .finish();
    expect(
        archive,
        &[
            ("a", "f:contents"),
            ("b", "f:contents"),
            ("c", "d"),
            ("d", "f:d"),
        ],
    );
}

#[test]
fn devices_are_there_and_never_files() {
    let archive = Archive::new()
        .raw(EntryType::Char, b"dev/null", b"", 0, b"")
        .raw(EntryType::Block, b"dev/sda", b"", 0, b"")
        .raw(EntryType::Fifo, b"dev/pipe", b"", 0, b"")
        .raw(EntryType::new(b'V'), b"volume", b"", 3, b"abc")
        .finish();
    expect(
        archive.clone(),
        &[
            ("dev", "d"),
            ("dev/null", "o"),
            ("dev/sda", "o"),
            ("dev/pipe", "o"),
        ],
    );
    let root = overlay(&[archive]);
    assert!(root.read(&ImagePath::new("dev/null"), 10).is_err());
}

#[test]
fn sizes_in_base_256_are_read() {
    let mut header = Header::new_gnu();
    header.set_path("big").expect("a name");
    header.set_entry_type(EntryType::Regular);
    header.as_old_mut().size = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
    expect(
        Archive::new().with_header(header.clone(), b"abc").finish(),
        &[("big", "f:abc")],
    );
    // More than 64 bits, and less than nothing.
    for first in [[0x80, 1], [0xff, 0xff]] {
        header.as_old_mut().size[..2].copy_from_slice(&first);
        header.as_old_mut().size[2..].fill(0xff);
        let error = refused(Archive::new().with_header(header.clone(), b"abc").finish());
        assert!(error.contains("a size that is no number"), "{error}");
    }
}

/// A file of 20 bytes with `ab` at 4 and `cd` at 10.
const SPARSE: &str = "f:\0\0\0\0ab\0\0\0\0cd\0\0\0\0\0\0\0\0";

#[test]
fn sparse_files_of_pax_have_their_holes() {
    let version_0_0 = Archive::new().pax(&[
        ("GNU.sparse.size", b"20"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"4"),
        ("GNU.sparse.numbytes", b"2"),
        ("GNU.sparse.offset", b"10"),
        ("GNU.sparse.numbytes", b"2"),
    ]);
    let archive = version_0_0.file("name", b"abcd").finish();
    expect(archive, &[("name", SPARSE)]);
    let version_0_1 = Archive::new().pax(&[
        ("GNU.sparse.size", b"20"),
        ("GNU.sparse.name", b"name"),
        ("GNU.sparse.map", b"4,2,10,2"),
    ]);
    let archive = version_0_1.file("GNUSparseFile.0/name", b"abcd").finish();
    expect(archive, &[("name", SPARSE)]);
    let version_1_0 = Archive::new().pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"name"),
        ("GNU.sparse.realsize", b"20"),
    ]);
    let mut body = b"2\n4\n2\n10\n2\n".to_vec();
    body.resize(512, 0);
    body.extend_from_slice(b"abcd");
    let archive = version_1_0
        .file("GNUSparseFile.0/name", &body)
        .file("next", b"n")
        .finish();
    expect(archive, &[("name", SPARSE), ("next", "f:n")]);
}

fn old_sparse(
    pieces: &[(u64, u64)],
    extended: &[&[(u64, u64)]],
    size: u64,
    body: &[u8],
) -> Archive {
    let mut header = Header::new_gnu();
    header.set_path("name").expect("a name");
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(body.len() as u64);
    let gnu = header.as_gnu_mut().expect("a header of GNU");
    gnu.set_real_size(size);
    gnu.set_is_extended(!extended.is_empty());
    for (place, (offset, length)) in gnu.sparse.iter_mut().zip(pieces) {
        place.set_offset(*offset);
        place.set_length(*length);
    }
    header.set_cksum();
    let mut archive = Archive::new();
    archive.0.extend_from_slice(header.as_bytes());
    for (position, pieces) in extended.iter().enumerate() {
        let mut block = GnuExtSparseHeader::new();
        block.set_is_extended(position + 1 < extended.len());
        for (place, (offset, length)) in block.sparse_mut().iter_mut().zip(*pieces) {
            place.set_offset(*offset);
            place.set_length(*length);
        }
        archive.0.extend_from_slice(block.as_bytes());
    }
    archive.body(body)
}

#[test]
fn sparse_files_of_old_gnu_have_their_holes() {
    let archive = old_sparse(&[(4, 2), (10, 2)], &[], 20, b"abcd");
    expect(
        archive.file("next", b"n").finish(),
        &[("name", SPARSE), ("next", "f:n")],
    );
    let archive = old_sparse(&[(4, 2)], &[&[(10, 1)], &[(11, 1), (20, 0)]], 20, b"abcd");
    expect(
        archive.file("next", b"n").finish(),
        &[("name", SPARSE), ("next", "f:n")],
    );
    let root = overlay(&[old_sparse(&[(4, 2)], &[], 1 << 40, b"ab").finish()]);
    let facts = root.file_facts(&ImagePath::new("name")).expect("an answer");
    assert_eq!(facts.map(|facts| facts.size), Some(1 << 40));
}

#[test]
fn a_sparse_map_that_leads_outside_of_its_file_is_refused() {
    for (pieces, size) in [
        (&[(4, 2), (19, 2)][..], 20),
        (&[(4, 2), (5, 2)], 20),
        (&[(4, 2), (10, 3)], 20),
        (&[(u64::from(u32::MAX), 4)], 20),
    ] {
        let error = refused(old_sparse(pieces, &[], size, b"abcd").finish());
        assert!(
            error.contains("outside of its file, at or behind its entry `name`"),
            "{error}"
        );
    }
    let bodies: [&[u8]; 4] = [b"2\n4\n", b"x\n", b"99999999999999999999999\n", b""];
    for body in bodies {
        let records = [
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"20"),
        ];
        let archive = Archive::new().pax(&records).file("name", body).finish();
        assert!(refused(archive).contains("is invalid"));
    }
}

#[test]
fn a_wrong_checksum_is_refused_and_one_of_signed_bytes_is_not() {
    let mut archive = Archive::new()
        .file("first", b"1")
        .file("second", b"2")
        .finish();
    archive[1024] ^= 1;
    let error = refused(archive);
    assert!(
        error.contains("checksum is wrong, at or behind its entry `first`"),
        "{error}"
    );
    let error = refused(b"<html>".repeat(200));
    assert!(
        error.contains("it is not a tar archive, at its beginning"),
        "{error}"
    );

    let mut header = Header::new_gnu();
    header.as_old_mut().name[..2].copy_from_slice("é".as_bytes());
    header.set_entry_type(EntryType::Regular);
    header.set_size(0);
    header.set_cksum();
    let unsigned = header.cksum().expect("a sum");
    let signed = unsigned - 2 * 256;
    header
        .as_old_mut()
        .cksum
        .copy_from_slice(format!("{signed:06o}\0 ").as_bytes());
    let mut archive = Archive::new();
    archive.0.extend_from_slice(header.as_bytes());
    expect(archive.finish(), &[("é", "f:")]);
}

#[test]
fn ends_of_archives() {
    let archive = Archive::new().file("a", b"1");
    // No end marker, not even padding; half an end marker; more behind it.
    expect(archive.0.clone(), &[("a", "f:1")]);
    expect(archive.0[..513].to_vec(), &[("a", "f:1")]);
    expect([archive.0.clone(), vec![0; 512]].concat(), &[("a", "f:1")]);
    expect(
        [archive.clone().finish(), vec![7; 9999]].concat(),
        &[("a", "f:1")],
    );
    let lone = [archive.0.clone(), vec![0; 512], archive.clone().finish()].concat();
    assert!(refused(lone).contains("a single block of zeros"));
    assert!(refused(archive.0[..512].to_vec()).contains("it ends in the middle"));
    assert!(refused(archive.0[..511].to_vec()).contains("it ends in the middle"));
    let dangling = Archive::new().pax(&[("path", b"x")]).finish();
    assert!(refused(dangling).contains("an extended header"));
}

#[test]
fn layers_without_entries_are_empty() {
    expect(Vec::new(), &[]);
    expect(vec![0; 1024], &[]);
    let empty = imgtool::digest::sha256(b"");
    for blob in [Vec::new(), gzip(b"")] {
        let root = Reading::default().root(image_of(vec![(blob, empty.clone())]).0);
        assert!(tree(&root.expect("an empty layer")).is_empty());
    }
}

#[test]
fn compression_is_told_from_the_bytes() {
    let archive = Archive::new().file("a", &b"contents".repeat(1000)).finish();
    let diff_id = imgtool::digest::sha256(&archive);
    let expected = format!("f:{}", "contents".repeat(1000));
    let (first, second) = archive.split_at(700);
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"toc!"].concat();
    let zstd = |bytes| zstd::encode_all(bytes, 1).expect("a frame");
    for blob in [
        archive.clone(),
        gzip(&archive),
        [gzip(first), gzip(second)].concat(),
        zstd(archive.as_slice()),
        [zstd(first), skippable.clone(), zstd(second), skippable].concat(),
    ] {
        let root = Reading::default().root(image_of(vec![(blob, diff_id.clone())]).0);
        let tree = tree(&root.expect("a layer"));
        assert_eq!(tree.get("a"), Some(&expected));
    }
}

#[test]
fn a_hundred_thousand_entries_are_read_and_found() {
    let mut archive = Archive::new();
    for number in 0..100_000 {
        archive = archive.file(
            &format!("lib/package{}/module{number}.py", number % 300),
            b"",
        );
    }
    let root = overlay(&[archive.finish()]);
    assert_eq!(
        root.list(&ImagePath::new("lib")).expect("a folder").len(),
        300
    );
    let found = root.file_facts(&ImagePath::new("lib/package299/module99899.py"));
    assert!(found.expect("an answer").is_some());
}
