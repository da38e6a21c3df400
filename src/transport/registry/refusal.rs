//! What an answer of failure says to a person.
//!
//! Specification: OCI distribution-spec, "Error Codes". A registry's text is quoted, as nobody else knows the reason, but
//! shortened, without control characters and without any secret that went out (a registry may echo a request).

use std::borrow::Cow;

use oci_distribution::errors::{OciEnvelope, OciErrorCode};

use super::TransportError;
use super::session::Repository;
use crate::http::{Response, Secret};

/// The most bytes of a refusal that are read.
pub(super) const LARGEST_REFUSAL: u64 = 64 << 10;

/// The most characters of a registry's text that are shown.
const LONGEST_TEXT: usize = 300;

/// The shortest text that is hidden as a secret: shorter ones stand in every sentence.
const SHORTEST_SECRET: usize = 4;

/// What the client has shown of itself when it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShownAs {
    /// No credentials were known.
    Nobody,
    /// With credentials.
    Somebody,
}

/// The error that `response` amounts to.
pub(super) fn refusal(
    repository: &Repository,
    what: &str,
    response: &Response,
    shown_as: ShownAs,
    secrets: &[Secret],
) -> TransportError {
    let host = &repository.registry.host;
    let code = code(response);
    if response.status == 404 {
        let reason = match code {
            Some(OciErrorCode::NameUnknown) => {
                format!("{host} has no repository {}", repository.path)
            }
            _ => format!("{host} has no {what}"),
        };
        return TransportError::NotFound(reason);
    }
    refused(repository, what, response, shown_as, secrets)
}

/// The error that `response` amounts to where something was to be done: of status 404, too, the registry says what it is
/// about.
pub(super) fn refusal_of_deed(
    repository: &Repository,
    what: &str,
    response: &Response,
    shown_as: ShownAs,
    secrets: &[Secret],
) -> TransportError {
    if code(response) == Some(OciErrorCode::NameUnknown) {
        return refusal(repository, what, response, shown_as, secrets);
    }
    refused(repository, what, response, shown_as, secrets)
}

fn refused(
    repository: &Repository,
    what: &str,
    response: &Response,
    shown_as: ShownAs,
    secrets: &[Secret],
) -> TransportError {
    let host = &repository.registry.host;
    let text = parse(&response.body).map(|envelope| text(&envelope, secrets));
    let said = text
        .filter(|text| !text.is_empty())
        .map_or_else(String::new, |text| format!("{text}, "));
    let status = response.status;
    let mut reason = format!("{said}status {status}");
    if matches!(status, 401 | 403) {
        reason.push_str(&hint(host, shown_as));
    }
    if status == 429 || code(response) == Some(OciErrorCode::Toomanyrequests) {
        reason.push_str(&limits(response));
        if shown_as == ShownAs::Nobody {
            reason.push_str("; who logs in may ask more often");
        }
    }
    TransportError::Refused {
        registry: host.clone(),
        what: what.to_owned(),
        reason,
    }
}

/// What helps against a refused login.
pub(super) fn hint(host: &str, shown_as: ShownAs) -> String {
    let server = if host == "docker.io" { "" } else { host };
    let command = format!("docker login {server}");
    let command = command.trim_end();
    match shown_as {
        ShownAs::Nobody => format!("; no credentials are known: log in with `{command}`"),
        ShownAs::Somebody => {
            format!("; the credentials that are known do not suffice: renew them with `{command}`")
        }
    }
}

/// What an answer tells of rate limits.
fn limits(response: &Response) -> String {
    let mut told = String::new();
    for (header, name) in [
        ("ratelimit-limit", "the limit is"),
        ("ratelimit-remaining", "what remains is"),
        ("retry-after", "it asks to wait"),
    ] {
        if let Some(value) = response.header(header) {
            told.push_str("; ");
            told.push_str(name);
            told.push(' ');
            let value = match (header, value.parse::<u64>()) {
                ("retry-after", Ok(seconds)) => format!("{seconds} seconds"),
                ("retry-after", Err(_)) => format!("until {}", cleaned(value)),
                _ => cleaned(value).into_owned(),
            };
            told.push_str(&value);
        }
    }
    told
}

/// The code of the first error that an answer tells.
fn code(response: &Response) -> Option<OciErrorCode> {
    let errors = parse(&response.body)?.errors;
    errors.into_iter().next().map(|error| error.code)
}

fn parse(body: &[u8]) -> Option<OciEnvelope> {
    serde_json::from_slice(body).ok()
}

fn text(envelope: &OciEnvelope, secrets: &[Secret]) -> String {
    let errors: Vec<String> = envelope
        .errors
        .iter()
        .take(3)
        .map(|error| {
            let code = serde_json::to_value(&error.code).ok();
            let code = code.as_ref().and_then(|code| code.as_str());
            match (code, error.message.as_str()) {
                (Some(code), "") => code.to_owned(),
                (Some(code), message) => format!("{code}: {message}"),
                (None, message) => message.to_owned(),
            }
        })
        .collect();
    cleaned(&hidden(&errors.join("; "), secrets)).into_owned()
}

/// `text` with every secret in it replaced.
pub(super) fn hidden(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let secret = secret.reveal();
        if secret.len() >= SHORTEST_SECRET {
            text = text.replace(secret, "***");
        }
    }
    text
}

/// A registry's text as it may be shown.
pub(super) fn cleaned(text: &str) -> Cow<'_, str> {
    let clean = |character: char| !character.is_control();
    if text.chars().all(clean) && text.chars().count() <= LONGEST_TEXT {
        return text.into();
    }
    text.chars()
        .filter(|character| clean(*character))
        .take(LONGEST_TEXT)
        .collect::<String>()
        .into()
}
