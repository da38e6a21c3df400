//! A new image as a layout has it, and as a registry takes it: written plainly, to see what is in it.

use std::fmt::Write as _;
use std::io::Read as _;

use imgtool::transport::outgoing::{BlobContent, Outgoing, OutgoingBlob};
use serde_json::{Value, json};

use super::image::{Layout, hash, layout_with};
use super::registry::{Pushed, RegistryServer};

/// The bytes of a blob.
pub fn bytes_of(blob: &OutgoingBlob) -> Vec<u8> {
    match &blob.content {
        BlobContent::Bytes(bytes) => bytes.to_vec(),
        BlobContent::File(path) => std::fs::read(path).expect("a file"),
        BlobContent::Base { source, layer, .. } => {
            let mut bytes = Vec::new();
            let mut reader = source.open(layer).expect("a blob");
            reader.read_to_end(&mut bytes).expect("a blob");
            bytes
        }
    }
}

/// The files of a layout with everything, whose root has the name `tag`.
pub fn layout_of(outgoing: &Outgoing, tag: &str) -> Layout {
    let root = outgoing.manifests.last().expect("a root");
    let mut entries = vec![serde_json::to_value(&root.descriptor).expect("JSON")];
    entries[0]["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    for referrer in &outgoing.referrers {
        entries.push(serde_json::to_value(&referrer.descriptor).expect("JSON"));
    }
    let mut layout = layout_with(&entries);
    let mut put = |named: &imgtool::digest::Digest, bytes: Vec<u8>| {
        assert_eq!(named.digest(), hash(&bytes));
        layout.insert(format!("blobs/sha256/{}", named.digest()), bytes);
    };
    for blob in &outgoing.blobs {
        let bytes = bytes_of(blob);
        assert_eq!(blob.descriptor.size(), bytes.len() as u64);
        put(blob.descriptor.digest(), bytes);
    }
    for manifest in outgoing.manifests.iter().chain(&outgoing.referrers) {
        assert_eq!(manifest.descriptor.size(), manifest.bytes.len() as u64);
        put(manifest.descriptor.digest(), manifest.bytes.clone());
    }
    layout
}

/// Puts everything into a registry.
pub fn push(registry: &RegistryServer, repository: &str, tag: &str, outgoing: &Outgoing) {
    let mut manifests: Vec<(String, Vec<u8>)> = outgoing
        .referrers
        .iter()
        .chain(&outgoing.manifests)
        .map(|manifest| {
            let media_type = manifest.descriptor.media_type().to_string();
            (media_type, manifest.bytes.clone())
        })
        .collect();
    let manifest = manifests.pop().expect("a root");
    let pushed = Pushed {
        manifest,
        others: manifests,
        blobs: outgoing.blobs.iter().map(bytes_of).collect(),
    };
    registry.push(repository, tag, &pushed);
}

/// The documents of a new image as a test compares them: compact JSON, one of its members a line.
pub fn lines(document: &[u8]) -> String {
    let value: Value = serde_json::from_slice(document).expect("JSON");
    let text = std::str::from_utf8(document).expect("UTF-8");
    // Keys stand where the document has them, which a parsed one would not tell.
    let mut names: Vec<&String> = value.as_object().expect("an object").keys().collect();
    names.sort_by_key(|name| text.find(&format!("\"{name}\":")));
    let mut lines = String::new();
    for name in names {
        // Writing into a String cannot fail.
        let _ = writeln!(lines, "{name}: {}", value[name]);
    }
    lines
}
