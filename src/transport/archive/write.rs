//! Archives of images, written in one pass: `oci-archive:` and `docker-archive:`. The same image has the same bytes,
//! wherever and whenever it is written: members come in the order of the image, without owner and time.
//!
//! Layers lie in a `docker-archive` as they are, compressed too, and under the names that Docker has given them since
//! version 25: `docker load` (zstd since Docker 23), `podman load` and skopeo unpack them.
//!
//! Specifications: OCI image-spec, `image-layout.md`; moby, `image/spec` v1.2, "Combined Image JSON + Filesystem Changeset
//! Format"; POSIX.1-2001 `pax`, "ustar Interchange Format", with GNU's long names for digests of sha512.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use oci_distribution::Reference;
use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::super::copy::copy_blob;
use super::super::layout::write::{LAYOUT_CONTENT, all_blobs, entry, to_json};
use super::super::layout::{INDEX_FILE, LAYOUT_FILE, blob_path, invalid, shown_path};
use super::super::manifest::{Document, parse_document};
use super::super::outgoing::{CopyOutcome, CopyProgress, Outgoing, OutgoingBlob, Written};
use super::super::{TransportError, new_file};
use super::docker::MANIFEST_FILE;
use super::tar_reader::BLOCK;

/// What errors call an archive that goes to a writer.
const THE_ARCHIVE: &str = "the archive";

/// Writes `outgoing` as a tar archive of an OCI layout to the file at `path`, under `name` (the annotation
/// `org.opencontainers.image.ref.name`). The file is there when it is complete; what is no regular file, such as a pipe,
/// is written to directly.
///
/// What is attached to the image is listed beside it, as in a layout. `podman load` and skopeo without a name take an
/// archive of one entry only; [`Outgoing::without_referrers`] makes one.
///
/// # Errors
/// When a blob cannot be read or is not what its descriptor promises, or the file cannot be written; what was there
/// before is then still there.
pub fn write_oci(
    path: &Path,
    name: Option<&str>,
    outgoing: &Outgoing,
    progress: &dyn CopyProgress,
) -> Result<Written, TransportError> {
    let what = format!("`{}`", shown_path(path));
    let failed = |source| TransportError::Write {
        what: what.clone(),
        source,
    };
    new_file::write(path, failed, |out| {
        oci(out, &what, name, outgoing, progress)
    })
}

/// [`write_oci`] to a writer, which an error leaves with a part of the archive.
///
/// # Errors
/// Those of [`write_oci`].
pub fn write_oci_to(
    out: &mut dyn Write,
    name: Option<&str>,
    outgoing: &Outgoing,
    progress: &dyn CopyProgress,
) -> Result<Written, TransportError> {
    oci(out, THE_ARCHIVE, name, outgoing, progress)
}

/// Writes `outgoing` as `docker save` would to the file at `path`; `tags` are what `docker load` calls it. Manifests,
/// annotations and what is attached have no place in it, and it is an image for one platform.
///
/// # Errors
/// When the root is an index, a blob cannot be read or is not what its descriptor promises, or the file cannot be
/// written; what was there before is then still there.
pub fn write_docker(
    path: &Path,
    tags: &[Reference],
    outgoing: &Outgoing,
    progress: &dyn CopyProgress,
) -> Result<Written, TransportError> {
    let what = format!("`{}`", shown_path(path));
    let failed = |source| TransportError::Write {
        what: what.clone(),
        source,
    };
    new_file::write(path, failed, |out| {
        docker(out, &what, tags, outgoing, progress)
    })
}

/// [`write_docker`] to a writer, which an error leaves with a part of the archive.
///
/// # Errors
/// Those of [`write_docker`].
pub fn write_docker_to(
    out: &mut dyn Write,
    tags: &[Reference],
    outgoing: &Outgoing,
    progress: &dyn CopyProgress,
) -> Result<Written, TransportError> {
    docker(out, THE_ARCHIVE, tags, outgoing, progress)
}

fn oci(
    out: &mut dyn Write,
    what: &str,
    name: Option<&str>,
    outgoing: &Outgoing,
    progress: &dyn CopyProgress,
) -> Result<Written, TransportError> {
    let root = &outgoing.root()?.descriptor;
    let mut entries = vec![entry(root, name)?];
    for referrer in &outgoing.referrers {
        entries.push(entry(&referrer.descriptor, None)?);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    });
    let blobs = all_blobs(outgoing);
    let mut archive = ArchiveWriter {
        out,
        what,
        progress,
    };
    archive.document(LAYOUT_FILE, LAYOUT_CONTENT.as_bytes())?;
    archive.document(INDEX_FILE, &to_json(&index)?)?;
    archive.blobs(&blobs)?;
    archive.finish()?;
    written(outgoing, &blobs)
}

fn docker(
    out: &mut dyn Write,
    what: &str,
    tags: &[Reference],
    outgoing: &Outgoing,
    progress: &dyn CopyProgress,
) -> Result<Written, TransportError> {
    let root = outgoing.root()?;
    let root_name = format!("the manifest {}", root.descriptor.digest());
    let media_type = root.descriptor.media_type().to_string();
    let manifest = match parse_document(&root.bytes, Some(&media_type), &root_name)? {
        Document::Manifest(manifest) => manifest,
        Document::Index(_) => {
            let reason = "`docker save` has no form for images of several platforms: name one with `--platform`, or \
                          write `oci-archive:`";
            return Err(invalid("the image", reason));
        }
    };
    let by_digest: BTreeMap<String, &OutgoingBlob> = outgoing
        .blobs
        .iter()
        .map(|blob| (blob.descriptor.digest().to_string(), blob))
        .collect();
    let members = [manifest.config()].into_iter().chain(manifest.layers());
    let mut blobs: Vec<OutgoingBlob> = Vec::new();
    let mut seen = BTreeSet::new();
    for descriptor in members {
        let digest = descriptor.digest().to_string();
        let Some(blob) = by_digest.get(&digest) else {
            return Err(invalid(root_name, format!("its blob {digest} is missing")));
        };
        if seen.insert(digest) {
            blobs.push((*blob).clone());
        }
    }
    let layers: Vec<String> = manifest
        .layers()
        .iter()
        .map(|layer| blob_path(layer.digest()))
        .collect();
    let tags: Vec<String> = tags.iter().map(Reference::whole).collect();
    let listed: Value = json!([{
        "Config": blob_path(manifest.config().digest()),
        "RepoTags": tags,
        "Layers": layers,
    }]);
    let mut archive = ArchiveWriter {
        out,
        what,
        progress,
    };
    archive.document(MANIFEST_FILE, &to_json(&listed)?)?;
    archive.blobs(&blobs)?;
    archive.finish()?;
    written(outgoing, &blobs)
}

fn written(outgoing: &Outgoing, blobs: &[OutgoingBlob]) -> Result<Written, TransportError> {
    Ok(Written {
        digest: outgoing.root()?.descriptor.digest().clone(),
        written_bytes: blobs.iter().map(|blob| blob.descriptor.size()).sum(),
        written_blobs: blobs.len(),
        existing_blobs: 0,
    })
}

/// A tar archive that is being written.
struct ArchiveWriter<'a> {
    out: &'a mut dyn Write,
    what: &'a str,
    progress: &'a dyn CopyProgress,
}

impl ArchiveWriter<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        self.out
            .write_all(bytes)
            .map_err(|source| TransportError::Write {
                what: self.what.to_owned(),
                source,
            })
    }

    /// The header of a member: no owner, no time.
    fn header(&mut self, name: &str, kind: EntryType, size: u64) -> Result<(), TransportError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        let field = &mut header.as_old_mut().name;
        if name.len() > field.len() {
            // GNU: the name is the contents of a member before, with a zero at its end.
            self.header(
                "././@LongLink",
                EntryType::GNULongName,
                name.len() as u64 + 1,
            )?;
            let mut long = name.as_bytes().to_vec();
            long.push(0);
            self.put(&long)?;
            self.pad(long.len() as u64)?;
        }
        let shown = name.len().min(field.len());
        field[..shown].copy_from_slice(&name.as_bytes()[..shown]);
        header.set_cksum();
        self.put(header.as_bytes())
    }

    /// Fills up the last block of a member.
    fn pad(&mut self, size: u64) -> Result<(), TransportError> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
        match over {
            0 => Ok(()),
            over => self.put(&[0; BLOCK][over..]),
        }
    }

    fn document(&mut self, name: &str, bytes: &[u8]) -> Result<(), TransportError> {
        self.header(name, EntryType::Regular, bytes.len() as u64)?;
        self.put(bytes)?;
        self.pad(bytes.len() as u64)
    }

    /// Blobs, in their order, and before them the folders that they are in.
    fn blobs(&mut self, blobs: &[OutgoingBlob]) -> Result<(), TransportError> {
        let folders: BTreeSet<String> = blobs
            .iter()
            .map(|blob| format!("blobs/{}/", blob.descriptor.digest().algorithm()))
            .chain(["blobs/".to_owned()])
            .collect();
        for folder in folders {
            self.header(&folder, EntryType::Directory, 0)?;
        }
        for blob in blobs {
            let descriptor = &blob.descriptor;
            self.progress.started(descriptor, descriptor.size());
            self.header(
                &blob_path(descriptor.digest()),
                EntryType::Regular,
                descriptor.size(),
            )?;
            copy_blob(blob, &mut *self.out, self.what, self.progress, &|| true)?;
            self.pad(descriptor.size())?;
            self.progress.finished(descriptor, CopyOutcome::Copied);
        }
        Ok(())
    }

    /// The end of the archive.
    fn finish(&mut self) -> Result<(), TransportError> {
        self.put(&[0; 2 * BLOCK])?;
        self.out
            .flush()
            .map_err(|source: io::Error| TransportError::Write {
                what: self.what.to_owned(),
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::transport::outgoing::Silent;

    #[test]
    fn names_and_sizes_of_any_length_come_back() {
        let long = format!("blobs/sha512/{}", "ab".repeat(64));
        let fits = "n".repeat(100);
        let mut bytes = Vec::new();
        let mut archive = ArchiveWriter {
            out: &mut bytes,
            what: THE_ARCHIVE,
            progress: &Silent,
        };
        let members = [
            (fits.as_str(), vec![1; 511]),
            (long.as_str(), vec![2; 512]),
            ("short", vec![3; 513]),
            ("empty", Vec::new()),
        ];
        for (name, contents) in &members {
            archive.document(name, contents).expect("memory");
        }
        archive.finish().expect("memory");
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut entries = archive.entries().expect("an archive");
        for (name, contents) in &members {
            let mut entry = entries.next().expect("a member").expect("a header");
            assert_eq!(entry.path_bytes().as_ref(), name.as_bytes());
            let mut read = Vec::new();
            entry.read_to_end(&mut read).expect("contents");
            assert_eq!(read, *contents);
        }
        assert!(entries.next().is_none());
        // Beyond what eleven octal digits hold.
        let mut bytes = Vec::new();
        let mut archive = ArchiveWriter {
            out: &mut bytes,
            what: THE_ARCHIVE,
            progress: &Silent,
        };
        let size = 20 << 30;
        archive
            .header("large", EntryType::Regular, size)
            .expect("memory");
        let mut header = Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(&bytes);
        assert_eq!(header.size().ok(), Some(size));
    }

    #[test]
    fn a_writer_that_takes_no_more_is_one_error() {
        let mut room = [0; 700];
        let mut out = room.as_mut_slice();
        let mut archive = ArchiveWriter {
            out: &mut out,
            what: "`out.tar`",
            progress: &Silent,
        };
        let error = archive.document("a", &[1; 600]).expect_err("no room");
        assert_eq!(error.to_string(), "cannot write `out.tar`");
        assert!(matches!(error, TransportError::Write { .. }));
    }
}
