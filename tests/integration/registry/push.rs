//! Pushes: what is asked in which order, what is counted, and what is said when it fails.

use std::path::PathBuf;
use std::sync::Mutex;

use imgtool::transport::TransportError;
use imgtool::transport::outgoing::{BlobContent, Outgoing};
use imgtool::transport::registries_conf::RegistriesFiles;
use imgtool::transport::registry::{
    BlobOutcome, PushProgress, Pushed, RegistryClient, RegistrySettings, Silent,
};
use oci_spec::image::Descriptor;

use super::{client, read, reference, settings};
use crate::support::outgoing::{Example, blob, manifest};
use crate::support::registry::{
    Mounts, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, RegistryServer, Uploads,
};
use crate::support::tls::write;

pub(super) fn push(
    server: &RegistryServer,
    rest: &str,
    example: &Example,
) -> Result<Pushed, TransportError> {
    client().push(&reference(server, rest), &example.outgoing, &Silent)
}

/// The image under a tag can be read back and is this one.
pub(super) fn assert_pushed(server: &RegistryServer, rest: &str, example: &Example) {
    let image = client().open(&reference(server, rest)).expect("an image");
    let (_, bytes) = server
        .manifest("team/app", rest.rsplit(':').next().expect("a tag"))
        .expect("a tag");
    assert_eq!(bytes, example.root().bytes);
    for index in 0..image.layers.len() {
        read(&image, index).expect("a layer");
    }
}

/// The methods of the requests, with the target's last parts: `PUT manifests/1.0`.
pub(super) fn steps(server: &RegistryServer) -> Vec<String> {
    let asked = server.asked();
    asked
        .iter()
        .map(|asked| asked.replace("/v2/team/app/", ""))
        .collect()
}

#[test]
fn an_image_is_pushed_blobs_first_and_its_tag_last() {
    let server = RegistryServer::start();
    let example = Example::new(1, &[1000, 200_000], 300_000, None).indexed();
    let pushed = push(&server, "team/app:1.0", &example).expect("pushed");
    let total: u64 = [1000, 200_000, 300_000].iter().sum();
    let config = example.outgoing.blobs[3].descriptor.size();
    assert_eq!(pushed.digest.to_string(), example.digest());
    assert_eq!(
        pushed.reference,
        format!("docker://{}/team/app:1.0", server.host())
    );
    assert_eq!(
        (
            pushed.blobs_uploaded,
            pushed.blobs_mounted,
            pushed.blobs_existing
        ),
        (4, 0, 0)
    );
    // The configuration went in vain with the request that began its upload.
    assert_eq!(pushed.uploaded, total + 2 * config);
    assert_eq!(pushed.base_bytes_sent, 201_000);
    let steps = steps(&server);
    assert_pushed(&server, "team/app:1.0", &example);
    let image = example.outgoing.manifests[0].descriptor.digest();
    assert_eq!(
        steps[steps.len() - 2..],
        [
            format!("PUT manifests/{image}"),
            "PUT manifests/1.0".to_owned()
        ],
        "{steps:?}"
    );
    assert_eq!(server.open_uploads(), 0);

    // A second time there is nothing to send.
    server.forget_requests();
    let pushed = push(&server, "team/app:1.1", &example).expect("pushed");
    assert_eq!(
        (pushed.blobs_uploaded, pushed.blobs_existing),
        (0, 4),
        "{pushed:?}"
    );
    assert_eq!((pushed.uploaded, pushed.base_bytes_sent), (0, 0));
    let writes = |asked: &&String| !asked.starts_with("HEAD");
    assert_eq!(server.asked().iter().filter(writes).count(), 2);
}

#[test]
fn layers_of_the_base_are_mounted_where_it_is_in_the_same_registry() {
    let server = RegistryServer::start();
    let base = reference(&server, "base/image:1");
    let example = Example::new(2, &[5000, 6000, 7000], 800, Some(&base));
    server.push("base/image", "1", &example.base_image);
    let pushed = push(&server, "team/app:1.0", &example).expect("pushed");
    assert_eq!((pushed.blobs_mounted, pushed.blobs_uploaded), (3, 2));
    assert_eq!(pushed.base_bytes_sent, 0);
    assert_eq!(
        example
            .base
            .opened
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
    assert_pushed(&server, "team/app:1.0", &example);
    let mounts = |asked: &&String| asked.contains("&from=base%2Fimage");
    assert_eq!(server.asked().iter().filter(mounts).count(), 3);
    let heads = |asked: &&String| asked.starts_with("HEAD");
    assert_eq!(
        server.asked().iter().filter(heads).count(),
        2,
        "one request for each layer that is mounted"
    );
}

#[test]
fn layers_are_not_mounted_from_another_registry_nor_from_the_target() {
    let server = RegistryServer::start();
    for base in ["127.0.0.1:1/base/image:1", "team/app"] {
        let base = if base.contains(':') {
            base.parse().expect("a reference")
        } else {
            reference(&server, "team/app:old")
        };
        let example = Example::new(3, &[500], 800, Some(&base));
        push(&server, "team/app:1.0", &example).expect("pushed");
        assert!(
            server.asked().iter().all(|asked| !asked.contains("mount=")),
            "{:?}",
            server.asked()
        );
    }
}

#[test]
fn a_mount_that_misses_is_an_upload_that_is_used() {
    for mounts in [Mounts::Never, Mounts::Status(405), Mounts::WhereThere] {
        let server = RegistryServer::start();
        server.change(|behaviour| {
            behaviour.uploads.mounts = mounts;
            behaviour.uploads.offset_in_location = true;
        });
        let base = reference(&server, "base/image:1");
        let example = Example::new(4, &[70_000, 80_000, 90_000], 800, Some(&base));
        // The base is there, but for `WhereThere`, whose registry has lost it.
        if mounts != Mounts::WhereThere {
            server.push("base/image", "1", &example.base_image);
        }
        let pushed = push(&server, "team/app:1.0", &example).expect("pushed");
        assert_eq!((pushed.blobs_mounted, pushed.blobs_uploaded), (0, 5));
        assert_eq!(pushed.base_bytes_sent, 240_000);
        assert_pushed(&server, "team/app:1.0", &example);
        assert_eq!(server.open_uploads(), 0, "none is left behind");
        let begun = |asked: &&String| {
            asked.starts_with("POST") && !asked.contains("mount=") && !asked.contains("digest=")
        };
        let begun = server.asked().iter().filter(begun).count();
        // One of the two small blobs may find out that the other was not taken at once.
        let expected = if mounts == Mounts::Status(405) { 3 } else { 0 };
        assert!((expected..=expected + 1).contains(&begun), "{begun}");

        // What is there by now is not sent again, and what was begun is given up.
        let again = push(&server, "team/app:1.1", &example).expect("pushed");
        assert_eq!((again.blobs_existing, again.uploaded), (5, 0));
        assert_eq!(server.open_uploads(), 0);
    }
}

#[test]
fn a_digest_as_target_is_compared_and_no_tag_is_put() {
    let server = RegistryServer::start();
    let example = Example::new(5, &[100], 100, None);
    let target = format!("team/app@{}", example.digest());
    let pushed = push(&server, &target, &example).expect("pushed");
    assert_eq!(pushed.digest.to_string(), example.digest());
    assert!(
        client()
            .tags(&reference(&server, "team/app"))
            .expect("tags")
            .is_empty()
    );
    let other = format!("team/app@sha256:{}", "0".repeat(64));
    let error = push(&server, &other, &example).expect_err("another digest");
    assert!(
        error.to_string().contains("its digest is sha256:"),
        "{error}"
    );
}

#[test]
fn bytes_that_are_not_what_was_promised_are_not_pushed() {
    for size in [300, 70_000, 6_000_000] {
        let server = RegistryServer::start();
        let example = Example::new(6, &[], size, None);
        let layer = example.outgoing.blobs[0].descriptor.digest().to_string();
        for other in [size - 1, size, size + 1] {
            example.replace_new_layer(&vec![7; other]);
            let error = push(&server, "team/app:1.0", &example).expect_err("other bytes");
            let text = error.to_string();
            assert!(
                text.starts_with(&format!(
                    "cannot upload layer {layer} to {}/team/app: layer {layer} is not what its descriptor promises: it",
                    server.host()
                )),
                "{text}"
            );
            assert!(matches!(error.own(), TransportError::Mismatch { .. }));
            assert!(!error.is_remote());
        }
        assert_eq!(server.blob("team/app", &layer), None);
        assert_eq!(server.manifest("team/app", "1.0"), None);
        // Not even asked for: the last request never became whole.
        let finished = |asked: &&String| asked.starts_with("PUT") && asked.contains(&layer[7..]);
        if size < 4 << 20 {
            let whole = server.requests();
            assert!(
                whole
                    .iter()
                    .filter(
                        |request| request.method == "PUT" && request.target.contains(&layer[7..])
                    )
                    .all(|request| request.bytes.len() < size),
            );
        } else {
            assert_eq!(server.asked().iter().filter(finished).count(), 0);
        }
    }
}

#[test]
fn layers_of_the_base_are_verified_too() {
    let server = RegistryServer::start();
    let mut example = Example::new(7, &[50_000], 100, None);
    let BlobContent::Base { layer, .. } = &mut example.outgoing.blobs[0].content else {
        panic!("a layer of the base");
    };
    layer.index = 0;
    let wrong = Example::new(8, &[50_000], 100, None);
    example.outgoing.blobs[0].content = wrong.outgoing.blobs[0].content.clone();
    let error = push(&server, "team/app:1.0", &example).expect_err("other bytes");
    assert!(
        matches!(error.own(), TransportError::Mismatch { .. }),
        "{error}"
    );
    let digest = example.outgoing.blobs[0].descriptor.digest().to_string();
    assert_eq!(server.blob("team/app", &digest), None);
}

#[test]
fn manifests_are_verified_before_anything_is_asked() {
    let server = RegistryServer::start();
    let mut example = Example::new(9, &[100], 100, None);
    example.outgoing.manifests[0].bytes.push(b' ');
    let error = push(&server, "team/app:1.0", &example).expect_err("other bytes");
    assert!(matches!(error, TransportError::Mismatch { .. }), "{error}");
    example.outgoing = Outgoing {
        blobs: Vec::new(),
        manifests: Vec::new(),
        referrers: Vec::new(),
    };
    let error = push(&server, "team/app:1.0", &example).expect_err("nothing");
    assert!(error.to_string().ends_with("it has no manifest"), "{error}");
    assert!(server.asked().is_empty());
}

#[test]
fn a_file_that_is_gone_is_named() {
    let server = RegistryServer::start();
    let mut example = Example::new(10, &[], 100, None);
    example.outgoing.blobs[0].content = BlobContent::File(PathBuf::from("/nowhere/layer"));
    let error = push(&server, "team/app:1.0", &example).expect_err("no file");
    let text = error.to_string();
    assert!(
        text.contains("cannot read /nowhere/layer: No such file"),
        "{text}"
    );
    assert!(!error.is_remote());
}

#[test]
fn what_a_registry_refuses_is_told_with_the_step() {
    let server = RegistryServer::start();
    let mut example = Example::new(11, &[], 100, None);
    // The manifest names a layer that is not pushed.
    let gone = example.outgoing.blobs.remove(0);
    let host = server.host();
    let digest = example.digest();
    let error = push(&server, "team/app:1.0", &example).expect_err("a layer is missing");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot put tag 1.0 on manifest {digest} to {host}/team/app: {host} refuses manifest 1.0: \
             MANIFEST_BLOB_UNKNOWN: blob unknown: {}, status 400",
            gone.descriptor.digest()
        )
    );
    assert!(error.is_remote());
    assert_eq!(server.manifest("team/app", "1.0"), None);
}

#[test]
fn a_manifest_that_is_too_large_for_a_registry() {
    let server = RegistryServer::start();
    let mut example = Example::new(12, &[], 100, None);
    let mut value: serde_json::Value = serde_json::from_slice(&example.root().bytes).expect("JSON");
    value["annotations"] = serde_json::json!({"large": "x".repeat(4 << 20)});
    example.outgoing.manifests = vec![manifest(OCI_MANIFEST, &value)];
    let size = example.root().bytes.len();
    let error = push(&server, "team/app:1.0", &example).expect_err("too large");
    assert!(
        error.to_string().ends_with(&format!(
            "MANIFEST_INVALID: manifest invalid, status 400; it has {size} bytes, and no registry must take more than \
             4194304"
        )),
        "{error}"
    );
}

#[test]
fn what_a_registry_says_that_it_stored_is_compared() {
    let server = RegistryServer::start();
    let other = format!("sha256:{}", "1".repeat(64));
    server.change(|behaviour| behaviour.uploads.put_digest = Some(other.clone()));
    let example = Example::new(13, &[], 100, None);
    let error = push(&server, "team/app:1.0", &example).expect_err("another digest");
    assert!(
        error
            .to_string()
            .contains(&format!("its digest is {other}, not sha256:")),
        "{error}"
    );
    // A registry that does not say it is asked.
    server.change(|behaviour| behaviour.uploads.put_digest = Some(String::new()));
    push(&server, "team/app:1.0", &example).expect("pushed");
    assert!(steps(&server).contains(&"GET manifests/1.0".to_owned()));
}

#[test]
fn a_tag_that_the_line_has_changed_is_put_right() {
    let server = RegistryServer::start();
    let example = Example::new(14, &[], 100, None);
    let bytes = &example.root().bytes;
    // A byte of the architecture's name would do no harm either; here it is one of a media type.
    let text = String::from_utf8_lossy(bytes);
    let at = text.find("tar+gzip").expect("a media type");
    push(&server, "team/app:0.9", &example).expect("pushed");
    server.change(|behaviour| {
        behaviour.uploads.faults_of = vec![("PUT", crate::support::registry::Fault::Corrupt(at))];
    });
    push(&server, "team/app:1.0", &example).expect("pushed");
    assert_eq!(&server.manifest("team/app", "1.0").expect("a tag").1, bytes);
    let puts = |step: &&String| *step == "PUT manifests/1.0";
    assert_eq!(steps(&server).iter().filter(puts).count(), 2);
}

#[test]
fn a_push_goes_to_the_place_itself_and_to_no_mirror() {
    let (own, mirror) = (RegistryServer::start(), RegistryServer::start());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("registries.conf");
    write(
        &file,
        &format!(
            "[[registry]]\nprefix = \"registry.example/team\"\nlocation = \"{}/their\"\n\
             [[registry.mirror]]\nlocation = \"{}\"\n\
             [[registry]]\nprefix = \"registry.example/secret\"\nblocked = true\n",
            own.host(),
            mirror.host()
        ),
    );
    let client = RegistryClient::new(RegistrySettings {
        registries: RegistriesFiles {
            main: Some(file),
            drop_ins: Vec::new(),
        },
        ..settings()
    });
    let base = "registry.example/team/base:1".parse().expect("a reference");
    let example = Example::new(15, &[400], 100, Some(&base));
    own.push("their/base", "1", &example.base_image);
    let target = "registry.example/team/app:1.0"
        .parse()
        .expect("a reference");
    let pushed = client
        .push(&target, &example.outgoing, &Silent)
        .expect("pushed");
    assert_eq!(pushed.reference, "docker://registry.example/team/app:1.0");
    assert_eq!(pushed.blobs_mounted, 1, "the base is where the target is");
    assert!(own.manifest("their/app", "1.0").is_some());
    assert!(mirror.requests().is_empty());
    let layer = example.outgoing.blobs[1].descriptor.digest();
    assert!(client.has_blob(&target, layer).expect("an answer"));
    assert!(mirror.requests().is_empty());
    let blocked = "registry.example/secret/app:1"
        .parse()
        .expect("a reference");
    let error = client
        .push(&blocked, &example.outgoing, &Silent)
        .expect_err("blocked");
    assert!(matches!(error, TransportError::Blocked { .. }), "{error}");
}

#[test]
fn offline_nothing_is_pushed() {
    let server = RegistryServer::start();
    let mut settings = settings();
    settings.http.offline = true;
    let example = Example::new(16, &[], 100, None);
    let error = RegistryClient::new(settings)
        .push(
            &reference(&server, "team/app:1.0"),
            &example.outgoing,
            &Silent,
        )
        .expect_err("offline");
    assert!(error.is_offline(), "{error}");
    assert!(server.asked().is_empty());
}

#[test]
fn whether_a_blob_is_there_is_one_request() {
    let (server, image) = super::server(&[b"layer"]);
    let any = reference(&server, "team/app:1.0");
    let there = crate::support::registry::digest(&image.blobs[1])
        .parse()
        .expect("a digest");
    assert!(client().has_blob(&any, &there).expect("an answer"));
    assert_eq!(steps(&server), [format!("HEAD blobs/{there}")]);
    let absent = format!("sha256:{}", "0".repeat(64))
        .parse()
        .expect("a digest");
    assert!(!client().has_blob(&any, &absent).expect("an answer"));
}

/// What is told, in order.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl PushProgress for Told {
    fn started(&self, index: usize, total: usize, blob: &Descriptor) {
        let text = format!("{index} of {total} starts: {}", blob.size());
        self.0.lock().expect("the list").push(text);
    }

    fn sent(&self, index: usize, position: u64) {
        self.0
            .lock()
            .expect("the list")
            .push(format!("{index} at {position}"));
    }

    fn finished(&self, index: usize, outcome: BlobOutcome) {
        self.0
            .lock()
            .expect("the list")
            .push(format!("{index} {outcome:?}"));
    }
}

#[test]
fn progress_is_told() {
    let server = RegistryServer::start();
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
    let outgoing = Outgoing {
        blobs: vec![blob(OCI_LAYER, &[1; 200_000])],
        manifests: vec![manifest(OCI_INDEX, &index)],
        referrers: Vec::new(),
    };
    let told = Told::default();
    let target = reference(&server, "team/app:1.0");
    client().push(&target, &outgoing, &told).expect("pushed");
    client().push(&target, &outgoing, &told).expect("pushed");
    assert_eq!(
        *told.0.lock().expect("the list"),
        [
            "0 of 1 starts: 200000",
            "0 at 131072",
            "0 at 200000",
            "0 Uploaded",
            "0 of 1 starts: 200000",
            "0 Existing",
        ]
    );
}

#[test]
fn everything_works_with_each_way_of_a_registry() {
    for (uploads, name) in [
        (Uploads::docker_registry(), "docker-registry"),
        (Uploads::ferro(), "ferro"),
    ] {
        for relative in [true, false] {
            let server = RegistryServer::start();
            server.change(|behaviour| {
                behaviour.uploads = uploads.clone();
                behaviour.uploads.relative = relative;
            });
            let example = Example::new(17, &[0, 10, 5_000_000], 70_000, None);
            push(&server, "team/app:1.0", &example)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_pushed(&server, "team/app:1.0", &example);
        }
    }
}
