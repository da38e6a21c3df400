//! Pages of the simple API: the files of one project, in HTML (PEP 503) or JSON (PEP 691).
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/simple-repository-api/>. A page is the work
//! of years and many tools: an entry that cannot be used is passed over, a page of a later major version is refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use url::Url;

use super::requirement::without_control;
use super::wheel_name::{SourceDistributionName, WheelName};
use super::{PackageName, Version};

/// What to ask an index for: JSON before HTML.
pub const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// One file of a project, as the project's page on the index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Name of the file.
    pub filename: String,
    /// Absolute address, without credentials.
    pub url: String,
    /// SHA-256 of the file in lower-case hexadecimal, where the page gives it.
    pub sha256: Option<String>,
    /// Size in bytes, where the page gives it.
    pub size: Option<u64>,
    /// Versions of Python that the file is for, as it is written.
    pub requires_python: Option<String>,
    /// The reason when the file is yanked (PEP 592); empty when none was given.
    pub yanked: Option<String>,
    /// Whether the index serves the metadata beside the file (PEP 658), with its SHA-256 where the page gives it.
    pub core_metadata: Option<Option<String>>,
    /// When the file was uploaded (PEP 700), in milliseconds since the epoch.
    pub upload_time: Option<i64>,
}

/// A page that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Not the JSON that the specification describes.
    #[error("the page is not valid JSON of the simple API: {0}")]
    Json(String),
    /// A later major version of the API.
    #[error("the page is of version {0} of the simple API; only version 1 is understood")]
    Version(String),
    /// Neither JSON nor HTML.
    #[error("the page has the content type `{0}`, which is not one of the simple API")]
    ContentType(String),
}

/// Reads a page, in the form that `content_type` says, into the usable files of `project`, each with its version.
/// `page` is where the page came from, after redirects: addresses in it are relative to that.
///
/// # Errors
/// When the page as a whole cannot be read. An entry that cannot be used is passed over.
pub fn parse_page(
    project: &PackageName,
    page: &Url,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Vec<(Version, IndexFile)>, PageError> {
    let files = parse(Some(project), page, content_type, body)?;
    let files = files.into_iter().map(|(_, version, file)| (version, file));
    Ok(files.collect())
}

/// As [`parse_page`], for a page with files of many projects (pip's `--find-links`), each with its project.
///
/// # Errors
/// As [`parse_page`].
pub fn parse_links(
    page: &Url,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Vec<NamedFile>, PageError> {
    parse(None, page, content_type, body)
}

/// A file with the project and the version that its name says.
pub type NamedFile = (PackageName, Version, IndexFile);

fn parse(
    project: Option<&PackageName>,
    page: &Url,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Vec<NamedFile>, PageError> {
    let essence = content_type
        .unwrap_or("text/html")
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "application/vnd.pypi.simple.v1+json"
        | "application/vnd.pypi.simple.latest+json"
        | "application/json" => parse_json(project, page, body),
        "application/vnd.pypi.simple.v1+html"
        | "application/vnd.pypi.simple.latest+html"
        | "application/xhtml+xml"
        | "text/html" => parse_html(project, page, body),
        _ => Err(PageError::ContentType(essence)),
    }
}

/// The project and the version that a usable file name says; `None` for anything else, also where it is of another
/// project than `only`.
#[must_use]
pub fn named(only: Option<&PackageName>, filename: &str) -> Option<(PackageName, Version)> {
    // A name is used as a name of a file later on.
    if filename.contains(['/', '\\']) || filename.contains(char::is_control) {
        return None;
    }
    let (name, version) = if let Ok(wheel) = WheelName::from_str(filename) {
        (wheel.name, wheel.version)
    } else {
        let source = match only {
            Some(project) => SourceDistributionName::parse_for(filename, project),
            None => SourceDistributionName::from_str(filename),
        };
        let source = source.ok()?;
        (source.name, source.version)
    };
    only.is_none_or(|only| name == *only)
        .then_some((name, version))
}

/// The absolute address without credentials, and the SHA-256 of its fragment.
fn resolve(page: &Url, base: &Url, address: &str) -> Option<(String, Option<String>)> {
    let mut url = base.join(address).ok()?;
    match url.scheme() {
        "http" | "https" => {}
        // Only a page of this machine may lead to files of this machine.
        "file" if page.scheme() == "file" => {}
        _ => return None,
    }
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let hash = url
        .fragment()
        .and_then(|fragment| {
            fragment
                .split('&')
                .find_map(|part| part.strip_prefix("sha256="))
        })
        .and_then(sha256);
    url.set_fragment(None);
    Some((url.into(), hash))
}

/// A SHA-256 in lower case, if `text` is one.
fn sha256(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| text.to_ascii_lowercase())
}

#[derive(Deserialize)]
struct JsonPage<'a, F> {
    #[serde(default, borrow)]
    meta: JsonMeta<'a>,
    files: Vec<F>,
}

#[derive(Deserialize, Default)]
struct JsonMeta<'a> {
    #[serde(default, borrow, rename = "api-version")]
    api_version: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonFile<'a> {
    #[serde(borrow)]
    filename: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(default, borrow)]
    hashes: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    size: Option<u64>,
    #[serde(borrow)]
    requires_python: Option<Cow<'a, str>>,
    #[serde(borrow)]
    yanked: Option<FlagOr<Cow<'a, str>>>,
    #[serde(borrow)]
    core_metadata: Option<FlagOr<BTreeMap<Cow<'a, str>, Cow<'a, str>>>>,
    #[serde(borrow)]
    dist_info_metadata: Option<FlagOr<BTreeMap<Cow<'a, str>, Cow<'a, str>>>>,
    #[serde(borrow)]
    upload_time: Option<Cow<'a, str>>,
}

/// A value that may also be a plain yes or no.
#[derive(Deserialize)]
#[serde(untagged)]
enum FlagOr<T> {
    Flag(bool),
    Value(T),
}

fn parse_json(
    project: Option<&PackageName>,
    page: &Url,
    body: &[u8],
) -> Result<Vec<NamedFile>, PageError> {
    let json_error = |error: serde_json::Error| PageError::Json(error.to_string());
    // The usual page is wholly in order and is read without copies. One odd entry in it costs a second, slower look.
    if let Ok(parsed) = serde_json::from_slice::<JsonPage<'_, JsonFile<'_>>>(body) {
        check_version(parsed.meta.api_version.as_deref())?;
        return Ok(parsed
            .files
            .into_iter()
            .filter_map(|file| from_json(project, page, file))
            .collect());
    }
    let parsed: JsonPage<'_, serde_json::Value> =
        serde_json::from_slice(body).map_err(json_error)?;
    check_version(parsed.meta.api_version.as_deref())?;
    Ok(parsed
        .files
        .iter()
        .filter_map(|value| JsonFile::deserialize(value).ok())
        .filter_map(|file| from_json(project, page, file))
        .collect())
}

fn check_version(version: Option<&str>) -> Result<(), PageError> {
    match version {
        Some(version) if version.split('.').next() != Some("1") => {
            Err(PageError::Version(version.to_owned()))
        }
        _ => Ok(()),
    }
}

fn from_json(project: Option<&PackageName>, page: &Url, file: JsonFile<'_>) -> Option<NamedFile> {
    let (name, version) = named(project, &file.filename)?;
    let (url, fragment_hash) = resolve(page, page, &file.url)?;
    let core_metadata = match file.core_metadata.or(file.dist_info_metadata) {
        None | Some(FlagOr::Flag(false)) => None,
        Some(FlagOr::Flag(true)) => Some(None),
        Some(FlagOr::Value(hashes)) => Some(hashes.get("sha256").and_then(|hash| sha256(hash))),
    };
    let file = IndexFile {
        filename: file.filename.into_owned(),
        url,
        sha256: file
            .hashes
            .get("sha256")
            .and_then(|hash| sha256(hash))
            .or(fragment_hash),
        size: file.size,
        requires_python: not_empty(file.requires_python.map(Cow::into_owned)),
        yanked: match file.yanked {
            None | Some(FlagOr::Flag(false)) => None,
            Some(FlagOr::Flag(true)) => Some(String::new()),
            Some(FlagOr::Value(reason)) => Some(in_one_line(&reason)),
        },
        core_metadata,
        upload_time: file
            .upload_time
            .and_then(|time| jiff::Timestamp::from_str(&time).ok())
            .map(jiff::Timestamp::as_millisecond),
    };
    Some((name, version, file))
}

/// What somebody says about a file, for people: one line, and nothing that steers a terminal.
fn in_one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    without_control(&words.join(" "))
}

fn not_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn parse_html(
    project: Option<&PackageName>,
    page: &Url,
    body: &[u8],
) -> Result<Vec<NamedFile>, PageError> {
    let mut base: Option<Url> = None;
    let mut files = Vec::new();
    for token in html5gum::Tokenizer::new(body) {
        let Ok(html5gum::Token::StartTag(tag)) = token else {
            continue;
        };
        let attribute = |name: &[u8]| {
            tag.attributes
                .get(name)
                .map(|value| String::from_utf8_lossy(value).into_owned())
        };
        match tag.name.as_slice() {
            b"base" if base.is_none() => {
                base = attribute(b"href").and_then(|href| page.join(href.trim()).ok());
            }
            b"meta" if attribute(b"name").as_deref() == Some("pypi:repository-version") => {
                check_version(attribute(b"content").as_deref().map(str::trim))?;
            }
            b"a" => {
                if let Some(href) = attribute(b"href") {
                    let base = base.as_ref().unwrap_or(page);
                    files.extend(from_anchor(project, (page, base), href.trim(), attribute));
                }
            }
            _ => {}
        }
    }
    Ok(files)
}

fn from_anchor(
    project: Option<&PackageName>,
    (page, base): (&Url, &Url),
    href: &str,
    attribute: impl Fn(&[u8]) -> Option<String>,
) -> Option<NamedFile> {
    let (url, sha256_of_file) = resolve(page, base, href)?;
    let path = url.split('?').next().unwrap_or_default();
    let filename = percent_encoding::percent_decode_str(path.rsplit('/').next()?)
        .decode_utf8()
        .ok()?
        .into_owned();
    let (name, version) = named(project, &filename)?;
    let core_metadata = attribute(b"data-core-metadata")
        .or_else(|| attribute(b"data-dist-info-metadata"))
        .filter(|value| value != "false")
        .map(|value| value.strip_prefix("sha256=").and_then(sha256));
    let file = IndexFile {
        filename,
        url,
        sha256: sha256_of_file,
        size: None,
        requires_python: not_empty(attribute(b"data-requires-python")),
        yanked: attribute(b"data-yanked").map(|reason| in_one_line(&reason)),
        core_metadata,
        upload_time: None,
    };
    Some((name, version, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789";

    fn parse(content_type: &str, body: &str) -> Result<Vec<(Version, IndexFile)>, PageError> {
        let project = PackageName::from_str("my-project").expect("a name");
        let page = Url::parse("https://user:secret@example.org/simple/my-project/").expect("a URL");
        parse_page(&project, &page, Some(content_type), body.as_bytes())
    }

    fn json(body: &str) -> Result<Vec<(Version, IndexFile)>, PageError> {
        parse("application/vnd.pypi.simple.v1+json", body)
    }

    #[test]
    fn a_json_page_keeps_what_decides() {
        let page = format!(
            r#"{{"meta": {{"api-version": "1.4", "x": 1}}, "name": "my-project", "versions": ["1.0"], "files": [
            {{"filename": "My_Project-1.0-py3-none-any.whl", "url": "../../files/My_Project-1.0-py3-none-any.whl",
              "hashes": {{"md5": "0", "sha256": "{HASH}"}}, "requires-python": ">=3.8", "size": 12,
              "upload-time": "1970-01-01T00:00:01.5Z", "yanked": "broken\n\u001b[2J", "core-metadata": {{"sha256": "{HASH}"}},
              "unknown": [1, 2]}},
            {{"filename": "my-project-0.9.tar.gz", "url": "https://a:b@files.example.org/my-project-0.9.tar.gz",
              "hashes": {{}}, "requires-python": null, "yanked": false, "dist-info-metadata": true}}]}}"#
        );
        let files = json(&page).expect("a page");
        assert_eq!(files.len(), 2);
        let (version, wheel) = &files[0];
        assert_eq!(version.to_string(), "1.0");
        assert_eq!(
            *wheel,
            IndexFile {
                filename: "My_Project-1.0-py3-none-any.whl".to_owned(),
                url: "https://example.org/files/My_Project-1.0-py3-none-any.whl".to_owned(),
                sha256: Some(HASH.to_ascii_lowercase()),
                size: Some(12),
                requires_python: Some(">=3.8".to_owned()),
                yanked: Some("broken \u{fffd}[2J".to_owned()),
                core_metadata: Some(Some(HASH.to_ascii_lowercase())),
                upload_time: Some(1500),
            }
        );
        assert_eq!(
            files[1].1.url,
            "https://files.example.org/my-project-0.9.tar.gz"
        );
        assert_eq!(files[1].1.core_metadata, Some(None));
        assert_eq!(files[1].1.yanked, None);
    }

    #[test]
    fn a_bad_entry_does_not_spoil_the_page() {
        let files = json(
            r#"{"meta": {"api-version": "1.0"}, "files": [17, {"filename": "my_project-2-py3-none-any.whl"},
            {"filename": "my_project-x-py3-none-any.whl", "url": "a"},
            {"filename": "other-2-py3-none-any.whl", "url": "a"},
            {"filename": "my_project-2.exe", "url": "a"},
            {"filename": "my_project-3-py3-none-../any.whl", "url": "a"},
            {"filename": "my_project-3-py3-none-any.whl", "url": "javascript:alert"},
            {"filename": "my_project-2-py3-none-any.whl", "url": "a", "size": -3},
            {"filename": "my_project-2.1-py3-none-any.whl", "url": "a", "hashes": {"sha256": "short"}}]}"#,
        )
        .expect("a page");
        let names: Vec<_> = files
            .iter()
            .map(|(_, file)| file.filename.as_str())
            .collect();
        assert_eq!(names, ["my_project-2.1-py3-none-any.whl"]);
        assert_eq!(files[0].1.sha256, None);
    }

    #[test]
    fn what_is_not_version_one_is_refused() {
        assert_eq!(
            json(r#"{"meta": {"api-version": "2.0"}, "files": []}"#),
            Err(PageError::Version("2.0".to_owned()))
        );
        assert!(matches!(json("<html>"), Err(PageError::Json(_))));
        assert!(matches!(
            parse("text/plain", ""),
            Err(PageError::ContentType(_))
        ));
        assert!(matches!(
            parse(
                "text/html",
                r#"<meta name="pypi:repository-version" content="2.0">"#
            ),
            Err(PageError::Version(_))
        ));
    }

    #[test]
    fn an_html_page_says_the_same() {
        let page = format!(
            r#"<!DOCTYPE html><html><head><base href="/mirror/"><title>Links</title></head><body>
            <A HREF="p/My_Project-1.0%2Blocal-py3-none-any.whl?x=1#md5=0&amp;sha256={HASH}" data-requires-python="&gt;=3.8,&lt;4"
               data-yanked data-dist-info-metadata="sha256={HASH}">anything</a>
            <a href="my-project-0.9.tar.gz" data-core-metadata="true" data-yanked="bad &amp; ugly">my-project-0.9.tar.gz</a>
            <a href="">up</a><a>no link</a><a href="other-1.tar.gz">other</a>"#
        );
        let files = parse("text/html; charset=UTF-8", &page).expect("a page");
        assert_eq!(files.len(), 2);
        let (version, wheel) = &files[0];
        assert_eq!(version.to_string(), "1.0+local");
        assert_eq!(wheel.filename, "My_Project-1.0+local-py3-none-any.whl");
        assert_eq!(
            wheel.url,
            "https://example.org/mirror/p/My_Project-1.0%2Blocal-py3-none-any.whl?x=1"
        );
        assert_eq!(
            wheel.sha256.as_deref(),
            Some(HASH.to_ascii_lowercase().as_str())
        );
        assert_eq!(wheel.requires_python.as_deref(), Some(">=3.8,<4"));
        assert_eq!(wheel.yanked.as_deref(), Some(""));
        assert_eq!(wheel.core_metadata, Some(Some(HASH.to_ascii_lowercase())));
        assert_eq!(files[1].1.yanked.as_deref(), Some("bad & ugly"));
        assert_eq!(files[1].1.core_metadata, Some(None));
    }
}
