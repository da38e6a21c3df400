//! Registries with certificates that are trusted for them alone.

use std::path::Path;

use imgtool::transport::registry::RegistryClient;

use super::{read, reference, settings};
use crate::support::registry::{Pushed, RegistryServer, digest};
use crate::support::tls::{Authority, write};

fn start(authority: &Authority, asks_for_certificate: bool) -> RegistryServer {
    let server = RegistryServer::start_tls(authority.server(asks_for_certificate));
    server.push("team/app", "1.0", &Pushed::image(&[b"layer"]));
    server
}

/// A client that looks for certificates in these folders.
fn client(folders: &[&Path]) -> RegistryClient {
    let mut settings = settings();
    settings.http.certificate_folders = folders.iter().map(|folder| folder.to_path_buf()).collect();
    RegistryClient::new(settings)
}

#[test]
fn an_authority_is_trusted_for_the_server_whose_folder_it_is_in() {
    let authority = Authority::new();
    let known = start(&authority, false);
    let unknown = start(&authority, false);
    let (own, system) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    authority.trust(system.path(), &known.host());
    let client = client(&[own.path(), system.path()]);
    let image = client
        .open(&reference(&known, "team/app:1.0"))
        .expect("an image");
    assert_eq!(read(&image, 0), Ok(b"layer".to_vec()));

    let error = client
        .open(&reference(&unknown, "team/app:1.0"))
        .expect_err("not trusted")
        .to_string();
    assert!(
        error.contains("cannot establish a secure connection") && error.contains("UnknownIssuer"),
        "{error}"
    );
    assert!(unknown.asked().is_empty());

    // The first folder of a server counts alone, as it does for containers.
    Authority::new().trust(own.path(), &known.host());
    let client = self::client(&[own.path(), system.path()]);
    client
        .open(&reference(&known, "team/app:1.0"))
        .expect_err("not trusted");
}

#[test]
fn a_redirect_takes_no_trust_along() {
    let authority = Authority::new();
    let known = start(&authority, false);
    let elsewhere = start(&authority, false);
    known.change(|behaviour| behaviour.redirect_blobs_to = Some(elsewhere.origin()));
    let folder = tempfile::tempdir().expect("a folder");
    authority.trust(folder.path(), &known.host());
    let open = || client(&[folder.path()]).open(&reference(&known, "team/app:1.0"));
    let error = open().expect_err("not trusted").to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");

    authority.trust(folder.path(), &elsewhere.host());
    let image = open().expect("an image");
    assert_eq!(read(&image, 0), Ok(b"layer".to_vec()));
    let blob = format!("GET /v2/team/app/blobs/{}", digest(b"layer"));
    assert!(
        elsewhere
            .asked()
            .iter()
            .any(|asked| asked.starts_with(&blob))
    );
}

#[test]
fn a_server_is_shown_who_is_asking() {
    let authority = Authority::new();
    let server = start(&authority, true);
    let folder = tempfile::tempdir().expect("a folder");
    authority.trust(folder.path(), &server.host());
    let open = || client(&[folder.path()]).open(&reference(&server, "team/app:1.0"));
    open().expect_err("nobody was shown");
    assert!(server.asked().is_empty());

    authority.introduce(folder.path(), &server.host());
    let image = open().expect("an image");
    assert_eq!(read(&image, 0), Ok(b"layer".to_vec()));
}

#[test]
fn certificates_that_cannot_be_read_are_named_and_never_done_without() {
    let server = start(&Authority::new(), false);
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = folder.path().join(server.host());
    std::fs::create_dir(&certificates).expect("a folder");
    write(&certificates.join("ca.crt"), "no certificate");
    let error = client(&[folder.path()])
        .open(&reference(&server, "team/app:1.0"))
        .expect_err("no certificate")
        .to_string();
    assert!(
        error.contains("ca.crt holds no certificate in PEM form"),
        "{error}"
    );
}
