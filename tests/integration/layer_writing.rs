//! Layers that are written, read back by other readers: whatever the contents, the same come out, and the same bytes
//! whatever the number of threads.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use imgtool::digest::{Digest, sha256};
use imgtool::image_path::ImagePath;
use imgtool::layer::{
    Compression, FileSource, LayerContents, LayerEntry, LayerFile, LayerWriteSettings, Sources,
    WrittenLayer, write_layer,
};
use imgtool::rootfs::{Attributes, Limits};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use crate::support::layers::{Archive, Reading, gzip, image_of, overlay, told, tree, walk};

/// The members of wheels; a reader gives them in small and uneven pieces.
#[derive(Debug, Clone, Default)]
struct Members(Vec<Vec<u8>>);

impl Sources for Members {
    fn open(&self, source: &FileSource) -> io::Result<Box<dyn Read + '_>> {
        match source {
            FileSource::Wheel { wheel: 3, member } => Ok(Box::new(Pieces(&self.0[*member], 0))),
            _ => Err(io::Error::other("no such wheel")),
        }
    }
}

struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let piece = buffer.len().min(self.1 * 3001);
        self.0.read(&mut buffer[..piece])
    }
}

fn write(
    contents: &LayerContents,
    members: &Members,
    compression: Compression,
    threads: usize,
) -> (WrittenLayer, Vec<u8>) {
    let settings = LayerWriteSettings {
        compression,
        mtime: 1_700_000_000,
        threads,
    };
    let mut blob = Vec::new();
    let written = write_layer(contents, members, &settings, &mut blob).expect("a layer");
    (written, blob)
}

/// A gzip file of exactly one member.
fn gunzip(blob: &[u8]) -> Vec<u8> {
    let mut decoder = flate2::bufread::GzDecoder::new(blob);
    let mut read = Vec::new();
    decoder.read_to_end(&mut read).expect("gzip");
    assert!(decoder.into_inner().is_empty());
    read
}

/// Bytes that compress about as well as programs do.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state.is_multiple_of(3) {
            bytes.extend_from_slice(b"    def function(");
        } else {
            bytes.extend_from_slice(&state.to_le_bytes()[..4]);
        }
    }
    bytes.truncate(length);
    bytes
}

fn file(contents: &[u8], attributes: Attributes, source: FileSource) -> LayerEntry {
    LayerEntry::File(LayerFile {
        attributes,
        size: contents.len() as u64,
        sha256: Sha256::digest(contents).into(),
        source,
    })
}

/// What a path is made into.
#[derive(Debug, Clone)]
enum Kind {
    Folder,
    Bytes(Vec<u8>),
    Member(Vec<u8>),
    Whiteout,
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-c]{1,2}",
        2 => "[ -.0-~]{1,12}",
        1 => "[a-z_]{90,200}",
        1 => "\\PC{1,40}",
        // No line breaks: the `tar` crate splits extended headers at them.
        1 => "[=äß😀]{1,5}",
    ]
    .prop_map(|name: String| name.replace('/', "-"))
    .prop_filter("a name", |name| {
        !name.is_empty() && name != "." && name != ".." && !name.starts_with(".wh.")
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let id = prop_oneof![
        4 => Just(0),
        2 => 0..70_000_u64,
        1 => 2_097_150..2_097_155_u64,
        1 => Just(u64::from(u32::MAX)),
    ];
    (0..=0o7777_u32, id.clone(), id).prop_map(|(mode, uid, gid)| Attributes { mode, uid, gid })
}

fn kind() -> impl Strategy<Value = Kind> {
    let length = prop_oneof![
        8 => 0..1_100_usize,
        2 => prop::sample::select(vec![0_usize, 511, 512, 513]),
        1 => 200_000..700_000_usize,
    ];
    let contents = (length, any::<u64>()).prop_map(|(length, seed)| bytes(length, seed));
    prop_oneof![
        1 => Just(Kind::Folder),
        2 => contents.clone().prop_map(Kind::Bytes),
        4 => contents.prop_map(Kind::Member),
        2 => Just(Kind::Whiteout),
    ]
}

type Steps = Vec<(Vec<String>, Kind, Attributes)>;

fn steps() -> impl Strategy<Value = Steps> {
    let path = prop::collection::vec(name(), 1..5);
    prop::collection::vec((path, kind(), attributes()), 0..24)
}

/// Contents of steps that do not contradict the ones before.
fn contents(steps: &Steps) -> (LayerContents, Members) {
    let mut contents = LayerContents::default();
    let mut members = Members::default();
    for (names, kind, attributes) in steps {
        let mut path = ImagePath::root();
        let mut folders = Vec::new();
        for name in names {
            folders.push(path.clone());
            path = path.join(name);
        }
        let blocked = folders
            .iter()
            .any(|folder| contents.entries.contains_key(folder));
        if blocked || contents.directories.contains_key(&path) {
            continue;
        }
        if contents.entries.contains_key(&path) {
            continue;
        }
        for folder in folders.into_iter().skip(1) {
            contents.directories.entry(folder).or_insert(*attributes);
        }
        let entry = match kind {
            Kind::Folder => {
                contents.directories.insert(path, *attributes);
                continue;
            }
            Kind::Whiteout => LayerEntry::Whiteout,
            Kind::Bytes(bytes) => {
                file(bytes, *attributes, FileSource::Bytes(Arc::from(&bytes[..])))
            }
            Kind::Member(bytes) => {
                members.0.push(bytes.clone());
                let member = members.0.len() - 1;
                file(bytes, *attributes, FileSource::Wheel { wheel: 3, member })
            }
        };
        contents.entries.insert(path, entry);
    }
    (contents, members)
}

fn bytes_of<'a>(file: &'a LayerFile, members: &'a Members) -> &'a [u8] {
    match &file.source {
        FileSource::Bytes(bytes) => bytes,
        FileSource::Wheel { member, .. } => &members.0[*member],
        FileSource::Compiled { .. } => panic!("nothing was compiled"),
    }
}

/// An entry as the `tar` crate reads it.
#[derive(Debug, PartialEq)]
struct ReadEntry {
    kind: EntryType,
    attributes: Attributes,
    digest: Digest,
}

/// All entries of an archive by name, and their names in order.
fn read_archive(archive: &[u8]) -> (BTreeMap<String, ReadEntry>, Vec<String>) {
    let (mut found, mut order) = (BTreeMap::new(), Vec::new());
    let mut reader = tar::Archive::new(archive);
    for entry in reader.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
        let mut attributes = Attributes {
            mode: entry.header().mode().expect("a mode"),
            uid: entry.header().uid().expect("an owner"),
            gid: entry.header().gid().expect("a group"),
        };
        assert_eq!(entry.header().mtime().expect("a time"), 1_700_000_000);
        assert_eq!(entry.header().username_bytes(), Some(&b""[..]));
        assert_eq!(entry.header().groupname_bytes(), Some(&b""[..]));
        for record in entry
            .pax_extensions()
            .expect("records")
            .into_iter()
            .flatten()
        {
            let record = record.expect("a record");
            let number = || record.value().expect("UTF-8").parse().expect("a number");
            match record.key().expect("UTF-8") {
                "uid" => attributes.uid = number(),
                "gid" => attributes.gid = number(),
                "path" => {}
                other => panic!("a record `{other}`"),
            }
        }
        let mut body = Vec::new();
        entry.read_to_end(&mut body).expect("a body");
        let read = ReadEntry {
            kind: entry.header().entry_type(),
            attributes,
            digest: sha256(&body),
        };
        order.push(name.clone());
        assert!(found.insert(name, read).is_none());
    }
    (found, order)
}

/// The entries that an archive of `contents` should have.
fn expected_archive(contents: &LayerContents, members: &Members) -> BTreeMap<String, ReadEntry> {
    let mut expected = BTreeMap::new();
    for (path, attributes) in &contents.directories {
        let read = ReadEntry {
            kind: EntryType::Directory,
            attributes: *attributes,
            digest: sha256(b""),
        };
        expected.insert(format!("{}/", &path.as_str()[1..]), read);
    }
    for (path, entry) in &contents.entries {
        let (name, attributes, digest) = match entry {
            LayerEntry::File(file) => (
                path.as_str()[1..].to_owned(),
                file.attributes,
                sha256(bytes_of(file, members)),
            ),
            LayerEntry::Whiteout => {
                let folder = path.parent().expect("a folder");
                let name = folder.join(&format!(".wh.{}", path.file_name()));
                let nobody = Attributes {
                    mode: 0,
                    uid: 0,
                    gid: 0,
                };
                (name.as_str()[1..].to_owned(), nobody, sha256(b""))
            }
        };
        let read = ReadEntry {
            kind: EntryType::Regular,
            attributes,
            digest,
        };
        expected.insert(name, read);
    }
    expected
}

/// A layer below: what is removed is there, as a file or as a folder with something in it, and something else beside.
fn lower(contents: &LayerContents) -> Archive {
    let mut archive = Archive::new();
    for (place, (path, entry)) in contents.entries.iter().enumerate() {
        if !matches!(entry, LayerEntry::Whiteout) {
            continue;
        }
        let path = &path.as_str()[1..];
        archive = if place % 2 == 0 {
            archive.file(path, b"old")
        } else {
            archive.file(&format!("{path}/deep/old"), b"old")
        };
    }
    archive.file("untouched below", b"old")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(steps in steps()) {
        let (contents, members) = contents(&steps);
        let (written, blob) = write(&contents, &members, Compression::GZIP, 1);
        for threads in [2, 8] {
            let again = write(&contents, &members, Compression::GZIP, threads);
            prop_assert!(again == (written.clone(), blob.clone()), "{} threads", threads);
        }
        let (zstd_written, zstd_blob) = write(&contents, &members, Compression::ZSTD, 1);
        for threads in [2, 8] {
            let again = write(&contents, &members, Compression::ZSTD, threads);
            prop_assert!(again == (zstd_written.clone(), zstd_blob.clone()), "{} threads", threads);
        }

        let archive = gunzip(&blob);
        prop_assert_eq!(&written.digest, &sha256(&blob));
        prop_assert_eq!(written.size, blob.len() as u64);
        prop_assert_eq!(&written.diff_id, &sha256(&archive));
        prop_assert_eq!(written.uncompressed, archive.len() as u64);
        prop_assert_eq!(&zstd_written.digest, &sha256(&zstd_blob));
        prop_assert_eq!(zstd_written.size, zstd_blob.len() as u64);
        prop_assert_eq!(&zstd_written.diff_id, &written.diff_id);
        prop_assert!(zstd::decode_all(&zstd_blob[..]).expect("zstd") == archive);

        // By the `tar` crate: everything, with its attributes, and in order.
        let (found, order) = read_archive(&archive);
        prop_assert_eq!(found, expected_archive(&contents, &members));
        let mut seen = std::collections::BTreeSet::from([String::new()]);
        let mut begun = std::collections::BTreeSet::new();
        for name in &order {
            let bare = name.trim_end_matches('/');
            let (folder, last) = bare.rsplit_once('/').unwrap_or(("", bare));
            prop_assert!(seen.contains(folder), "{} before its folder", name);
            if last.starts_with(".wh.") {
                prop_assert!(!begun.contains(folder), "{} behind a sibling", name);
            } else {
                begun.insert(folder.to_owned());
                seen.insert(bare.to_owned());
            }
        }

        // By imgtool itself: the merged root.
        let below = lower(&contents).finish();
        let layers = |blob| vec![
            (gzip(&below), sha256(&below)),
            (blob, written.diff_id.clone()),
        ];
        let reading = Reading { limits: Limits::default(), ..Reading::default() };
        let mut expected = BTreeMap::from([("untouched below".to_owned(), sha256(b"old").to_string())]);
        for path in contents.directories.keys() {
            expected.insert(path.as_str()[1..].to_owned(), "d".to_owned());
        }
        for (path, entry) in &contents.entries {
            if let LayerEntry::File(file) = entry {
                let digest = sha256(bytes_of(file, &members)).to_string();
                expected.insert(path.as_str()[1..].to_owned(), digest);
            }
        }
        for blob in [blob, zstd_blob] {
            let (image, _) = image_of(layers(blob));
            let root = reading.root(image).expect("an image");
            let found = walk(&root, |path| {
                use imgtool::rootfs::RootFs as _;
                sha256(&root.read(path, 1 << 30).expect("a file")).to_string()
            });
            prop_assert_eq!(&found, &expected);
        }
    }
}

const EXECUTABLE: Attributes = Attributes {
    mode: 0o755,
    uid: 1000,
    gid: 100,
};

/// A small layer with something of everything.
fn small() -> (LayerContents, Members) {
    let script = b"#!/usr/bin/python3\nprint('hello')\n";
    let module = bytes(300_000, 17);
    let long = format!("/opt/{}/ö.py", "long".repeat(50));
    let mut contents = LayerContents::default();
    for path in ["/opt", "/opt/bin", &long[..long.len() - "/ö.py".len()]] {
        contents.directories.insert(
            ImagePath::new(path),
            Attributes {
                mode: 0o755,
                uid: 0,
                gid: 0,
            },
        );
    }
    let source = FileSource::Bytes(Arc::from(&script[..]));
    contents.entries.insert(
        ImagePath::new("/opt/bin/hello"),
        file(script, EXECUTABLE, source),
    );
    contents
        .entries
        .insert(ImagePath::new("/opt/bin/gone"), LayerEntry::Whiteout);
    let source = FileSource::Wheel {
        wheel: 3,
        member: 0,
    };
    let attributes = Attributes {
        mode: 0o644,
        uid: 3_000_000,
        gid: 0,
    };
    contents
        .entries
        .insert(ImagePath::new(&long), file(&module, attributes, source));
    (contents, Members(vec![module]))
}

/// Layers of other versions of imgtool stay equal byte by byte: what changes one of these digests changes the digest of
/// every image that is built, and has to say so to its users.
#[test]
fn the_bytes_of_a_layer_are_what_they_were() {
    let (contents, members) = small();
    let (gzip, _) = write(&contents, &members, Compression::GZIP, 2);
    let (zstd, _) = write(&contents, &members, Compression::ZSTD, 2);
    assert_eq!(gzip.diff_id, zstd.diff_id);
    let found = [
        (gzip.uncompressed, gzip.diff_id.as_ref()),
        (gzip.size, gzip.digest.as_ref()),
        (zstd.size, zstd.digest.as_ref()),
    ];
    let expected = [
        (
            306_688,
            "sha256:1e551bb43cff9fbd41016cdd00fa7ad9b0fca08f59383f0b9af4d45a41bfcc60",
        ),
        (
            114_751,
            "sha256:85072983a4d8bbece8d0c2022daea05453bf192fff5404095d29e570ddebb3e8",
        ),
        (
            113_440,
            "sha256:4aaa76fe633f95a04b3aeab905b68bd8d07e9deb00aabfe35e7b355b3d369b5a",
        ),
    ];
    assert_eq!(found, expected);
}

#[test]
fn contents_of_many_blocks_are_the_same_on_any_number_of_threads() {
    let member = bytes(5_000_000, 99);
    let source = FileSource::Wheel {
        wheel: 3,
        member: 0,
    };
    let mut contents = LayerContents::default();
    contents
        .entries
        .insert(ImagePath::new("/a"), file(&member, EXECUTABLE, source));
    let members = Members(vec![member]);
    for compression in [
        Compression::Gzip { level: 1 },
        Compression::GZIP,
        Compression::Gzip { level: 9 },
        Compression::ZSTD,
        Compression::Zstd { level: 7 },
    ] {
        let one = write(&contents, &members, compression, 1);
        for threads in [0, 2, 3, 8, 1000] {
            assert!(write(&contents, &members, compression, threads) == one);
        }
        let mut archive = Vec::new();
        if matches!(compression, Compression::Gzip { .. }) {
            archive.extend(gunzip(&one.1));
        } else {
            archive.extend(zstd::decode_all(&one.1[..]).expect("zstd"));
        }
        assert_eq!(one.0.diff_id, sha256(&archive));
        assert!(archive[512..].starts_with(&members.0[0]));
    }
}

#[test]
fn names_may_have_line_breaks() {
    let mut contents = LayerContents::default();
    for name in ["/a\nb", "/ä\n12 path=b\n"] {
        let source = FileSource::Bytes(Arc::from(name.as_bytes()));
        contents.entries.insert(
            ImagePath::new(name),
            file(name.as_bytes(), EXECUTABLE, source),
        );
    }
    let (_, blob) = write(&contents, &Members::default(), Compression::GZIP, 2);
    let found = tree(&overlay(&[gunzip(&blob)]));
    let expected = [
        ("a\nb".to_owned(), "f:/a\nb".to_owned()),
        ("ä\n12 path=b\n".to_owned(), "f:/ä\n12 path=b\n".to_owned()),
    ];
    assert_eq!(found, BTreeMap::from(expected));
}

#[test]
fn a_layer_without_entries_is_one() {
    let nothing = LayerContents::default();
    let (written, blob) = write(&nothing, &Members::default(), Compression::GZIP, 2);
    assert_eq!(gunzip(&blob), [0; 1024]);
    assert_eq!(written.uncompressed, 1024);
}

/// The error of the small layer after `change`, and of `out`.
fn failure(
    change: impl Fn(&mut LayerContents, &mut Members),
    threads: usize,
    out: impl Write + Send,
) -> String {
    let (mut contents, mut members) = small();
    change(&mut contents, &mut members);
    let settings = LayerWriteSettings {
        compression: Compression::GZIP,
        mtime: 0,
        threads,
    };
    let error = write_layer(&contents, &members, &settings, out).expect_err("no layer");
    told(&error)
}

fn the_member(contents: &mut LayerContents) -> &mut LayerFile {
    let files = contents.entries.values_mut();
    let mut files = files.filter_map(|entry| match entry {
        LayerEntry::File(file) => Some(file),
        LayerEntry::Whiteout => None,
    });
    files
        .find(|file| matches!(file.source, FileSource::Wheel { .. }))
        .expect("a member of a wheel")
}

#[test]
fn contents_that_are_not_what_they_should_be_make_no_layer() {
    let path = format!("/opt/{}/ö.py", "long".repeat(50));
    let not = format!("the contents of `{path}` are not what they should be: it");
    for threads in [1, 2, 8] {
        let fail =
            |change: fn(&mut LayerContents, &mut Members)| failure(change, threads, io::sink());
        let error = fail(|_, members| members.0[0][299_999] ^= 1);
        assert!(
            error.starts_with(&format!("{not}s digest is sha256:")),
            "{error}"
        );
        let error = fail(|_, members| members.0[0].truncate(299_999));
        assert_eq!(error, format!("{not} has 299999 bytes, not 300000"));
        let error = fail(|_, members| members.0[0].push(0));
        assert_eq!(error, format!("{not} has 300001 bytes, not 300000"));
        let error = fail(|contents, _| {
            the_member(contents).source = FileSource::Wheel {
                wheel: 0,
                member: 0,
            };
        });
        assert_eq!(
            error,
            format!("cannot open the contents of `{path}`: no such wheel")
        );
        let error = fail(|contents, _| the_member(contents).sha256[0] ^= 1);
        assert!(error.starts_with(&not), "{error}");
        let error = fail(|contents, _| {
            contents
                .entries
                .insert(ImagePath::new("/.wh.x"), LayerEntry::Whiteout);
        });
        assert!(
            error.starts_with("`/.wh.x` cannot be in a layer"),
            "{error}"
        );
    }
}

#[test]
fn a_level_that_does_not_exist_is_refused() {
    let (contents, members) = small();
    let settings = LayerWriteSettings {
        compression: Compression::Gzip { level: 12 },
        mtime: 0,
        threads: 1,
    };
    let mut out = Vec::new();
    let error = write_layer(&contents, &members, &settings, &mut out).expect_err("no layer");
    assert_eq!(error.to_string(), "gzip has levels from 0 to 9, not 12");
    assert!(out.is_empty());
}

/// A disk that has room for so many bytes.
struct Disk(usize);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = bytes.len().min(self.0);
        self.0 -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

#[test]
fn a_full_disk_is_one_clear_error() {
    let larger = |contents: &mut LayerContents, members: &mut Members| {
        let member = bytes(4_000_000, 5);
        members.0.push(member.clone());
        let source = FileSource::Wheel {
            wheel: 3,
            member: 1,
        };
        contents
            .entries
            .insert(ImagePath::new("/a"), file(&member, EXECUTABLE, source));
    };
    let (mut contents, mut members) = small();
    larger(&mut contents, &mut members);
    let (_, blob) = {
        let settings = LayerWriteSettings {
            compression: Compression::GZIP,
            mtime: 0,
            threads: 1,
        };
        let mut blob = Vec::new();
        let written = write_layer(&contents, &members, &settings, &mut blob).expect("a layer");
        (written, blob)
    };
    for threads in [1, 2, 8] {
        for room in [0, 1, 10, 11, 100_000, 1_000_000, blob.len() - 1, blob.len()] {
            let error = failure(larger, threads, Disk(room));
            assert_eq!(error, "cannot write the layer: no storage space");
        }
    }
}
