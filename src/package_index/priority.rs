//! Which of several indexes answers for a project.
//!
//! The first that has the project wins, and no version of a later one counts, unless the user has it otherwise
//! ([`IndexStrategy`]). What [`super::find_links`] has found is offered beside that.

use std::sync::Arc;

use futures_util::future::try_join_all;
use url::Url;

use super::cache::{CacheKey, CachePolicy, PageEntry};
use super::client::Shared;
use super::error::IndexError;
use super::project::Project;
use super::settings::{IndexAddress, IndexStrategy};
use crate::http::{HttpError, Request, Response, redacted};
use crate::packaging::PackageName;
use crate::packaging::simple::{self, PageError};

/// The most that a page may be, in bytes.
const MOST_PAGE: u64 = 128 << 20;

/// A project as the indexes that count offer it; `None` when none has it.
pub(super) type Answer = Result<Option<Arc<Project>>, IndexError>;

/// The answer that the cache alone can give; `None` when an index must be asked.
pub(super) fn answer_from_cache(shared: &Shared, name: &PackageName) -> Option<Answer> {
    let beside = match shared.links.remembered(shared, name)? {
        Ok(beside) => beside,
        Err(error) => return Some(Err(error)),
    };
    let mut found = Vec::new();
    for index in &shared.indexes {
        let entry = shared.cache.read_page(&CacheKey::page(&index.url, name));
        match entry {
            Some(entry) if shared.settings.offline || shared.is_fresh(&entry) => {
                found.push(entry.project.map(Arc::new));
                if found.last().is_some_and(Option::is_some) && is_enough(shared) {
                    break;
                }
            }
            // What lies beside the indexes is there without them.
            _ if shared.settings.offline && beside.is_some() => {}
            // A later index must not answer for one that could not be asked.
            _ if shared.settings.offline => {
                return Some(Err(IndexError::ProjectNotCached {
                    project: name.to_string(),
                }));
            }
            _ => return None,
        }
    }
    Some(Ok(joined(shared, name, found, beside)))
}

/// The answer of the indexes, each asked only if its cached page is not current.
pub(super) async fn answer(shared: &Shared, name: &PackageName) -> Answer {
    let beside = shared.links.project(shared, name).await?;
    let mut found = Vec::new();
    if is_enough(shared) {
        for index in &shared.indexes {
            let project = ask(shared, index, name).await?;
            let has_it = project.is_some();
            found.push(project);
            if has_it {
                break;
            }
        }
    } else {
        let all = shared.indexes.iter().map(|index| ask(shared, index, name));
        found = try_join_all(all).await?;
    }
    Ok(joined(shared, name, found, beside))
}

/// Whether one index that has a project is enough.
fn is_enough(shared: &Shared) -> bool {
    shared.settings.strategy == IndexStrategy::FirstIndex
}

/// One project of what the indexes have, in their order, and of what lies beside them.
fn joined(
    shared: &Shared,
    name: &PackageName,
    found: Vec<Option<Arc<Project>>>,
    beside: Option<Arc<Project>>,
) -> Option<Arc<Project>> {
    if let Some(position) = found.iter().position(Option::is_some) {
        shared.remember_source(name, position);
    }
    for (index, project) in shared.indexes.iter().zip(&found) {
        if let Some(project) = project {
            shared.note_upload_times(&index.url, project);
        }
    }
    let mut found: Vec<Arc<Project>> = found.into_iter().flatten().collect();
    let of_indexes = if found.len() > 1 {
        let ranked = shared.settings.strategy == IndexStrategy::UnsafeFirstMatch;
        Some(Arc::new(Project::joined(&found, ranked)))
    } else {
        found.pop()
    };
    match (of_indexes, beside) {
        (Some(of_indexes), Some(beside)) => Some(Arc::new(of_indexes.with_files_of(&beside))),
        (of_indexes, beside) => of_indexes.or(beside),
    }
}

/// The answer of one index.
async fn ask(shared: &Shared, index: &IndexAddress, name: &PackageName) -> Answer {
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
    let source = PageSource {
        key: CacheKey::page(&index.url, name),
        url: &url,
        index: &index.url,
        item: name.as_ref(),
        accept: simple::ACCEPT,
    };
    let project = fetch_page(shared, source, failed, |response| {
        simple::parse_page(
            name,
            &response.url,
            response.content_type.as_deref(),
            &response.body,
        )
        .map(Project::new)
    });
    Ok(project.await?.map(Arc::new))
}

/// A page of a server.
pub(super) struct PageSource<'a> {
    /// Under which it is remembered.
    pub(super) key: CacheKey,
    /// Where it lies.
    pub(super) url: &'a Url,
    /// Whose it is.
    pub(super) index: &'a Url,
    /// What is asked for, in words.
    pub(super) item: &'a str,
    /// As what it is asked for.
    pub(super) accept: &'a str,
}

/// The page, asked for only if what is remembered of it is not current; `None` where the server has none.
pub(super) async fn fetch_page(
    shared: &Shared,
    source: PageSource<'_>,
    failed: impl Fn(HttpError) -> IndexError,
    parse: impl FnOnce(&Response) -> Result<Project, PageError>,
) -> Result<Option<Project>, IndexError> {
    let known = shared.cache.read_page(&source.key);
    if let Some(entry) = &known
        && shared.is_fresh(entry)
    {
        return Ok(known.and_then(|entry| entry.project));
    }
    let validators = known.as_ref().filter(|entry| entry.project.is_some());
    let response = shared
        .http
        .get(Request {
            accept: Some(source.accept),
            if_none_match: validators.and_then(|entry| entry.etag.as_deref()),
            if_modified_since: validators.and_then(|entry| entry.last_modified.as_deref()),
            ..Request::new(source.url, MOST_PAGE)
        })
        .await
        .map_err(&failed)?;
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
            let project = parse(&response).map_err(|error| IndexError::Page {
                url: redacted(&response.url),
                source: error,
            })?;
            entry.project = Some(project);
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
                index: redacted(source.index),
                item: source.item.to_owned(),
                status: response.status,
            });
        }
        _ => return Err(failed(response.status_error())),
    }
    if policy.store {
        shared.cache.write_page(&source.key, &entry);
    }
    Ok(entry.project)
}
