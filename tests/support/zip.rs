//! ZIP archives header by header: what no library would write can be written.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// One member, with everything that its headers say.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: Vec<u8>,
    pub contents: Vec<u8>,
    /// 0 is stored, 8 deflated; contents are packed so for 8 and written as they are for everything else.
    pub method: u16,
    pub flags: u16,
    /// Mode of Unix with the kind of file.
    pub mode: u32,
    /// Extra fields of the directory.
    pub extra: Vec<u8>,
    pub local: Local,
    pub checksum: Option<u32>,
    /// Size of the contents and of what they are packed in, as the directory states them.
    pub sizes: Option<(u32, u32)>,
    /// Where the directory says that the member begins.
    pub offset: Option<u32>,
}

/// What the header of the member itself says otherwise.
#[derive(Debug, Clone, Default)]
pub struct Local {
    pub name: Option<Vec<u8>>,
    pub method: Option<u16>,
    pub flags: Option<u16>,
    pub checksum: Option<u32>,
    pub sizes: Option<(u32, u32)>,
    pub extra: Vec<u8>,
    /// What stands behind the data.
    pub descriptor: Vec<u8>,
    /// No header and no data at all.
    pub absent: bool,
}

impl Member {
    /// A regular file that anybody reads.
    pub fn new(name: impl AsRef<[u8]>, contents: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            contents: contents.as_ref().to_owned(),
            method: 8,
            flags: if name.as_ref().is_ascii() { 0 } else { 0x800 },
            mode: 0o100_644,
            extra: Vec::new(),
            local: Local::default(),
            checksum: None,
            sizes: None,
            offset: None,
        }
    }

    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    #[must_use]
    pub fn stored(self) -> Self {
        Self { method: 0, ..self }
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("short").to_le_bytes()
}

fn long(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("small").to_le_bytes()
}

/// The end of a directory of `members` entries and `length` bytes that begins at `start`.
pub fn end(members: usize, length: usize, start: usize, comment: &[u8]) -> Vec<u8> {
    [
        b"PK\x05\x06\0\0\0\0",
        &short(members)[..],
        &short(members),
        &long(length),
        &long(start),
        &short(comment.len()),
        comment,
    ]
    .concat()
}

/// The end for large archives and its locator, of a directory that is followed by both.
pub fn end64(members: u64, length: u64, start: u64) -> Vec<u8> {
    let mut bytes = b"PK\x06\x06".to_vec();
    bytes.extend(44_u64.to_le_bytes());
    bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for number in [members, members, length, start] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend((start + length).to_le_bytes());
    bytes.extend([1, 0, 0, 0]);
    bytes
}

/// Members and directory, and where the directory begins.
pub fn parts(members: &[Member]) -> (Vec<u8>, Vec<u8>) {
    let mut data = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        let packed = if member.method == 8 {
            deflate(&member.contents)
        } else {
            member.contents.clone()
        };
        let checksum = member
            .checksum
            .unwrap_or_else(|| crc32fast::hash(&member.contents));
        let sizes = member.sizes.map_or_else(
            || (long(member.contents.len()), long(packed.len())),
            |(size, packed)| (size.to_le_bytes(), packed.to_le_bytes()),
        );
        let offset = member
            .offset
            .map_or_else(|| long(data.len()), u32::to_le_bytes);
        directory.extend(b"PK\x01\x02\x14\x03\x14\0");
        directory.extend(member.flags.to_le_bytes());
        directory.extend(member.method.to_le_bytes());
        directory.extend([0, 0, 0x21, 0]);
        directory.extend(checksum.to_le_bytes());
        directory.extend(sizes.1);
        directory.extend(sizes.0);
        directory.extend(short(member.name.len()));
        directory.extend(short(member.extra.len()));
        directory.extend([0; 6]);
        directory.extend((member.mode << 16).to_le_bytes());
        directory.extend(offset);
        directory.extend(&member.name);
        directory.extend(&member.extra);

        let local = &member.local;
        if local.absent {
            continue;
        }
        let name = local.name.as_ref().unwrap_or(&member.name);
        let sizes = local.sizes.map_or(sizes, |(size, packed)| {
            (size.to_le_bytes(), packed.to_le_bytes())
        });
        data.extend(b"PK\x03\x04\x14\0");
        data.extend(local.flags.unwrap_or(member.flags).to_le_bytes());
        data.extend(local.method.unwrap_or(member.method).to_le_bytes());
        data.extend([0, 0, 0x21, 0]);
        data.extend(local.checksum.unwrap_or(checksum).to_le_bytes());
        data.extend(sizes.1);
        data.extend(sizes.0);
        data.extend(short(name.len()));
        data.extend(short(local.extra.len()));
        data.extend(name);
        data.extend(&local.extra);
        data.extend(packed);
        data.extend(&local.descriptor);
    }
    (data, directory)
}

/// An archive of these members.
pub fn archive(members: &[Member]) -> Vec<u8> {
    let (data, directory) = parts(members);
    let end = end(members.len(), directory.len(), data.len(), b"");
    [data, directory, end].concat()
}
