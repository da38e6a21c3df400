//! Which of several indexes answers for a project.
//!
//! The first that has the project wins, and no version of a later one counts: otherwise whoever can upload to a
//! public index could take over a private project's name with a higher version.

use std::sync::Arc;

use super::cache::{CacheKey, CachePolicy, PageEntry};
use super::client::Shared;
use super::error::IndexError;
use super::project::Project;
use super::settings::IndexAddress;
use crate::http::{HttpError, Request, redacted};
use crate::packaging::PackageName;
use crate::packaging::simple;

/// The most that a page may be, in bytes.
const MOST_PAGE: u64 = 128 << 20;

/// A project as the first index that has it offers it; `None` when none has it.
pub(super) type Answer = Result<Option<Arc<Project>>, IndexError>;

/// The answer that the cache alone can give; `None` when an index must be asked.
pub(super) fn answer_from_cache(shared: &Shared, name: &PackageName) -> Option<Answer> {
    for index in &shared.indexes {
        let entry = shared.cache.read_page(&CacheKey::page(&index.url, name));
        match entry {
            Some(entry) if shared.settings.offline || shared.is_fresh(&entry) => {
                if let Some(project) = entry.project {
                    return Some(Ok(Some(Arc::new(project))));
                }
            }
            // A later index must not answer for one that could not be asked.
            _ if shared.settings.offline => {
                return Some(Err(IndexError::ProjectNotCached {
                    project: name.to_string(),
                }));
            }
            _ => return None,
        }
    }
    Some(Ok(None))
}

/// The answer of the indexes, each asked only if its cached page is not current.
pub(super) async fn answer(shared: &Shared, name: &PackageName) -> Answer {
    for index in &shared.indexes {
        if let Some(project) = ask(shared, index, name).await? {
            return Ok(Some(project));
        }
    }
    Ok(None)
}

/// The answer of one index.
async fn ask(shared: &Shared, index: &IndexAddress, name: &PackageName) -> Answer {
    let key = CacheKey::page(&index.url, name);
    let known = shared.cache.read_page(&key);
    if let Some(entry) = &known
        && shared.is_fresh(entry)
    {
        return Ok(known.and_then(|entry| entry.project).map(Arc::new));
    }
    let failed = |source| match source {
        HttpError::Offline { .. } => IndexError::ProjectNotCached {
            project: name.to_string(),
        },
        source => IndexError::Project {
            project: name.to_string(),
            source,
        },
    };
    let url = index
        .url
        .join(&format!("{name}/"))
        .map_err(|error| IndexError::InvalidUrl {
            url: redacted(&index.url),
            reason: error.to_string(),
        })?;
    let validators = known.as_ref().filter(|entry| entry.project.is_some());
    let response = shared
        .http
        .get(Request {
            accept: Some(simple::ACCEPT),
            if_none_match: validators.and_then(|entry| entry.etag.as_deref()),
            if_modified_since: validators.and_then(|entry| entry.last_modified.as_deref()),
            ..Request::new(&url, MOST_PAGE)
        })
        .await
        .map_err(failed)?;
    let policy = CachePolicy::parse(response.cache_control.as_deref());
    let mut entry = PageEntry {
        fetched_at: (shared.clock)(),
        max_age: policy.max_age,
        etag: response.etag.clone(),
        last_modified: response.last_modified.clone(),
        project: None,
    };
    match response.status {
        200 => {
            let files = simple::parse_page(
                name,
                &response.url,
                response.content_type.as_deref(),
                &response.body,
            )
            .map_err(|source| IndexError::Page {
                url: redacted(&response.url),
                source,
            })?;
            entry.project = Some(Project::new(files));
        }
        304 => {
            let Some(known) = known else {
                return Err(failed(response.status_error()));
            };
            // A server that confirms need not repeat what it said before.
            entry.etag = entry.etag.or(known.etag);
            entry.last_modified = entry.last_modified.or(known.last_modified);
            entry.max_age = entry.max_age.or(known.max_age);
            entry.project = known.project;
        }
        404 | 410 => {}
        401 | 403 => {
            return Err(IndexError::Refused {
                index: redacted(&index.url),
                item: name.to_string(),
                status: response.status,
            });
        }
        _ => return Err(failed(response.status_error())),
    }
    if policy.store {
        shared.cache.write_page(&key, &entry);
    }
    Ok(entry.project.map(Arc::new))
}
