//! Images of every medium on this machine, honest and hostile: OCI layouts, archives of them and of `docker save`, and
//! engines, which are small scripts here.

mod archive;
mod engine;
mod hostile;
mod layout;
mod loading;
mod verifying;
mod writing;

use std::io::{Cursor, Read};
use std::path::Path;
use std::time::Duration;

use imgtool::digest::{VerifyingReader, sha256};
use imgtool::transport::open::{OpenSettings, open};
use imgtool::transport::platform::OciPlatform;
use imgtool::transport::reference::ImageReference;
use imgtool::transport::{Image, ImageStream, OpenedImage, StreamedLayer, TransportError};

use crate::support::image::{TestImage, put};

/// Opens `reference` for `platform`, with engines from `programs`.
fn open_with(
    reference: &str,
    platform: Option<OciPlatform>,
    programs: &Path,
) -> Result<OpenedImage, TransportError> {
    let reference: ImageReference = reference.parse().expect("a reference");
    let settings = OpenSettings {
        platform,
        program_path: vec![programs.to_owned()],
        engine_patience: Duration::from_secs(20),
        registry: &|reference, _| {
            Err(TransportError::NotFound(format!(
                "{reference} is in a registry"
            )))
        },
    };
    open(&reference, &settings)
}

fn opened(reference: &str) -> Result<OpenedImage, TransportError> {
    open_with(reference, None, Path::new("/nonexistent"))
}

/// The error that keeps `reference` from being read, while it is opened or later, with its causes.
fn error_of(reference: &str) -> String {
    match opened(reference).and_then(|image| contents(image).map(drop)) {
        Ok(()) => panic!("{reference} can be read"),
        Err(error) => chain(&error),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// A blob as whoever reads layers takes it in.
fn streamed(reader: &mut dyn Read, what: &str) -> Result<(StreamedLayer, Vec<u8>), TransportError> {
    let failed = |source| TransportError::Io {
        what: what.to_owned(),
        source,
    };
    let mut blob = Vec::new();
    reader.read_to_end(&mut blob).map_err(failed)?;
    let mut tar = Vec::new();
    match blob.as_slice() {
        [0x1f, 0x8b, ..] => flate2::read::MultiGzDecoder::new(Cursor::new(&blob))
            .read_to_end(&mut tar)
            .map_err(failed)?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            tar = zstd::decode_all(blob.as_slice()).map_err(failed)?;
            0
        }
        plain => {
            tar.extend_from_slice(plain);
            0
        }
    };
    let layer = StreamedLayer {
        digest: sha256(&blob),
        size: blob.len() as u64,
        diff_id: sha256(&tar),
    };
    Ok((layer, tar))
}

/// The image and the files of its layers, each an unpacked tar archive; everything verified.
fn contents(opened: OpenedImage) -> Result<(Image, Vec<Vec<u8>>), TransportError> {
    match opened {
        OpenedImage::Image(image) => {
            let mut tars = Vec::new();
            for layer in &image.layers {
                let reader = image.source.open(layer)?;
                let (streamed, tar) = match &layer.digest {
                    Some(digest) => {
                        let mut reader =
                            VerifyingReader::new(reader, digest, layer.size).expect("an algorithm");
                        streamed(&mut reader, "a layer")?
                    }
                    None => streamed(&mut { reader }, "a layer")?,
                };
                assert_eq!(layer.size, Some(streamed.size));
                assert_eq!(layer.diff_id, streamed.diff_id);
                tars.push(tar);
            }
            Ok((image, tars))
        }
        OpenedImage::Stream(stream) => read_stream(stream),
    }
}

fn read_stream(stream: Box<dyn ImageStream>) -> Result<(Image, Vec<Vec<u8>>), TransportError> {
    let mut seen = std::collections::BTreeMap::new();
    let (image, layers) = stream.read(&mut |name, reader| {
        let (layer, tar) = streamed(reader, name)?;
        seen.insert(layer.diff_id.to_string(), tar);
        Ok(layer)
    })?;
    assert_eq!(image.layers.len(), layers.len());
    let tars = image
        .layers
        .iter()
        .zip(&layers)
        .map(|(layer, streamed)| {
            assert_eq!(layer.diff_id, streamed.diff_id);
            assert_eq!(layer.size, Some(streamed.size));
            seen[&layer.diff_id.to_string()].clone()
        })
        .collect();
    Ok((image, tars))
}

/// Reads `reference` whole, and compares it with `expected`.
fn assert_reads(reference: &str, expected: &TestImage) -> Image {
    let opened = opened(reference).unwrap_or_else(|error| panic!("{reference}: {}", chain(&error)));
    assert_is(opened, expected)
}

fn assert_is(opened: OpenedImage, expected: &TestImage) -> Image {
    let (image, tars) = contents(opened).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let files: Vec<Vec<u8>> = expected
        .layers
        .iter()
        .map(|layer| layer.tar.clone())
        .collect();
    assert_eq!(tars.len(), files.len());
    assert!(
        tars == files,
        "the layers of {} are others",
        image.reference
    );
    assert_eq!(image.config_bytes, expected.config_bytes());
    let env = image
        .config
        .config()
        .as_ref()
        .and_then(|config| config.env().clone());
    assert_eq!(env, Some(vec!["PATH=/usr/local/bin:/usr/bin".to_owned()]));
    for (at, layer) in image.layers.iter().enumerate() {
        assert_eq!(layer.index, at);
    }
    image
}

/// A folder for one test.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Writes `bytes` into `folder` and returns the file's path.
fn written(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> String {
    let path = folder.path().join(name);
    put(&path, bytes);
    path.display().to_string()
}
