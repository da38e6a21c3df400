//! An image is read: its layers, several at once, each verified to its last byte, become one root file system.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::budget::{ImageBudget, LayerBudget};
use super::inventory::builder::Keeping;
use super::inventory::{Contents, Inventory, InventoryBuilder};
use super::inventory_cache::InventoryCache;
use super::layer_entries::{Place, WalkError};
use super::layer_stream;
use super::limits::{Bounded, LimitExceeded, Limits};
use super::overlay::{Overlay, WantedFiles};
use super::pipeline::{BlobFailure, BlobPromise, Outcome, read_layer};
use super::progress::LayerProgress;
use super::retention::Retention;
use crate::digest::{Digest, Hasher, Mismatch, UnknownAlgorithm};
use crate::transport::TransportError;
use crate::transport::image::{Image, Layer, LayerSource, OpenedImage};

/// How an image is read.
#[derive(Clone, Copy)]
pub struct ReadSettings<'a> {
    /// Where inventories of layers are kept between runs.
    pub cache: Option<&'a InventoryCache>,
    /// Who waits.
    pub progress: &'a dyn LayerProgress,
    /// How much is taken.
    pub limits: Limits,
    /// How many layers are read at once, at least one.
    pub threads: usize,
    /// Files that are kept whatever they are called: what [`Overlay::missed`] told of an earlier read.
    pub wanted: &'a WantedFiles,
    /// What is kept of a file, given its path without a leading slash: [`super::retention::retention`].
    pub retention: &'a (dyn Fn(&str) -> Retention + Sync),
}

impl std::fmt::Debug for ReadSettings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadSettings")
            .field("cache", &self.cache)
            .field("limits", &self.limits)
            .field("threads", &self.threads)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

/// An image whose layers have been read.
#[derive(Debug)]
pub struct ReadImage {
    /// The image as its transport told it.
    pub image: Image,
    /// Its root file system.
    pub root: Overlay,
}

/// Why the layers of an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The image as a whole exceeds a bound.
    #[error("the image has {0}")]
    ImageLimit(LimitExceeded),
    /// The transport failed before it came to layers, or between them.
    #[error(transparent)]
    Transport(Box<TransportError>),
    /// The blob cannot be had.
    #[error("cannot read the layer {layer}")]
    Blob {
        /// The layer.
        layer: Digest,
        /// Why not.
        #[source]
        source: Box<TransportError>,
    },
    /// The blob is another than the manifest promises.
    #[error("the layer {layer} is not what its descriptor promises: {mismatch}")]
    Mismatch {
        /// The layer.
        layer: Digest,
        /// What differs.
        mismatch: Box<Mismatch>,
    },
    /// The uncompressed archive is another than the configuration promises.
    #[error(
        "the layer {layer} is not what the image's configuration promises once it is unpacked: {mismatch}"
    )]
    DiffId {
        /// The layer.
        layer: Digest,
        /// What differs.
        mismatch: Box<Mismatch>,
    },
    /// The layer is of a kind that nobody can read.
    #[error("the layer {layer} cannot be read: {reason} (`{media_type}`)")]
    MediaType {
        /// The layer.
        layer: Digest,
        /// Its media type.
        media_type: String,
        /// Why not.
        reason: &'static str,
    },
    /// The layer cannot be unpacked.
    #[error("the layer {layer} cannot be unpacked")]
    Compression {
        /// The layer.
        layer: Digest,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// The layer's archive is broken.
    #[error("the archive of the layer {layer} is invalid: {reason}, {place}")]
    Archive {
        /// The layer.
        layer: Digest,
        /// The entry.
        place: Place,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The layer exceeds a bound.
    #[error("the layer {layer} has {limit}{}", at(.place.as_ref()))]
    Limit {
        /// The layer.
        layer: Digest,
        /// The entry, where it is one that does.
        place: Option<Place>,
        /// The bound.
        limit: LimitExceeded,
    },
    /// What was kept of the layer cannot be stored or taken back.
    #[error("cannot keep what is needed of the layer {layer}")]
    Keep {
        /// The layer.
        layer: Digest,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl From<TransportError> for LayerError {
    fn from(error: TransportError) -> Self {
        Self::Transport(Box::new(error))
    }
}

impl LayerError {
    /// Whether a registry failed us, rather than the image.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Transport(source) | Self::Blob { source, .. } => source.is_remote(),
            _ => false,
        }
    }
}

fn at(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!(", {place}"))
}

/// Reads the layers of an image.
///
/// # Errors
/// When a layer cannot be had, is not what was promised, is broken or exceeds a limit. Of several such layers the lowest
/// of those that were come to is told.
pub fn read_image(
    opened: OpenedImage,
    settings: &ReadSettings<'_>,
) -> Result<ReadImage, LayerError> {
    match opened {
        OpenedImage::Image(image) => {
            let layers = read_layers(&image, settings)?;
            Ok(ReadImage {
                root: overlay(&image, &layers),
                image,
            })
        }
        OpenedImage::Stream(stream) => {
            if let Some(announced) = stream.announced()
                && let Some(found) = announced_layers(announced, settings)?
            {
                return Ok(found);
            }
            layer_stream::read_stream(stream, settings)
        }
    }
}

/// The inventories of an image, by `diff_id` as text: what comes twice is there once.
pub(super) type Inventories = BTreeMap<String, Arc<Inventory>>;

pub(super) fn overlay(image: &Image, inventories: &Inventories) -> Overlay {
    let layers = image.layers.iter().filter_map(|layer| {
        let inventory = inventories.get(&layer.diff_id.to_string())?;
        Some((layer.diff_id.clone(), Arc::clone(inventory)))
    });
    Overlay::new(layers.collect())
}

pub(super) fn check_layers(image: &Image, settings: &ReadSettings<'_>) -> Result<(), LayerError> {
    let most = settings.limits.layers;
    if image.layers.len() > most {
        return Err(LayerError::ImageLimit(Bounded::Layers.at(most as u64)));
    }
    for layer in &image.layers {
        let media_type = layer.media_type.to_ascii_lowercase();
        let reason = if media_type.contains("+encrypted") {
            "it is encrypted"
        } else if media_type.contains(".nondistributable") || media_type.contains(".foreign") {
            "its contents are not stored with the image"
        } else {
            continue;
        };
        return Err(LayerError::MediaType {
            layer: name(layer).clone(),
            media_type: layer.media_type.clone(),
            reason,
        });
    }
    Ok(())
}

/// What a layer is called in errors and progress: the digest of its blob, or, without one, its `diff_id`.
pub(super) fn name(layer: &Layer) -> &Digest {
    layer.digest.as_ref().unwrap_or(&layer.diff_id)
}

/// Layers of one image that are the same.
type Repeated<'a> = Vec<&'a Layer>;

fn read_layers(image: &Image, settings: &ReadSettings<'_>) -> Result<Inventories, LayerError> {
    check_layers(image, settings)?;
    let mut by_diff_id: BTreeMap<String, Repeated<'_>> = BTreeMap::new();
    for layer in &image.layers {
        by_diff_id
            .entry(layer.diff_id.to_string())
            .or_default()
            .push(layer);
    }
    let mut jobs: Vec<Repeated<'_>> = by_diff_id.into_values().collect();
    // The largest first: it takes longest, whatever goes on beside it.
    jobs.sort_by_key(|job| (std::cmp::Reverse(job[0].size), job[0].index));
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let budget = ImageBudget::new(settings.limits);
    let done: Mutex<(Inventories, BTreeMap<usize, LayerError>)> = Mutex::default();
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let layer = job[0];
            let result = read_or_recall(image, job, settings, &budget, &stop);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(Some(inventory)) => {
                    done.0
                        .insert(layer.diff_id.to_string(), Arc::new(inventory));
                }
                // Another has failed.
                Ok(None) => {}
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    done.1.insert(layer.index, error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..settings.threads.min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    let (inventories, errors) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    match errors.into_values().next() {
        Some(error) => Err(error),
        None => Ok(inventories),
    }
}

/// The inventory of a layer, from the cache or from its blob; `None` where reading was stopped.
fn read_or_recall(
    image: &Image,
    job: &Repeated<'_>,
    settings: &ReadSettings<'_>,
    budget: &ImageBudget,
    stop: &AtomicBool,
) -> Result<Option<Inventory>, LayerError> {
    let total = image.layers.len();
    let progress = settings.progress;
    let (layer, repeated) = (job[0], &job[1..]);
    progress.started(layer.index, total, name(layer), layer.size);
    let recalled = recall(layer, settings);
    let cached = recalled.is_some();
    let budget = budget.layer();
    let inventory = match recalled {
        Some(inventory) => Some(inventory),
        None => read_blob(image, layer, settings, &budget, stop)?,
    };
    if let Some(inventory) = &inventory {
        budget.settle(inventory).map_err(LayerError::ImageLimit)?;
        progress.finished(layer.index, cached);
        for layer in repeated {
            progress.started(layer.index, total, name(layer), layer.size);
            progress.finished(layer.index, true);
        }
    }
    Ok(inventory)
}

/// The inventory of a layer from the cache, where it has all that is wanted.
///
/// That an image's configuration names a `diff_id` proves nothing of its blob: only one that was read and verified before,
/// under the same digest and of the same size, need not be read again. Of a layer without a digest nothing is known.
fn recall(layer: &Layer, settings: &ReadSettings<'_>) -> Option<Inventory> {
    let cache = settings.cache?;
    let (diff_id, size) = cache.known_blob(layer.digest.as_ref()?)?;
    if diff_id != layer.diff_id || layer.size.is_some_and(|promised| promised != size) {
        return None;
    }
    recall_unpacked(&layer.diff_id, settings)
}

/// The inventory of the layer `diff_id` from the cache, where it has all that is wanted.
fn recall_unpacked(diff_id: &Digest, settings: &ReadSettings<'_>) -> Option<Inventory> {
    let wanted = settings.wanted.of(diff_id);
    let inventory = settings.cache?.read(diff_id)?;
    (!wanted.iter().any(|path| inventory.lacks(path))).then_some(inventory)
}

/// What is to be kept of a layer: what is wanted now, and what was wanted when it was read before.
fn wanted_of(diff_id: &Digest, settings: &ReadSettings<'_>) -> BTreeSet<String> {
    let mut wanted = settings.wanted.of(diff_id);
    if !wanted.is_empty()
        && let Some(inventory) = settings.cache.and_then(|cache| cache.read(diff_id))
    {
        wanted.extend(inventory.wanted());
    }
    wanted
}

pub(super) fn contents(settings: &ReadSettings<'_>) -> Contents {
    settings
        .cache
        .map_or_else(Contents::in_memory, InventoryCache::contents)
}

fn read_blob(
    image: &Image,
    layer: &Layer,
    settings: &ReadSettings<'_>,
    budget: &LayerBudget<'_>,
    stop: &AtomicBool,
) -> Result<Option<Inventory>, LayerError> {
    let named = name(layer);
    let unverifiable = |error: UnknownAlgorithm| LayerError::Mismatch {
        layer: named.clone(),
        mismatch: Box::new(error.into()),
    };
    let hasher = layer
        .digest
        .as_ref()
        .map_or_else(|| Ok(Hasher::sha256()), Hasher::of)
        .map_err(unverifiable)?;
    let archive = Hasher::of(&layer.diff_id).map_err(unverifiable)?;
    let mut blob = image
        .source
        .open(layer)
        .map_err(|source| LayerError::Blob {
            layer: named.clone(),
            source: Box::new(source),
        })?;
    let wanted = wanted_of(&layer.diff_id, settings);
    let keeping = Keeping {
        retention: settings.retention,
        wanted: &wanted,
    };
    let builder = InventoryBuilder::new(keeping, budget, contents(settings));
    let promise = BlobPromise {
        hasher,
        size: layer.size,
        to_end: false,
        advanced: &|bytes| settings.progress.advanced(layer.index, bytes),
        stop,
    };
    let outcome = read_layer(&mut blob, promise, archive, budget, builder);
    verify(layer, outcome, settings, stop)
}

/// The inventory of a layer of which everything is as promised; `None` where reading was stopped.
fn verify(
    layer: &Layer,
    outcome: Outcome,
    settings: &ReadSettings<'_>,
    stop: &AtomicBool,
) -> Result<Option<Inventory>, LayerError> {
    let named = name(layer);
    let mismatch = |mismatch| LayerError::Mismatch {
        layer: named.clone(),
        mismatch: Box::new(mismatch),
    };
    let size = outcome.blob.as_ref().ok().map(|(_, size)| *size);
    match outcome.blob {
        Ok((digest, size)) => {
            if let Some(expected) = layer.size.filter(|expected| *expected != size) {
                let found = size;
                return Err(mismatch(Mismatch::Size { expected, found }));
            }
            if let Some(expected) = layer
                .digest
                .as_ref()
                .filter(|expected| **expected != digest)
            {
                return Err(mismatch(Mismatch::Digest {
                    expected: expected.clone(),
                    found: digest,
                }));
            }
        }
        Err(BlobFailure::Io(error)) => {
            return Err(LayerError::Blob {
                layer: named.clone(),
                source: Box::new(transport_error(error, named)),
            });
        }
        Err(BlobFailure::TooLong(error)) => return Err(mismatch(error)),
        // By others, who say why.
        Err(BlobFailure::Stopped) if stop.load(Ordering::Relaxed) => return Ok(None),
        // Because the walk failed.
        Err(BlobFailure::Stopped) => {
            let broken = || WalkError::Read(io::ErrorKind::UnexpectedEof.into());
            let error = outcome.inventory.err().unwrap_or_else(broken);
            return Err(walk_error(error, named));
        }
    }
    let (unsealed, archive) = outcome
        .inventory
        .map_err(|error| walk_error(error, named))?;
    let diff_id = archive.clone().finish();
    if diff_id != layer.diff_id && !ends_with_zeros(archive, &layer.diff_id) {
        return Err(LayerError::DiffId {
            layer: named.clone(),
            mismatch: Box::new(Mismatch::Digest {
                expected: layer.diff_id.clone(),
                found: diff_id,
            }),
        });
    }
    seal(
        unsealed,
        &layer.diff_id,
        layer.digest.as_ref().zip(size),
        named,
        settings,
    )
    .map(Some)
}

/// Whether an archive is the promised one but for zeros at its end: the end marker and the filling of the last record,
/// which writers of zstd:chunked leave out (skopeo 1.9 among them). The digest, with the zeros put back, proves it.
fn ends_with_zeros(mut archive: Hasher, promised: &Digest) -> bool {
    const BLOCK: [u8; 512] = [0; 512];
    /// The end marker, and a record that it may fill (`tar(5)`: 20 blocks).
    const MOST_BLOCKS: usize = 2 + 20;
    (0..MOST_BLOCKS).any(|_| {
        archive.update(&BLOCK);
        archive.clone().finish() == *promised
    })
}

/// Makes the inventory of a verified layer, and keeps it.
pub(super) fn seal(
    unsealed: super::inventory::Unsealed,
    diff_id: &Digest,
    blob: Option<(&Digest, u64)>,
    named: &Digest,
    settings: &ReadSettings<'_>,
) -> Result<Inventory, LayerError> {
    let keep = |source| LayerError::Keep {
        layer: named.clone(),
        source,
    };
    let Some(cache) = settings.cache else {
        return unsealed
            .seal(diff_id, Path::new(""))
            .map(|sealed| sealed.0)
            .map_err(keep);
    };
    let (inventory, failed) = unsealed.seal(diff_id, &cache.path(diff_id)).map_err(keep)?;
    match (failed, blob) {
        (Some(error), _) => cache.warn(&error),
        (None, Some((blob, size))) => cache.write_alias(blob, diff_id, size),
        (None, None) => {}
    }
    Ok(inventory)
}

/// The error inside of one of a reader.
fn transport_error(error: io::Error, layer: &Digest) -> TransportError {
    match error.downcast::<TransportError>() {
        Ok(error) => error,
        Err(source) => TransportError::Io {
            what: format!("the layer {layer}"),
            source,
        },
    }
}

pub(super) fn walk_error(error: WalkError, layer: &Digest) -> LayerError {
    let layer = layer.clone();
    match error {
        WalkError::Read(error) => match error.downcast::<LimitExceeded>() {
            Ok(limit) => limit_error(limit, layer, None),
            Err(source) => LayerError::Compression { layer, source },
        },
        WalkError::Invalid { place, reason } => LayerError::Archive {
            layer,
            place,
            reason,
        },
        WalkError::Limit { place, limit } => limit_error(limit, layer, Some(place)),
        WalkError::Keep(source) => LayerError::Keep { layer, source },
    }
}

/// Which layer comes to a bound of the image is chance where several are read at once, so no layer is named then.
fn limit_error(limit: LimitExceeded, layer: Digest, place: Option<Place>) -> LayerError {
    if limit.what.is_of_image() {
        return LayerError::ImageLimit(limit);
    }
    LayerError::Limit {
        layer,
        place,
        limit,
    }
}

/// Stands for layers that went by, or that were never opened because all of them were known.
#[derive(Debug)]
struct Gone(String);

impl LayerSource for Gone {
    fn open(&self, _: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        Err(TransportError::NotFound(format!(
            "the layers of {} come as a stream and cannot be opened one by one",
            self.0
        )))
    }
}

/// The announced image of a stream, where the cache has all of its layers.
fn announced_layers(
    announced: &Image,
    settings: &ReadSettings<'_>,
) -> Result<Option<ReadImage>, LayerError> {
    check_layers(announced, settings)?;
    let budget = ImageBudget::new(settings.limits);
    let mut inventories = Inventories::new();
    for layer in &announced.layers {
        let key = layer.diff_id.to_string();
        if inventories.contains_key(&key) {
            continue;
        }
        // The engine unpacked the layer itself: what it says of it is not a stranger's word.
        let Some(inventory) = recall_unpacked(&layer.diff_id, settings) else {
            return Ok(None);
        };
        budget
            .layer()
            .settle(&inventory)
            .map_err(LayerError::ImageLimit)?;
        inventories.insert(key, Arc::new(inventory));
    }
    for layer in &announced.layers {
        let total = announced.layers.len();
        settings
            .progress
            .started(layer.index, total, name(layer), layer.size);
        settings.progress.finished(layer.index, true);
    }
    let image = Image {
        reference: announced.reference.clone(),
        digest: announced.digest.clone(),
        manifest_bytes: announced.manifest_bytes.clone(),
        config_bytes: announced.config_bytes.clone(),
        config: announced.config.clone(),
        layers: announced.layers.clone(),
        source: Arc::new(Gone(announced.reference.clone())),
    };
    let root = overlay(&image, &inventories);
    Ok(Some(ReadImage { image, root }))
}
