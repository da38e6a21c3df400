//! Registries that mean harm, or are broken beyond use: each a clear error, in bounded time and memory.

use serde_json::json;

use imgtool::transport::TransportError;

use super::{client, open, reference, server};
use crate::support::registry::{OCI_INDEX, OCI_MANIFEST, Pushed, descriptor, digest};

fn message(server: &crate::support::registry::RegistryServer) -> String {
    open(server).expect_err("refused").to_string()
}

#[test]
fn a_manifest_that_is_none() {
    let (server, _) = server(&[b"layer"]);
    let many = vec![descriptor("application/vnd.oci.image.layer.v1.tar", b"x"); 20_000];
    let config = descriptor("application/vnd.oci.image.config.v1+json", b"x");
    let many = serde_json::to_vec(&json!({"schemaVersion": 2, "config": config, "layers": many}));
    for (bytes, says) in [
        (vec![b' '; (4 << 20) + 1], "is larger than 4194304 bytes"),
        (many.expect("JSON"), "it has more than 1000 layers"),
        (b"<html>".to_vec(), "is invalid"),
        (b"".to_vec(), "is invalid"),
        (
            [&b"{\"x\": "[..], &b"[".repeat(100_000)].concat(),
            "EOF while parsing a list",
        ),
        (
            br#"{"schemaVersion": 1, "fsLayers": []}"#.to_vec(),
            "it is of Docker's schema 1",
        ),
    ] {
        server.change(|behaviour| behaviour.manifest_body = Some(bytes));
        let error = message(&server);
        assert!(error.contains(says), "{error}");
        assert!(error.len() < 500, "{error}");
    }
}

#[test]
fn a_content_type_is_believed_only_where_it_fits() {
    let (server, _) = server(&[b"layer"]);
    for content_type in ["text/plain; charset=utf-8", "application/octet-stream"] {
        server.change(|behaviour| behaviour.content_type = Some(content_type.to_owned()));
        assert!(open(&server).is_ok(), "{content_type}");
    }
    server.change(|behaviour| behaviour.content_type = Some(OCI_INDEX.to_owned()));
    assert!(message(&server).contains("it is said to be an index where it is a manifest"));
}

#[test]
fn an_index_that_points_to_itself() {
    let (server, _) = server(&[b"layer"]);
    // No document can hold its own digest; a registry can serve it under one all the same.
    let own = digest(b"any");
    let entry = json!({"mediaType": OCI_INDEX, "digest": own, "size": 300});
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]});
    let mut bytes = serde_json::to_vec(&index).expect("JSON");
    bytes.resize(300, b' ');
    server.put_manifest("team/app", "1.0", OCI_INDEX, &bytes);
    server.put_manifest("team/app", &own, OCI_INDEX, &bytes);
    let error = message(&server);
    assert!(
        error.contains("is not what its descriptor promises"),
        "{error}"
    );
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn indexes_in_indexes_have_an_end() {
    let (server, pushed) = server(&[b"layer"]);
    let mut deep = pushed.manifest.clone();
    for _ in 0..10 {
        let entry = descriptor(&deep.0, &deep.1);
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        deep = (
            OCI_INDEX.to_owned(),
            serde_json::to_vec(&index).expect("JSON"),
        );
        server.put_manifest("team/app", &digest(&deep.1), &deep.0, &deep.1);
    }
    server.put_manifest("team/app", "1.0", &deep.0, &deep.1);
    let error = message(&server);
    assert!(error.contains("more than 3 deep"), "{error}");
}

#[test]
fn a_digest_header_that_lies() {
    let (server, _) = server(&[b"layer"]);
    server.change(|behaviour| behaviour.content_digest = Some(digest(b"other")));
    let error = open(&server).expect_err("a lie");
    assert!(matches!(error, TransportError::Mismatch { .. }), "{error}");
    // One that is none says nothing.
    server.change(|behaviour| behaviour.content_digest = Some("md5-abc".to_owned()));
    assert!(open(&server).is_ok());
    let error = client().digest_of(&reference(&server, "team/app:1.0"));
    assert!(error.is_ok(), "computed from the bytes");
}

#[test]
fn an_artifact_is_not_an_image() {
    let (server, pushed) = server(&[b"layer"]);
    let chart = pushed.clone().with_manifest(|manifest| {
        manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
    });
    server.push("team/app", "1.0", &chart);
    let error = message(&server);
    assert!(
        error.contains(
            "it is an artifact of type `application/vnd.cncf.helm.config.v1+json`, not an image"
        ),
        "{error}"
    );
    let signature = pushed.with_manifest(|manifest| {
        manifest["layers"][0]["mediaType"] = "application/vnd.in-toto+json".into();
    });
    server.push("team/app", "1.0", &signature);
    assert!(message(&server).contains("it is an attestation, not an image"));
    assert_eq!(signature.manifest.0, OCI_MANIFEST);
}

#[test]
fn lists_of_tags_that_do_not_end_or_lead_elsewhere() {
    let (server, _) = server(&[b"layer"]);
    let (elsewhere, _) = super::server(&[b"layer"]);
    for (link, says) in [
        (
            "</v2/team/app/tags/list?n=1>; rel=\"next\"".to_owned(),
            "its pages lead in a circle",
        ),
        (
            format!(
                "<{}/v2/team/app/tags/list>; rel=\"next\"",
                elsewhere.origin()
            ),
            "it leads to another server",
        ),
        (
            "<http://[>; rel=\"next\"".to_owned(),
            "its next page has no address",
        ),
    ] {
        server.change(|behaviour| behaviour.link = Some(link));
        let error = client()
            .tags(&reference(&server, "team/app"))
            .expect_err("refused");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn what_a_registry_says_is_shown_short_and_clean() {
    let (server, _) = server(&[b"layer"]);
    server.change(|behaviour| {
        behaviour.fail_first = 1000;
        behaviour.fail_status = Some(400);
        behaviour.fail_body = json!({"errors": [{
            "code": "NAME_INVALID", "message": format!("\u{1b}[31mred\r\n{}", "long ".repeat(1000)),
        }]})
        .to_string();
    });
    let error = message(&server);
    assert!(error.contains("NAME_INVALID: [31mred"), "{error}");
    assert!(
        error.ends_with("status 400") && error.len() < 500,
        "{error}"
    );
    assert!(!error.chars().any(char::is_control), "{error:?}");
    // What is no envelope is not quoted.
    server.change(|behaviour| behaviour.fail_body = "<html>500 pages</html>".to_owned());
    let error = message(&server);
    assert!(error.ends_with("team/app:1.0: status 400"), "{error}");
}

#[test]
fn an_index_for_other_platforms_only() {
    let (server, _) = server(&[b"layer"]);
    let images = [
        Pushed::image_for("s390x", &[b"a"]),
        Pushed::image_for("riscv64", &[b"b"]),
    ];
    let one = Pushed::index(&[("s390x", &images[0])]);
    server.push("team/app", "1.0", &one);
    assert!(open(&server).is_ok(), "the only one there is");
    let two = Pushed::index(&[("s390x", &images[0]), ("riscv64", &images[1])]);
    server.push("team/app", "1.0", &two);
    let error = message(&server);
    assert!(
        error.ends_with("it has linux/riscv64, linux/s390x"),
        "{error}"
    );
}
