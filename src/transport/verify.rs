//! Every blob of an image, read and compared with everything that is said of it: sizes, digests, `diff_ids`, and the
//! documents with one another.
//!
//! Specification: OCI image-spec, `descriptor.md` and `config.md`.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use oci_spec::image::Descriptor;

use super::copy::{read_error, unpack};
use super::layout::describe;
use super::manifest::{Document, parse_document};
use super::{Image, Layer, TransportError};
use crate::digest::{self, Digest, Mismatch, VerifyingReader};

/// Layers that are read at once; each takes a core.
const READERS: usize = 4;

/// The part of an image that has a fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its manifest.
    Manifest,
    /// Its configuration.
    Config,
    /// A layer, by its place, from 0, lowest first.
    Layer(usize),
}

/// Something that is not as it should be.
#[derive(Debug)]
pub struct Fault {
    /// Where.
    pub part: Part,
    /// What: [`TransportError::Mismatch`] for other bytes than promised, [`TransportError::Invalid`] for documents that
    /// contradict one another, anything else for what could not be read.
    pub error: TransportError,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error.with_cause())
    }
}

/// Reads `image` whole, several layers at once, and returns what is wrong with it, manifest and configuration first; none
/// for an image that is what it says.
#[must_use]
pub fn verify(image: &Image) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |part, error| faults.push(Fault { part, error });
    let name = &image.reference;
    if let Some(bytes) = &image.manifest_bytes {
        if let Some(digest) = &image.digest
            && let Err(mismatch) = digest::verify(bytes, digest, None)
        {
            let what = format!("the manifest of {name}");
            fault(Part::Manifest, TransportError::Mismatch { what, mismatch });
        }
        let what = format!("the manifest of {name}");
        match parse_document(bytes, None, &what) {
            Ok(Document::Manifest(manifest)) => {
                let config = manifest.config();
                let found =
                    digest::verify(&image.config_bytes, config.digest(), Some(config.size()));
                if let Err(mismatch) = found {
                    let what = format!("the configuration of {name}");
                    fault(Part::Config, TransportError::Mismatch { what, mismatch });
                }
                if let Some(reason) = other_layers(manifest.layers(), &image.layers) {
                    fault(Part::Manifest, TransportError::Invalid { what, reason });
                }
            }
            Ok(Document::Index(_)) => {
                let reason = "it is an index".to_owned();
                fault(Part::Manifest, TransportError::Invalid { what, reason });
            }
            Err(error) => fault(Part::Manifest, error),
        }
    }
    let diff_ids = image.config.rootfs().diff_ids();
    let same = diff_ids.len() == image.layers.len()
        && diff_ids
            .iter()
            .zip(&image.layers)
            .all(|(said, layer)| *said == layer.diff_id.to_string());
    if !same {
        let what = format!("the configuration of {name}");
        let reason = "its `diff_ids` are not those of the layers".to_owned();
        fault(Part::Config, TransportError::Invalid { what, reason });
    }
    faults.extend(layer_faults(image));
    faults
}

/// How the layers of the manifest differ from those that the image has.
fn other_layers(named: &[Descriptor], layers: &[Layer]) -> Option<String> {
    if named.len() != layers.len() {
        return Some(format!(
            "it has {} layers, and the configuration has {}",
            named.len(),
            layers.len()
        ));
    }
    named
        .iter()
        .zip(layers)
        .position(|(named, layer)| {
            layer.digest.as_ref().is_some_and(|it| it != named.digest())
                || layer.size.is_some_and(|size| size != named.size())
        })
        .map(|at| format!("its layer {at} is another one than the image has"))
}

fn layer_faults(image: &Image) -> Vec<Fault> {
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..READERS.min(cores).min(image.layers.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(layer) = image.layers.get(at) else {
                        return;
                    };
                    if let Err(error) = verify_layer(image, layer) {
                        let fault = Fault {
                            part: Part::Layer(at),
                            error,
                        };
                        faults
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(fault);
                    }
                }
            });
        }
    });
    let mut faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    faults.sort_by(|one, other| one.part.cmp(&other.part));
    faults
}

/// Reads a layer to its end, compressed and uncompressed at once.
fn verify_layer(image: &Image, layer: &Layer) -> Result<(), TransportError> {
    let what = describe(&image.reference, layer);
    let mismatch = |mismatch| TransportError::Mismatch {
        what: what.clone(),
        mismatch,
    };
    let mut blob = image.source.open(layer)?;
    let found = match &layer.digest {
        Some(digest) => {
            let mut reader = VerifyingReader::new(blob, digest, layer.size)
                .map_err(|algorithm| mismatch(algorithm.into()))?;
            let unpacked = unpack(&mut reader, &what);
            // Bytes that cannot be unpacked are other bytes first of all.
            if unpacked.is_err() {
                std::io::copy(&mut reader, &mut std::io::sink())
                    .map_err(|error| read_error(error, &what))?;
            }
            unpacked?.0
        }
        None => unpack(&mut blob, &what)?.0,
    };
    same_diff_id(&layer.diff_id, found).map_err(mismatch)
}

/// Compares a `diff_id`, which is of SHA-256 unless somebody is of another mind.
fn same_diff_id(expected: &Digest, found: Digest) -> Result<(), Mismatch> {
    if *expected == found {
        return Ok(());
    }
    Err(Mismatch::Digest {
        expected: expected.clone(),
        found,
    })
}
