//! Manifests and indexes, what is attached to them, and the tag at last.
//!
//! A registry that knows of referrers says so in its answer (`OCI-Subject`). For one that does not, the client keeps the
//! list: an index under a tag made from the subject's digest. Several clients may add to it at a time, and few registries
//! heed `If-Match`, so it is read again after it was written, and once more at the end.
//!
//! Specification: OCI distribution-spec, "Pushing Manifests", "Pushing Manifests with Subject" and "Referrers Tag Schema".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci_distribution::Reference;
use serde_json::{Value, json};

use super::{Destination, TransportError, compare_digest};
use crate::digest::{self, Digest};
use crate::http::{Response, Verb};
use crate::transport::manifest::{ACCEPTED, LARGEST_DOCUMENT};
use crate::transport::outgoing::{Outgoing, OutgoingManifest};
use crate::transport::referrers::fallback_tag_of;
use crate::transport::registry::session::{Ask, Deed};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What every registry takes. More need not be taken.
const LARGEST_FOR_EVERYBODY: usize = 4 << 20;

/// How often the list of referrers is written anew because somebody else has written it.
const MOST_ROUNDS: u32 = 8;

/// How often the tag is put again where the registry stored something else.
const MOST_REPAIRS: u32 = 3;

/// What is attached, by the digest of its subject.
pub(super) type Referrers = BTreeMap<String, Vec<Value>>;

/// A list of referrers as it was found.
struct Listed {
    index: Option<Value>,
    /// Its `ETag`.
    etag: Option<String>,
}

impl Destination {
    /// Puts all manifests, what is attached, and the tag.
    pub(super) fn put_manifests(
        &self,
        target: &Reference,
        outgoing: &Outgoing,
    ) -> Result<(), TransportError> {
        let Some((root, children)) = outgoing.manifests.split_last() else {
            return Ok(());
        };
        for manifest in children {
            self.put_by_digest(manifest)?;
        }
        let tag = match (target.tag(), target.digest()) {
            (_, Some(_)) => None,
            (tag, None) => Some(tag.unwrap_or("latest")),
        };
        if tag.is_none() || !outgoing.referrers.is_empty() {
            self.put_by_digest(root)?;
        }
        let unlisted = self.put_referrers(&outgoing.referrers)?;
        for (subject, entries) in &unlisted {
            self.list_referrers(subject, entries)?;
        }
        if let Some(tag) = tag {
            self.put_tag(tag, root)?;
        }
        for (subject, entries) in &unlisted {
            // Who read the list before we wrote it, and wrote it after, has lost our entries without knowing it.
            self.list_referrers(subject, entries)?;
        }
        Ok(())
    }

    /// What is attached, put under its digest. Returned is what the registry does not list by itself.
    fn put_referrers(&self, referrers: &[OutgoingManifest]) -> Result<Referrers, TransportError> {
        let mut unlisted = Referrers::new();
        for referrer in referrers {
            let response = self.put_by_digest(referrer)?;
            let subject = subject_of(referrer)?;
            let known = response.header("oci-subject");
            if known.is_some_and(|known| known == subject.as_ref()) {
                continue;
            }
            let entry = serde_json::to_value(&referrer.descriptor)
                .map_err(|error| invalid(referrer, &error))?;
            unlisted.entry(subject.to_string()).or_default().push(entry);
        }
        Ok(unlisted)
    }

    fn put_by_digest(&self, manifest: &OutgoingManifest) -> Result<Response, TransportError> {
        let digest = manifest.descriptor.digest();
        let step = format!("put manifest {digest}");
        let response = self
            .put(digest.as_ref(), manifest)
            .map_err(|error| self.failed(&step, error))?;
        compare_digest(&response, digest, &format!("manifest {digest}"))
            .map_err(|error| self.failed(&step, error))?;
        Ok(response)
    }

    /// Makes the tag lead to the root. Under a tag a registry takes whatever arrives, so what it says that it has stored is
    /// compared, and put right at once where the line has changed it.
    fn put_tag(&self, tag: &str, root: &OutgoingManifest) -> Result<(), TransportError> {
        let digest = root.descriptor.digest();
        let step = format!("put tag {tag} on manifest {digest}");
        let mut repairs = 0;
        loop {
            let outcome = self.put(tag, root).and_then(|response| {
                if response.header("docker-content-digest").is_some() {
                    compare_digest(&response, digest, &format!("tag {tag}"))
                } else {
                    self.compare_tag(tag, digest)
                }
            });
            match outcome {
                Ok(()) => return Ok(()),
                Err(TransportError::Mismatch { .. }) if repairs < MOST_REPAIRS => repairs += 1,
                Err(error) => return Err(self.failed(&step, error)),
            }
        }
    }

    /// Asks what a tag leads to.
    fn compare_tag(&self, tag: &str, digest: &Digest) -> Result<(), TransportError> {
        match self.read_manifest(tag) {
            Ok(response) => digest::verify(&response.body, digest, None).map_err(|mismatch| {
                TransportError::Mismatch {
                    what: format!("what the registry stored as tag {tag}"),
                    mismatch,
                }
            }),
            // It may be one that takes a while to show what it has.
            Err(TransportError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn put(&self, name: &str, manifest: &OutgoingManifest) -> Result<Response, TransportError> {
        let media_type = manifest.descriptor.media_type().to_string();
        let deed = self.deed(name, &media_type)?;
        let response = self.change(&deed, Bytes::copy_from_slice(&manifest.bytes))?;
        if response.is_success() {
            return Ok(response);
        }
        let size = manifest.bytes.len();
        let error = self.refusal(&deed.what, response);
        Err(match error {
            TransportError::Refused {
                registry,
                what,
                reason,
            } if size > LARGEST_FOR_EVERYBODY => TransportError::Refused {
                registry,
                what,
                reason: format!(
                    "{reason}; it has {size} bytes, and no registry must take more than {LARGEST_FOR_EVERYBODY}"
                ),
            },
            error => error,
        })
    }

    fn deed(&self, name: &str, media_type: &str) -> Result<Deed, TransportError> {
        let what = format!("manifest {name}");
        let url = self.address_of(&format!("manifests/{name}"), &what)?;
        Ok(Deed {
            content_type: Some(media_type.to_owned()),
            repeatable: true,
            commits: true,
            ..Deed::new(Verb::Put, url, &what)
        })
    }

    fn read_manifest(&self, name: &str) -> Result<Response, TransportError> {
        let session = Arc::clone(&self.session);
        let repository = Arc::clone(&self.repository);
        let (path, what) = (format!("manifests/{name}"), repository.what(name));
        self.wait(async move {
            let ask = Ask {
                accept: Some(ACCEPTED),
                limit: LARGEST_DOCUMENT,
                ..Ask::new(&path, what)
            };
            session.document(&repository, &ask).await
        })?
    }

    /// Sees to it that the list of a subject's referrers has these entries, and still has those of others.
    fn list_referrers(&self, subject: &str, entries: &[Value]) -> Result<(), TransportError> {
        let tag = fallback_tag_of(subject);
        let step = format!("list what is attached to {subject} under tag {tag}");
        self.add_to_list(&tag, entries)
            .map_err(|error| self.failed(&step, error))
    }

    fn add_to_list(&self, tag: &str, entries: &[Value]) -> Result<(), TransportError> {
        for round in 0..MOST_ROUNDS {
            if round > 0 {
                // Two that write in step would go on so. What is read afterwards is written at once.
                let pause = u64::from(round) * (10 + pause_of(entries));
                std::thread::sleep(Duration::from_millis(pause));
            }
            let listed = self.read_list(tag)?;
            let etag = listed.etag;
            let is_new = listed.index.is_none();
            let Some(index) = extended(listed.index, entries, tag)? else {
                return Ok(());
            };
            let response = self.put_list(tag, &index, etag, is_new);
            let is_last = round + 1 == MOST_ROUNDS;
            match response {
                // Another was faster, or it is not the time.
                Ok(response)
                    if !is_last && matches!(response.status, 409 | 412 | 429 | 500 | 502..=504) => {
                }
                Err(TransportError::Http(_)) if !is_last => {}
                Ok(response) if response.is_success() => {}
                Ok(response) => return Err(self.refusal(&format!("manifest {tag}"), response)),
                Err(error) => return Err(error),
            }
        }
        if extended(self.read_list(tag)?.index, entries, tag)?.is_none() {
            return Ok(());
        }
        Err(TransportError::Refused {
            registry: self.repository.registry.host.clone(),
            what: format!("manifest {tag}"),
            reason: "others wrote it at the same time, again and again".to_owned(),
        })
    }

    fn put_list(
        &self,
        tag: &str,
        index: &Value,
        etag: Option<String>,
        is_new: bool,
    ) -> Result<Response, TransportError> {
        let bytes = serde_json::to_vec(index).map_err(|error| TransportError::Invalid {
            what: format!("the index of tag {tag}"),
            reason: error.to_string(),
        })?;
        let deed = Deed {
            if_none_match: is_new.then(|| "*".to_owned()),
            if_match: etag,
            // Sent again after its answer was lost, it would find its own work in its way; the next round reads it.
            repeatable: false,
            ..self.deed(tag, OCI_INDEX)?
        };
        self.change(&deed, Bytes::from(bytes))
    }

    fn read_list(&self, tag: &str) -> Result<Listed, TransportError> {
        match self.read_manifest(tag) {
            Ok(response) => {
                let index: Value = serde_json::from_slice(&response.body).map_err(|error| {
                    TransportError::Invalid {
                        what: format!("the index of tag {tag}"),
                        reason: format!(
                            "it is not JSON (line {}, column {})",
                            error.line(),
                            error.column()
                        ),
                    }
                })?;
                Ok(Listed {
                    index: Some(index),
                    etag: response.etag.filter(|etag| !etag.starts_with("W/")),
                })
            }
            Err(TransportError::NotFound(_)) => Ok(Listed {
                index: None,
                etag: None,
            }),
            Err(error) => Err(error),
        }
    }

    fn failed(&self, step: &str, error: TransportError) -> TransportError {
        TransportError::Push {
            step: step.to_owned(),
            place: self.place(),
            error: Box::new(error),
        }
    }
}

/// The list with these entries, or `None` where it has them. What it has besides stays as it is.
fn extended(
    index: Option<Value>,
    entries: &[Value],
    tag: &str,
) -> Result<Option<Value>, TransportError> {
    let wrong = |reason: &str| TransportError::Invalid {
        what: format!("the index of tag {tag}"),
        reason: reason.to_owned(),
    };
    let mut index = index
        .unwrap_or_else(|| json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}));
    let list = index
        .as_object_mut()
        .filter(|index| !index.contains_key("layers") && !index.contains_key("config"))
        .ok_or_else(|| wrong("it is not an index"))?
        .entry("manifests")
        .or_insert(Value::Null);
    if list.is_null() {
        *list = json!([]);
    }
    let list = list
        .as_array_mut()
        .ok_or_else(|| wrong("its `manifests` are not a list"))?;
    let missing: Vec<Value> = entries
        .iter()
        .filter(|entry| {
            !list
                .iter()
                .any(|listed| listed["digest"] == entry["digest"])
        })
        .cloned()
        .collect();
    if missing.is_empty() {
        return Ok(None);
    }
    list.extend(missing);
    Ok(Some(index))
}

/// A pause of up to 64 milliseconds that differs from writer to writer.
fn pause_of(entries: &[Value]) -> u64 {
    let digest = entries.first().and_then(|entry| entry["digest"].as_str());
    let last = digest.and_then(|digest| digest.bytes().last());
    u64::from(last.unwrap_or_default()) % 16 * 4
}

fn subject_of(referrer: &OutgoingManifest) -> Result<Digest, TransportError> {
    #[derive(serde::Deserialize)]
    struct Referrer {
        subject: Subject,
    }
    #[derive(serde::Deserialize)]
    struct Subject {
        digest: Digest,
    }
    let parsed: Referrer =
        serde_json::from_slice(&referrer.bytes).map_err(|error| invalid(referrer, &error))?;
    Ok(parsed.subject.digest)
}

fn invalid(referrer: &OutgoingManifest, error: &serde_json::Error) -> TransportError {
    TransportError::Invalid {
        what: format!("the manifest {}", referrer.descriptor.digest()),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_grows_and_keeps_what_others_put_there() {
        let entry = json!({"digest": "sha256:1", "size": 1});
        let new = extended(None, std::slice::from_ref(&entry), "t").expect("an index");
        let new = new.expect("a longer one");
        assert_eq!(new["manifests"], json!([entry]));
        assert_eq!(new["mediaType"], OCI_INDEX);
        let theirs = json!({
            "schemaVersion": 2, "x": 1, "manifests": [{"digest": "sha256:0", "y": [1]}],
        });
        let both = extended(Some(theirs), std::slice::from_ref(&entry), "t").expect("an index");
        let both = both.expect("a longer one");
        assert_eq!(both["x"], 1);
        assert_eq!(
            both["manifests"][0],
            json!({"digest": "sha256:0", "y": [1]})
        );
        assert_eq!(both["manifests"][1], entry);
        assert!(
            extended(Some(both), std::slice::from_ref(&entry), "t")
                .expect("an index")
                .is_none()
        );
        let null = json!({"schemaVersion": 2, "manifests": null});
        assert!(
            extended(Some(null), std::slice::from_ref(&entry), "t")
                .expect("an index")
                .is_some()
        );
        for wrong in [json!([]), json!({"manifests": 1}), json!({"layers": []})] {
            assert!(extended(Some(wrong), std::slice::from_ref(&entry), "t").is_err());
        }
    }
}
