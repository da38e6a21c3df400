//! What refers to a manifest of a repository: the referrers API page by page, else the index under the fallback tag.
//!
//! Specification: OCI distribution-spec 1.1, "Listing Referrers" and "Referrers Tag Schema".

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use oci_spec::image::Descriptor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::layers::RegistryLayers;
use super::session::{Ask, Repository, Session};
use super::{TransportError, tags, wait};
use crate::digest::Digest;
use crate::transport::manifest::{ACCEPTED, LARGEST_DOCUMENT};
use crate::transport::referrers::{Listing, ReferrerSource, fallback_tag, parse_list};

/// The most pages of a list: with pages of the usual size, more than there are referrers.
const MOST_PAGES: usize = 50;

/// How long the whole list may take. Who asks for an image wants to know of it in passing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What lists are written in.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Lists what refers to `subject`, in at most [`PATIENCE`] and without trying anything twice.
pub(super) async fn read(
    session: &Session,
    repository: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, TransportError> {
    let list = list(session, repository, subject, artifact_type);
    tokio::time::timeout(PATIENCE, list)
        .await
        .unwrap_or_else(|_| Err(repository.too_slow()))
}

async fn list(
    session: &Session,
    repository: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, TransportError> {
    match by_api(session, repository, subject, artifact_type).await {
        // It may not know the API, which it says in one way or another.
        Err(refused @ (TransportError::NotFound(_) | TransportError::Refused { .. })) => {
            match by_tag(session, repository, subject, artifact_type).await {
                Err(TransportError::NotFound(_)) => match refused {
                    TransportError::NotFound(_) => Ok(Vec::new()),
                    refused => Err(refused),
                },
                answer => answer,
            }
        }
        answer => answer,
    }
}

async fn by_api(
    session: &Session,
    repository: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, TransportError> {
    let what = what_is_asked(repository, subject);
    let list = format!("the list of {what} at {}", repository.registry.host);
    let invalid = |reason: String| TransportError::Invalid {
        what: list.clone(),
        reason,
    };
    let mut path = format!("referrers/{subject}");
    if let Some(artifact_type) = artifact_type {
        let value = utf8_percent_encode(artifact_type, NON_ALPHANUMERIC);
        // Writing into a String cannot fail.
        let _ = write!(path, "?artifactType={value}");
    }
    let mut listing = Listing::new(artifact_type);
    let mut seen = BTreeSet::new();
    for _ in 0..MOST_PAGES {
        let ask = Ask {
            limit: LARGEST_DOCUMENT,
            accept: Some(INDEX),
            quick: true,
            ..Ask::new(&path, what.clone())
        };
        let response = session.document(repository, &ask).await?;
        listing.extend(parse_list(&response.body, &list)?, &list)?;
        let Some(next) = response.headers("link").find_map(tags::next_page) else {
            return Ok(listing.found);
        };
        // Relative to the page itself, as every link.
        let next = response
            .url
            .join(next)
            .map_err(|error| invalid(format!("its next page has no address: {error}")))?;
        if !seen.insert(next.to_string()) {
            return Err(invalid("its pages lead in a circle".to_owned()));
        }
        path = next.into();
    }
    Err(invalid(format!("it has more than {MOST_PAGES} pages")))
}

async fn by_tag(
    session: &Session,
    repository: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, TransportError> {
    let tag = fallback_tag(subject);
    let ask = Ask {
        limit: LARGEST_DOCUMENT,
        accept: Some(ACCEPTED),
        quick: true,
        ..Ask::new(
            &format!("manifests/{tag}"),
            what_is_asked(repository, subject),
        )
    };
    let response = session.document(repository, &ask).await?;
    let list = format!("the index {}:{tag}", repository.path);
    let mut listing = Listing::new(artifact_type);
    listing.extend(parse_list(&response.body, &list)?, &list)?;
    Ok(listing.found)
}

fn what_is_asked(repository: &Repository, subject: &Digest) -> String {
    format!("what is attached to {}@{subject}", repository.path)
}

impl ReferrerSource for RegistryLayers {
    fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, TransportError> {
        let mut failure = None;
        for repository in &self.repositories {
            let session = Arc::clone(&self.session);
            let repository = Arc::clone(repository);
            let subject = subject.clone();
            let artifact_type = artifact_type.map(str::to_owned);
            let found = wait(&self.runtime, async move {
                read(&session, &repository, &subject, artifact_type.as_deref()).await
            })?;
            match found {
                // A mirror has what was asked of it before, and of what is attached mostly nothing.
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(Vec::new()), Err)
    }

    fn manifest(&self, referrer: &Descriptor) -> Result<Vec<u8>, TransportError> {
        let mut failure = None;
        for repository in &self.repositories {
            let session = Arc::clone(&self.session);
            let repository = Arc::clone(repository);
            let name = referrer.digest().to_string();
            let answer = wait(&self.runtime, async move {
                let ask = Ask {
                    limit: LARGEST_DOCUMENT,
                    accept: Some(ACCEPTED),
                    ..Ask::new(&format!("manifests/{name}"), repository.what(&name))
                };
                session.document(&repository, &ask).await
            })?;
            match answer {
                Ok(response) => return Ok(response.body),
                Err(error) if error.may_be_elsewhere() => {
                    failure.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            TransportError::NotFound(format!(
                "there is no place to ask for {}",
                referrer.digest()
            ))
        }))
    }
}
