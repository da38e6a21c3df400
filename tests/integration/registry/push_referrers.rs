//! What is attached to an image: put between the image and its tag, listed by the registry or under a tag.

use imgtool::transport::registry::Silent;
use serde_json::{Value, json};

use super::push::{push, steps};
use super::{client, reference};
use crate::support::outgoing::Example;
use crate::support::registry::{Fault, OCI_INDEX, OCI_MANIFEST, RegistryServer, digest};

/// The entries of a subject's list.
fn listed(server: &RegistryServer, subject: &str) -> Vec<Value> {
    let tag = subject.replace(':', "-");
    let Some((media_type, bytes)) = server.manifest("team/app", &tag) else {
        return Vec::new();
    };
    assert_eq!(media_type, OCI_INDEX);
    let index: Value = serde_json::from_slice(&bytes).expect("JSON");
    index["manifests"].as_array().expect("a list").clone()
}

fn digests(entries: &[Value]) -> Vec<&str> {
    let digests = entries.iter().map(|entry| entry["digest"].as_str());
    digests.map(|digest| digest.expect("a digest")).collect()
}

#[test]
fn the_tag_comes_after_what_is_attached() {
    for knows in [true, false] {
        let server = RegistryServer::start();
        server.change(|behaviour| behaviour.uploads.referrers = knows);
        let example = Example::new(50, &[], 100, None)
            .indexed()
            .with_referrer("sbom")
            .with_referrer("lock");
        push(&server, "team/app:1.0", &example).expect("pushed");
        let puts: Vec<String> = steps(&server)
            .into_iter()
            .filter(|step| step.starts_with("PUT manifests/"))
            .map(|step| step.replace("PUT manifests/", ""))
            .collect();
        let names: Vec<String> = example
            .outgoing
            .manifests
            .iter()
            .chain(&example.outgoing.referrers)
            .map(|manifest| manifest.descriptor.digest().to_string())
            .collect();
        let mut expected = names.clone();
        let list = example.digest().replace(':', "-");
        if !knows {
            expected.push(list.clone());
        }
        expected.push("1.0".to_owned());
        assert_eq!(puts, expected);
        let entries = listed(&server, &example.digest());
        if knows {
            assert!(entries.is_empty());
            continue;
        }
        assert_eq!(digests(&entries), names[2..]);
        assert_eq!(entries[0]["artifactType"], "application/vnd.test");
        assert_eq!(entries[0]["mediaType"], OCI_MANIFEST);

        // Once more: nothing is listed twice, and the list is not written.
        server.forget_requests();
        push(&server, "team/app:1.0", &example).expect("pushed");
        assert_eq!(listed(&server, &example.digest()).len(), 2);
        assert!(!steps(&server).contains(&format!("PUT manifests/{list}")));
    }
}

#[test]
fn what_others_have_listed_stays() {
    let server = RegistryServer::start();
    let example = Example::new(51, &[], 100, None).with_referrer("sbom");
    let tag = example.digest().replace(':', "-");
    // Another client's, with things in it that nobody here knows.
    let other = json!({"mediaType": "application/x", "digest": digest(b"x"), "size": 1, "y": [1]});
    let index = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [other], "annotations": {"a": "b"},
    });
    let bytes = serde_json::to_vec(&index).expect("JSON");
    server.put_manifest("team/app", &tag, OCI_INDEX, &bytes);
    server.put_manifest("team/app", &digest(b"x"), "application/x", b"x");
    push(&server, "team/app:1.0", &example).expect("pushed");
    let entries = listed(&server, &example.digest());
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0], other);
    let (_, bytes) = server.manifest("team/app", &tag).expect("a list");
    let index: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(index["annotations"]["a"], "b");

    // What is no list is left alone, and the tag does not move.
    let example = Example::new(52, &[], 100, None).with_referrer("sbom");
    let tag = example.digest().replace(':', "-");
    let manifest = &example.root().bytes;
    server.put_manifest("team/app", &tag, OCI_MANIFEST, manifest);
    let before = server.manifest("team/app", "1.0");
    let error = push(&server, "team/app:1.0", &example).expect_err("no list");
    assert!(
        error.to_string().ends_with(&format!(
            "the index of tag {tag} is invalid: it is not an index"
        )),
        "{error}"
    );
    assert_eq!(server.manifest("team/app", "1.0"), before);
}

#[test]
fn a_list_survives_failures_of_its_own_requests() {
    let put = |fault: Fault| vec![("PUT", fault)];
    for fault in [
        Fault::LoseAnswer,
        Fault::Status(503),
        Fault::StatusAfter(502),
        Fault::Cut(10),
    ] {
        let server = RegistryServer::start();
        let example = Example::new(53, &[], 100, None).with_referrer("sbom");
        push(&server, "team/app:0.9", &example).expect("pushed");
        server.change(|behaviour| behaviour.uploads.heeds_conditions = true);
        let more = Example::new(53, &[], 100, None)
            .with_referrer("sbom")
            .with_referrer("lock");
        // The root, the two that are attached, and then the list.
        server.change(|behaviour| behaviour.uploads.faults_of = put(fault));
        push(&server, "team/app:1.0", &more).expect("pushed");
        server.change(|behaviour| {
            behaviour.uploads.fault = Some((9 + 4, fault));
        });
        push(&server, "team/app:1.0", &more.with_referrer("third")).expect("pushed");
        assert_eq!(listed(&server, &example.digest()).len(), 3);
    }
}

#[test]
fn several_builds_at_once_lose_nothing() {
    // With registries that heed conditions, and with those that do not, where what was lost is put back.
    for heeds in [true, false] {
        let server = RegistryServer::start();
        server.change(|behaviour| behaviour.uploads.heeds_conditions = heeds);
        let names: Vec<String> = (0..6).map(|number| format!("build {number}")).collect();
        let examples: Vec<Example> = names
            .iter()
            .map(|name| Example::new(54, &[], 100, None).with_referrer(name))
            .collect();
        std::thread::scope(|scope| {
            for example in &examples {
                let target = reference(&server, "team/app:1.0");
                scope.spawn(move || {
                    client()
                        .push(&target, &example.outgoing, &Silent)
                        .expect("pushed");
                });
            }
        });
        let entries = listed(&server, &examples[0].digest());
        let found = digests(&entries);
        let lost = examples.iter().filter(|example| {
            let digest = example.outgoing.referrers[0].descriptor.digest();
            !found.contains(&digest.as_ref())
        });
        if heeds {
            assert_eq!(lost.count(), 0, "{found:?}");
        } else {
            assert!(lost.count() < 3, "{found:?}");
        }
        assert!(found.len() <= 6);
    }
}
