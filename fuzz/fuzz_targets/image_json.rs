//! The JSON documents of an image, from bytes that nobody vouches for: manifest, index, configuration, and
//! `manifest.json` and `index.json` inside of archives. Nothing panics, and what is accepted is within the limits.

#![no_main]

use std::io::{Cursor, Read};

use imgtool::digest::sha256;
use imgtool::transport::archive::{ArchiveFormat, ArchiveStream};
use imgtool::transport::manifest::{
    Document, MOST_LAYERS, diff_ids, layers, parse_config, parse_document,
};
use imgtool::transport::platform::choose;
use imgtool::transport::{ImageStream, StreamedLayer};
use libfuzzer_sys::fuzz_target;

/// A tar archive of these members.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, contents) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        // Memory takes every byte.
        let _ = archive.append_data(&mut header, name, *contents);
    }
    archive.into_inner().unwrap_or_default()
}

/// Reads an archive as a stream, whatever comes of it.
fn stream(bytes: Vec<u8>, format: ArchiveFormat) {
    let stream = ArchiveStream::new(Box::new(Cursor::new(bytes)), format, None, "the archive");
    let read = Box::new(stream).read(&mut |_, reader| {
        let mut bytes = Vec::new();
        let _ = reader.take(1 << 20).read_to_end(&mut bytes);
        let digest = sha256(&bytes);
        Ok(StreamedLayer {
            diff_id: digest.clone(),
            digest,
            size: bytes.len() as u64,
        })
    });
    if let Ok((image, kept)) = read {
        assert_eq!(image.layers.len(), kept.len());
        assert!(image.layers.len() <= MOST_LAYERS);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    let layout: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
    match kind % 6 {
        0 => match parse_document(bytes, None, "the document") {
            Ok(Document::Index(index)) => {
                let _ = choose(index.manifests(), None, "the index");
            }
            Ok(Document::Manifest(manifest)) => {
                // One document that is both: a configuration has the fields that a manifest does not need.
                if let Ok(config) = parse_config(bytes, "the configuration") {
                    let _ = layers(&manifest, &config, "the manifest");
                }
            }
            Err(_) => {}
        },
        1 => {
            if let Ok(config) = parse_config(bytes, "the configuration") {
                let _ = diff_ids(&config, "the configuration");
            }
        }
        2 => stream(
            archive(&[("config", bytes), ("manifest.json", bytes)]),
            ArchiveFormat::Docker(None),
        ),
        3 => stream(
            archive(&[("oci-layout", layout), ("index.json", bytes)]),
            ArchiveFormat::Oci(None),
        ),
        4 => stream(bytes.to_vec(), ArchiveFormat::Docker(None)),
        _ => stream(bytes.to_vec(), ArchiveFormat::Oci(None)),
    }
});
