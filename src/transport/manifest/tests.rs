//! What real tools write is read; what contradicts itself is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::digest::sha256;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Documents under their digests.
#[derive(Default)]
struct Shelf(BTreeMap<String, Vec<u8>>);

impl Shelf {
    fn put(&mut self, value: &Value) -> Value {
        let bytes = serde_json::to_vec(value).expect("JSON");
        let digest = sha256(&bytes).to_string();
        let size = bytes.len();
        self.0.insert(digest.clone(), bytes);
        json!({"digest": digest, "size": size})
    }

    fn image(&mut self, config: &Value, layers: &Value) -> Value {
        let mut config = self.put(config);
        config["mediaType"] = json!(OCI_CONFIG);
        let mut descriptor = self.put(&json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers,
        }));
        descriptor["mediaType"] = json!(OCI_MANIFEST);
        descriptor
    }

    fn read(&self, root: &Value, wanted: Option<&str>) -> Result<ImageDocuments, String> {
        let bytes = serde_json::to_vec(root).expect("JSON");
        let root = RootDocument {
            digest: sha256(&bytes),
            bytes,
            media_type: None,
        };
        let wanted = wanted.map(|text| text.parse().expect("a platform"));
        read_image(self, root, wanted.as_ref()).map_err(|error| error.to_string())
    }
}

impl Documents for Shelf {
    fn name(&self) -> String {
        "oci:x".to_owned()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        let bytes = self.0.get(descriptor.digest().as_ref()).cloned();
        bytes.ok_or_else(|| TransportError::NotFound("nothing".to_owned()))
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransportError> {
        self.manifest(descriptor)
    }
}

fn parse(value: &Value, media_type: Option<&str>) -> Result<Document, String> {
    let bytes = serde_json::to_vec(value).expect("JSON");
    parse_document(&bytes, media_type, "x").map_err(|error| error.to_string())
}

fn config(text: &str) -> Result<ImageConfiguration, String> {
    parse_config(text.as_bytes(), "x").map_err(|error| error.to_string())
}

fn descriptor(size: &Value) -> Value {
    json!({"mediaType": LAYER, "digest": sha256(b"layer").to_string(), "size": size})
}

fn config_descriptor() -> Value {
    json!({"mediaType": OCI_CONFIG, "digest": sha256(b"config").to_string(), "size": 6})
}

#[test]
fn what_a_document_is_follows_from_itself_then_its_medium_then_its_shape() {
    let manifest = json!({"schemaVersion": 2, "config": config_descriptor(), "layers": null});
    let index = json!({"schemaVersion": 2, "manifests": []});
    for media_type in [
        None,
        Some("text/html"),
        Some("application/vnd.oci.image.manifest.v1+json; a=b"),
    ] {
        assert!(
            matches!(parse(&manifest, media_type), Ok(Document::Manifest(_))),
            "{media_type:?}"
        );
    }
    for media_type in [None, Some("application/json"), Some(OCI_INDEX)] {
        assert!(
            matches!(parse(&index, media_type), Ok(Document::Index(_))),
            "{media_type:?}"
        );
    }
    let wrong = "it is said to be an index where it is a manifest";
    for (document, media_type) in [(&manifest, OCI_INDEX), (&index, DOCKER_MANIFEST)] {
        assert!(
            parse(document, Some(media_type))
                .expect_err("refused")
                .contains(wrong)
        );
        let mut own = document.clone();
        own["mediaType"] = json!(media_type);
        assert!(parse(&own, None).expect_err("refused").contains(wrong));
    }
    let mut own = manifest.clone();
    own["mediaType"] = json!(DOCKER_MANIFEST);
    assert!(
        parse(&own, Some(OCI_INDEX))
            .expect_err("refused")
            .contains(wrong)
    );
    assert!(
        parse(&own, Some(OCI_MANIFEST)).is_ok(),
        "the same kind under another name"
    );
}

#[test]
fn what_is_no_image_is_refused_with_a_reason() {
    for (document, reason) in [
        (
            json!({"schemaVersion": 1, "fsLayers": [], "history": []}),
            "it is of Docker's schema 1",
        ),
        (
            json!({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws"}),
            "it is of Docker's schema 1",
        ),
        (
            json!({"schemaVersion": 3, "manifests": []}),
            "its schema version is 3",
        ),
        (
            json!({"schemaVersion": 2}),
            "it is neither a manifest nor an index",
        ),
        (
            json!({"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": []}),
            "it is a `application/vnd.oci.artifact.manifest.v1+json`, not an image",
        ),
        (
            json!({"schemaVersion": 2, "manifests": [], "config": config_descriptor(), "layers": []}),
            "it is an index and a manifest at once",
        ),
        (
            json!({"schemaVersion": 2, "layers": []}),
            "it names no configuration",
        ),
        (
            json!({"schemaVersion": 2, "layers": [], "config": {
                "mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": sha256(b"").to_string(), "size": 0
            }}),
            "it is an artifact of type `application/vnd.cncf.helm.config.v1+json`, not an image",
        ),
        (
            json!({"config": config_descriptor(), "layers": [descriptor(&json!(-1))]}),
            "layer 0 has a size of -1 bytes",
        ),
        (
            json!({"config": config_descriptor(), "layers": [{"digest": "sha256:abc", "size": 1}]}),
            "layer 0 has no digest: `sha256:abc`",
        ),
        (
            json!({"config": config_descriptor(), "layers": vec![descriptor(&json!(1)); 10_000]}),
            "it has more than 1000 layers",
        ),
        (json!([1, 2]), "invalid type"),
        (json!("text"), "invalid type"),
    ] {
        let error = parse(&document, None).expect_err("refused");
        assert!(error.contains(reason), "{error}\n{reason}");
    }
    for text in [
        String::new(),
        "{".to_owned(),
        r#"{"schemaVersion": 2, "layers": [], "layers": []}"#.to_owned(),
        r#"{"config": {"digest": "sha256:x", "size": 1e99}}"#.to_owned(),
        format!("{{\"x\": {}", "[".repeat(100_000)),
        " ".repeat((4 << 20) + 1),
    ] {
        let error = parse_document(text.as_bytes(), None, "x").expect_err("refused");
        assert!(matches!(error, TransportError::Invalid { .. }), "{error}");
        assert!(error.to_string().len() < 400);
    }
}

#[test]
fn configurations_of_real_tools_are_read() {
    let digest = sha256(b"layer").to_string();
    let docker = format!(
        r#"{{"architecture":"amd64","os":"","created":null,"container":"1f","docker_version":"20.10",
        "config":{{"Hostname":"","Env":null,"Cmd":"/bin/sh","Entrypoint":null,"ExposedPorts":{{"80/tcp":{{}},"443/tcp":{{}}}},
        "Volumes":null,"Labels":{{"a":"b","c":null}},"Healthcheck":{{"Test":["NONE"]}},"OnBuild":null}},
        "history":[{{"created_by":"x","empty_layer":true}},{{}}],"rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#
    );
    let docker = config(&docker).expect("a configuration");
    let run = docker.config().as_ref().expect("settings");
    assert_eq!(run.env(), &None);
    assert_eq!(run.cmd().as_deref(), Some(&["/bin/sh".to_owned()][..]));
    assert_eq!(
        run.exposed_ports().as_deref(),
        Some(&["443/tcp".to_owned(), "80/tcp".to_owned()][..])
    );
    assert_eq!(
        run.labels().as_ref().map(std::collections::HashMap::len),
        Some(1)
    );
    assert_eq!(docker.rootfs().diff_ids(), &[digest]);
    assert_eq!(docker.history().as_ref().map(Vec::len), Some(2));
    assert_eq!(
        OciPlatform::of_config(&docker)
            .map(|it| it.to_string())
            .as_deref(),
        Some("linux/amd64")
    );

    let scratch = config(r#"{"rootfs":{"diff_ids":null},"config":null,"history":null}"#);
    let scratch = scratch.expect("a configuration");
    assert_eq!(OciPlatform::of_config(&scratch), None);

    for (text, reason) in [
        ("{}", "it has no `rootfs`"),
        (
            r#"{"rootfs":{"type":"foreign"}}"#,
            "its `rootfs` is of type `foreign`",
        ),
        (r#"{"rootfs":[]}"#, "invalid"),
        ("null", "invalid"),
    ] {
        let error = config(text).expect_err("refused");
        assert!(error.contains(reason), "{error}");
    }
    let many = format!(
        r#"{{"rootfs":{{}},"config":{{"Env":[{}]}}}}"#,
        vec!["\"\""; 20_000].join(",")
    );
    assert!(
        config(&many)
            .expect_err("refused")
            .contains("more than 10000 items")
    );
    let labels: Vec<String> = (0..20_000).map(|at| format!("\"{at}\":\"\"")).collect();
    let many = format!(
        r#"{{"rootfs":{{}},"config":{{"Labels":{{{}}}}}}}"#,
        labels.join(",")
    );
    assert!(
        config(&many)
            .expect_err("refused")
            .contains("more than 10000 items")
    );
}

#[test]
fn layers_and_diff_ids_go_together() {
    let read = |layers: Value, diff_ids: Value| {
        let mut shelf = Shelf::default();
        let config =
            json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": diff_ids}});
        let root = shelf.image(&config, &layers);
        let bytes = &shelf.0[root["digest"].as_str().expect("a digest")];
        shelf.read(&serde_json::from_slice(bytes).expect("JSON"), None)
    };
    let diff_id = sha256(b"tar").to_string();
    let twice = json!([descriptor(&json!(5)), descriptor(&json!(5))]);
    let image =
        read(twice.clone(), json!([diff_id, diff_id])).expect("the same layer twice is legal");
    assert_eq!(image.layers.len(), 2);
    assert_eq!(image.layers[1].index, 1);
    assert_eq!(image.layers[1].size, Some(5));
    assert_eq!(image.layers[1].digest, Some(sha256(b"layer")));
    assert_eq!(image.layers[1].diff_id, sha256(b"tar"));
    assert!(
        read(json!([]), Value::Null)
            .expect("from scratch")
            .layers
            .is_empty()
    );

    let typed = |media_type: &str| {
        let mut layer = descriptor(&json!(5));
        layer["mediaType"] = json!(media_type);
        read(json!([layer]), json!([diff_id])).map(|image| image.layers.len())
    };
    assert_eq!(
        typed("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        Ok(1)
    );
    for (outcome, reason) in [
        (
            read(twice, json!([diff_id])).map(|image| image.layers.len()),
            "it has 2 layers, and its configuration has 1 `diff_ids`",
        ),
        (
            read(json!([descriptor(&json!(5))]), json!(["abc"])).map(|image| image.layers.len()),
            "`abc` in its `diff_ids` is no digest",
        ),
        (
            read(json!([descriptor(&json!(1_u64 << 50))]), json!([diff_id]))
                .map(|image| image.layers.len()),
            "layer 0 claims to have 1125899906842624 bytes",
        ),
        (
            typed("application/vnd.in-toto+json"),
            "it is an attestation, not an image",
        ),
        (
            typed("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
            "layer 0 is encrypted",
        ),
        (
            typed("application/vnd.wasm.content.layer.v1+wasm"),
            "layer 0 is of type `application/vnd.wasm.content.layer.v1+wasm`, which is no archive of files",
        ),
    ] {
        let error = outcome.expect_err("refused");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn the_image_of_the_platform_is_found_below_nested_indexes() {
    let mut shelf = Shelf::default();
    let diff_id = sha256(b"tar").to_string();
    let mut images = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config =
            json!({"os": "linux", "architecture": architecture, "rootfs": {"diff_ids": [diff_id]}});
        let mut image = shelf.image(&config, &json!([descriptor(&json!(5))]));
        image["platform"] = json!({"os": "linux", "architecture": architecture});
        images.push(image);
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": images});
    let mut root = index.clone();
    for deep in 0..4 {
        let image = shelf.read(&root, Some("linux/arm64"));
        if deep == 3 {
            let error = image.expect_err("too deep");
            assert!(error.contains("more than 3 deep"), "{error}");
            break;
        }
        let image = image.expect("an image");
        assert_eq!(image.digest.to_string(), images[1]["digest"]);
        assert_eq!(image.config.architecture().to_string(), "arm64");
        assert_eq!(sha256(&image.manifest_bytes), image.digest);
        assert_eq!(
            sha256(&image.config_bytes),
            *image.manifest.config().digest()
        );
        let error = shelf
            .read(&root, Some("s390x"))
            .expect_err("no such platform");
        assert_eq!(
            error,
            "oci:x has no image for linux/s390x; it has linux/amd64, linux/arm64"
        );
        let mut outer = shelf.put(&root);
        outer["mediaType"] = json!(OCI_INDEX);
        root = json!({"schemaVersion": 2, "manifests": [outer]});
    }

    // One image that is not in an index is for what its configuration says.
    let bytes = &shelf.0[images[0]["digest"].as_str().expect("a digest")];
    let alone: Value = serde_json::from_slice(bytes).expect("JSON");
    assert!(shelf.read(&alone, None).is_ok());
    assert_eq!(
        shelf
            .read(&alone, Some("arm64"))
            .expect_err("another platform"),
        "oci:x has no image for linux/arm64; it is one for linux/amd64"
    );
}

#[test]
fn documents_are_verified_and_bounded() {
    let mut shelf = Shelf::default();
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {}});
    let image = shelf.image(&config, &json!([]));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut entry = image.clone();
        change(&mut entry);
        json!({"schemaVersion": 2, "manifests": [entry]})
    };
    assert!(shelf.read(&with(&|_| ()), None).is_ok());
    for (root, reason) in [
        (with(&|entry| entry["size"] = json!(7)), "bytes, not 7"),
        (
            with(&|entry| entry["size"] = json!(1_u64 << 40)),
            "its size is 1099511627776 bytes",
        ),
        (
            with(&|entry| entry["digest"] = json!(sha256(b"").to_string())),
            "nothing",
        ),
    ] {
        let error = shelf.read(&root, None).expect_err("refused");
        assert!(error.contains(reason), "{error}");
    }
    let digest = image["digest"].as_str().expect("a digest").to_owned();
    let bytes = shelf.0.get_mut(&digest).expect("the manifest");
    *bytes.last_mut().expect("a byte") = b' ';
    let error = shelf.read(&with(&|_| ()), None).expect_err("other bytes");
    assert!(
        error.contains("is not what its descriptor promises: its digest is"),
        "{error}"
    );
}
