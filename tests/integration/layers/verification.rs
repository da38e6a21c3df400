//! Every blob and every archive is what was promised to its last byte, or an error that says what is not.

use std::io::{self, Read};

use imgtool::digest::{Digest, sha256};
use imgtool::rootfs::{InventoryCache, LayerError};
use imgtool::transport::{
    Image, ImageStream, Layer, LayerSource, OpenedImage, StreamedLayer, TransportError,
};
use std::sync::Arc;
use std::time::Duration;

use crate::support::layers::{
    Archive, Reading, config, gzip, image, image_of, overlay, told, tree,
};

fn sample() -> Vec<u8> {
    Archive::new()
        .folder("d")
        .file("d/a", b"some contents")
        .symlink("l", "d/a")
        .hard_link("h", "d/a")
        .file("d/.wh.x", b"")
        .pax(&[("path", b"long/name")])
        .file("short", &[7; 700])
        .finish()
}

/// The blob `bytes` behind the descriptor of another.
fn with_blob(image: &Image, bytes: &[u8]) -> Image {
    #[derive(Debug)]
    struct One(Vec<u8>);
    impl LayerSource for One {
        fn open(&self, _: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
            Ok(Box::new(io::Cursor::new(self.0.clone())))
        }
    }
    Image {
        reference: image.reference.clone(),
        digest: None,
        manifest_bytes: None,
        config_bytes: Vec::new(),
        config: image.config.clone(),
        layers: image.layers.clone(),
        source: Arc::new(One(bytes.to_vec())),
    }
}

#[test]
fn a_blob_that_is_cut_anywhere_is_an_error() {
    let archive = sample();
    let blob = gzip(&archive);
    let (image, _) = image_of(vec![(blob.clone(), sha256(&archive))]);
    for length in 0..blob.len() {
        let error = Reading::default()
            .root(with_blob(&image, &blob[..length]))
            .expect_err("an error");
        let error = told(&error);
        assert!(
            error.contains(&format!("it has {length} bytes, not {}", blob.len())),
            "{error}"
        );
    }
}

#[test]
fn an_archive_that_is_cut_anywhere_is_an_error_even_where_its_blob_is_right() {
    let archive = sample();
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("a frame");
    for length in 0..archive.len() {
        let cut = &archive[..length];
        for blob in [cut.to_vec(), gzip(cut), zstd(cut)] {
            let (image, _) = image_of(vec![(blob, sha256(&archive))]);
            let read = Reading::default().root(image);
            // Whole blocks of the end marker may be missing, see below.
            let only_zeros = archive[length..].iter().all(|byte| *byte == 0) && length % 512 == 0;
            assert_eq!(read.is_ok(), only_zeros, "{length} bytes");
        }
    }
    for blob in [gzip(&archive), zstd(&archive)] {
        for length in 0..blob.len() {
            let (image, _) = image_of(vec![(blob[..length].to_vec(), sha256(&archive))]);
            assert!(Reading::default().root(image).is_err(), "{length} bytes");
        }
    }
}

#[test]
fn damage_never_goes_unnoticed() {
    let archive = sample();
    let whole = tree(&overlay(std::slice::from_ref(&archive)));
    let zstd = zstd::encode_all(archive.as_slice(), 1).expect("a frame");
    for blob in [archive.clone(), gzip(&archive), zstd] {
        let (image, _) = image_of(vec![(blob.clone(), sha256(&archive))]);
        for position in 0..blob.len() {
            let mut damaged = blob.clone();
            damaged[position] ^= 1 << (position % 8);
            let error = Reading::default()
                .root(with_blob(&image, &damaged))
                .expect_err("an error");
            assert!(
                matches!(error, LayerError::Mismatch { .. }),
                "byte {position}: {}",
                told(&error)
            );
            // With a descriptor that knows of the damage, the archive is the same or an error.
            let (image, _) = image_of(vec![(damaged, sha256(&archive))]);
            if let Ok(root) = Reading::default().root(image) {
                assert_eq!(tree(&root), whole, "byte {position}");
            }
        }
    }
}

#[test]
fn damaged_archives_with_digests_of_their_own_never_panic() {
    let archive = sample();
    for position in 0..archive.len() {
        for bit in [0, 3, 7] {
            let mut damaged = archive.clone();
            damaged[position] ^= 1 << bit;
            if let Ok(root) = Reading::default().root(image(&[damaged]).0) {
                assert!(!tree(&root).is_empty());
            }
        }
    }
}

#[test]
fn what_stands_behind_the_end_counts() {
    let archive = sample();
    let (image, _) = image_of(vec![(gzip(&archive), sha256(&archive))]);
    let longer = [gzip(&archive), vec![1]].concat();
    let error = told(
        &Reading::default()
            .root(with_blob(&image, &longer))
            .expect_err("an error"),
    );
    assert!(error.contains("bytes, not"), "{error}");
    let (garbage, _) = image_of(vec![(longer, sha256(&archive))]);
    assert!(matches!(
        Reading::default().root(garbage),
        Err(LayerError::Compression { .. })
    ));
    // Zeros are what fills up a tape's block: gzip(1) skips them, too.
    let (padded, _) = image_of(vec![(
        [gzip(&archive), vec![0; 9]].concat(),
        sha256(&archive),
    )]);
    assert!(Reading::default().root(padded).is_ok());
    let behind = [archive.clone(), b"behind the end marker".to_vec()].concat();
    let (behind, _) = image_of(vec![(gzip(&behind), sha256(&archive))]);
    assert!(matches!(
        Reading::default().root(behind),
        Err(LayerError::DiffId { .. })
    ));
    let member = [gzip(&archive), gzip(b"x")].concat();
    let (member, _) = image_of(vec![(member, sha256(&archive))]);
    assert!(matches!(
        Reading::default().root(member),
        Err(LayerError::DiffId { .. })
    ));
}

#[test]
fn a_wrong_diff_id_is_an_error_that_names_the_layer() {
    let (mut image, _) = image(&[sample(), Archive::new().finish()]);
    image.layers[1].diff_id = sha256(b"another");
    let digest = image.layers[1].digest.clone().expect("a digest");
    let error = told(&Reading::default().root(image).expect_err("an error"));
    assert!(
        error.contains(&digest.to_string()) && error.contains("once it is unpacked"),
        "{error}"
    );
}

#[test]
fn digests_of_sha_512_are_verified_and_others_refused() {
    let archive = sample();
    let blob = gzip(&archive);
    let (mut image, _) = image_of(vec![(blob.clone(), sha256(&archive))]);
    let digest = |algorithm: &str, hex: String| {
        format!("{algorithm}:{hex}")
            .parse::<Digest>()
            .expect("a digest")
    };
    image.layers[0].digest = Some(digest("sha512", "0".repeat(128)));
    let error = Reading::default()
        .root(with_blob(&image, &blob))
        .expect_err("an error");
    assert!(matches!(error, LayerError::Mismatch { .. }));
    image.layers[0].digest = Some(digest("sha384", "0".repeat(96)));
    let error = told(
        &Reading::default()
            .root(with_blob(&image, &blob))
            .expect_err("an error"),
    );
    assert!(error.contains("`sha384` cannot be verified"), "{error}");
}

#[test]
fn an_error_of_the_transport_is_told_with_the_layer() {
    #[derive(Debug)]
    struct Breaks;
    impl LayerSource for Breaks {
        fn open(&self, _: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
            Ok(Box::new(
                io::Cursor::new(gzip(&sample())).take(20).chain(Broken),
            ))
        }
    }
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other(TransportError::NotFound(
                "the registry went away".to_owned(),
            )))
        }
    }
    let (mut image, _) = image(&[sample()]);
    image.source = Arc::new(Breaks);
    let error = told(&Reading::default().root(image).expect_err("an error"));
    assert!(error.ends_with("the registry went away"), "{error}");
    assert!(
        error.starts_with("cannot read the layer sha256:"),
        "{error}"
    );
}

/// An image that comes as members of a stream, some of which are no layers.
#[derive(Debug)]
struct Stream {
    members: Vec<Vec<u8>>,
    /// Which members are the layers.
    layers: Vec<usize>,
    diff_ids: Vec<Digest>,
    announced: Option<Image>,
    may_read: bool,
}

impl Stream {
    fn new(members: Vec<Vec<u8>>, layers: Vec<usize>, diff_ids: Vec<Digest>) -> Self {
        Self {
            members,
            layers,
            diff_ids,
            announced: None,
            may_read: true,
        }
    }

    fn image(&self, digest: impl Fn(usize) -> Option<Digest>) -> Image {
        let layers: Vec<Layer> = self
            .diff_ids
            .iter()
            .enumerate()
            .map(|(index, diff_id)| Layer {
                index,
                digest: digest(index),
                size: None,
                media_type: String::new(),
                diff_id: diff_id.clone(),
                member: None,
            })
            .collect();
        Image {
            reference: "stream".to_owned(),
            digest: None,
            manifest_bytes: None,
            config_bytes: Vec::new(),
            config: config(&layers),
            layers,
            source: Arc::new(crate::support::layers::Blobs::default()),
        }
    }
}

impl ImageStream for Stream {
    fn announced(&self) -> Option<&Image> {
        self.announced.as_ref()
    }

    fn read(
        self: Box<Self>,
        layer: &mut dyn FnMut(&str, &mut dyn Read) -> Result<StreamedLayer, TransportError>,
    ) -> Result<(Image, Vec<StreamedLayer>), TransportError> {
        assert!(self.may_read, "the stream need not be read");
        let mut kept = Vec::new();
        for (number, member) in self.members.iter().enumerate() {
            kept.push(layer(&format!("member{number}"), &mut member.as_slice())?);
        }
        let streamed = self
            .layers
            .iter()
            .map(|member| kept[*member].clone())
            .collect();
        Ok((self.image(|_| None), streamed))
    }
}

#[test]
fn a_stream_gives_the_same_root_as_an_image() {
    let lower = sample();
    let upper = Archive::new().file("d/.wh.a", b"").finish();
    let diff_ids = vec![sha256(&lower), sha256(&upper), sha256(&lower)];
    let members = vec![upper.clone(), b"{\"config\": true}".to_vec(), gzip(&lower)];
    let stream = Stream::new(members, vec![2, 0, 2], diff_ids);
    let read = Reading::default()
        .read(OpenedImage::Stream(Box::new(stream)))
        .expect("an image");
    assert_eq!(
        tree(&read.root),
        tree(&overlay(&[lower.clone(), upper, lower]))
    );
}

#[test]
fn a_stream_is_verified_once_it_is_known_what_it_was() {
    let archive = sample();
    let read = |stream: Stream| {
        told(
            &Reading::default()
                .read(OpenedImage::Stream(Box::new(stream)))
                .expect_err("an error"),
        )
    };
    let wrong = Stream::new(vec![gzip(&archive)], vec![0], vec![sha256(b"another")]);
    assert!(read(wrong).contains("once it is unpacked"));
    let json = Stream::new(vec![b"{}".to_vec()], vec![0], vec![sha256(b"{}")]);
    assert!(read(json).contains("it ends in the middle"));
    let many = Stream::new(vec![Vec::new(); 700], vec![], vec![]);
    assert!(read(many).contains("more than 500 layers"));
}

#[test]
fn a_stream_whose_layers_are_all_known_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = InventoryCache::new(folder.path(), Duration::from_secs(1_000_000));
    let reading = Reading {
        cache: Some(&cache),
        ..Reading::default()
    };
    let archive = sample();
    let stream = || Stream::new(vec![gzip(&archive)], vec![0], vec![sha256(&archive)]);
    let first = reading
        .read(OpenedImage::Stream(Box::new(stream())))
        .expect("an image");
    let mut announcing = stream();
    announcing.announced = Some(announcing.image(|_| None));
    announcing.may_read = false;
    let second = reading
        .read(OpenedImage::Stream(Box::new(announcing)))
        .expect("an image");
    assert_eq!(tree(&first.root), tree(&second.root));
    assert!(second.image.source.open(&second.image.layers[0]).is_err());
}

#[test]
fn an_archive_without_the_zeros_at_its_end_is_proven_by_its_diff_id() {
    // As skopeo 1.9 writes zstd:chunked: without end marker and filling, under the diff_id of the whole.
    let entries = sample();
    let end = entries.len() - 1024;
    assert!(entries[end..].iter().all(|byte| *byte == 0));
    let promised = |zeros: usize| {
        let mut whole = entries[..end].to_vec();
        whole.resize(end + zeros, 0);
        sha256(&whole)
    };
    let read = |diff_id| {
        let (image, _) = image_of(vec![(gzip(&entries[..end]), diff_id)]);
        Reading::default().root(image)
    };
    for zeros in [1024, 10_240] {
        let root = read(promised(zeros)).expect("a root");
        assert_eq!(tree(&root), tree(&overlay(std::slice::from_ref(&entries))));
    }
    for diff_id in [promised(1000), promised(1 << 20), sha256(b"another")] {
        assert!(matches!(read(diff_id), Err(LayerError::DiffId { .. })));
    }
}
