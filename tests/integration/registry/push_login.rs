//! Pushes to registries that want a login.

use imgtool::transport::registry::Silent;

use super::login::{PASSWORD, assert_secretless, bearer, client_with, password};
use super::{client, reference};
use crate::support::outgoing::Example;
use crate::support::registry::{Access, Mounts, RegistryServer, Uploads};

/// The scopes that tokens were asked for, in order, each request's sorted.
fn scopes(server: &RegistryServer) -> Vec<Vec<String>> {
    let requests = server.requests().into_iter();
    requests
        .filter(|request| request.target.starts_with("/token"))
        .map(|request| {
            let (_, query) = request.target.split_once('?').expect("a query");
            url::form_urlencoded::parse(query.as_bytes())
                .filter(|(name, _)| name == "scope")
                .map(|(_, scope)| scope.into_owned())
                .collect()
        })
        .collect()
}

#[test]
fn a_password_is_enough() {
    let server = RegistryServer::start();
    server.change(|behaviour| {
        behaviour.access = Access::Basic("user".to_owned(), PASSWORD.to_owned());
    });
    let target = reference(&server, "team/app:1.0");
    let example = Example::new(40, &[100], 70_000, None);
    let (with, _folder) = client_with(&server, &password(PASSWORD));
    with.push(&target, &example.outgoing, &Silent)
        .expect("pushed");
    assert!(with.open(&target).is_ok());

    let host = server.host();
    let layer = example.outgoing.blobs[0].descriptor.digest();
    let error = client()
        .push(&target, &example.outgoing, &Silent)
        .expect_err("nobody");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot upload layer {layer} to {host}/team/app: {host} refuses blob {layer} of team/app: status 401; no \
             credentials are known: log in with `docker login {host}`"
        )
    );
    let (wrong, _folder) = client_with(&server, &password("wrong-hunter2"));
    let error = wrong
        .push(&target, &example.outgoing, &Silent)
        .expect_err("wrong");
    assert!(
        error
            .to_string()
            .ends_with(&format!("renew them with `docker login {host}`")),
        "{error}"
    );
    assert_secretless(&format!("{error} {error:?}"));
}

#[test]
fn tokens_are_for_what_is_done() {
    let server = RegistryServer::start();
    bearer(&server, false);
    server.change(|behaviour| behaviour.uploads.heeds_scopes = true);
    let base = reference(&server, "base/image:1");
    let example = Example::new(41, &[100, 200], 70_000, Some(&base)).with_referrer("sbom");
    server.push("base/image", "1", &example.base_image);
    let (client, _folder) = client_with(&server, &password(PASSWORD));
    let target = reference(&server, "team/app:1.0");
    let pushed = client
        .push(&target, &example.outgoing, &Silent)
        .expect("pushed");
    assert_eq!(pushed.blobs_mounted, 2);
    let mut asked = scopes(&server);
    asked.sort();
    asked.dedup();
    assert_eq!(
        asked,
        [
            vec!["repository:team/app:pull,push".to_owned()],
            vec![
                "repository:team/app:pull,push".to_owned(),
                "repository:base/image:pull".to_owned()
            ],
        ]
    );
    // To read, less is asked for.
    server.forget_requests();
    client.open(&target).expect("an image");
    assert_eq!(scopes(&server), [["repository:team/app:pull"]]);
}

#[test]
fn tokens_that_run_out_are_renewed_whenever_it_is() {
    for uses in [1, 2, 3, 5, 12, 20] {
        for uploads in [Uploads::docker_registry(), Uploads::ferro()] {
            let server = RegistryServer::start();
            bearer(&server, false);
            server.change(|behaviour| {
                behaviour.token_uses = Some(uses);
                behaviour.uploads = uploads.clone();
                behaviour.uploads.mounts = Mounts::Never;
            });
            let base = reference(&server, "base/image:1");
            let example =
                Example::new(42, &[90_000, 5_000_000], 70_000, Some(&base)).with_referrer("sbom");
            let (client, _folder) = client_with(&server, &password(PASSWORD));
            let target = reference(&server, "team/app:1.0");
            // Four at a time may use up a token that is good for few requests, again and again.
            let pushed = client.push(&target, &example.outgoing, &Silent);
            if uses >= 12 {
                pushed.expect("pushed");
                assert!(scopes(&server).len() > 1, "{uses}");
            } else if let Err(error) = pushed {
                assert!(error.to_string().contains("status 401"), "{error}");
                assert_eq!(server.manifest("team/app", "1.0"), None);
                assert_secretless(&error.to_string());
            }
        }
    }
}

#[test]
fn a_mount_that_is_not_allowed_is_an_upload() {
    let server = RegistryServer::start();
    server.change(|behaviour| behaviour.uploads.mounts = Mounts::Status(403));
    let base = reference(&server, "base/image:1");
    let example = Example::new(43, &[100], 200, Some(&base));
    let pushed = client()
        .push(
            &reference(&server, "team/app:1.0"),
            &example.outgoing,
            &Silent,
        )
        .expect("pushed");
    assert_eq!((pushed.blobs_mounted, pushed.blobs_uploaded), (0, 3));
}

#[test]
fn who_may_only_read_is_told() {
    let server = RegistryServer::start();
    // The token server gives tokens to everybody, the registry wants one of another server.
    bearer(&server, true);
    server.change(|behaviour| {
        behaviour.token_uses = Some(0);
    });
    let target = reference(&server, "team/app:1.0");
    let example = Example::new(44, &[], 200, None);
    let error = client()
        .push(&target, &example.outgoing, &Silent)
        .expect_err("refused");
    let text = error.to_string();
    assert!(text.starts_with("cannot upload layer sha256:"), "{text}");
    assert!(
        text.ends_with(&format!(
            "status 401; no credentials are known: log in with `docker login {}`",
            server.host()
        )),
        "{text}"
    );
}
