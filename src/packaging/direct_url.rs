//! `direct_url.json`: where a distribution came from that no index was asked for.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/direct-url/>.

use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// What `direct_url.json` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectUrl {
    /// The address as it is written, credentials included: not for output.
    url: String,
    /// Whether the distribution is a link to a source folder.
    pub editable: bool,
}

#[derive(Deserialize)]
struct Document {
    url: String,
    #[serde(default)]
    dir_info: Option<DirInfo>,
}

#[derive(Deserialize)]
struct DirInfo {
    #[serde(default)]
    editable: bool,
}

impl DirectUrl {
    /// Reads the document; `None` where it is not one.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let document: Document = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            url: document.url,
            editable: document.dir_info.is_some_and(|info| info.editable),
        })
    }

    /// The folder or file that a `file:` address means; `None` for another address.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        let rest = self.url.strip_prefix("file:")?;
        let path = match rest.strip_prefix("//") {
            // "file://host/path": the host is empty or this machine's.
            Some(rest) => &rest[rest.find('/')?..],
            None => rest,
        };
        Some(percent_decode_str(path).decode_utf8_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editable_folders_are_told() {
        for (text, editable, path) in [
            (
                r#"{"url": "file:///src/my%20app", "dir_info": {"editable": true}}"#,
                true,
                Some("/src/my app"),
            ),
            (
                r#"{"url": "file://localhost/src", "dir_info": {}}"#,
                false,
                Some("/src"),
            ),
            (r#"{"url": "file:/src"}"#, false, Some("/src")),
            (
                r#"{"url": "https://example.org/a.whl", "archive_info": {}}"#,
                false,
                None,
            ),
        ] {
            let url = DirectUrl::parse(text.as_bytes()).expect("a document");
            assert_eq!(url.editable, editable, "{text}");
            assert_eq!(url.path().as_deref(), path, "{text}");
        }
        for text in ["", "[]", "{}", r#"{"url": 1}"#, "\u{fffd}"] {
            assert_eq!(DirectUrl::parse(text.as_bytes()), None, "{text}");
        }
    }
}
