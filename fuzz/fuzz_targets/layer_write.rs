//! Any contents as a layer: refused before a byte is written, or written and then read back as what they were, with the
//! same bytes on any number of threads.
#![no_main]

use std::collections::BTreeMap;
use std::io::{self, Read};

use imgtool::digest::sha256;
use imgtool::image_path::ImagePath;
use imgtool::layer::{
    Compression, FileSource, LayerContents, LayerEntry, LayerFile, LayerWriteError,
    LayerWriteSettings, Sources, WrittenLayer, write_layer,
};
use imgtool::rootfs::Attributes;
use imgtool::rootfs::layer_entries::decompress::decompress;
use imgtool::rootfs::layer_entries::{ArchiveKind, Entries};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

/// Files are pieces of the input, repeated.
struct Members(Vec<Vec<u8>>);

impl Sources for Members {
    fn open(&self, source: &FileSource) -> io::Result<Box<dyn Read + '_>> {
        match source {
            FileSource::Wheel { wheel: 0, member } => Ok(Box::new(&self.0[*member][..])),
            _ => Err(io::Error::other("no such wheel")),
        }
    }
}

/// Takes from the front of the input, and zeros behind its end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> u64 {
        let length = usize::from(self.byte() % 9);
        self.bytes(length)
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

fn contents(input: &mut Input<'_>) -> (LayerContents, Members) {
    let mut contents = LayerContents::default();
    let mut members = Members(Vec::new());
    while !input.0.is_empty() {
        let kind = input.byte();
        let length = usize::from(input.byte());
        let path = ImagePath::new(&String::from_utf8_lossy(input.bytes(length)));
        let attributes = Attributes {
            mode: u32::try_from(input.number() & 0o7777).expect("twelve bits"),
            uid: input.number(),
            gid: input.number(),
        };
        // Mostly with the folders on the way.
        let mut folder = path.parent().filter(|_| kind & 0x80 == 0);
        while let Some(known) = folder.filter(|folder| !folder.is_root()) {
            folder = known.parent();
            contents.directories.entry(known).or_insert(attributes);
        }
        let entry = match kind % 3 {
            0 => {
                contents.directories.insert(path, attributes);
                continue;
            }
            1 => LayerEntry::Whiteout,
            _ => {
                let length = usize::from(input.byte());
                let times = usize::from(input.byte()) * if kind & 0x40 == 0 { 1 } else { 64 };
                let body = input.bytes(length).repeat(times);
                let file = LayerFile {
                    attributes,
                    size: body.len() as u64,
                    sha256: Sha256::digest(&body).into(),
                    source: if kind & 0x20 == 0 {
                        FileSource::Wheel {
                            wheel: 0,
                            member: members.0.len(),
                        }
                    } else {
                        FileSource::Bytes(body.clone().into())
                    },
                };
                members.0.push(body);
                LayerEntry::File(file)
            }
        };
        contents.entries.insert(path, entry);
    }
    (contents, members)
}

fn write(
    contents: &LayerContents,
    members: &Members,
    compression: Compression,
    threads: usize,
) -> Option<(WrittenLayer, Vec<u8>)> {
    let settings = LayerWriteSettings {
        compression,
        mtime: 1,
        threads,
    };
    let mut blob = Vec::new();
    match write_layer(contents, members, &settings, &mut blob) {
        Ok(written) => Some((written, blob)),
        Err(LayerWriteError::Refused { .. }) => {
            assert!(blob.is_empty());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let level = input.byte();
    let gzip = Compression::Gzip {
        level: u32::from(level % 10),
    };
    let (contents, members) = contents(&mut input);
    let Some((written, blob)) = write(&contents, &members, gzip, 1) else {
        return;
    };
    let again = write(&contents, &members, gzip, 3).expect("the same contents");
    assert!(again == (written.clone(), blob.clone()));
    assert_eq!(written.digest, sha256(&blob));

    let mut archive = Vec::new();
    decompress(&blob[..])
        .expect("gzip")
        .read_to_end(&mut archive)
        .expect("gzip");
    assert_eq!(written.diff_id, sha256(&archive));
    assert_eq!(written.uncompressed, archive.len() as u64);
    let (zstd, blob) = write(&contents, &members, Compression::ZSTD, 2).expect("the same contents");
    assert_eq!(zstd.diff_id, written.diff_id);
    let mut unpacked = Vec::new();
    decompress(&blob[..])
        .expect("zstd")
        .read_to_end(&mut unpacked)
        .expect("zstd");
    assert!(unpacked == archive);

    let mut expected = BTreeMap::new();
    for path in contents.directories.keys() {
        expected.insert(path.as_str()[1..].to_owned(), None);
    }
    for (path, entry) in &contents.entries {
        let (path, body) = match entry {
            LayerEntry::File(file) => (path.clone(), Some(file.sha256)),
            LayerEntry::Whiteout => {
                let folder = path.parent().expect("a folder");
                let path = folder.join(&format!(".wh.{}", path.file_name()));
                (path, Some(Sha256::digest(b"").into()))
            }
        };
        expected.insert(path.as_str()[1..].to_owned(), body);
    }
    let mut found = BTreeMap::new();
    let mut entries = Entries::new(&archive[..]);
    while entries.advance().expect("an archive") {
        let path = String::from_utf8(entries.entry().path.clone()).expect("UTF-8");
        let body: Option<[u8; 32]> = match entries.entry().kind {
            ArchiveKind::Directory => None,
            ArchiveKind::File => {
                let mut hash = Sha256::new();
                let read = entries.read_body(|bytes| {
                    hash.update(bytes);
                    Ok(())
                });
                read.expect("a body");
                Some(hash.finalize().into())
            }
            other => panic!("{other:?}"),
        };
        assert!(found.insert(path, body).is_none());
    }
    assert_eq!(found, expected);
});
