//! Logging in, and to whom credentials are sent.

use std::path::Path;
use std::time::Duration;

use imgtool::transport::TransportError;
use imgtool::transport::credentials::CredentialSettings;
use imgtool::transport::registry::{RegistryClient, RegistrySettings};

use super::{client, open, read, reference, server, settings};
use crate::support::index_server::base64;
use crate::support::registry::{Access, RegistryServer};

pub(super) const PASSWORD: &str = "pa:ss-hunter2";

fn write(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("a file");
    file.write_all(text.as_bytes()).expect("a file");
}

/// A client with this entry for the server in its file of credentials.
pub(super) fn client_with(
    server: &RegistryServer,
    entry: &str,
) -> (RegistryClient, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    write(
        &path,
        &format!(r#"{{"auths": {{"{}": {entry}}}}}"#, server.host()),
    );
    let client = RegistryClient::new(RegistrySettings {
        credentials: CredentialSettings {
            files: vec![path],
            ..CredentialSettings::default()
        },
        ..settings()
    });
    (client, folder)
}

pub(super) fn password(password: &str) -> String {
    format!(
        r#"{{"auth": "{}"}}"#,
        base64(format!("user:{password}").as_bytes())
    )
}

pub(super) fn bearer(server: &RegistryServer, anonymous: bool) {
    server.change(|behaviour| {
        behaviour.access = Access::Bearer {
            realm: None,
            anonymous,
        };
        behaviour.token_user = Some(("user".to_owned(), PASSWORD.to_owned()));
        behaviour.refresh_token = Some("refresh-hunter2".to_owned());
    });
}

/// No secret of these tests is in what is shown.
pub(super) fn assert_secretless(shown: &str) {
    for secret in [
        "hunter2",
        "s3cr3t",
        &base64(format!("user:{PASSWORD}").as_bytes()),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

fn open_with(client: &RegistryClient, server: &RegistryServer) -> Result<Vec<u8>, TransportError> {
    let image = client.open(&reference(server, "team/app:1.0"));
    assert_secretless(&format!("{client:?} {image:?}"));
    image.map(|image| read(&image, 0).expect("a layer"))
}

#[test]
fn a_token_is_had_without_credentials_and_kept() {
    let (server, _) = server(&[b"layer"]);
    bearer(&server, true);
    let client = client();
    assert_eq!(open_with(&client, &server).expect("an image"), b"layer");
    let asked = server.asked();
    assert_eq!(asked.len(), 5, "{asked:?}");
    assert_eq!(
        asked[1],
        "GET /token?service=test%2C+registry&scope=repository%3Ateam%2Fapp%3Apull"
    );
    assert_eq!(open_with(&client, &server).expect("an image"), b"layer");
    let tokens = server
        .asked()
        .iter()
        .filter(|asked| asked.contains("/token"))
        .count();
    assert_eq!(tokens, 1);
}

#[test]
fn a_token_is_had_for_a_password() {
    let (server, _) = server(&[b"layer"]);
    bearer(&server, false);
    let (client, _folder) = client_with(&server, &password(PASSWORD));
    assert_eq!(open_with(&client, &server).expect("an image"), b"layer");
    let requests = server.requests();
    let with_password: Vec<&str> = requests
        .iter()
        .filter(|request| {
            request
                .header("authorization")
                .is_some_and(|it| it.starts_with("Basic"))
        })
        .map(|request| request.target.split('?').next().expect("a path"))
        .collect();
    assert_eq!(
        with_password,
        ["/token"],
        "the password goes to the token server alone"
    );
}

#[test]
fn a_token_is_had_for_an_identity_token() {
    let (server, _) = server(&[b"layer"]);
    bearer(&server, false);
    let entry = format!(
        r#"{{"auth": "{}", "identitytoken": "refresh-hunter2"}}"#,
        base64(b"user:")
    );
    let (client, _folder) = client_with(&server, &entry);
    assert_eq!(open_with(&client, &server).expect("an image"), b"layer");
    let requests = server.requests();
    let posted = requests
        .iter()
        .find(|request| request.method == "POST")
        .expect("a form");
    assert!(
        posted
            .body
            .contains("grant_type=refresh_token&service=test%2C+registry")
    );
    assert_eq!(posted.target, "/token");
    assert_eq!(posted.header("authorization"), None);

    // A redirect would carry the form elsewhere.
    let elsewhere = RegistryServer::start();
    server.revoke_tokens();
    server.change(|behaviour| {
        behaviour.redirect_tokens_to = Some(format!("{}/token", elsewhere.origin()));
    });
    let error = open_with(&client, &server).expect_err("not followed");
    assert!(error.to_string().contains("redirects a form"), "{error}");
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_registry_token_is_sent_as_it_is() {
    let (server, _) = server(&[b"layer"]);
    bearer(&server, true);
    let (client, _folder) = client_with(&server, r#"{"registrytoken": "wrong-hunter2"}"#);
    let error = open_with(&client, &server).expect_err("a wrong token");
    assert!(
        error.to_string().contains("renew them with `docker login"),
        "{error}"
    );
    assert_secretless(&error.to_string());
    let requests = server.requests();
    let last = requests.last().expect("a request");
    assert_eq!(last.header("authorization"), Some("Bearer wrong-hunter2"));
}

#[test]
fn a_token_that_runs_out_in_the_middle_is_renewed() {
    let layer = vec![7; 500_000];
    let (server, _) = server(&[&layer]);
    bearer(&server, true);
    server.change(|behaviour| behaviour.token_uses = Some(1));
    let client = client();
    let image = client
        .open(&reference(&server, "team/app:1.0"))
        .expect("an image");
    server.change(|behaviour| behaviour.cut_blobs_after = vec![200_000, 100_000]);
    assert_eq!(read(&image, 0), Ok(layer));
    let tokens = server
        .asked()
        .iter()
        .filter(|asked| asked.contains("/token"))
        .count();
    assert_eq!(tokens, 5, "manifest, configuration, three parts");
}

#[test]
fn layers_that_are_read_at_once_share_one_renewal() {
    let layers: Vec<Vec<u8>> = (0..4).map(|number| vec![number; 100_000]).collect();
    let borrowed: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let (server, _) = server(&borrowed);
    bearer(&server, true);
    let client = client();
    let image = client
        .open(&reference(&server, "team/app:1.0"))
        .expect("an image");
    server.revoke_tokens();
    std::thread::scope(|scope| {
        let image = &image;
        for index in 0..4 {
            scope.spawn(move || assert!(read(image, index).is_ok()));
        }
    });
    let tokens = server
        .asked()
        .iter()
        .filter(|asked| asked.contains("/token"))
        .count();
    assert_eq!(tokens, 2);
}

#[test]
fn basic_authentication() {
    let (server, _) = server(&[b"layer"]);
    server.change(|behaviour| {
        behaviour.access = Access::Basic("user".to_owned(), PASSWORD.to_owned());
    });
    let (with, _folder) = client_with(&server, &password(PASSWORD));
    assert_eq!(open_with(&with, &server).expect("an image"), b"layer");
    assert_eq!(
        with.digest_of(&reference(&server, "team/app:1.0"))
            .expect("a digest")
            .to_string(),
        with.open(&reference(&server, "team/app:1.0"))
            .expect("an image")
            .digest
            .expect("it")
            .to_string(),
    );
    assert_eq!(
        with.tags(&reference(&server, "team/app")).expect("tags"),
        ["1.0"]
    );

    let host = server.host();
    let error = open(&server).expect_err("nobody");
    assert_eq!(
        error.to_string(),
        format!(
            "{host} refuses image team/app:1.0: UNAUTHORIZED: authentication required, status 401; no credentials are \
             known: log in with `docker login {host}`"
        )
    );
    let (wrong, _folder) = client_with(&server, &password("wrong-hunter2"));
    let error = open_with(&wrong, &server).expect_err("a wrong password");
    assert!(
        error.to_string().ends_with(&format!(
            "the credentials that are known do not suffice: renew them with `docker login {host}`"
        )),
        "{error}"
    );
    assert_secretless(&format!("{error} {error:?}"));
    let (other, _folder) = client_with(&RegistryServer::start(), &password(PASSWORD));
    assert!(open_with(&other, &server).is_err(), "of another registry");
}

#[test]
fn blobs_elsewhere_are_fetched_without_authorization() {
    for basic in [true, false] {
        let (server, pushed) = server(&[b"layer"]);
        if basic {
            server.change(|behaviour| {
                behaviour.access = Access::Basic("user".to_owned(), PASSWORD.to_owned());
            });
        } else {
            bearer(&server, false);
        }
        let storage = RegistryServer::start();
        storage.push("team/app", "1.0", &pushed);
        server.change(|behaviour| behaviour.redirect_blobs_to = Some(storage.origin()));
        let (client, _folder) = client_with(&server, &password(PASSWORD));
        assert_eq!(open_with(&client, &server).expect("an image"), b"layer");
        assert_eq!(storage.requests().len(), 2);
        for request in storage.requests() {
            assert_eq!(request.header("authorization"), None);
            assert_eq!(request.header("cookie"), None);
            assert!(!format!("{request:?}").contains("hunter2"));
        }

        // Who asks for a password there does not get one.
        storage.change(|behaviour| {
            behaviour.access = Access::Basic("user".to_owned(), PASSWORD.to_owned());
        });
        let error = open_with(&client, &server).expect_err("refused");
        assert!(error.to_string().contains("status 401"), "{error}");
        assert_secretless(&error.to_string());
        assert!(
            storage
                .requests()
                .iter()
                .all(|request| request.header("authorization").is_none())
        );
    }
}

#[test]
fn tokens_are_not_asked_for_where_anybody_could_listen() {
    let (server, _) = server(&[b"layer"]);
    for realm in [
        "http://auth.example.org/token",
        "ftp://auth.example.org/",
        "nonsense",
        "",
    ] {
        server.change(|behaviour| {
            behaviour.access = Access::Bearer {
                realm: Some(realm.to_owned()),
                anonymous: false,
            };
        });
        let (client, _folder) = client_with(&server, &password(PASSWORD));
        let error = open_with(&client, &server).expect_err("refused");
        let text = error.to_string();
        assert!(text.contains("token server"), "{text}");
        assert_secretless(&text);
    }
}

#[test]
fn a_token_server_elsewhere_gets_credentials_and_what_it_redirects_to_does_not() {
    let (server, _) = server(&[b"layer"]);
    let (auth, thief) = (RegistryServer::start(), RegistryServer::start());
    server.change(|behaviour| {
        behaviour.access = Access::Bearer {
            realm: Some(format!("{}/token", auth.origin())),
            anonymous: false,
        };
    });
    auth.change(|behaviour| {
        behaviour.redirect_tokens_to = Some(format!("{}/token", thief.origin()));
    });
    let (client, _folder) = client_with(&server, &password(PASSWORD));
    assert!(open_with(&client, &server).is_err());
    assert!(auth.requests()[0].header("authorization").is_some());
    let stolen = thief.requests();
    assert_eq!(stolen.len(), 1);
    assert_eq!(stolen[0].header("authorization"), None);
}

#[test]
fn a_registry_that_echoes_what_it_was_sent() {
    let (server, _) = server(&[b"layer"]);
    for basic in [true, false] {
        if basic {
            server.change(|behaviour| {
                behaviour.access = Access::Basic("user".to_owned(), PASSWORD.to_owned());
            });
        } else {
            bearer(&server, false);
        }
        let (client, _folder) = client_with(&server, &password(PASSWORD));
        let image = client
            .open(&reference(&server, "team/app:1.0"))
            .expect("an image");
        server.change(|behaviour| {
            behaviour.fail_first = 1;
            behaviour.fail_status = Some(403);
            behaviour.fail_body =
                r#"{"errors":[{"code":"DENIED","message":"you sent AUTHORIZATION"}]}"#.to_owned();
        });
        let error = read(&image, 0).expect_err("refused");
        assert!(error.contains("DENIED: you sent B"), "{error}");
        assert!(error.contains("***"), "{error}");
        assert_secretless(&error);
    }
}

#[test]
fn credentials_that_cannot_be_had_matter_only_where_they_are_needed() {
    let (server, _) = server(&[b"layer"]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    write(&path, r#"{"credsStore": "nowhere"}"#);
    let client = || {
        RegistryClient::new(RegistrySettings {
            credentials: CredentialSettings {
                files: vec![path.clone()],
                search_path: vec![folder.path().to_owned()],
                helper_timeout: Duration::from_secs(10),
            },
            ..settings()
        })
    };
    assert!(open_with(&client(), &server).is_ok(), "nobody asked");
    bearer(&server, true);
    assert!(
        open_with(&client(), &server).is_ok(),
        "tokens for everybody"
    );
    bearer(&server, false);
    let refused = open_with(&client(), &server)
        .expect_err("a login is needed")
        .to_string();
    assert!(refused.contains("`docker-credential-nowhere`"), "{refused}");
    assert!(refused.contains("is not in the PATH"), "{refused}");
    server.change(|behaviour| {
        behaviour.access = Access::Basic("user".to_owned(), PASSWORD.to_owned());
    });
    let refused = open_with(&client(), &server)
        .expect_err("a login is needed")
        .to_string();
    assert!(refused.contains("`docker-credential-nowhere`"), "{refused}");
}
