//! Files beside what the indexes offer, as pip's and uv's `--find-links` name them: a folder of wheels and source
//! distributions, or an HTML page that links to such files.
//!
//! What is found is offered together with what the indexes have of the same project, and a project that is only here is
//! known. Folders are listed once a run, pages are kept in the cache as those of an index are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OnceCell;
use url::Url;

use super::cache::CacheKey;
use super::client::Shared;
use super::error::IndexError;
use super::priority::{PageSource, fetch_page};
use super::project::Project;
use super::settings::shown;
use crate::http::{HttpError, Secret, redacted, take_credentials};
use crate::packaging::simple::{self, IndexFile, NamedFile};
use crate::packaging::{PackageName, Version};

/// What a page of links is asked for as.
const ACCEPT: &str = "text/html, application/vnd.pypi.simple.v1+html;q=0.9";

/// The places that were named, and what is there.
pub(super) struct FindLinks {
    places: Vec<Place>,
    found: OnceCell<Result<Arc<Links>, IndexError>>,
}

/// Where files may be.
enum Place {
    /// A folder or an HTML file on this machine: which, shows when it is read.
    Path(PathBuf),
    /// A page of a server.
    Page {
        url: Url,
        credentials: Option<(Secret, Secret)>,
    },
}

/// What was found, by project.
#[derive(Debug, Default)]
struct Links {
    projects: BTreeMap<PackageName, Arc<Project>>,
}

impl FindLinks {
    /// The places that `locations` mean: paths, or addresses with `file:`, `https:` or `http:`.
    ///
    /// # Errors
    /// When an address is none.
    pub(super) fn new(locations: &[String]) -> Result<Self, IndexError> {
        let places: Result<Vec<Place>, IndexError> =
            locations.iter().map(|text| Place::parse(text)).collect();
        Ok(Self {
            places: places?,
            found: OnceCell::new(),
        })
    }

    /// The credentials that stand in the addresses.
    pub(super) fn credentials(&self) -> impl Iterator<Item = (&Url, &(Secret, Secret))> {
        self.places.iter().filter_map(|place| match place {
            Place::Page { url, credentials } => Some((url, credentials.as_ref()?)),
            Place::Path(_) => None,
        })
    }

    /// The places as they may be shown.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.places.iter().map(|place| match place {
            Place::Path(path) => path.display().to_string(),
            Place::Page { url, .. } => redacted(url),
        })
    }

    /// What is there of `name`, as far as no server needs to be asked; `None` where one must be.
    pub(super) fn remembered(
        &self,
        shared: &Shared,
        name: &PackageName,
    ) -> Option<Result<Option<Arc<Project>>, IndexError>> {
        if self.places.is_empty() {
            return Some(Ok(None));
        }
        if self.found.get().is_none() {
            let links = self.read_without_asking(shared)?;
            // If somebody else was faster, theirs is the one that everybody gets.
            let _ = self.found.set(links);
        }
        Some(of_project(self.found.get()?, name))
    }

    /// What is there of `name`.
    pub(super) async fn project(
        &self,
        shared: &Shared,
        name: &PackageName,
    ) -> Result<Option<Arc<Project>>, IndexError> {
        if self.places.is_empty() {
            return Ok(None);
        }
        let links = self.found.get_or_init(|| self.read(shared)).await;
        of_project(links, name)
    }

    fn read_without_asking(&self, shared: &Shared) -> Option<Result<Arc<Links>, IndexError>> {
        let mut files = Vec::new();
        for place in &self.places {
            let more = match place {
                Place::Path(path) => read_path(shared, path),
                Place::Page { url, .. } => match shared.cache.read_page(&CacheKey::links(url)) {
                    Some(entry) if shared.settings.offline || shared.is_fresh(&entry) => {
                        of_page(shared, url, entry.project)
                    }
                    _ if shared.settings.offline => Err(not_cached(url)),
                    _ => return None,
                },
            };
            match more {
                Ok(more) => files.extend(more),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(Arc::new(Links::new(files))))
    }

    async fn read(&self, shared: &Shared) -> Result<Arc<Links>, IndexError> {
        let mut files = Vec::new();
        for place in &self.places {
            files.extend(match place {
                Place::Path(path) => read_path(shared, path)?,
                Place::Page { url, .. } => {
                    let source = PageSource {
                        key: CacheKey::links(url),
                        url,
                        index: url,
                        item: "its links",
                        accept: ACCEPT,
                    };
                    let failed = |error| match error {
                        HttpError::Offline { .. } => not_cached(url),
                        source => IndexError::Links {
                            url: redacted(url),
                            source,
                        },
                    };
                    let page = fetch_page(shared, source, failed, |response| {
                        let files = simple::parse_links(
                            &response.url,
                            response.content_type.as_deref(),
                            &response.body,
                        )?;
                        // All projects in one: which file is of which, its name says again.
                        let files = files.into_iter().map(|(_, version, file)| (version, file));
                        Ok(Project::new(files.collect()))
                    })
                    .await?;
                    of_page(shared, url, page)?
                }
            });
        }
        Ok(Arc::new(Links::new(files)))
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self, IndexError> {
        let text = text.trim();
        let invalid = |reason: &str| IndexError::FindLinks {
            location: shown(text),
            reason: reason.to_owned(),
        };
        if !text.contains("://") && !text.starts_with("file:") {
            let path = std::path::absolute(text).map_err(|error| invalid(&error.to_string()))?;
            return Ok(Self::Path(path));
        }
        let mut url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
        match url.scheme() {
            "http" | "https" => {
                let credentials = take_credentials(&mut url);
                url.set_fragment(None);
                Ok(Self::Page { url, credentials })
            }
            "file" => match url.to_file_path() {
                Ok(path) => Ok(Self::Path(path)),
                Err(()) => Err(invalid("it is no path on this machine")),
            },
            _ => Err(invalid(
                "it must be a path, or begin with https://, http:// or file:",
            )),
        }
    }
}

impl Links {
    fn new(files: Vec<NamedFile>) -> Self {
        let mut by_project: BTreeMap<PackageName, Vec<(Version, IndexFile)>> = BTreeMap::new();
        for (name, version, file) in files {
            let of_project = by_project.entry(name).or_default();
            // Of two places with a file of one name, the one that was named first has it.
            if of_project
                .iter()
                .all(|(_, known)| known.filename != file.filename)
            {
                of_project.push((version, file));
            }
        }
        let projects = by_project
            .into_iter()
            .map(|(name, files)| (name, Arc::new(Project::new(files))));
        Self {
            projects: projects.collect(),
        }
    }
}

fn of_project(
    links: &Result<Arc<Links>, IndexError>,
    name: &PackageName,
) -> Result<Option<Arc<Project>>, IndexError> {
    match links {
        Ok(links) => Ok(links.projects.get(name).cloned()),
        Err(error) => Err(error.clone()),
    }
}

fn not_cached(url: &Url) -> IndexError {
    IndexError::ProjectNotCached {
        project: redacted(url),
    }
}

/// The files of a page, all projects in one; `None` where the server has no such page.
fn of_page(
    shared: &Shared,
    url: &Url,
    page: Option<Project>,
) -> Result<Vec<NamedFile>, IndexError> {
    let page = page.ok_or_else(|| IndexError::FindLinks {
        location: redacted(url),
        reason: "there is no such page".to_owned(),
    })?;
    shared.note_upload_times(url, &page);
    let files = page
        .versions()
        .iter()
        .flat_map(|version| page.files(version));
    Ok(files
        .filter_map(|file| {
            let (name, version) = simple::named(None, &file.filename)?;
            Some((name, version, file))
        })
        .collect())
}

/// The files of a folder, or those that an HTML file links to.
fn read_path(shared: &Shared, path: &Path) -> Result<Vec<NamedFile>, IndexError> {
    let failed = |reason: String| IndexError::FindLinks {
        location: path.display().to_string(),
        reason,
    };
    let in_words = |error: std::io::Error| {
        failed(match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
            _ => error.to_string(),
        })
    };
    if std::fs::metadata(path).map_err(in_words)?.is_dir() {
        return read_folder(shared, path).map_err(in_words);
    }
    let page =
        Url::from_file_path(path).map_err(|()| failed("it is no absolute path".to_owned()))?;
    let is_html = path.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("html") || extension.eq_ignore_ascii_case("htm")
    });
    if !is_html {
        return Err(failed("it is neither a folder nor an HTML file".to_owned()));
    }
    let body = std::fs::read(path).map_err(in_words)?;
    simple::parse_links(&page, Some("text/html"), &body).map_err(|error| failed(error.to_string()))
}

fn read_folder(shared: &Shared, folder: &Path) -> std::io::Result<Vec<NamedFile>> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        let Some(filename) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let is_wheel = path.extension().is_some_and(|extension| extension == "whl");
        let Some((name, version)) = simple::named(None, filename) else {
            if is_wheel {
                shared.warn(format!(
                    "{} is passed over: its name is not that of a wheel",
                    path.display()
                ));
            }
            continue;
        };
        // Through links, as whoever opens it goes.
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                let Ok(url) = Url::from_file_path(&path) else {
                    continue;
                };
                let file = IndexFile {
                    filename: filename.to_owned(),
                    url: url.into(),
                    sha256: None,
                    size: Some(metadata.len()),
                    requires_python: None,
                    yanked: None,
                    core_metadata: None,
                    upload_time: None,
                };
                files.push((name, version, file));
            }
            Ok(_) => {}
            Err(error) => shared.warn(format!("{} is passed over: {error}", path.display())),
        }
    }
    Ok(files)
}
