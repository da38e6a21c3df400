//! Images made of a base and new layers: their documents, what goes out, and what is attached to them.

mod append;
mod attached;
mod bill;
mod outgoing;

use imgtool::digest::sha256;
use imgtool::image::{LayerCompression, NewLayer};
use imgtool::transport::{Image, layout};
use serde_json::{Value, json};

use crate::support::image::{descriptor, layout_with, put_blob, write_layout};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A base of two layers, whose documents a test writes by itself.
struct Base {
    manifest_type: &'static str,
    config_type: &'static str,
    layer_types: [&'static str; 2],
    /// The configuration; `DIFF_IDS` in it stands for the list of them.
    config: String,
    /// Further members of the manifest, with a comma behind each.
    manifest: String,
    /// Its reference.
    name: &'static str,
}

const BELOW: [&[u8]; 2] = [b"lower", b"upper"];

impl Base {
    fn oci(config: &str) -> Self {
        Self {
            manifest_type: OCI_MANIFEST,
            config_type: OCI_CONFIG,
            layer_types: [OCI_LAYER; 2],
            config: config.to_owned(),
            manifest: String::new(),
            name: "docker://registry.example/team/base:1.0",
        }
    }

    fn docker(config: &str) -> Self {
        Self {
            manifest_type: DOCKER_MANIFEST,
            config_type: DOCKER_CONFIG,
            layer_types: [DOCKER_LAYER; 2],
            ..Self::oci(config)
        }
    }

    fn config_bytes(&self) -> Vec<u8> {
        let diff_ids: Vec<String> = BELOW.iter().map(|it| sha256(it).to_string()).collect();
        let diff_ids = serde_json::to_string(&diff_ids).expect("JSON");
        self.config.replace("DIFF_IDS", &diff_ids).into_bytes()
    }

    fn manifest_bytes(&self) -> Vec<u8> {
        let config = descriptor(self.config_type, &self.config_bytes());
        let layers: Vec<Value> = BELOW
            .iter()
            .zip(self.layer_types)
            .map(|(blob, media_type)| descriptor(media_type, blob))
            .collect();
        format!(
            "{{{}\"schemaVersion\": 2, \"mediaType\": \"{}\", \"config\": {config}, \"layers\": {}}}",
            self.manifest,
            self.manifest_type,
            json!(layers)
        )
        .into_bytes()
    }

    /// The image, read as a user's would be.
    fn read(&self) -> Image {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = self.manifest_bytes();
        let mut files = layout_with(&[descriptor(self.manifest_type, &manifest)]);
        put_blob(&mut files, &manifest);
        put_blob(&mut files, &self.config_bytes());
        for blob in BELOW {
            put_blob(&mut files, blob);
        }
        // The image reads its layers later.
        let kept = folder.keep();
        write_layout(&files, &kept);
        let mut image = layout::open(&kept, None, None, "oci:base").expect("an image");
        self.name.clone_into(&mut image.reference);
        image
    }
}

/// A small configuration with everything that usually stands in one, and some things that do not.
const CONFIG: &str = r#"{"architecture":"arm64","variant":"v8","os":"linux","created":"2024-05-01T12:00:00.123456789Z",
"x-unknown": {"z": 1.50,  "a": [null]},
"config":{"Hostname":"","User":"app","Env":["PATH=/usr/bin","A=1"],"Entrypoint":["/run"],"Cmd":["x"],"Labels":{"team":"ml","org.opencontainers.image.version":"7"},"Healthcheck":{"Test":["CMD","true"]},"StopSignal":"SIGINT","ArgsEscaped":true},
"rootfs":{"type":"layers","diff_ids":DIFF_IDS},
"history":[{"created":"2024-05-01T11:00:00Z","created_by":"ADD a","x":1},{"created_by":"ENV A=1","empty_layer":true},{"created_by":"RUN b"}]}"#;

/// A layer with these bytes, each its own `diff_id`.
fn layer(bytes: &[u8], compression: LayerCompression) -> NewLayer {
    NewLayer {
        digest: sha256(bytes),
        size: bytes.len() as u64,
        diff_id: sha256(bytes),
        compression,
        created_by: "imgtool build base six".to_owned(),
        comment: Some("by imgtool".to_owned()),
    }
}

fn gzip_layer() -> NewLayer {
    layer(b"new", LayerCompression::Gzip)
}
