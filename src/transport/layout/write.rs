//! Images into an OCI layout: a new one, or one that has other images, of which nothing is lost.
//!
//! Every blob is complete under its name or not there at all, and `index.json`, which names the images, is replaced as a
//! whole, last, by one writer at a time. So whatever stops a run leaves a layout that is as good as before; blobs that it
//! had finished are used by the next one. A tag that has moved leaves its old image behind without a name, as skopeo
//! does: it can still be had by its digest.
//!
//! Specification: OCI image-spec, `image-layout.md`, `descriptor.md` (`artifactType`), `annotations.md`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use oci_spec::image::Descriptor;
use serde_json::{Map, Value, json};

use super::{
    FolderFiles, INDEX_FILE, ImageFiles as _, LAYOUT_FILE, REFERENCE_NAME, blob_path,
    check_layout_file, invalid, not_there, packed_image, shown, shown_path,
};
use crate::transport::copy::{copy_blob, unchanged};
use crate::transport::manifest::LARGEST_DOCUMENT;
use crate::transport::outgoing::{
    BlobContent, CopyOutcome, CopyProgress, Outgoing, OutgoingBlob, OutgoingManifest, Written,
};
use crate::transport::{TransportError, new_file};

/// Media type of an index.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Blobs that are copied at once: enough to hide the latency of a registry.
const COPIES: usize = 4;

/// How long the turn to write `index.json` is waited for; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether it is there.
const GLANCE: Duration = Duration::from_millis(10);

/// The content of the file that says that a folder is a layout.
pub(in crate::transport) const LAYOUT_CONTENT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Writes `outgoing` into the layout at `folder`, which is made where there is none, under `name` (the annotation
/// `org.opencontainers.image.ref.name`), which moves there last.
///
/// Blobs that are there already are read and compared rather than trusted, and replaced where they are damaged.
///
/// # Errors
/// When the folder has files and is no layout, a blob cannot be read or is not what its descriptor promises, or this
/// machine does not take it. The layout then has the images that it had before.
pub fn write(
    folder: &Path,
    name: Option<&str>,
    outgoing: &Outgoing,
    progress: &dyn CopyProgress,
) -> Result<Written, TransportError> {
    let root = &outgoing.root()?.descriptor;
    let layout = LayoutFolder::prepare(folder)?;
    // What cannot be added to is found out before the work.
    layout.index()?;
    new_file::remove_stale(folder, new_file::PREFIX);
    let blobs: Vec<OutgoingBlob> = all_blobs(outgoing);
    let mut written = Written {
        digest: root.digest().clone(),
        written_bytes: 0,
        written_blobs: 0,
        existing_blobs: 0,
    };
    for (blob, outcome) in blobs.iter().zip(layout.put_all(&blobs, progress)?) {
        if outcome == CopyOutcome::Copied {
            written.written_blobs += 1;
            written.written_bytes += blob.descriptor.size();
        } else {
            written.existing_blobs += 1;
        }
    }
    layout.sync_blobs(&blobs)?;
    layout.add_to_index(name, root, &outgoing.referrers)?;
    Ok(written)
}

/// Blobs and documents, each once, in the order in which they are given: what is named comes before what names it.
pub(in crate::transport) fn all_blobs(outgoing: &Outgoing) -> Vec<OutgoingBlob> {
    let mut seen = std::collections::BTreeSet::new();
    let documents = outgoing.manifests.iter().chain(&outgoing.referrers);
    outgoing
        .blobs
        .iter()
        .cloned()
        .chain(documents.map(|document| OutgoingBlob {
            descriptor: document.descriptor.clone(),
            content: BlobContent::Bytes(Arc::from(document.bytes.as_slice())),
        }))
        .filter(|blob| seen.insert(blob.descriptor.digest().to_string()))
        .collect()
}

/// A layout that is written to.
struct LayoutFolder {
    files: FolderFiles,
}

impl LayoutFolder {
    /// The layout at `folder`, made where there is none.
    fn prepare(folder: &Path) -> Result<Self, TransportError> {
        let name = format!("`{}`", shown_path(folder));
        let unwritten = |source| TransportError::Write {
            what: name.clone(),
            source,
        };
        match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                let reason = "it is no folder; a file is written with `oci-archive:`";
                return Err(invalid(name, reason));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder).map_err(unwritten)?;
            }
            Err(error) => return Err(not_there(folder, "folder", error)),
        }
        let files = FolderFiles {
            folder: folder.to_owned(),
            name: name.clone(),
        };
        if files.read(LAYOUT_FILE)?.is_none() {
            let has_files = fs::read_dir(folder)
                .and_then(|mut entries| {
                    entries.try_fold(false, |found, entry| {
                        let name = entry?.file_name();
                        let is_ours = name
                            .to_str()
                            .is_some_and(|name| name.starts_with(new_file::PREFIX));
                        Ok(found || !is_ours)
                    })
                })
                .map_err(unwritten)?;
            // Another run may have begun the layout since.
            if has_files && files.read(LAYOUT_FILE)?.is_none() {
                let reason = match packed_image(folder) {
                    Some(hint) => format!("it is no OCI image layout: {hint}"),
                    None => {
                        "it has files and is no OCI image layout; name a new or an empty folder"
                            .to_owned()
                    }
                };
                return Err(invalid(name, reason));
            }
            let layout_file = || {
                let mut file = new_file::create(folder, new_file::PREFIX)?;
                file.as_file_mut().write_all(LAYOUT_CONTENT.as_bytes())?;
                file.as_file().sync_data()?;
                match file.persist_noclobber(folder.join(LAYOUT_FILE)) {
                    Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
                        Err(error.error)
                    }
                    _ => Ok(()),
                }
            };
            layout_file().map_err(unwritten)?;
        }
        check_layout_file(&files)?;
        Ok(Self { files })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.files.folder.join(path)
    }

    fn unwritten(&self, path: &str) -> impl Fn(io::Error) -> TransportError {
        let what = format!("`{}`", shown_path(&self.path(path)));
        move |source| TransportError::Write {
            what: what.clone(),
            source,
        }
    }

    /// Copies what is not there, several at once; what became of each.
    fn put_all(
        &self,
        blobs: &[OutgoingBlob],
        progress: &dyn CopyProgress,
    ) -> Result<Vec<CopyOutcome>, TransportError> {
        let next = AtomicUsize::new(0);
        let has_failed = AtomicBool::new(false);
        let failure = Mutex::new(None);
        let outcomes = Mutex::new(vec![CopyOutcome::Existing; blobs.len()]);
        let go_on = || !has_failed.load(Ordering::Relaxed);
        thread::scope(|scope| {
            for _ in 0..COPIES.min(blobs.len()) {
                scope.spawn(|| {
                    while go_on() {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(blob) = blobs.get(at) else {
                            return;
                        };
                        match self.put(blob, progress, &go_on) {
                            Ok(outcome) => {
                                outcomes.lock().unwrap_or_else(PoisonError::into_inner)[at] =
                                    outcome;
                            }
                            Err(error) => {
                                // The first one is the reason; the others stop because of it.
                                let mut failure =
                                    failure.lock().unwrap_or_else(PoisonError::into_inner);
                                failure.get_or_insert(error);
                                has_failed.store(true, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(outcomes
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Copies a blob, unless it is there.
    fn put(
        &self,
        blob: &OutgoingBlob,
        progress: &dyn CopyProgress,
        go_on: &dyn Fn() -> bool,
    ) -> Result<CopyOutcome, TransportError> {
        let descriptor = &blob.descriptor;
        progress.started(descriptor, descriptor.size());
        let path = blob_path(descriptor.digest());
        let place = self.path(&path);
        let unwritten = self.unwritten(&path);
        if has_blob(&place, descriptor) {
            progress.finished(descriptor, CopyOutcome::Existing);
            return Ok(CopyOutcome::Existing);
        }
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(&unwritten)?;
        }
        let mut file =
            new_file::create(&self.files.folder, new_file::PREFIX).map_err(&unwritten)?;
        let target = format!("`{}`", shown_path(&place));
        copy_blob(blob, file.as_file_mut(), &target, progress, go_on)?;
        new_file::finish(file, &place).map_err(&unwritten)?;
        progress.finished(descriptor, CopyOutcome::Copied);
        Ok(CopyOutcome::Copied)
    }

    /// Puts the names of the blobs on the disk, before anything leads to them.
    fn sync_blobs(&self, blobs: &[OutgoingBlob]) -> Result<(), TransportError> {
        let folders: std::collections::BTreeSet<String> = blobs
            .iter()
            .map(|blob| format!("blobs/{}", blob.descriptor.digest().algorithm()))
            .chain(["blobs".to_owned()])
            .collect();
        for folder in folders {
            new_file::sync_folder(&self.path(&folder)).map_err(self.unwritten(&folder))?;
        }
        Ok(())
    }

    /// The index as it lies there; an empty one where there is none, as a run leaves it that was stopped in a new layout.
    fn index(&self) -> Result<Map<String, Value>, TransportError> {
        let what = format!("`{INDEX_FILE}` of {}", self.files.name);
        let Some(bytes) = self.files.read(INDEX_FILE)? else {
            let new = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
            return match new {
                Value::Object(index) => Ok(index),
                _ => Ok(Map::new()),
            };
        };
        let mut index: Map<String, Value> = serde_json::from_slice(&bytes)
            .map_err(|error| invalid(what.as_str(), shown(&error.to_string())))?;
        match index.get("manifests") {
            Some(Value::Array(_)) => {}
            None | Some(Value::Null) => {
                index.insert("manifests".to_owned(), Value::Array(Vec::new()));
            }
            Some(_) => return Err(invalid(what, "its `manifests` are no list")),
        }
        Ok(index)
    }

    /// Names the image, and what is attached to it.
    fn add_to_index(
        &self,
        name: Option<&str>,
        root: &Descriptor,
        referrers: &[OutgoingManifest],
    ) -> Result<(), TransportError> {
        let _turn = self.turn()?;
        let unwritten = self.unwritten(INDEX_FILE);
        let before = self.index()?;
        let mut index = before.clone();
        if let Some(Value::Array(entries)) = index.get_mut("manifests") {
            add_entry(entries, entry(root, name)?, name);
            for referrer in referrers {
                add_entry(entries, entry(&referrer.descriptor, None)?, None);
            }
        }
        if index == before && self.path(INDEX_FILE).exists() {
            return Ok(());
        }
        let bytes = to_json(&Value::Object(index))?;
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            let what = format!("`{INDEX_FILE}` of {}", self.files.name);
            let reason = format!(
                "it would have {} bytes, and documents have at most {LARGEST_DOCUMENT}",
                bytes.len()
            );
            return Err(invalid(what, reason));
        }
        let mut file =
            new_file::create(&self.files.folder, new_file::PREFIX).map_err(&unwritten)?;
        file.as_file_mut().write_all(&bytes).map_err(&unwritten)?;
        new_file::finish(file, &self.path(INDEX_FILE)).map_err(&unwritten)?;
        new_file::sync_folder(&self.files.folder).map_err(&unwritten)
    }

    /// Waits until nobody else writes the index; the turn ends with the value. The lock is on the file that is never
    /// replaced, so that none of its own is left behind in the layout.
    fn turn(&self) -> Result<File, TransportError> {
        let unwritten = self.unwritten(INDEX_FILE);
        let path = self.path(LAYOUT_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            // Locks work without the right to write, but for some file systems of a network.
            .or_else(|_| File::open(&path))
            .map_err(&unwritten)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(GLANCE),
                Err(TryLockError::WouldBlock) => {
                    let reason = format!(
                        "another program has had a lock on it for {} seconds",
                        PATIENCE.as_secs()
                    );
                    return Err(unwritten(io::Error::new(io::ErrorKind::TimedOut, reason)));
                }
                // A file system without locks: two writers at once are then the user's affair.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(file);
                }
                Err(TryLockError::Error(error)) => return Err(unwritten(error)),
            }
        }
    }
}

/// Whether the file at `place` is the blob, to the last byte.
fn has_blob(place: &Path, descriptor: &Descriptor) -> bool {
    let is_candidate = fs::symlink_metadata(place)
        .is_ok_and(|metadata| metadata.is_file() && metadata.len() == descriptor.size());
    is_candidate && File::open(place).is_ok_and(|file| unchanged(file, descriptor))
}

/// The entry of the index for `descriptor`.
pub(in crate::transport) fn entry(
    descriptor: &Descriptor,
    name: Option<&str>,
) -> Result<Value, TransportError> {
    let failed = |error: serde_json::Error| {
        invalid(
            format!("the descriptor of {}", descriptor.digest()),
            error.to_string(),
        )
    };
    let mut entry: Map<String, Value> = serde_json::to_value(descriptor)
        .and_then(serde_json::from_value)
        .map_err(failed)?;
    if let Some(name) = name {
        let annotations = entry
            .entry("annotations")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(annotations) = annotations {
            annotations.insert(REFERENCE_NAME.to_owned(), name.into());
        }
    }
    Ok(Value::Object(entry))
}

/// A document as it lies there.
pub(in crate::transport) fn to_json(value: &Value) -> Result<Vec<u8>, TransportError> {
    serde_json::to_vec(value).map_err(|error| invalid("a document", error.to_string()))
}

fn name_of(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(REFERENCE_NAME)?.as_str()
}

/// Adds an entry; its name is taken from whatever has it.
fn add_entry(entries: &mut Vec<Value>, new: Value, name: Option<&str>) {
    let is_same = |entry: &Value| entry.get("digest") == new.get("digest");
    if name.is_none() && entries.iter().any(is_same) {
        return;
    }
    let mut place = None;
    if let Some(name) = name {
        for (at, entry) in entries.iter_mut().enumerate() {
            if name_of(entry) != Some(name) {
                continue;
            }
            if place.is_none() && is_same(entry) {
                place = Some(at);
            } else {
                remove_name(entry);
            }
        }
    }
    // The same image without a name becomes the named one.
    let place = place.or_else(|| {
        entries
            .iter()
            .position(|entry| is_same(entry) && name_of(entry).is_none())
    });
    match place.and_then(|at| entries.get_mut(at)) {
        Some(entry) => *entry = new,
        None => entries.push(new),
    }
}

/// Takes its name from an entry.
fn remove_name(entry: &mut Value) {
    let Some(entry) = entry.as_object_mut() else {
        return;
    };
    let Some(annotations) = entry.get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    annotations.remove(REFERENCE_NAME);
    if annotations.is_empty() {
        entry.remove("annotations");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(digest: &str, name: Option<&str>) -> Value {
        match name {
            Some(name) => json!({ "digest": digest, "annotations": { REFERENCE_NAME: name } }),
            None => json!({ "digest": digest }),
        }
    }

    fn added(entries: &[Value], digest: &str, name: Option<&str>) -> Vec<Value> {
        let mut entries = entries.to_vec();
        add_entry(&mut entries, image(digest, name), name);
        entries
    }

    #[test]
    fn a_name_moves_and_no_image_is_lost() {
        let old = [image("a", Some("1")), image("b", Some("2"))];
        for (digest, name, expected) in [
            // Another image under a new name.
            (
                "c",
                Some("3"),
                vec![old[0].clone(), old[1].clone(), image("c", Some("3"))],
            ),
            // The name of another.
            (
                "c",
                Some("1"),
                vec![image("a", None), old[1].clone(), image("c", Some("1"))],
            ),
            // The same once more.
            ("a", Some("1"), old.to_vec()),
            // An image that has a name already gets a second one.
            (
                "a",
                Some("3"),
                vec![old[0].clone(), old[1].clone(), image("a", Some("3"))],
            ),
            // A name goes from one image to another that has one.
            (
                "a",
                Some("2"),
                vec![old[0].clone(), image("b", None), image("a", Some("2"))],
            ),
            // Without a name it only has to be there.
            ("a", None, old.to_vec()),
            (
                "c",
                None,
                vec![old[0].clone(), old[1].clone(), image("c", None)],
            ),
        ] {
            assert_eq!(added(&old, digest, name), expected, "{digest} {name:?}");
            let once = added(&old, digest, name);
            assert_eq!(added(&once, digest, name), once, "{digest} {name:?}");
        }
        let unnamed = [image("a", None)];
        assert_eq!(added(&unnamed, "a", Some("1")), [image("a", Some("1"))]);
    }
}
