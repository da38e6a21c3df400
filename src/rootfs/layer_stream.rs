//! An image that comes as a stream is read: each of its members goes by once, and which of them were layers is known at
//! the end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::budget::ImageBudget;
use super::inventory::InventoryBuilder;
use super::inventory::builder::Keeping;
use super::layers::{
    Inventories, LayerError, ReadImage, ReadSettings, check_layers, contents, name, overlay, seal,
    walk_error,
};
use super::limits::Bounded;
use super::pipeline::{BlobFailure, BlobPromise, read_layer};
use crate::digest::{Digest, Hasher, Mismatch};
use crate::transport::TransportError;
use crate::transport::image::{ImageStream, Layer, StreamedLayer};

/// Members of a stream, beside its layers, that may be taken for layers: manifests and configurations.
const OTHER_MEMBERS: usize = 100;

/// Hexadecimal digits of a SHA-256.
const HEX_DIGITS: usize = 64;

/// What went by so far.
struct Passed<'a> {
    settings: &'a ReadSettings<'a>,
    /// The layers of the image, where they were announced.
    total: usize,
    wanted: BTreeSet<String>,
    members: usize,
    budget: &'a ImageBudget,
    inventories: Inventories,
    /// Why a member is no layer that can be read, by the digest of the member: an error only if it should be one.
    failed: BTreeMap<String, LayerError>,
    /// An error of ours, which cannot go through the stream: that knows those of transports only.
    error: Option<LayerError>,
}

/// Reads what comes once.
pub(super) fn read_stream(
    stream: Box<dyn ImageStream>,
    settings: &ReadSettings<'_>,
) -> Result<ReadImage, LayerError> {
    let budget = ImageBudget::new(settings.limits);
    let mut passed = Passed {
        settings,
        total: stream.announced().map_or(0, |image| image.layers.len()),
        wanted: settings.wanted.all(),
        members: 0,
        budget: &budget,
        inventories: Inventories::new(),
        failed: BTreeMap::new(),
        error: None,
    };
    let read = stream.read(&mut |member, reader| passed.take(member, reader));
    if let Some(error) = passed.error {
        return Err(error);
    }
    let (image, streamed) = read?;
    check_layers(&image, settings)?;
    if streamed.len() != image.layers.len() {
        return Err(LayerError::from(TransportError::Invalid {
            what: image.reference.clone(),
            reason: format!(
                "it has {} layers, and its configuration speaks of {}",
                streamed.len(),
                image.layers.len()
            ),
        }));
    }
    for (layer, streamed) in image.layers.iter().zip(&streamed) {
        if let Some(error) = passed.failed.remove(&streamed.digest.to_string()) {
            return Err(error);
        }
        compare(layer, streamed)?;
    }
    let root = overlay(&image, &passed.inventories);
    Ok(ReadImage { image, root })
}

impl Passed<'_> {
    fn take(
        &mut self,
        member: &str,
        reader: &mut dyn Read,
    ) -> Result<StreamedLayer, TransportError> {
        let settings = self.settings;
        let index = self.members;
        self.members += 1;
        if self.members > settings.limits.layers + OTHER_MEMBERS {
            let limit = Bounded::Layers.at(settings.limits.layers as u64);
            return Err(self.fail(LayerError::ImageLimit(limit), member));
        }
        // Who waits is told of members that say which layer they are.
        let progress = digest_in(member).map(|digest| (settings.progress, digest));
        if let Some((progress, digest)) = &progress {
            progress.started(index, self.total.max(self.members), digest, None);
        }
        let budget = self.budget.layer();
        let keeping = Keeping {
            retention: settings.retention,
            wanted: &self.wanted,
        };
        let builder = InventoryBuilder::new(keeping, &budget, contents(settings));
        let promise = BlobPromise {
            hasher: Hasher::sha256(),
            size: None,
            to_end: true,
            advanced: &|bytes| {
                if let Some((progress, _)) = &progress {
                    progress.advanced(index, bytes);
                }
            },
            stop: &AtomicBool::new(false),
        };
        let outcome = read_layer(reader, promise, Hasher::sha256(), &budget, builder);
        let (digest, size) = outcome.blob.map_err(|failure| match failure {
            BlobFailure::Io(error) => {
                error
                    .downcast()
                    .unwrap_or_else(|source| TransportError::Io {
                        what: format!("the layer `{member}`"),
                        source,
                    })
            }
            BlobFailure::Stopped | BlobFailure::TooLong(_) => {
                TransportError::NotFound(format!("`{member}` was not read to its end"))
            }
        })?;
        if let Some((progress, _)) = &progress {
            progress.finished(index, false);
        }
        let sealed = outcome
            .inventory
            .map_err(|error| walk_error(error, &digest))
            .and_then(|(unsealed, archive)| {
                let diff_id = archive.finish();
                let inventory = seal(unsealed, &diff_id, Some((&digest, size)), &digest, settings)?;
                budget.settle(&inventory).map_err(LayerError::ImageLimit)?;
                Ok((inventory, diff_id))
            });
        let diff_id = match sealed {
            Ok((inventory, diff_id)) => {
                self.inventories
                    .insert(diff_id.to_string(), Arc::new(inventory));
                diff_id
            }
            Err(error @ LayerError::ImageLimit(_)) => return Err(self.fail(error, member)),
            Err(error) => {
                self.failed.insert(digest.to_string(), error);
                digest.clone()
            }
        };
        Ok(StreamedLayer {
            digest,
            size,
            diff_id,
        })
    }

    /// Ends the stream.
    fn fail(&mut self, error: LayerError, member: &str) -> TransportError {
        self.error = Some(error);
        TransportError::NotFound(format!("`{member}` is more than is read"))
    }
}

/// The digest that a member is named after: `blobs/sha256/<hex>`, `<hex>/layer.tar`, `<hex>.tar`.
fn digest_in(member: &str) -> Option<Digest> {
    let hex = member.split(['/', '.']).find(|part| {
        part.len() == HEX_DIGITS && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    })?;
    format!("sha256:{}", hex.to_ascii_lowercase()).parse().ok()
}

/// Whether what went by is what the image says.
fn compare(layer: &Layer, streamed: &StreamedLayer) -> Result<(), LayerError> {
    let named = || name(layer).clone();
    if let Some(expected) = layer.size.filter(|expected| *expected != streamed.size) {
        let found = streamed.size;
        return Err(LayerError::Mismatch {
            layer: named(),
            mismatch: Box::new(Mismatch::Size { expected, found }),
        });
    }
    if let Some(expected) = layer
        .digest
        .as_ref()
        .filter(|digest| **digest != streamed.digest)
    {
        return Err(LayerError::Mismatch {
            layer: named(),
            mismatch: Box::new(Mismatch::Digest {
                expected: expected.clone(),
                found: streamed.digest.clone(),
            }),
        });
    }
    if layer.diff_id != streamed.diff_id {
        return Err(LayerError::DiffId {
            layer: named(),
            mismatch: Box::new(Mismatch::Digest {
                expected: layer.diff_id.clone(),
                found: streamed.diff_id.clone(),
            }),
        });
    }
    Ok(())
}
