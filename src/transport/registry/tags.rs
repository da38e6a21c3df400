//! The tags of a repository, page by page, and those that resemble one that is not there.
//!
//! Specification: OCI distribution-spec, "Listing Tags"; RFC 8288 (`Link`).

use std::collections::BTreeSet;

use super::TransportError;
use super::session::{Ask, Repository, Session};
use crate::transport::manifest::LARGEST_DOCUMENT;

/// The most pages that are read: with pages of the usual size, as many tags as the largest repositories have.
pub(super) const MOST_PAGES: usize = 200;

/// The most tags in all. It bounds memory where a registry sends pages as large as it can.
const MOST_TAGS: usize = 200_000;

/// Tags that are asked for at a time; a registry may send fewer.
const PAGE: usize = 1000;

/// The most tags that are suggested.
const MOST_SIMILAR: usize = 3;

/// How alike a suggested tag must be, from 0 to 1.
const ALIKE: f64 = 0.75;

#[derive(serde::Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// Reads at most `pages` pages; more are an error only where that is [`MOST_PAGES`].
pub(super) async fn read(
    session: &Session,
    repository: &Repository,
    pages: usize,
) -> Result<Vec<String>, TransportError> {
    let what = format!("the tags of {}", repository.path);
    let invalid = |reason: String| TransportError::Invalid {
        what: format!("the list of {what} at {}", repository.registry.host),
        reason,
    };
    let mut tags = Vec::new();
    let mut path = format!("tags/list?n={PAGE}");
    let mut seen = BTreeSet::new();
    for _ in 0..pages {
        let ask = Ask {
            limit: LARGEST_DOCUMENT,
            accept: Some("application/json"),
            ..Ask::new(&path, format!("repository {}", repository.path))
        };
        let response = session.document(repository, &ask).await?;
        let page: TagList = serde_json::from_slice(&response.body).map_err(|error| {
            invalid(format!(
                "it is not JSON of a list of tags (line {}, column {})",
                error.line(),
                error.column()
            ))
        })?;
        tags.extend(page.tags.unwrap_or_default());
        if tags.len() > MOST_TAGS {
            return Err(invalid(format!("it has more than {MOST_TAGS} tags")));
        }
        let Some(next) = response.headers("link").find_map(next_page) else {
            return Ok(tags);
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
    if pages < MOST_PAGES {
        return Ok(tags);
    }
    Err(invalid(format!("it has more than {MOST_PAGES} pages")))
}

/// The address in `<...>; rel="next"`.
pub(super) fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && value.eq_ignore_ascii_case("next")
        });
        next.then_some(address)
    })
}

/// The tags that most resemble `tag`, best first.
pub(super) fn similar(tag: &str, tags: &[String]) -> Vec<String> {
    let mut scored: Vec<(f64, &String)> = tags
        .iter()
        .map(|other| (strsim::jaro_winkler(tag, other), other))
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|(score, tag), (other_score, other)| {
        other_score.total_cmp(score).then_with(|| tag.cmp(other))
    });
    scored.truncate(MOST_SIMILAR);
    scored
        .into_iter()
        .map(|(_, tag)| super::refusal::cleaned(tag).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_a_link() {
        for (link, next) in [
            (
                "</v2/a/tags/list?last=x&n=5>; rel=\"next\"",
                Some("/v2/a/tags/list?last=x&n=5"),
            ),
            ("<list?last=x>;rel=next", Some("list?last=x")),
            (
                "<a>; rel=\"prev\", <b>; REL=\"Next\"; title=\"x\"",
                Some("b"),
            ),
            ("<a>; rel=\"prev\"", None),
            ("a; rel=next", None),
            ("<a", None),
            ("", None),
        ] {
            assert_eq!(next_page(link), next, "{link}");
        }
    }

    #[test]
    fn similar_tags_come_best_first() {
        let tags: Vec<String> = ["1.16.0", "1.15.1", "latest", "1.16.0-gpu", "1.6.0"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(similar("1.16.00", &tags)[0], "1.16.0");
        assert_eq!(similar("lastest", &tags), ["latest"]);
        assert!(similar("zzz", &tags).is_empty());
    }
}
