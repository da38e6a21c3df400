//! Wheels: whatever the bytes are, nothing panics, no file leaves the folders of the scheme, and what is read is what was
//! promised.
//!
//! The bytes are taken as a whole archive, and as the members of one: there each line is a name and its contents, and the
//! metadata without which nothing else is looked at are put before them.

#![no_main]

use std::io::{Cursor, Read, Write};

use imgtool::environment::InstallationScheme;
use imgtool::image_path::ImagePath;
use imgtool::layer::{FileSource, InstallableWheel};
use imgtool::rootfs::Attributes;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;

const NAME: &str = "alpha-1.0-py3-none-any.whl";
const METADATA: &[(&str, &[u8])] = &[
    (
        "alpha-1.0.dist-info/METADATA",
        b"Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n",
    ),
    (
        "alpha-1.0.dist-info/WHEEL",
        b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
    ),
];

/// Bytes of one file that are read: enough to come to the end of anything that a small input holds.
const MOST_READ: u64 = 4 << 20;

/// An archive of the lines of `bytes`, each a name and, behind a NUL, the contents.
fn archive(bytes: &[u8]) -> Option<Vec<u8>> {
    let lines = bytes.split(|byte| *byte == b'\n').take(32);
    let mut members: Vec<(String, Vec<u8>)> = METADATA
        .iter()
        .map(|(name, contents)| ((*name).to_owned(), contents.to_vec()))
        .collect();
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == 0);
        let name = String::from_utf8_lossy(parts.next()?).into_owned();
        let contents = parts.next().unwrap_or_default().to_vec();
        members.push((name, contents));
    }
    let mut record: String = members
        .iter()
        .map(|(name, _)| format!("\"{}\",,\n", name.replace('"', "\"\"")))
        .collect();
    record.push_str("alpha-1.0.dist-info/RECORD,,\n");
    members.push(("alpha-1.0.dist-info/RECORD".to_owned(), record.into_bytes()));
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in members {
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .unix_permissions(u32::from(contents.first().copied().unwrap_or_default()) * 8);
        writer.start_file(name, options).ok()?;
        writer.write_all(&contents).ok()?;
    }
    Some(writer.finish().ok()?.into_inner())
}

fn check(bytes: Vec<u8>) {
    let Ok(wheel) = InstallableWheel::from_bytes(bytes, NAME) else {
        return;
    };
    let scheme = InstallationScheme {
        purelib: ImagePath::new("/p/lib/python3.12/site-packages"),
        platlib: ImagePath::new("/p/lib64/python3.12/site-packages"),
        scripts: ImagePath::new("/p/bin"),
        headers: ImagePath::new("/p/include"),
        data: ImagePath::new("/p/data"),
        executable: ImagePath::new("/p/bin/python3"),
    };
    let attributes = Attributes {
        mode: 0o644,
        uid: 0,
        gid: 0,
    };
    let Ok(installed) = wheel.install(0, &scheme, &attributes, true) else {
        return;
    };
    for (path, file) in &installed.files {
        let folders = [
            &scheme.purelib,
            &scheme.platlib,
            &scheme.scripts,
            &scheme.headers,
            &scheme.data,
        ];
        assert!(
            folders
                .iter()
                .any(|folder| path.starts_with(folder) && path != *folder),
            "{path}"
        );
        assert!(matches!(file.attributes.mode, 0o644 | 0o755));
        let mut contents = Vec::new();
        match &file.source {
            FileSource::Bytes(bytes) => contents.extend_from_slice(bytes),
            FileSource::Wheel { member, .. } => {
                if file.size > MOST_READ {
                    continue;
                }
                let mut reader = wheel.open_member(*member).expect("a member that is a file");
                if reader.read_to_end(&mut contents).is_err() {
                    continue;
                }
            }
        }
        assert_eq!(contents.len() as u64, file.size);
        assert_eq!(file.sha256, <[u8; 32]>::from(Sha256::digest(&contents)));
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes.to_vec());
    if let Some(archive) = archive(bytes) {
        check(archive);
    }
});
