//! Images of a registry: what is asked, and what becomes of honest and of odd answers.

mod blobs;
mod certificates;
mod hostile;
mod login;
mod places;
mod push;
mod push_faults;
mod push_login;
mod push_places;
mod push_referrers;
mod push_uploads;

use std::io::Read as _;
use std::time::Duration;

use imgtool::digest::VerifyingReader;
use imgtool::http::HttpSettings;
use imgtool::transport::registry::{RegistryClient, RegistrySettings};
use imgtool::transport::{Image, TransportError};
use oci_distribution::Reference;

use crate::support::registry::{Pushed, RegistryServer};

fn settings() -> RegistrySettings {
    RegistrySettings {
        http: HttpSettings {
            back_off: Duration::from_millis(1),
            read_timeout: Duration::from_secs(10),
            ..HttpSettings::default()
        },
        ..RegistrySettings::default()
    }
}

fn client() -> RegistryClient {
    RegistryClient::new(settings())
}

fn reference(server: &RegistryServer, rest: &str) -> Reference {
    format!("{}/{rest}", server.host())
        .parse()
        .expect("a reference")
}

/// A server with one image, `team/app:1.0`.
fn server(layers: &[&[u8]]) -> (RegistryServer, Pushed) {
    let server = RegistryServer::start();
    let pushed = Pushed::image(layers);
    server.push("team/app", "1.0", &pushed);
    (server, pushed)
}

fn open(server: &RegistryServer) -> Result<Image, TransportError> {
    client().open(&reference(server, "team/app:1.0"))
}

/// The verified bytes of a layer.
fn read(image: &Image, index: usize) -> Result<Vec<u8>, String> {
    let layer = &image.layers[index];
    let digest = layer.digest.as_ref().expect("a digest");
    let reader = image
        .source
        .open(layer)
        .map_err(|error| error.to_string())?;
    let mut reader = VerifyingReader::new(reader, digest, layer.size).expect("an algorithm");
    let mut bytes = Vec::new();
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn an_image_costs_a_manifest_and_a_configuration() {
    let (server, pushed) = server(&[b"first", b"second"]);
    let image = open(&server).expect("an image");
    assert_eq!(
        image.reference,
        format!("docker://{}/team/app:1.0", server.host())
    );
    assert_eq!(
        image.digest.as_ref().expect("a digest").to_string(),
        pushed.digest()
    );
    assert_eq!(
        image.manifest_bytes.as_deref(),
        Some(&pushed.manifest.1[..])
    );
    assert_eq!(image.config_bytes, pushed.blobs[0]);
    assert_eq!(image.config.architecture().to_string(), "amd64");
    assert_eq!(image.layers.len(), 2);
    assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
    assert_eq!(read(&image, 1).as_deref(), Ok(&b"second"[..]));
    assert_eq!(read(&image, 0).as_deref(), Ok(&b"first"[..]));
    let asked = server.requests();
    let accept = asked[0].header("accept").expect("a header");
    for media_type in [
        "oci.image.index",
        "oci.image.manifest",
        "manifest.list.v2",
        "manifest.v2+json",
    ] {
        assert!(accept.contains(media_type), "{accept}");
    }
    assert!(
        asked
            .iter()
            .all(|request| request.header("accept-encoding") == Some("identity"))
    );
    assert!(
        asked
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[test]
fn a_digest_is_asked_for_and_compared() {
    let (server, pushed) = server(&[b"layer"]);
    let by_digest = reference(&server, &format!("team/app:gone@{}", pushed.digest()));
    let image = client().open(&by_digest).expect("an image");
    assert_eq!(image.digest.expect("a digest").to_string(), pushed.digest());
    assert!(server.asked()[0].ends_with(&format!("/v2/team/app/manifests/{}", pushed.digest())));

    // Other bytes under the digest that was asked for, whatever the header says.
    server.change(|behaviour| behaviour.content_digest = Some(String::new()));
    let other = Pushed::image(&[b"other"]);
    server.put_manifest(
        "team/app",
        &pushed.digest(),
        &other.manifest.0,
        &other.manifest.1,
    );
    let error = client().open(&by_digest).expect_err("another image");
    assert!(matches!(error, TransportError::Mismatch { .. }), "{error}");
    assert!(
        error.to_string().contains("its digest is sha256:"),
        "{error}"
    );
}

#[test]
fn the_platform_is_chosen_and_those_that_there_are_are_told() {
    let server = RegistryServer::start();
    let (here, there) = (
        Pushed::image(&[b"amd64"]),
        Pushed::image_for("arm64", &[b"arm64"]),
    );
    let index = Pushed::index(&[("arm64", &there), ("amd64", &here)]);
    server.push("team/app", "1.0", &index);
    let with = |platform: &str| {
        RegistryClient::new(RegistrySettings {
            platform: Some(platform.parse().expect("a platform")),
            ..settings()
        })
    };
    for (platform, pushed) in [("linux/amd64", &here), ("arm64", &there)] {
        let client = with(platform);
        let image = client
            .open(&reference(&server, "team/app:1.0"))
            .expect("an image");
        assert_eq!(
            image.digest.as_ref().expect("a digest").to_string(),
            pushed.digest()
        );
        assert_eq!(read(&image, 0).as_deref(), Ok(&pushed.blobs[1][..]));
        let digest = client
            .digest_of(&reference(&server, "team/app:1.0"))
            .expect("a digest");
        assert_eq!(digest.to_string(), index.digest(), "that of the tag");
    }
    let error = with("linux/s390x")
        .open(&reference(&server, "team/app:1.0"))
        .expect_err("none");
    assert!(
        error
            .to_string()
            .ends_with("has no image for linux/s390x; it has linux/amd64, linux/arm64"),
        "{error}"
    );
}

#[test]
fn a_digest_costs_one_head_request_or_a_get_where_that_is_not_offered() {
    let (server, pushed) = server(&[b"layer"]);
    let tag = reference(&server, "team/app:1.0");
    assert_eq!(
        client().digest_of(&tag).expect("a digest").to_string(),
        pushed.digest()
    );
    assert_eq!(server.asked(), ["HEAD /v2/team/app/manifests/1.0"]);
    for status in [405, 404, 400] {
        server.change(|behaviour| behaviour.head_status = Some(status));
        assert_eq!(
            client().digest_of(&tag).expect("a digest").to_string(),
            pushed.digest()
        );
    }
    server.change(|behaviour| {
        behaviour.head_status = None;
        behaviour.content_digest = Some(String::new());
    });
    assert_eq!(
        client().digest_of(&tag).expect("a digest").to_string(),
        pushed.digest()
    );
    let error = client()
        .digest_of(&reference(&server, "team/app:2.0"))
        .expect_err("no tag");
    assert!(matches!(error, TransportError::NotFound(_)), "{error}");
}

#[test]
fn a_quick_question_is_given_up_in_time() {
    let (server, pushed) = server(&[b"layer"]);
    let tag = reference(&server, "team/app:1.0");
    let patience = Duration::from_millis(400);
    let digest = client().digest_within(&tag, patience).expect("a digest");
    assert_eq!(digest.to_string(), pushed.digest());
    server.change(|behaviour| {
        behaviour.fail_first = 1;
        behaviour.fail_status = Some(503);
    });
    assert!(
        client().digest_within(&tag, patience).is_err(),
        "nothing is tried twice"
    );
    server.change(|behaviour| behaviour.hang = true);
    let began = std::time::Instant::now();
    let error = client()
        .digest_within(&tag, patience)
        .expect_err("no answer");
    assert!(
        error.to_string().contains("did not answer in time"),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn tags_come_page_by_page() {
    let (server, pushed) = server(&[b"layer"]);
    for tag in ["1.1", "1.2", "2.0", "latest"] {
        server.push("team/app", tag, &pushed);
    }
    let all = ["1.0", "1.1", "1.2", "2.0", "latest"];
    let any = reference(&server, "team/app");
    assert_eq!(client().tags(&any).expect("tags"), all);
    server.change(|behaviour| behaviour.page = Some(2));
    assert_eq!(client().tags(&any).expect("tags"), all);
    assert_eq!(server.asked()[2], "GET /v2/team/app/tags/list?n=5&last=1.1");
    let error = client()
        .tags(&reference(&server, "team/none"))
        .expect_err("no repository");
    assert!(
        error.to_string().ends_with("has no repository team/none"),
        "{error}"
    );
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let (server, pushed) = server(&[b"layer"]);
    for tag in ["1.16.0", "1.15.1", "1.16.0-gpu"] {
        server.push("team/app", tag, &pushed);
    }
    let host = server.host();
    let message = |rest: &str| {
        let error = client()
            .open(&reference(&server, rest))
            .expect_err("nothing");
        assert!(matches!(error, TransportError::NotFound(_)), "{error:?}");
        error.to_string()
    };
    assert_eq!(
        message("team/app:1.16.1"),
        format!("{host} has no image team/app:1.16.1; it has 1.16.0, 1.15.1, 1.16.0-gpu")
    );
    assert_eq!(
        message("team/app:zzz"),
        format!("{host} has no image team/app:zzz")
    );
    assert_eq!(
        message("team/none:1"),
        format!("{host} has no repository team/none")
    );
    server.change(|behaviour| behaviour.no_tags = true);
    assert_eq!(
        message("team/app:1.16.1"),
        format!("{host} has no image team/app:1.16.1")
    );
    let digest = format!("sha256:{}", "0".repeat(64));
    assert_eq!(
        message(&format!("team/app@{digest}")),
        format!("{host} has no image team/app@{digest}")
    );
}

#[test]
fn transient_failures_are_tried_again() {
    let (server, _) = server(&[b"layer"]);
    for status in [Some(429), Some(500), Some(503), None] {
        server.change(|behaviour| {
            behaviour.fail_first = 2;
            behaviour.fail_status = status;
            behaviour.fail_headers = vec![("retry-after", "0".to_owned())];
        });
        let image = open(&server).expect("an image");
        assert!(read(&image, 0).is_ok());
    }
    server.change(|behaviour| {
        behaviour.fail_first = 1000;
        behaviour.fail_status = Some(429);
        behaviour.fail_headers = vec![
            ("retry-after", "0".to_owned()),
            ("ratelimit-limit", "100;w=21600".to_owned()),
            ("ratelimit-remaining", "0;w=21600".to_owned()),
        ];
        behaviour.fail_body =
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#.to_owned();
    });
    let error = open(&server).expect_err("too many requests");
    assert_eq!(
        error.to_string(),
        format!(
            "{} refuses image team/app:1.0: TOOMANYREQUESTS: pull rate limit, status 429; the limit is 100;w=21600; what \
             remains is 0;w=21600; it asks to wait 0 seconds; who logs in may ask more often",
            server.host()
        )
    );
}

#[test]
fn a_registry_may_say_until_when_to_wait() {
    let (server, _) = server(&[b"layer"]);
    // By the registry's own time, years before that of this machine.
    let date = || ("date", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
    server.change(|behaviour| {
        behaviour.fail_first = 1;
        behaviour.fail_status = Some(429);
        let until = "Sun, 06 Nov 1994 08:49:38 GMT".to_owned();
        behaviour.fail_headers = vec![("retry-after", until), date()];
    });
    let began = std::time::Instant::now();
    open(&server).expect("an image");
    assert!(began.elapsed() >= Duration::from_secs(1));

    // Longer than anybody waits: the first answer is the last.
    let before = server.requests().len();
    server.change(|behaviour| {
        behaviour.fail_first = 1000;
        let until = "Sun, 06 Nov 1994 09:49:37 GMT".to_owned();
        behaviour.fail_headers = vec![("retry-after", until), date()];
    });
    let error = open(&server).expect_err("too many requests").to_string();
    assert!(
        error.contains("it asks to wait until Sun, 06 Nov 1994 09:49:37 GMT"),
        "{error}"
    );
    assert_eq!(server.requests().len(), before + 1);
}

#[test]
fn a_registry_that_is_not_there() {
    let (server, _) = server(&[b"layer"]);
    let tag = reference(&server, "team/app:1.0");
    drop(server);
    let began = std::time::Instant::now();
    let error = client().open(&tag).expect_err("nobody");
    assert!(
        error.to_string().contains("cannot reach http://127.0.0.1:"),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn offline_means_that_nobody_is_asked() {
    let (server, _) = server(&[b"layer"]);
    let mut settings = settings();
    settings.http.offline = true;
    let client = RegistryClient::new(settings);
    let error = client
        .open(&reference(&server, "team/app:1.0"))
        .expect_err("offline");
    assert!(
        error.to_string().contains("cannot be asked while offline"),
        "{error}"
    );
    assert_eq!(client.requests_made(), 0);
}
