//! Blobs: connections that break, stall or lie, and other bytes than were promised.

use std::io::Read as _;
use std::time::{Duration, Instant};

use imgtool::transport::registry::RegistryClient;
use imgtool::transport::{Image, TransportError};

use super::{client, open, read, reference, server, settings};
use crate::support::registry::{Pushed, digest};

/// Bytes that do not repeat within what a test reads.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// `Range` of the requests for blobs beyond the configuration.
fn ranges(server: &crate::support::registry::RegistryServer, blob: &[u8]) -> Vec<String> {
    let path = format!("/v2/team/app/blobs/{}", digest(blob));
    let requests = server.requests();
    let of_blob = requests.iter().filter(|request| request.target == path);
    of_blob
        .map(|request| request.header("range").unwrap_or("all").to_owned())
        .collect()
}

#[test]
fn a_broken_blob_is_gone_on_with_where_it_stopped() {
    let layer = noise(1_000_000);
    let (server, _) = server(&[&layer]);
    let image = open(&server).expect("an image");
    server.change(|behaviour| behaviour.cut_blobs_after = vec![300_000, 1, 0, 500_000]);
    assert_eq!(read(&image, 0).as_deref(), Ok(&layer[..]));
    let asked = ranges(&server, &layer);
    assert_eq!(
        asked,
        [
            "all",
            "bytes=300000-",
            "bytes=300001-",
            "bytes=300001-",
            "bytes=800001-"
        ]
    );
}

#[test]
fn a_server_that_ignores_ranges_begins_anew() {
    let layer = noise(400_000);
    let (server, _) = server(&[&layer]);
    let image = open(&server).expect("an image");
    server.change(|behaviour| {
        behaviour.ignore_range = true;
        behaviour.cut_blobs_after = vec![300_000, 100_000, 350_000];
    });
    assert_eq!(read(&image, 0).as_deref(), Ok(&layer[..]));
    assert_eq!(ranges(&server, &layer).len(), 4);
}

#[test]
fn a_part_that_is_another_is_refused() {
    let layer = noise(200_000);
    for (content_range, status, says) in [
        (Some("bytes 0-199999/200000"), None, "not from 100000 on"),
        (
            Some("bytes 99999-199998/200000"),
            None,
            "not from 100000 on",
        ),
        (
            Some("bytes 100000-199999/300000"),
            None,
            "not from 100000 on",
        ),
        (Some("bytes 100000-1/*"), None, "not from 100000 on"),
        (Some("nonsense"), None, "not from 100000 on"),
        (None, Some(416), "the server says that it ends there"),
        (None, Some(404), "has no blob"),
        (None, Some(204), "status 204"),
    ] {
        let (server, _) = server(&[&layer]);
        let image = open(&server).expect("an image");
        server.change(|behaviour| {
            behaviour.cut_blobs_after = vec![100_000];
            behaviour.content_range = content_range.map(str::to_owned);
            behaviour.range_status = status;
        });
        let error = read(&image, 0).expect_err("refused");
        assert!(error.contains(says), "{error}");
        assert_eq!(ranges(&server, &layer).len(), 2, "{says}");
    }
}

#[test]
fn a_connection_without_progress_is_given_up() {
    let layer = noise(100_000);
    let (server, _) = server(&[&layer]);
    let image = open(&server).expect("an image");
    server.change(|behaviour| behaviour.cut_blobs_after = vec![10; 1000]);
    let error = read(&image, 0).expect_err("no progress");
    assert!(error.contains("cannot reach"), "{error}");
    assert_eq!(ranges(&server, &layer).len(), 4, "the first and three more");
}

#[test]
fn errors_of_the_reader_carry_those_of_the_transport() {
    let (server, _) = server(&[&noise(100_000)]);
    let image = open(&server).expect("an image");
    server.change(|behaviour| behaviour.cut_blobs_after = vec![10; 1000]);
    let mut reader = image.source.open(&image.layers[0]).expect("a reader");
    let error = reader
        .read_to_end(&mut Vec::new())
        .expect_err("no progress");
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TransportError>());
    assert!(matches!(inner, Some(TransportError::Http(_))), "{error:?}");
    assert!(reader.read(&mut [0]).is_err(), "and stay so");
}

#[test]
fn a_silent_connection_is_replaced() {
    let layer = noise(300_000);
    let (server, _) = server(&[&layer]);
    let mut settings = settings();
    settings.http.read_timeout = Duration::from_millis(300);
    let client = RegistryClient::new(settings);
    let image = client
        .open(&reference(&server, "team/app:1.0"))
        .expect("an image");
    server.change(|behaviour| behaviour.stall_blobs_after = vec![200_000]);
    let began = Instant::now();
    assert_eq!(read(&image, 0).as_deref(), Ok(&layer[..]));
    assert!(began.elapsed() < Duration::from_secs(8));
    assert_eq!(ranges(&server, &layer), ["all", "bytes=200000-"]);
}

#[test]
fn other_bytes_than_were_promised() {
    let layer = noise(50_000);
    let mut changed = layer.clone();
    changed[40_000] ^= 1;
    let longer = [&layer[..], b"x"].concat();
    for (no_length, bytes, says) in [
        (false, &changed[..], "its digest is sha256:"),
        (false, &layer[..49_999], "it has 49999 bytes, not 50000"),
        (true, &layer[..49_999], "it has 49999 bytes, not 50000"),
        (false, &longer[..], "it has 50001 bytes, not 50000"),
        (true, &longer[..], "it has 50001 bytes, not 50000"),
        (true, &b""[..], "it has 0 bytes, not 50000"),
    ] {
        let (server, _) = server(&[&layer]);
        let image = open(&server).expect("an image");
        server.change(|behaviour| behaviour.no_length = no_length);
        server.replace_blob("team/app", &digest(&layer), Some(bytes));
        let error = read(&image, 0).expect_err("a mismatch");
        assert!(error.contains(says), "{error}\n{says}");
    }
}

#[test]
fn a_configuration_is_verified() {
    let (server, pushed) = server(&[b"layer"]);
    let config = pushed.blobs[0].clone();
    for (bytes, says) in [
        (Some([&config[..], b" "].concat()), "bytes, not"),
        (Some(vec![b' '; config.len()]), "its digest is"),
        (None, "has no blob sha256:"),
    ] {
        server.replace_blob("team/app", &digest(&config), bytes.as_deref());
        let error = open(&server).expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn several_layers_are_read_at_once_and_no_reader_waits_for_another() {
    let layers: Vec<Vec<u8>> = (0..6).map(|number| noise(3_000_000 + number)).collect();
    let borrowed: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let (server, _) = server(&borrowed);
    let image = open(&server).expect("an image");
    // One that is opened and never read, and one that is dropped half way.
    let _idle = image.source.open(&image.layers[4]).expect("a reader");
    let mut dropped = image.source.open(&image.layers[5]).expect("a reader");
    dropped.read_exact(&mut [0; 1000]).expect("bytes");
    drop(dropped);
    std::thread::scope(|scope| {
        let image: &Image = &image;
        let threads: Vec<_> = (0..4)
            .map(|index| scope.spawn(move || read(image, index)))
            .collect();
        for (thread, layer) in threads.into_iter().zip(&layers) {
            assert_eq!(thread.join().expect("a thread").as_ref(), Ok(layer));
        }
    });
}

#[test]
fn a_reader_outlives_its_client_and_its_image() {
    let layer = noise(3_000_000);
    let (server, _) = server(&[&layer]);
    let client = client();
    let image = client
        .open(&reference(&server, "team/app:1.0"))
        .expect("an image");
    let mut reader = image.source.open(&image.layers[0]).expect("a reader");
    drop(image);
    drop(client);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("the rest");
    assert!(bytes == layer);
}

#[test]
fn foreign_layers_are_refused_and_nobody_is_asked_for_them() {
    let (server, _) = server(&[b"other"]);
    let layer = b"foreign".to_vec();
    let pushed = Pushed::image(&[&layer]).with_manifest(|manifest| {
        manifest["layers"][0]["mediaType"] =
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
        manifest["layers"][0]["urls"] =
            serde_json::json!([format!("{}/elsewhere", server.origin())]);
    });
    server.push("team/app", "1.0", &pushed);
    let image = open(&server).expect("an image");
    let error = read(&image, 0).expect_err("refused");
    assert!(
        error.contains(
            "is a foreign one (application/vnd.docker.image.rootfs.foreign.diff.tar.gzip)"
        ),
        "{error}"
    );
    let digest = digest(&layer);
    for asked in server.asked() {
        assert!(
            !asked.contains("elsewhere") && !asked.contains(&digest),
            "{asked}"
        );
    }
}
