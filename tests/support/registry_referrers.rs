//! The referrers API of the test registry.

use serde_json::{Value, json};

use super::{Answer, OCI_INDEX, Repository, body, descriptor, error, set};

/// How the referrers API answers.
#[derive(Debug, Clone, Default)]
pub struct Referrers {
    /// Whether it filters by artifact type.
    pub filters: bool,
    /// Entries of a page; `None` for all of them.
    pub page: Option<usize>,
    /// `Link` of every page.
    pub link: Option<String>,
    /// Answer with this status.
    pub status: Option<u16>,
    /// Answer with these bytes.
    pub body: Option<Vec<u8>>,
    /// Never answer.
    pub hangs: bool,
}

impl Repository {
    pub(super) fn referrers(
        &self,
        how: &Referrers,
        subject: &str,
        query: &str,
        path: &str,
    ) -> Answer {
        if let Some(status) = how.status {
            return error(status, "DENIED", "no referrers for you");
        }
        if let Some(bytes) = &how.body {
            return body(200, OCI_INDEX, bytes.clone());
        }
        let parameter = |name: &str| {
            let mut pairs = query.split('&').filter_map(|part| part.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let wanted = parameter("artifactType")
            .filter(|_| how.filters)
            .map(|value| {
                value
                    .replace("%2F", "/")
                    .replace("%2B", "+")
                    .replace("%2E", ".")
            });
        let wanted = wanted.map(|value| value.replace("%2D", "-"));
        let mut found = Vec::new();
        for (name, (media_type, bytes)) in &self.manifests {
            let manifest: Value = serde_json::from_slice(bytes).unwrap_or_default();
            if manifest["subject"]["digest"] != subject || !name.starts_with("sha256:") {
                continue;
            }
            let mut entry = descriptor(media_type, bytes);
            for field in ["artifactType", "annotations"] {
                if !manifest[field].is_null() {
                    entry[field] = manifest[field].clone();
                }
            }
            if wanted
                .as_ref()
                .is_none_or(|wanted| entry["artifactType"] == wanted.as_str())
            {
                found.push(entry);
            }
        }
        let from: usize = parameter("from").map_or(0, |from| from.parse().expect("a place"));
        let most = how.page.unwrap_or(found.len());
        let page: Vec<&Value> = found.iter().skip(from).take(most).collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page});
        let mut answer = body(200, OCI_INDEX, serde_json::to_vec(&index).expect("JSON"));
        if wanted.is_some() {
            set(&mut answer, "oci-filters-applied", "artifactType");
        }
        if let Some(link) = &how.link {
            set(&mut answer, "link", link);
        } else if from + page.len() < found.len() {
            let next = from + page.len();
            set(
                &mut answer,
                "link",
                &format!("<{path}?from={next}>; rel=\"next\""),
            );
        }
        answer
    }
}
