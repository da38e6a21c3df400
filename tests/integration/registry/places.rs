//! Where images of a registry are asked for, as `registries.conf` says.

use std::time::Duration;

use imgtool::http::HttpError;
use imgtool::transport::TransportError;
use imgtool::transport::registries_conf::RegistriesFiles;
use imgtool::transport::registry::RegistryClient;
use oci_distribution::Reference;

use super::{read, server, settings};
use crate::support::registry::{Behaviour, Pushed, RegistryServer, digest};
use crate::support::tls::write;

/// A client that reads this configuration.
fn client(text: &str) -> RegistryClient {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("registries.conf");
    write(&file, text);
    let mut settings = settings();
    settings.registries = RegistriesFiles {
        main: Some(file),
        drop_ins: Vec::new(),
    };
    let client = RegistryClient::new(settings);
    // The file is read with the first question and goes with the folder.
    let nobody = reference("127.0.0.1:1/nobody/nothing:1");
    client.digest_of(&nobody).expect_err("nobody is there");
    client
}

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

/// `registry.example` is at `own`, its mirrors are asked before.
fn conf(mirrors: &[String], own: &str) -> String {
    let mut text = format!("[[registry]]\nprefix = \"registry.example\"\nlocation = \"{own}\"\n");
    for mirror in mirrors {
        text.push_str("[[registry.mirror]]\nlocation = \"");
        text.push_str(mirror);
        text.push_str("\"\n");
    }
    text
}

#[test]
fn a_mirror_is_asked_before_its_registry_and_this_one_where_it_has_nothing() {
    let (own, _) = server(&[b"layer"]);
    let mirror = RegistryServer::start();
    mirror.push("cache/team/app", "1.0", &Pushed::image(&[b"layer"]));
    let client = client(&conf(&[format!("{}/cache", mirror.host())], &own.host()));
    let image = client
        .open(&reference("registry.example/team/app:1.0"))
        .expect("an image");
    assert_eq!(read(&image, 0), Ok(b"layer".to_vec()));
    assert_eq!(
        image.reference,
        format!("docker://{}/cache/team/app:1.0", mirror.host())
    );
    assert!(own.asked().is_empty());

    own.push("team/app", "2.0", &Pushed::image(&[b"other"]));
    let image = client
        .open(&reference("registry.example/team/app:2.0"))
        .expect("an image");
    assert_eq!(read(&image, 0), Ok(b"other".to_vec()));
    assert_eq!(
        image.reference,
        format!("docker://{}/team/app:2.0", own.host())
    );

    // A mirror that has the manifest and not the layer.
    mirror.replace_blob("cache/team/app", &digest(b"layer"), None);
    let image = client
        .open(&reference("registry.example/team/app:1.0"))
        .expect("an image");
    assert_eq!(read(&image, 0), Ok(b"layer".to_vec()));
}

#[test]
fn a_mirror_that_is_silent_leaves_time_for_the_registry() {
    let (own, pushed) = server(&[b"layer"]);
    let mirror = RegistryServer::start();
    mirror.push("team/app", "1.0", &Pushed::image(&[b"layer"]));
    let client = client(&conf(&[mirror.host()], &own.host()));
    // It says that it speaks HTTP first.
    client
        .digest_of(&reference("registry.example/team/app:1.0"))
        .expect("a digest");
    mirror.change(|behaviour| behaviour.hang = true);
    let digest = client
        .digest_within(
            &reference("registry.example/team/app:1.0"),
            Duration::from_secs(2),
        )
        .expect("a digest");
    assert_eq!(digest.to_string(), pushed.digest());
}

#[test]
fn documents_that_are_wrong_are_not_looked_for_elsewhere() {
    let (own, _) = server(&[b"layer"]);
    let (mirror, _) = server(&[b"layer"]);
    mirror.change(|behaviour| behaviour.content_digest = Some(digest(b"another")));
    let client = client(&conf(&[mirror.host()], &own.host()));
    let error = client
        .open(&reference("registry.example/team/app:1.0"))
        .expect_err("a mismatch");
    assert!(matches!(error, TransportError::Mismatch { .. }), "{error}");
    assert!(own.asked().is_empty());
}

#[test]
fn where_all_fail_all_are_named_and_the_registry_counts() {
    let (own, _) = server(&[b"layer"]);
    let (refusing, _) = server(&[b"layer"]);
    refusing.change(|behaviour: &mut Behaviour| {
        behaviour.fail_first = 1000;
        behaviour.fail_status = Some(403);
    });
    let text = conf(&[refusing.host()], &own.host());
    let client = client(&text);
    let error = client
        .open(&reference("registry.example/team/app:9"))
        .expect_err("not there");
    assert!(!error.is_remote());
    let message = error.to_string();
    assert!(
        message.starts_with(&format!("{} has no image team/app:9", own.host()))
            && message.contains(&format!("of its mirrors, {}: ", refusing.host()))
            && message.contains("status 403"),
        "{message}"
    );
    assert!(matches!(error.own(), TransportError::NotFound(_)));

    drop(own);
    let error = client
        .open(&reference("registry.example/team/app:1.0"))
        .expect_err("nobody");
    assert!(error.is_remote());
    assert!(
        matches!(
            error.own(),
            TransportError::Http(HttpError::Unreachable { .. })
        ),
        "{error}"
    );
}

#[test]
fn tags_are_those_of_the_first_place_that_lists_them() {
    let (own, _) = server(&[b"layer"]);
    let (mirror, _) = server(&[b"layer"]);
    mirror.change(|behaviour| behaviour.no_tags = true);
    own.push("team/app", "1.1", &Pushed::image(&[b"layer"]));
    let client = client(&conf(&[mirror.host()], &own.host()));
    let tags = client.tags(&reference("registry.example/team/app:1.0"));
    assert_eq!(tags.expect("tags"), ["1.0", "1.1"]);
}

#[test]
fn what_is_blocked_is_not_asked_for() {
    let (own, _) = server(&[b"layer"]);
    let text = format!(
        "[[registry]]\nlocation = \"{}\"\nblocked = true",
        own.host()
    );
    let error = client(&text)
        .open(&reference(&format!("{}/team/app:1.0", own.host())))
        .expect_err("blocked")
        .to_string();
    assert!(
        error.contains("team/app:1.0 is blocked by ") && error.contains("registries.conf"),
        "{error}"
    );
    assert!(own.asked().is_empty());
}
