//! Images into engines, with scripts in their place.
#![cfg(unix)]

use std::time::{Duration, Instant};

use imgtool::transport::TransportError;
use imgtool::transport::engine::{Engine, EngineSettings, load};
use imgtool::transport::outgoing::{Outgoing, Silent, Written};
use oci_distribution::Reference;

use super::engine::FakeEngine;
use super::{assert_reads, chain};
use crate::support::image::{Packing, TestImage, TestLayer, file};
use crate::support::outgoing_image::{Mood, attach, honest, outgoing};

/// An engine whose `load` is `load`, lines of a shell script.
fn engine(name: &'static str, load: &str) -> FakeEngine {
    let engine = FakeEngine::new(name, &TestImage::small(Packing::Plain), ":");
    engine.script(&format!(
        "echo \"$*\" >>\"$here/log\"\ncase \"$1 $2\" in\n'image load') {load} ;;\n'image tag') ;;\n\
         *) echo \"unknown: $*\" >&2; exit 9 ;;\nesac\n"
    ));
    engine
}

fn load_into(
    fake: &FakeEngine,
    which: Engine,
    outgoing: &Outgoing,
    tags: &[&str],
    patience: Duration,
) -> Result<Written, TransportError> {
    let folders = [fake.folder.path().to_owned()];
    let settings = EngineSettings {
        program_path: &folders,
        patience,
    };
    let tags: Vec<Reference> = tags
        .iter()
        .map(|tag| tag.parse().expect("a reference"))
        .collect();
    load(which, outgoing, &tags, &settings, &Silent)
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn an_image_goes_into_either_engine_under_its_names() {
    let image = TestImage::small(Packing::Gzip);
    let mut outgoing = honest(&image);
    attach(&mut outgoing, b"{}");
    let tags = ["registry.example/demo:1", "demo:latest"];
    let fake = engine(
        "podman",
        "cat >\"$here/loaded.tar\"; echo 'Loaded image: x'",
    );
    let written = load_into(&fake, Engine::Podman, &outgoing, &tags, LONG).expect("loaded");
    assert_eq!(
        written.digest,
        *outgoing.root().expect("a root").descriptor.digest()
    );
    assert_eq!(
        fake.log(),
        "image load --quiet\nimage tag registry.example/demo:1 docker.io/library/demo:latest\n"
    );
    let loaded = fake.path("loaded.tar");
    let reference = format!("oci-archive:{}:registry.example/demo:1", loaded.display());
    assert_reads(&reference, &image);
    // podman reads an archive with one entry only.
    assert_reads(&format!("oci-archive:{}:@0", loaded.display()), &image);
    let error = super::error_of(&format!("oci-archive:{}:@1", loaded.display()));
    assert!(error.contains("no image at the place 1"), "{error}");

    let fake = engine("docker", "cat >\"$here/loaded.tar\"");
    load_into(&fake, Engine::Docker, &outgoing, &tags, LONG).expect("loaded");
    assert_eq!(fake.log(), "image load --quiet\n");
    let loaded = fake.path("loaded.tar");
    for tag in tags {
        assert_reads(
            &format!("docker-archive:{}:{tag}", loaded.display()),
            &image,
        );
    }
}

/// An image that is larger than what waits in pipes and queues.
fn large() -> TestImage {
    let contents: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
    TestImage::new(vec![TestLayer::new(
        &[file("etc/large", contents)],
        Packing::Plain,
    )])
}

#[test]
fn an_engine_that_does_not_take_the_image_is_quoted() {
    let small = TestImage::small(Packing::Gzip);
    let large = large();
    for (script, says) in [
        (
            "echo 'Cannot connect to the Docker daemon. Is the docker daemon running?' >&2; exit 1",
            "docker cannot load the image: Cannot connect to the Docker daemon. Is the docker daemon running?",
        ),
        (
            "head -c 1000 >/dev/null; echo 'no space left on device.' >&2; exit 1",
            "docker cannot load the image: no space left on device",
        ),
        (
            "cat >/dev/null; printf 'Error: none of the formats:\\n * oci: no\\n * docker: no tar\\n' >&2; exit 125",
            "docker cannot load the image: none of the formats: oci: no; docker: no tar",
        ),
        (
            "cat >/dev/null; exit 3",
            "docker cannot load the image, and does not say why (exit status 3)",
        ),
    ] {
        let fake = engine("docker", script);
        for image in [&small, &large] {
            let error = load_into(&fake, Engine::Docker, &honest(image), &[], LONG);
            assert_eq!(chain(&error.expect_err("a failure")), says);
        }
    }
    // One that ends well before the image does has not loaded it.
    let fake = engine("docker", "head -c 1000 >/dev/null");
    let error = load_into(&fake, Engine::Docker, &honest(&large), &[], LONG);
    assert_eq!(
        chain(&error.expect_err("a failure")),
        "docker cannot load the image: it has ended before the image did"
    );
    let fake = engine("podman", "cat >/dev/null");
    let error = load_into(&fake, Engine::Docker, &honest(&small), &[], LONG);
    let error = chain(&error.expect_err("no docker"));
    assert!(
        error.starts_with(
            "docker is not installed, or not on the PATH: `--output docker-archive:FILE`"
        ),
        "{error}"
    );
}

#[test]
fn an_engine_that_takes_nothing_is_stopped() {
    for script in ["exec sleep 60", "cat >/dev/null; exec sleep 60"] {
        let fake = engine("podman", script);
        let started = Instant::now();
        let patience = Duration::from_millis(300);
        let error = load_into(&fake, Engine::Podman, &honest(&large()), &[], patience);
        let error = chain(&error.expect_err("silence"));
        assert_eq!(
            error,
            "podman has been silent for 0.3 seconds, and was stopped"
        );
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn an_engine_never_sees_the_end_of_an_image_that_fails() {
    let image = large();
    let fake = engine(
        "podman",
        "cat >\"$here/loaded.tar\" && echo whole >>\"$here/log\"",
    );
    for mood in [Mood::Breaks, Mood::Corrupts, Mood::Cuts, Mood::Refuses] {
        let (outgoing, _) = outgoing(&image, mood);
        let error = load_into(&fake, Engine::Podman, &outgoing, &["demo:1"], LONG);
        let error = chain(&error.expect_err("a failure"));
        assert!(!error.contains("podman"), "{error}");
    }
    assert!(!fake.log().contains("whole"), "{}", fake.log());
}
