//! Uploads: whole, in parts, broken, gone on with, refused, and elsewhere.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use imgtool::transport::registry::{RegistryClient, Silent};

use super::push::{assert_pushed, push, steps};
use super::{reference, settings};
use crate::support::outgoing::Example;
use crate::support::registry::{Access, Fault, RegistryServer, Uploads};
use crate::support::tls::Authority;

/// A server that takes pushes like this.
fn server(change: impl FnOnce(&mut Uploads)) -> RegistryServer {
    let server = RegistryServer::start();
    server.change(|behaviour| change(&mut behaviour.uploads));
    server
}

/// The requests of an upload, without what differs from run to run.
fn of_upload(server: &RegistryServer, method: &str) -> Vec<(Option<String>, usize)> {
    let requests = server.requests().into_iter();
    requests
        .filter(|request| request.method == method && request.target.contains("/blobs/uploads/"))
        .map(|request| {
            let range = request.header("content-range").map(str::to_owned);
            (range, request.bytes.len())
        })
        .collect()
}

const LARGE: usize = 6_000_000;

#[test]
fn a_large_blob_that_breaks_off_is_gone_on_with() {
    let server = server(|uploads| uploads.faults_of = vec![("PATCH", Fault::Cut(2_500_000))]);
    let example = Example::new(20, &[], LARGE, None);
    let pushed = push(&server, "team/app:1.0", &example).expect("pushed");
    let parts = of_upload(&server, "PATCH");
    assert_eq!(
        parts,
        [
            (Some(format!("0-{}", LARGE - 1)), 2_500_000),
            (Some(format!("2500000-{}", LARGE - 1)), LARGE - 2_500_000),
        ]
    );
    assert!(pushed.uploaded < 2 * LARGE as u64, "{pushed:?}");
    assert_pushed(&server, "team/app:1.0", &example);
}

#[test]
fn a_registry_that_forgets_a_broken_part_gets_it_again() {
    for docker in [true, false] {
        let server = server(|uploads| {
            if docker {
                *uploads = Uploads::docker_registry();
            }
            uploads.drops_broken = !docker;
            uploads.faults_of = vec![("PATCH", Fault::Cut(2_500_000))];
        });
        let example = Example::new(21, &[], LARGE, None);
        push(&server, "team/app:1.0", &example).expect("pushed");
        let parts = of_upload(&server, "PATCH");
        assert_eq!(parts[1], (Some(format!("0-{}", LARGE - 1)), LARGE));
        assert_pushed(&server, "team/app:1.0", &example);
        assert_eq!(server.open_uploads(), 0);
    }
}

#[test]
fn a_blob_in_one_request_is_gone_on_with_too() {
    let server = server(|uploads| {
        uploads.single_post = true;
        uploads.faults_of = vec![("PUT", Fault::Cut(150_000))];
    });
    let example = Example::new(22, &[400_000], 100, None);
    let pushed = push(&server, "team/app:1.0", &example).expect("pushed");
    assert_eq!(
        of_upload(&server, "PATCH"),
        [(Some("150000-399999".to_owned()), 250_000)]
    );
    assert!(pushed.base_bytes_sent < 800_000, "{pushed:?}");
    assert_eq!(
        example.base.opened.load(Ordering::Relaxed),
        2,
        "read again from its beginning"
    );
    assert_pushed(&server, "team/app:1.0", &example);
}

#[test]
fn an_answer_that_is_lost_is_asked_for() {
    for fault in [Fault::LoseAnswer, Fault::StatusAfter(503)] {
        let server = server(|uploads| uploads.faults_of = vec![("PUT", fault)]);
        let example = Example::new(23, &[], LARGE, None);
        push(&server, "team/app:1.0", &example).expect("pushed");
        assert_eq!(of_upload(&server, "PATCH").len(), 1, "sent once: {fault:?}");
        assert_pushed(&server, "team/app:1.0", &example);
    }
}

#[test]
fn a_registry_that_is_busy_is_waited_for() {
    for status in [429, 500, 502, 503, 504] {
        let server = server(|uploads| {
            uploads.faults_of = vec![
                ("PATCH", Fault::Status(status)),
                ("PUT", Fault::Status(status)),
            ];
        });
        let example = Example::new(24, &[], LARGE, None);
        push(&server, "team/app:1.0", &example).expect("pushed");
        assert_pushed(&server, "team/app:1.0", &example);
    }
    let server = RegistryServer::start();
    server.change(|behaviour| {
        behaviour.fail_first = 1;
        behaviour.fail_status = Some(429);
        behaviour.fail_headers = vec![("retry-after", "1".to_owned())];
    });
    let began = Instant::now();
    let example = Example::new(24, &[], 100, None);
    push(&server, "team/app:1.0", &example).expect("pushed");
    assert!(began.elapsed() >= Duration::from_secs(1), "as it asked for");
}

#[test]
fn a_server_that_stops_reading_is_given_up_in_time() {
    let server = server(|uploads| uploads.faults_of = vec![("PATCH", Fault::Hang)]);
    let mut settings = settings();
    settings.http.read_timeout = Duration::from_millis(400);
    // The answer to a part has as long as any answer.
    let example = Example::new(25, &[], LARGE, None);
    let began = Instant::now();
    RegistryClient::new(settings)
        .push(
            &reference(&server, "team/app:1.0"),
            &example.outgoing,
            &Silent,
        )
        .expect("pushed");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_pushed(&server, "team/app:1.0", &example);
}

#[test]
fn retries_end() {
    let server = server(|uploads| uploads.faults_of = vec![("PATCH", Fault::Cut(0)); 50]);
    let example = Example::new(26, &[], LARGE, None);
    let error = push(&server, "team/app:1.0", &example).expect_err("broken each time");
    let text = error.to_string();
    let layer = example.outgoing.blobs[0].descriptor.digest();
    let host = server.host();
    assert!(
        text.starts_with(&format!(
            "cannot upload layer {layer} to {host}/team/app: cannot reach http://{host}/v2/team/app/blobs/uploads/"
        )),
        "{text}"
    );
    assert!(error.is_remote());
    let parts = of_upload(&server, "PATCH").len();
    assert_eq!(
        parts,
        1 + 3,
        "the first and as many again as the settings say"
    );
    assert_eq!(server.manifest("team/app", "1.0"), None);
}

#[test]
fn what_is_too_large_for_a_request_goes_in_parts() {
    let server = server(|uploads| uploads.largest_body = Some(1_600_000));
    let example = Example::new(27, &[], LARGE, None);
    push(&server, "team/app:1.0", &example).expect("pushed");
    assert_pushed(&server, "team/app:1.0", &example);
    let taken: Vec<usize> = of_upload(&server, "PATCH")
        .iter()
        .map(|(_, length)| *length)
        .filter(|length| *length <= 1_600_000)
        .collect();
    assert_eq!(taken.iter().sum::<usize>(), LARGE);
    assert!(taken.len() >= 4, "{taken:?}");

    let server = self::server(|uploads| uploads.largest_body = Some(1000));
    let error = push(&server, "team/app:1.0", &example).expect_err("far too large");
    assert!(error.to_string().ends_with("status 413"), "{error}");
}

#[test]
fn parts_are_as_large_as_the_registry_wants_them() {
    let server = server(|uploads| {
        uploads.largest_body = Some(3_500_000);
        uploads.smallest_chunk = Some(3_200_000);
    });
    let example = Example::new(28, &[], 2 * LARGE, None);
    let pushed = push(&server, "team/app:1.0", &example);
    pushed.unwrap_or_else(|error| panic!("{error}: {:?}", of_upload(&server, "PATCH")));
    assert_pushed(&server, "team/app:1.0", &example);
}

#[test]
fn a_registry_without_parts_gets_the_whole() {
    for status in [405, 501] {
        let server = server(|uploads| uploads.patch_status = Some(status));
        let example = Example::new(29, &[LARGE], LARGE, None);
        push(&server, "team/app:1.0", &example).expect("pushed");
        assert_pushed(&server, "team/app:1.0", &example);
        assert!(of_upload(&server, "PATCH").len() <= 2, "it is remembered");
    }
}

#[test]
fn bytes_that_are_damaged_on_the_way_are_sent_anew() {
    let server = server(|uploads| uploads.faults_of = vec![("PATCH", Fault::Corrupt(1234))]);
    let example = Example::new(30, &[], LARGE, None);
    push(&server, "team/app:1.0", &example).expect("pushed");
    assert_eq!(of_upload(&server, "PATCH").len(), 2);
    assert_pushed(&server, "team/app:1.0", &example);

    let server = self::server(|uploads| uploads.faults_of = vec![("PATCH", Fault::Corrupt(5)); 9]);
    let error = push(&server, "team/app:1.0", &example).expect_err("each time");
    assert!(error.to_string().contains("DIGEST_INVALID"), "{error}");
    assert_eq!(of_upload(&server, "PATCH").len(), 3);
    let layer = example.outgoing.blobs[0].descriptor.digest().to_string();
    assert_eq!(server.blob("team/app", &layer), None);
}

#[test]
fn a_small_blob_goes_at_once_where_that_is_taken() {
    let server = server(|uploads| uploads.single_post = true);
    let example = Example::new(31, &[], 500, None);
    push(&server, "team/app:1.0", &example).expect("pushed");
    assert_eq!(of_upload(&server, "PUT").len(), 0);
    assert_eq!(steps(&server).len(), 2 + 2 + 1, "{:?}", steps(&server));
    assert_pushed(&server, "team/app:1.0", &example);
}

#[test]
fn an_upload_elsewhere_is_shown_no_login() {
    let storage = RegistryServer::start();
    storage.begin_upload("team/app");
    let server = server(|uploads| uploads.at = Some(storage.origin()));
    server.change(|behaviour| {
        behaviour.access = Access::Basic("user".to_owned(), super::login::PASSWORD.to_owned());
    });
    let (client, _folder) =
        super::login::client_with(&server, &super::login::password(super::login::PASSWORD));
    let mut example = Example::new(32, &[], LARGE, None);
    example.outgoing.blobs.truncate(1);
    let error = client
        .push(
            &reference(&server, "team/app:1.0"),
            &example.outgoing,
            &Silent,
        )
        .expect_err("the blob is elsewhere");
    assert!(
        error.to_string().contains("MANIFEST_BLOB_UNKNOWN"),
        "{error}"
    );
    let layer = example.outgoing.blobs[0].descriptor.digest().to_string();
    assert!(
        storage.blob("team/app", &layer).is_some(),
        "it has arrived there"
    );
    assert!(storage.requests().len() >= 2);
    for request in storage.requests() {
        assert_eq!(request.header("authorization"), None, "{}", request.target);
    }
    for request in server.requests() {
        let shown = request.header("authorization").is_some();
        assert!(shown || request.method == "HEAD", "{}", request.target);
    }

    // Who asks for a password there does not get one.
    storage.change(|behaviour| {
        behaviour.access = Access::Basic("user".to_owned(), super::login::PASSWORD.to_owned());
    });
    let other = Example::new(33, &[], 300, None);
    let error = client
        .push(
            &reference(&server, "team/app:1.0"),
            &other.outgoing,
            &Silent,
        )
        .expect_err("refused");
    super::login::assert_secretless(&error.to_string());
    let shown = |request: &crate::support::registry::LoggedRequest| {
        request.header("authorization").is_some()
    };
    assert!(!storage.requests().iter().any(shown));
}

#[test]
fn an_upload_does_not_leave_tls() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let server = RegistryServer::start_tls(authority.server(false));
    authority.trust(folder.path(), &server.host());
    let mut settings = settings();
    settings.http.certificate_folders = vec![folder.path().to_owned()];
    let client = RegistryClient::new(settings);
    let example = Example::new(34, &[], 300, None);
    let target = reference(&server, "team/app:1.0");
    client
        .push(&target, &example.outgoing, &Silent)
        .expect("pushed");
    let plain = RegistryServer::start();
    server.change(|behaviour| behaviour.uploads.at = Some(plain.origin()));
    let example = Example::new(35, &[], 300, None);
    let error = client
        .push(&target, &example.outgoing, &Silent)
        .expect_err("plain");
    assert!(
        error.to_string().ends_with("is invalid: it is not secure"),
        "{error}"
    );
    assert!(plain.requests().is_empty());
}
