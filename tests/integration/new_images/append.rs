//! The configuration and the manifest of a new image.

use std::collections::BTreeMap;

use imgtool::image::append::{MOST_LAYERS, append_described};
use imgtool::image::{Changes, ImageError, LayerCompression, ManifestFormat, append};
use insta::assert_snapshot;
use oci_spec::image::Descriptor;
use serde_json::{Value, json};

use super::{Base, CONFIG, DOCKER_CONFIG, gzip_layer, layer};
use crate::support::new_image::lines;

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn an_oci_base_gets_a_layer_and_loses_nothing() {
    let mut base = Base::oci(CONFIG);
    base.manifest = r#""x-unknown": [1.50], "annotations": {"org.opencontainers.image.licenses": "MIT", "org.opencontainers.image.revision": "abc"}, "subject": {"mediaType": "a/b", "digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "size": 0}, "#.to_owned();
    let image = append(&base.read(), &[gzip_layer()], &Changes::default()).expect("an image");
    assert_eq!(image.notes, Vec::<String>::new());
    // The very bytes: the digest is a promise.
    assert_snapshot!(String::from_utf8(image.config_bytes.clone()).expect("UTF-8"), @r#"{"architecture":"arm64","variant":"v8","os":"linux","created":"2024-05-01T12:00:00.123456789Z","x-unknown":{"z": 1.50,  "a": [null]},"config":{"Hostname":"","User":"app","Env":["PATH=/usr/bin","A=1"],"Entrypoint":["/run"],"Cmd":["x"],"Labels":{"team":"ml","org.opencontainers.image.version":"7"},"Healthcheck":{"Test":["CMD","true"]},"StopSignal":"SIGINT","ArgsEscaped":true},"rootfs":{"type":"layers","diff_ids":["sha256:8c6fb1e9e37a1aea1d308c785192e1a17d71cef08c7f50a68d2e0ab292b2e7f4","sha256:aee610558292023758a4229ddcf75f167c9904313a83cf795232ed7f7e2131c9","sha256:11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"]},"history":[{"created":"2024-05-01T11:00:00Z","created_by":"ADD a","x":1},{"created_by":"ENV A=1","empty_layer":true},{"created_by":"RUN b"},{"created":"2024-05-01T12:00:00.123456789Z","created_by":"imgtool build base six","comment":"by imgtool"}]}"#);
    assert_snapshot!(String::from_utf8(image.manifest_bytes.clone()).expect("UTF-8"), @r#"{"x-unknown":[1.50],"annotations":{"org.opencontainers.image.base.digest":"sha256:6907ecde6fe59b95e700ed96e9915276a902b285f2b5c3b652a4920ccaba707f","org.opencontainers.image.base.name":"registry.example/team/base:1.0","org.opencontainers.image.created":"2024-05-01T12:00:00.123456789Z","org.opencontainers.image.licenses":"MIT"},"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:7d1d1ba6fe05d3a437189c51f2f3f7649d49cd12385b72a3a407ea5fb8a82357","size":885},"layers":[{"digest":"sha256:8c6fb1e9e37a1aea1d308c785192e1a17d71cef08c7f50a68d2e0ab292b2e7f4","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":5},{"digest":"sha256:aee610558292023758a4229ddcf75f167c9904313a83cf795232ed7f7e2131c9","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":5},{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437","size":3}]}"#);
    assert_snapshot!(image.manifest.digest().to_string(), @"sha256:50817dcc49d77070e9b228fa47ff31a470c0a96e3e73acd8f8b396446531f48b");
    assert_eq!(image.platform.to_string(), "linux/arm64/v8");
    assert_eq!(image.layers.len(), 3);
    assert_eq!(image.new_layers, 1);
    // What reads images reads it.
    let config = String::from_utf8(image.config_bytes.clone()).expect("UTF-8");
    imgtool::transport::manifest::parse_config(config.as_bytes(), "it").expect("a configuration");
    // Untouched parts are untouched to the byte.
    for part in [
        r#""x-unknown":{"z": 1.50,  "a": [null]}"#,
        r#""config":{"Hostname":"","User":"app","Env":["PATH=/usr/bin","A=1"],"Entrypoint":["/run"],"Cmd":["x"],"#,
        r#"{"created":"2024-05-01T11:00:00Z","created_by":"ADD a","x":1}"#,
        r#""created":"2024-05-01T12:00:00.123456789Z""#,
    ] {
        assert!(config.contains(part), "{part} in {config}");
    }
}

#[test]
fn a_docker_base_stays_dockers_and_names_its_base_in_labels() {
    let base = Base::docker(CONFIG).read();
    let image = append(&base, &[gzip_layer()], &Changes::default()).expect("an image");
    assert_snapshot!(lines(&image.manifest_bytes), @r#"
    schemaVersion: 2
    mediaType: "application/vnd.docker.distribution.manifest.v2+json"
    config: {"digest":"sha256:1b46692865aeb79a349354d21333afd6c5c973145e259061c06d8ee0d3cd61f9","mediaType":"application/vnd.docker.container.image.v1+json","size":1354}
    layers: [{"digest":"sha256:8c6fb1e9e37a1aea1d308c785192e1a17d71cef08c7f50a68d2e0ab292b2e7f4","mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":5},{"digest":"sha256:aee610558292023758a4229ddcf75f167c9904313a83cf795232ed7f7e2131c9","mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":5},{"digest":"sha256:11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437","mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":3}]
    "#);
    let version = concat!("imgtool ", env!("CARGO_PKG_VERSION"));
    assert_snapshot!(lines(&image.config_bytes).replace(version, "[IMGTOOL]"), @r#"
    architecture: "arm64"
    variant: "v8"
    os: "linux"
    created: "2024-05-01T12:00:00.123456789Z"
    x-unknown: {"a":[null],"z":1.5}
    config: {"ArgsEscaped":true,"Cmd":["x"],"Entrypoint":["/run"],"Env":["PATH=/usr/bin","A=1"],"Healthcheck":{"Test":["CMD","true"]},"Hostname":"","Labels":{"org.opencontainers.image.base.digest":"sha256:e3db28594a84b4b23cd6b7cc90a793478739ba694a5144e5b986ccfb1bf941e7","org.opencontainers.image.base.name":"registry.example/team/base:1.0","org.opencontainers.image.version":"7","team":"ml"},"StopSignal":"SIGINT","User":"app"}
    rootfs: {"diff_ids":["sha256:8c6fb1e9e37a1aea1d308c785192e1a17d71cef08c7f50a68d2e0ab292b2e7f4","sha256:aee610558292023758a4229ddcf75f167c9904313a83cf795232ed7f7e2131c9","sha256:11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"],"type":"layers"}
    history: [{"created":"2024-05-01T11:00:00Z","created_by":"ADD a","x":1},{"created_by":"ENV A=1","empty_layer":true},{"created_by":"RUN b"},{"comment":"by imgtool","created":"2024-05-01T12:00:00.123456789Z","created_by":"imgtool build base six"},{"comment":"[IMGTOOL]","created":"2024-05-01T12:00:00.123456789Z","created_by":"LABEL org.opencontainers.image.base.digest=sha256:e3db28594a84b4b23cd6b7cc90a793478739ba694a5144e5b986ccfb1bf941e7 org.opencontainers.image.base.name=registry.example/team/base:1.0","empty_layer":true}]
    "#);
    assert_eq!(
        image.manifest.media_type().to_string(),
        super::DOCKER_MANIFEST
    );
    let labels = &json_of(&image.config_bytes)["config"]["Labels"];
    assert_eq!(
        labels["org.opencontainers.image.base.digest"],
        base.digest.expect("a digest").to_string()
    );
    assert_eq!(labels["team"], "ml");
}

#[test]
fn what_dockers_manifests_cannot_say_is_an_error_with_a_way_out() {
    let base = Base::docker(CONFIG).read();
    let zstd = [layer(b"new", LayerCompression::Zstd)];
    let error = append(&base, &zstd, &Changes::default()).expect_err("zstd");
    assert!(matches!(error, ImageError::ZstdInDocker { .. }), "{error}");
    assert!(
        error.hint().is_some_and(
            |hint| hint.contains("--compression gzip") && hint.contains("--manifest oci")
        )
    );
    let changes = Changes {
        annotations: owned(&[("a", "b")]),
        ..Changes::default()
    };
    let error = append(&base, &[gzip_layer()], &changes).expect_err("an annotation");
    assert!(
        matches!(&error, ImageError::AnnotationInDocker { annotation, .. } if annotation == "a"),
        "{error}"
    );

    // Asked for, it becomes an OCI image, and everything in it.
    let changes = Changes {
        format: ManifestFormat::Oci,
        ..changes
    };
    let image = append(&base, &zstd, &changes).expect("an image");
    let manifest = json_of(&image.manifest_bytes);
    let types: Vec<&str> = manifest["layers"]
        .as_array()
        .expect("layers")
        .iter()
        .map(|layer| layer["mediaType"].as_str().expect("a type"))
        .collect();
    assert_eq!(
        types,
        [
            super::OCI_LAYER,
            super::OCI_LAYER,
            "application/vnd.oci.image.layer.v1.tar+zstd"
        ]
    );
    assert_eq!(manifest["mediaType"], super::OCI_MANIFEST);
    assert_eq!(manifest["config"]["mediaType"], super::OCI_CONFIG);
    assert_eq!(manifest["annotations"]["a"], "b");
    let text = String::from_utf8(image.manifest_bytes).expect("UTF-8");
    assert!(
        !text.contains("docker.image") && !text.contains("docker.container"),
        "{text}"
    );
    assert_eq!(image.layers[0].media_type().to_string(), super::OCI_LAYER);
}

#[test]
fn foreign_layers_are_named_as_they_were() {
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let mut base = Base::docker(CONFIG);
    base.layer_types[0] = foreign;
    let image = append(&base.read(), &[gzip_layer()], &Changes::default()).expect("an image");
    assert_eq!(
        json_of(&image.manifest_bytes)["layers"][0]["mediaType"],
        foreign
    );
    let changes = Changes {
        format: ManifestFormat::Oci,
        ..Changes::default()
    };
    let image = append(&base.read(), &[gzip_layer()], &changes).expect("an image");
    assert_eq!(
        json_of(&image.manifest_bytes)["layers"][0]["mediaType"],
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    );
}

#[test]
fn only_what_is_asked_for_changes() {
    let changes = Changes {
        env: vec![
            ("A".to_owned(), "2".to_owned()),
            ("MLFLOW_TRACKING_URI".to_owned(), "http://a?b=c".to_owned()),
        ],
        labels: owned(&[("team", "other"), ("new", "x y")]),
        annotations: owned(&[
            ("org.opencontainers.image.base.name", "mine"),
            ("z", "1"),
            ("b", "2"),
        ]),
        entrypoint: Some(vec!["python".to_owned(), "-m".to_owned()]),
        user: Some("1000:1000".to_owned()),
        working_dir: Some("/work".to_owned()),
        created: Some(jiff::Timestamp::from_second(1_700_000_000).expect("a time")),
        author: Some("team".to_owned()),
        ..Changes::default()
    };
    let base = Base::oci(CONFIG).read();
    let image = append(&base, &[gzip_layer()], &changes).expect("an image");
    let version = concat!("imgtool ", env!("CARGO_PKG_VERSION"));
    assert_snapshot!(lines(&image.config_bytes).replace(version, "[IMGTOOL]"), @r#"
    architecture: "arm64"
    variant: "v8"
    os: "linux"
    created: "2023-11-14T22:13:20Z"
    x-unknown: {"a":[null],"z":1.5}
    config: {"ArgsEscaped":false,"Entrypoint":["python","-m"],"Env":["PATH=/usr/bin","A=2","MLFLOW_TRACKING_URI=http://a?b=c"],"Healthcheck":{"Test":["CMD","true"]},"Hostname":"","Labels":{"new":"x y","org.opencontainers.image.version":"7","team":"other"},"StopSignal":"SIGINT","User":"1000:1000","WorkingDir":"/work"}
    rootfs: {"diff_ids":["sha256:8c6fb1e9e37a1aea1d308c785192e1a17d71cef08c7f50a68d2e0ab292b2e7f4","sha256:aee610558292023758a4229ddcf75f167c9904313a83cf795232ed7f7e2131c9","sha256:11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"],"type":"layers"}
    history: [{"created":"2024-05-01T11:00:00Z","created_by":"ADD a","x":1},{"created_by":"ENV A=1","empty_layer":true},{"created_by":"RUN b"},{"author":"team","comment":"by imgtool","created":"2023-11-14T22:13:20Z","created_by":"imgtool build base six"},{"author":"team","comment":"[IMGTOOL]","created":"2023-11-14T22:13:20Z","created_by":"ENV A=2","empty_layer":true},{"author":"team","comment":"[IMGTOOL]","created":"2023-11-14T22:13:20Z","created_by":"ENV MLFLOW_TRACKING_URI=http://a?b=c","empty_layer":true},{"author":"team","comment":"[IMGTOOL]","created":"2023-11-14T22:13:20Z","created_by":"LABEL new=x y team=other","empty_layer":true},{"author":"team","comment":"[IMGTOOL]","created":"2023-11-14T22:13:20Z","created_by":"USER 1000:1000","empty_layer":true},{"author":"team","comment":"[IMGTOOL]","created":"2023-11-14T22:13:20Z","created_by":"WORKDIR /work","empty_layer":true},{"author":"team","comment":"[IMGTOOL]","created":"2023-11-14T22:13:20Z","created_by":"ENTRYPOINT [\"python\",\"-m\"]","empty_layer":true}]
    author: "team"
    "#);
    assert_snapshot!(
        json_of(&image.manifest_bytes)["annotations"].to_string(),
        @r#"{"b":"2","org.opencontainers.image.base.digest":"sha256:83513af5c72fdc72be0de57f6c51c3b6a425dd15805afdf1459ad20db74dddb5","org.opencontainers.image.base.name":"mine","org.opencontainers.image.created":"2023-11-14T22:13:20Z","z":"1"}"#
    );
    assert_eq!(
        image.notes.len(),
        1,
        "the Cmd of the base: {:?}",
        image.notes
    );
    // A command of its own is nobody's loss.
    let with_cmd = Changes {
        cmd: Some(Vec::new()),
        ..changes
    };
    let image = append(&base, &[gzip_layer()], &with_cmd).expect("an image");
    assert!(image.notes.is_empty());
    assert_eq!(json_of(&image.config_bytes)["config"]["Cmd"], json!([]));
}

#[test]
fn labels_that_would_lie_are_set_anew_and_no_others() {
    let config = r#"{"architecture":"amd64","os":"linux","created":"2024-05-01T12:00:00Z","config":{"Labels":
        {"org.opencontainers.image.base.name":"docker.io/library/ubuntu:20.04","org.opencontainers.image.base.digest":"sha256:1",
         "org.opencontainers.image.created":"2020-01-01T00:00:00Z","org.opencontainers.image.title":"base"}},
        "rootfs":{"type":"layers","diff_ids":DIFF_IDS}}"#;
    let base = Base::oci(config).read();
    let image = append(&base, &[gzip_layer()], &Changes::default()).expect("an image");
    let labels = json_of(&image.config_bytes)["config"]["Labels"].clone();
    assert_eq!(
        labels,
        json!({
            "org.opencontainers.image.base.name": "registry.example/team/base:1.0",
            "org.opencontainers.image.base.digest": base.digest.as_ref().expect("a digest").to_string(),
            "org.opencontainers.image.created": "2024-05-01T12:00:00Z",
            "org.opencontainers.image.title": "base",
        })
    );
    // A base without a name leaves none that is wrong.
    let mut unnamed = Base::oci(config);
    unnamed.name = "oci:base";
    let image = append(&unnamed.read(), &[gzip_layer()], &Changes::default()).expect("an image");
    let labels = &json_of(&image.config_bytes)["config"]["Labels"];
    assert!(labels.get("org.opencontainers.image.base.name").is_none());
    let annotations = &json_of(&image.manifest_bytes)["annotations"];
    assert!(
        annotations
            .get("org.opencontainers.image.base.name")
            .is_none()
    );
    assert!(annotations["org.opencontainers.image.base.digest"].is_string());
}

#[test]
fn histories_come_out_even_whatever_the_base_has() {
    let with = |history: &str| {
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":DIFF_IDS}}{history}}}"#
        );
        let image = append(
            &Base::oci(&config).read(),
            &[gzip_layer()],
            &Changes::default(),
        )
        .expect("an image");
        let config = json_of(&image.config_bytes);
        assert!(config.get("created").is_none(), "nobody knows when");
        let steps = config["history"].as_array().expect("a history").clone();
        let with_layer = steps
            .iter()
            .filter(|step| step["empty_layer"] != true)
            .count();
        (
            steps.len(),
            with_layer,
            steps.last().expect("a step").clone(),
        )
    };
    for (history, steps) in [
        ("", 3),
        (r#","history":null"#, 3),
        (r#","history":[{"created_by":"ADD a"}]"#, 3),
        (r#","history":[{"created_by":"A"},{"created_by":"B"}]"#, 3),
        (
            r#","history":[{"created_by":"A"},{"empty_layer":true},{}]"#,
            4,
        ),
    ] {
        let (count, with_layer, last) = with(history);
        assert_eq!((count, with_layer), (steps, 3), "{history}");
        assert_eq!(last["created_by"], "imgtool build base six", "{history}");
        assert!(last.get("created").is_none());
    }
}

#[test]
fn an_odd_time_of_the_base_stays_where_it_is() {
    let config = r#"{"architecture":"amd64","os":"linux","created":"yesterday","rootfs":{"diff_ids":DIFF_IDS}}"#;
    let image = append(
        &Base::oci(config).read(),
        &[gzip_layer()],
        &Changes::default(),
    )
    .expect("an image");
    let config = json_of(&image.config_bytes);
    assert_eq!(config["created"], "yesterday");
    assert_eq!(config["rootfs"]["type"], "layers");
    assert!(config["history"][2].get("created").is_none());
    let annotations = &json_of(&image.manifest_bytes)["annotations"];
    assert!(
        annotations
            .get("org.opencontainers.image.created")
            .is_none()
    );
}

#[test]
fn an_image_has_at_most_127_layers() {
    let base = Base::oci(CONFIG).read();
    let layers = |count: usize| -> Vec<_> {
        (0..count)
            .map(|at| layer(&at.to_le_bytes(), LayerCompression::Gzip))
            .collect()
    };
    let most = append(&base, &layers(MOST_LAYERS - 2), &Changes::default()).expect("an image");
    assert_eq!(most.layers.len(), 127);
    let error = append(&base, &layers(MOST_LAYERS - 1), &Changes::default()).expect_err("too many");
    assert_eq!(
        error.to_string(),
        "the image would have 128 layers, and engines take at most 127"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("--layers single"))
    );
}

#[test]
fn a_base_without_a_manifest_is_described_by_the_caller() {
    let mut base = Base::docker(CONFIG).read();
    base.manifest_bytes = None;
    base.digest = None;
    base.reference = "docker-archive:base.tar".to_owned();
    let error = append(&base, &[gzip_layer()], &Changes::default()).expect_err("no descriptors");
    assert!(matches!(
        error,
        ImageError::Undescribed {
            layers: 2,
            described: 0,
            ..
        }
    ));
    let described: Vec<Descriptor> = base
        .layers
        .iter()
        .map(|layer| {
            let plain = "application/vnd.oci.image.layer.v1.tar";
            Descriptor::new(
                plain.into(),
                layer.size.expect("a size"),
                layer.diff_id.clone(),
            )
        })
        .collect();
    let image = append_described(&base, &described, &[gzip_layer()], &Changes::default())
        .expect("an image");
    assert_snapshot!(lines(&image.manifest_bytes), @r#"
    schemaVersion: 2
    mediaType: "application/vnd.oci.image.manifest.v1+json"
    config: {"digest":"sha256:7d1d1ba6fe05d3a437189c51f2f3f7649d49cd12385b72a3a407ea5fb8a82357","mediaType":"application/vnd.oci.image.config.v1+json","size":885}
    layers: [{"digest":"sha256:8c6fb1e9e37a1aea1d308c785192e1a17d71cef08c7f50a68d2e0ab292b2e7f4","mediaType":"application/vnd.oci.image.layer.v1.tar","size":5},{"digest":"sha256:aee610558292023758a4229ddcf75f167c9904313a83cf795232ed7f7e2131c9","mediaType":"application/vnd.oci.image.layer.v1.tar","size":5},{"digest":"sha256:11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":3}]
    annotations: {"org.opencontainers.image.created":"2024-05-01T12:00:00.123456789Z"}
    "#);
}

#[test]
fn a_manifest_that_does_not_say_what_it_is_says_it_afterwards() {
    let mut base = Base::oci(CONFIG);
    base.config_type = DOCKER_CONFIG;
    base.layer_types = [super::DOCKER_LAYER; 2];
    let mut image = base.read();
    let text = String::from_utf8(base.manifest_bytes()).expect("UTF-8");
    let own = format!("\"mediaType\": \"{}\", ", super::OCI_MANIFEST);
    image.manifest_bytes = Some(text.replace(&own, "").into_bytes());
    let new = append(&image, &[gzip_layer()], &Changes::default()).expect("an image");
    assert_eq!(
        new.manifest.media_type().to_string(),
        super::DOCKER_MANIFEST
    );
    assert_eq!(
        json_of(&new.manifest_bytes)["mediaType"],
        super::DOCKER_MANIFEST
    );
}
