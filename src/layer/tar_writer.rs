//! A layer's archive: contents in one order, under headers that say what the contents say and nothing of the machine.
//!
//! Entries come in the byte order of their paths, so a folder comes before what is in it. Whiteouts of a folder come
//! before everything else in it, as the specification asks, so that readers which take entries as they come remove before
//! they write. A folder's name ends with a slash, no name begins with one, no user or group has a name, and every entry
//! has the same modification time.
//!
//! Headers are those of ustar. Where a field is too small, or a name is not ASCII, an extended header of pax stands before
//! the entry with what did not fit and no more. The archive ends with two blocks of zeros, not padded to a record of
//! twenty blocks: so does Go's `archive/tar`, with which engines write theirs, and nobody reads layers from a tape.
//!
//! A whiteout is an empty regular file of the owner 0:0 without any permission. The specification leaves the attributes
//! open and no engine ever makes the file; containerd, moby, containers/storage and umoci write just this.
//!
//! Specification: OCI image-spec, `layer.md`; POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Extended Header".

use std::borrow::Cow;
use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::contents::{FileSource, LayerContents, LayerEntry, LayerFile};
use super::write::{LayerWriteError, Refusal, Sources};
use crate::digest::{self, Mismatch, VerifyingReader};
use crate::image_path::ImagePath;
use crate::rootfs::Attributes;

/// Size of a block in bytes.
const BLOCK: usize = 512;

/// What the name of every whiteout begins with.
const WHITEOUT: &str = ".wh.";

/// Bytes that are read from a file at once.
const CHUNK: usize = 64 << 10;

/// An entry of the archive.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    /// Where it comes in the archive.
    key: Cow<'a, str>,
    path: &'a ImagePath,
    what: What<'a>,
}

#[derive(Debug)]
enum What<'a> {
    Directory(&'a Attributes),
    File(&'a LayerFile),
    Whiteout,
}

/// The entries of the archive in their order.
///
/// # Errors
/// [`LayerWriteError::Refused`] where contents contradict themselves or cannot be said in a layer.
pub(super) fn plan(contents: &LayerContents) -> Result<Vec<Planned<'_>>, LayerWriteError> {
    let refused = |path: &ImagePath, reason| LayerWriteError::Refused {
        path: path.clone(),
        reason,
    };
    let mut entries = Vec::with_capacity(contents.directories.len() + contents.entries.len());
    for (path, attributes) in &contents.directories {
        check(contents, path).map_err(|reason| refused(path, reason))?;
        if contents.entries.contains_key(path) {
            return Err(refused(path, Refusal::TwoKinds));
        }
        entries.push(Planned {
            key: Cow::Borrowed(path.as_str()),
            path,
            what: What::Directory(attributes),
        });
    }
    for (path, entry) in &contents.entries {
        check(contents, path).map_err(|reason| refused(path, reason))?;
        entries.push(match entry {
            LayerEntry::File(file) => Planned {
                key: Cow::Borrowed(path.as_str()),
                path,
                what: What::File(file),
            },
            // No name begins with a zero: nothing else of the folder comes before.
            LayerEntry::Whiteout => Planned {
                key: Cow::Owned(beside(path, "\0")),
                path,
                what: What::Whiteout,
            },
        });
    }
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(entries)
}

/// The path whose last component has `prefix` before it.
fn beside(path: &ImagePath, prefix: &str) -> String {
    let text = path.as_str();
    let name = path.file_name();
    let folder = &text[..text.len() - name.len()];
    [folder, prefix, name].concat()
}

fn check(contents: &LayerContents, path: &ImagePath) -> Result<(), Refusal> {
    if path.is_root() {
        return Err(Refusal::Root);
    }
    // Of the folders on the way, each is checked where it is listed.
    if path.file_name().starts_with(WHITEOUT) {
        return Err(Refusal::WhiteoutName);
    }
    if path.as_str().contains('\0') {
        return Err(Refusal::Zero);
    }
    match path.parent().filter(|folder| !folder.is_root()) {
        Some(folder) if !contents.directories.contains_key(&folder) => {
            Err(Refusal::NoFolder(folder))
        }
        _ => Ok(()),
    }
}

/// Writes the archive of `entries` to `out`; every entry gets the modification time `mtime`, in seconds since 1970.
///
/// # Errors
/// `Open`, `Read` and `Changed` for a file, [`LayerWriteError::Write`] for `out`.
pub(super) fn write_archive(
    entries: &[Planned<'_>],
    sources: &dyn Sources,
    mtime: u64,
    out: &mut impl Write,
) -> Result<(), LayerWriteError> {
    let mut chunk = vec![0; CHUNK];
    for entry in entries {
        // As a name in the archive: seen from the root, without the slash.
        let name = &entry.path.as_str()[1..];
        let (kind, name, attributes, size) = match entry.what {
            What::Directory(attributes) => {
                (EntryType::Directory, format!("{name}/"), *attributes, 0)
            }
            What::File(file) => (
                EntryType::Regular,
                name.to_owned(),
                file.attributes,
                file.size,
            ),
            What::Whiteout => {
                let nobody = Attributes {
                    mode: 0,
                    uid: 0,
                    gid: 0,
                };
                let name = beside(entry.path, WHITEOUT).split_off(1);
                (EntryType::Regular, name, nobody, 0)
            }
        };
        write_headers(kind, &name, attributes, size, mtime, out).map_err(LayerWriteError::Write)?;
        if let What::File(file) = entry.what {
            copy(entry.path, file, sources, &mut chunk, out)?;
            pad(file.size, out).map_err(LayerWriteError::Write)?;
        }
    }
    out.write_all(&[0; 2 * BLOCK])
        .map_err(LayerWriteError::Write)
}

/// The contents of a file, compared with what was promised of them.
fn copy(
    path: &ImagePath,
    file: &LayerFile,
    sources: &dyn Sources,
    chunk: &mut [u8],
    out: &mut impl Write,
) -> Result<(), LayerWriteError> {
    let contents: Box<dyn Read + '_> = match &file.source {
        FileSource::Bytes(bytes) => Box::new(&bytes[..]),
        FileSource::Wheel { .. } | FileSource::Compiled { .. } => sources
            .open(&file.source)
            .map_err(|source| LayerWriteError::Open {
                path: path.clone(),
                source,
            })?,
    };
    let changed = |source: Mismatch| LayerWriteError::Changed {
        path: path.clone(),
        source,
    };
    let promised = digest::from_sha256(&file.sha256);
    let mut contents = VerifyingReader::new(contents, &promised, Some(file.size))
        .map_err(|unknown| changed(unknown.into()))?;
    loop {
        match contents.read(chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => out
                .write_all(&chunk[..read])
                .map_err(LayerWriteError::Write)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(match error.downcast::<Mismatch>() {
                    Ok(mismatch) => changed(mismatch),
                    Err(source) => LayerWriteError::Read {
                        path: path.clone(),
                        source,
                    },
                });
            }
        }
    }
}

/// Zeros up to the next block.
fn pad(size: u64, out: &mut impl Write) -> io::Result<()> {
    let beyond = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    if beyond == 0 {
        return Ok(());
    }
    out.write_all(&[0; BLOCK][beyond..])
}

/// The header of an entry, behind an extended one where it takes one.
fn write_headers(
    kind: EntryType,
    name: &str,
    attributes: Attributes,
    size: u64,
    mtime: u64,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    let mut extended = Extended::default();
    // In the order of their keys.
    header.set_gid(extended.number("gid", attributes.gid, 7));
    header.set_mtime(extended.number("mtime", mtime, 11));
    if !set_name(&mut header, name) {
        extended.record("path", name);
        set_truncated_name(&mut header, name);
    }
    header.set_size(extended.number("size", size, 11));
    header.set_uid(extended.number("uid", attributes.uid, 7));
    header.set_mode(attributes.mode & 0o7777);
    header.set_entry_type(kind);
    // Of what is no device, too: not every reader takes an empty field for a number.
    header.set_device_major(0)?;
    header.set_device_minor(0)?;
    header.set_cksum();
    extended.write(name, out)?;
    out.write_all(header.as_bytes())
}

/// Puts the name where it belongs; `false` where ustar has no place for it.
fn set_name(header: &mut Header, name: &str) -> bool {
    let Some(ustar) = header.as_ustar_mut().filter(|_| name.is_ascii()) else {
        return false;
    };
    let name = name.as_bytes();
    let Some(too_much) = name.len().checked_sub(ustar.name.len() + 1) else {
        ustar.name[..name.len()].copy_from_slice(name);
        return true;
    };
    // The first slash behind which the rest fits.
    let slash = name[too_much..].iter().position(|byte| *byte == b'/');
    let Some(slash) = slash.map(|slash| too_much + slash) else {
        return false;
    };
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    if prefix.is_empty() || prefix.len() > ustar.prefix.len() || rest.is_empty() {
        return false;
    }
    ustar.prefix[..prefix.len()].copy_from_slice(prefix);
    ustar.name[..rest.len()].copy_from_slice(rest);
    true
}

/// Of a name that an extended header says, as much as fits: who does not know those at least sees something.
fn set_truncated_name(header: &mut Header, name: &str) {
    let field = &mut header.as_old_mut().name;
    for (place, byte) in field.iter_mut().zip(name.bytes().filter(u8::is_ascii)) {
        *place = byte;
    }
}

/// The records of an extended header.
#[derive(Debug, Default)]
struct Extended(Vec<u8>);

impl Extended {
    /// The number for a field of so many octal digits, which is 0 where it needs a record.
    fn number(&mut self, key: &str, number: u64, digits: u32) -> u64 {
        if number >> (3 * digits) == 0 {
            return number;
        }
        self.record(key, &number.to_string());
        0
    }

    fn record(&mut self, key: &str, value: &str) {
        // The length counts itself.
        let rest = key.len() + value.len() + " =\n".len();
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        self.0
            .extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
    }

    /// Writes header and records, where there are records. Its name and numbers mean nothing to a reader.
    fn write(&self, name: &str, out: &mut impl Write) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let name = name.trim_end_matches('/');
        let (folder, file) = name.rsplit_once('/').unwrap_or((".", name));
        let mut header = Header::new_ustar();
        set_truncated_name(&mut header, &format!("{folder}/PaxHeaders.0/{file}"));
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(self.0.len() as u64);
        header.set_device_major(0)?;
        header.set_device_minor(0)?;
        header.set_cksum();
        out.write_all(header.as_bytes())?;
        out.write_all(&self.0)?;
        pad(self.0.len() as u64, out)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const ROOT: Attributes = Attributes {
        mode: 0o755,
        uid: 0,
        gid: 0,
    };

    /// The extended records of an entry's headers, and its header.
    fn headers(
        name: &str,
        attributes: Attributes,
        size: u64,
        mtime: u64,
    ) -> (Option<String>, Header) {
        let mut written = Vec::new();
        write_headers(
            EntryType::Regular,
            name,
            attributes,
            size,
            mtime,
            &mut written,
        )
        .expect("memory");
        assert_eq!(written.len() % BLOCK, 0);
        let (before, last) = written.split_at(written.len() - BLOCK);
        let header = Header::from_byte_slice(last).clone();
        if before.is_empty() {
            return (None, header);
        }
        let extended = Header::from_byte_slice(&before[..BLOCK]);
        assert_eq!(extended.entry_type(), EntryType::XHeader);
        let size = usize::try_from(extended.size().expect("a size")).expect("small");
        assert_eq!(before.len(), BLOCK + size.next_multiple_of(BLOCK));
        assert!(before[BLOCK + size..].iter().all(|byte| *byte == 0));
        let records = String::from_utf8(before[BLOCK..BLOCK + size].to_vec());
        (Some(records.expect("UTF-8")), header)
    }

    fn path(header: &Header) -> String {
        String::from_utf8(header.path_bytes().into_owned()).expect("UTF-8")
    }

    #[test]
    fn a_header_byte_by_byte() {
        let attributes = Attributes {
            mode: 0o4755,
            uid: 1000,
            gid: 0o7_777_777,
        };
        let (extended, header) = headers("opt/a.py", attributes, 513, 1_700_000_000);
        assert_eq!(extended, None);
        let fields = [
            (0, "opt/a.py\0"),
            (100, "0004755\0"),
            (108, "0001750\0"),
            (116, "7777777\0"),
            (124, "00000001001\0"),
            (136, "14524770400\0"),
            (148, "0010740\0"),
            (156, "0"),
            (157, "\0"),
            (257, "ustar\x0000"),
            (265, "\0"),
            (297, "\0"),
            (329, "0000000\0"),
            (337, "0000000\0"),
            (345, "\0"),
        ];
        for (at, expected) in fields {
            let found = &header.as_bytes()[at..at + expected.len()];
            assert_eq!(found, expected.as_bytes(), "at {at}");
        }
        let filled: usize = header.as_bytes().iter().filter(|byte| **byte != 0).count();
        let expected: usize = fields
            .iter()
            .map(|(_, text)| text.bytes().filter(|byte| *byte != 0).count())
            .sum();
        assert_eq!(filled, expected);
    }

    #[test]
    fn what_does_not_fit_goes_before() {
        let large = Attributes {
            mode: 0o644,
            uid: 0o10_000_000,
            gid: u64::MAX,
        };
        let (extended, header) = headers("a", large, 8 << 30, 0o100_000_000_000);
        assert_eq!(
            extended.as_deref(),
            Some(
                "28 gid=18446744073709551615\n20 mtime=8589934592\n19 size=8589934592\n15 uid=2097152\n"
            )
        );
        for number in [header.uid(), header.gid(), header.size(), header.mtime()] {
            assert_eq!(number.expect("a number"), 0);
        }
        let (extended, header) = headers("a", ROOT, (8 << 30) - 1, 0o77_777_777_777);
        assert_eq!(extended, None);
        assert_eq!(header.size().expect("a number"), (8 << 30) - 1);

        let (extended, header) = headers("lib/größe.py", ROOT, 0, 0);
        assert_eq!(extended.as_deref(), Some("23 path=lib/größe.py\n"));
        assert_eq!(path(&header), "lib/gre.py");
    }

    #[test]
    fn the_length_of_a_record_counts_itself() {
        for length in [1, 3, 4, 88, 89, 90, 91, 92, 988, 989, 990, 991, 5000] {
            let mut extended = Extended::default();
            extended.record("path", &"x".repeat(length));
            let text = String::from_utf8(extended.0).expect("ASCII");
            let (said, _) = text.split_once(' ').expect("a length");
            assert_eq!(said.parse(), Ok(text.len()));
        }
    }

    #[test]
    fn names_are_split_where_they_fit() {
        let deep =
            |prefix: usize, rest: usize| format!("{}/{}", "p".repeat(prefix), "n".repeat(rest));
        for (name, fits) in [
            ("n".repeat(100), true),
            ("n".repeat(101), false),
            (format!("{}/", "n".repeat(99)), true),
            (format!("{}/", "n".repeat(100)), false),
            (deep(155, 100), true),
            (deep(156, 100), false),
            (deep(155, 101), false),
            (deep(1, 100), true),
            (format!("{}/", deep(155, 99)), true),
            (format!("{}/", deep(155, 100)), false),
            (format!("{}x", "ab/".repeat(84)), true),
            (format!("{}x", "ab/".repeat(86)), false),
        ] {
            let (extended, header) = headers(&name, ROOT, 0, 0);
            assert_eq!(extended.is_none(), fits, "{name}");
            if fits {
                assert_eq!(path(&header), name);
            } else {
                let record = extended.expect("an extended header");
                assert!(record.ends_with(&format!(" path={name}\n")), "{record}");
                assert!(name.starts_with(&path(&header)));
            }
        }
    }

    fn contents(directories: &[&str], files: &[&str], whiteouts: &[&str]) -> LayerContents {
        let file = LayerEntry::File(LayerFile {
            attributes: ROOT,
            size: 0,
            sha256: [0; 32],
            source: FileSource::Bytes(Arc::from(&b""[..])),
        });
        let mut contents = LayerContents::default();
        for path in directories {
            contents.directories.insert(ImagePath::new(path), ROOT);
        }
        for path in files {
            contents.entries.insert(ImagePath::new(path), file.clone());
        }
        for path in whiteouts {
            contents
                .entries
                .insert(ImagePath::new(path), LayerEntry::Whiteout);
        }
        contents
    }

    #[test]
    fn whiteouts_come_first_in_their_folder() {
        let contents = contents(
            &["/a", "/a/!b", "/a-b"],
            &["/a/!a", "/a/!b/c", "/a/-", "/a!", "/!"],
            &["/a/zz", "/a/.a", "/z"],
        );
        let entries = plan(&contents).expect("contents");
        let order: Vec<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(
            order,
            [
                "/z", "/!", "/a", "/a!", "/a-b", "/a/.a", "/a/zz", "/a/!a", "/a/!b", "/a/!b/c",
                "/a/-"
            ]
        );
    }

    #[test]
    fn what_no_layer_can_say_is_refused() {
        for (contents, says) in [
            (
                contents(&[], &["/.wh.a"], &[]),
                "`/.wh.a` cannot be in a layer: names that begin with `.wh.` say that something is removed",
            ),
            (
                contents(&[], &[], &["/.wh..opq"]),
                "`/.wh..opq` cannot be in a layer: names that begin with `.wh.` say that something is removed",
            ),
            (
                contents(&["/.wh.d"], &["/.wh.d/a"], &[]),
                "`/.wh.d` cannot be in a layer: names that begin with `.wh.` say that something is removed",
            ),
            (
                contents(&[], &["/a\0b"], &[]),
                "`/a\0b` cannot be in a layer: its name has a zero byte",
            ),
            (
                contents(&["/a"], &["/a"], &[]),
                "`/a` cannot be in a layer: it is a folder and something else at once",
            ),
            (
                contents(&["/a"], &[], &["/a"]),
                "`/a` cannot be in a layer: it is a folder and something else at once",
            ),
            (
                contents(&["/a"], &["/a/b", "/a/b/c"], &[]),
                "`/a/b/c` cannot be in a layer: nothing is known of the folder `/a/b`",
            ),
            (
                contents(&["/a/b"], &[], &[]),
                "`/a/b` cannot be in a layer: nothing is known of the folder `/a`",
            ),
            (
                contents(&["/"], &[], &[]),
                "`/` cannot be in a layer: it is the root",
            ),
        ] {
            let error = plan(&contents).expect_err("a refusal");
            assert_eq!(error.to_string(), says);
        }
    }
}
