//! Credentials of registries: the files of docker and podman, and the helpers that these name.
//!
//! Formats: docker's `config.json` and containers' `auth.json` (containers-auth.json(5)), whose keys may also name a
//! namespace or repository. Nothing is read before a registry asks for credentials.

mod helper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::GeneralPurposeConfig;
use base64::engine::{DecodePaddingMode, GeneralPurpose};

use crate::http::Secret;

/// Base64 as tools write it: with padding or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The most bytes of a file of credentials.
const LARGEST_FILE: u64 = 4 << 20;

/// What docker calls its own registry in its files, and asks helpers for.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Where credentials are looked for.
#[derive(Debug, Clone)]
pub struct CredentialSettings {
    /// Files, in order; one that is not there is passed over.
    pub files: Vec<PathBuf>,
    /// Folders in which the programs `docker-credential-NAME` are looked for, as in `PATH`.
    pub search_path: Vec<PathBuf>,
    /// How long a helper may take. It may ask the user something.
    pub helper_timeout: Duration,
}

impl Default for CredentialSettings {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            search_path: Vec::new(),
            helper_timeout: Duration::from_secs(60),
        }
    }
}

/// What proves to a registry who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password.
    Password {
        /// The user.
        user: Secret,
        /// The password, or a token in its place.
        password: Secret,
    },
    /// A refresh token, to be exchanged at the registry's token server.
    IdentityToken(Secret),
    /// A token that the registry takes as it is.
    RegistryToken(Secret),
}

/// Why credentials cannot be had. No secret is in here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// A file that cannot be read.
    #[error("the credentials in {path} cannot be read: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A helper that is not there or fails.
    #[error("the credential helper `{program}`, which {path} names, {reason}")]
    Helper {
        /// The program.
        program: String,
        /// The file that names it.
        path: String,
        /// What it does.
        reason: String,
    },
}

/// One file, as far as it is of use here.
#[derive(serde::Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct AuthFile {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<Auth>>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(serde::Deserialize, Default)]
struct Auth {
    #[serde(rename = "auth")]
    basic: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl CredentialSettings {
    /// The credential for the repository `repository` of the registry `host` (`docker.io`, `localhost:5000`), from the first
    /// file that has one: the helper of the registry before what stands in the file, the nearest namespace first.
    ///
    /// # Errors
    /// When a file or a helper fails. May run a program, and so take its time.
    pub fn find(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        for path in &self.files {
            if let Some(file) = read(path)?
                && let Some(credential) = self.find_in(&file, path, host, repository)?
            {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    fn find_in(
        &self,
        file: &AuthFile,
        path: &Path,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let keys = keys(host, repository);
        let ask = |name: &str, server: &str| {
            helper::ask(name, server, &self.search_path, self.helper_timeout).map_err(|failure| {
                CredentialError::Helper {
                    program: helper::program(name),
                    path: path.display().to_string(),
                    reason: failure,
                }
            })
        };
        let helpers = file.cred_helpers.iter().flatten();
        let helpers: Vec<(String, &String, &String)> = helpers
            .map(|(key, name)| (normalized(key), key, name))
            .collect();
        for key in &keys {
            let named = helpers.iter().find(|(normalized, ..)| normalized == key);
            if let Some((_, written, name)) = named
                && !name.is_empty()
                && let Some(credential) = ask(name, written)?
            {
                return Ok(Some(credential));
            }
        }
        if let Some(name) = file.creds_store.as_deref().filter(|name| !name.is_empty()) {
            let server = if host == "docker.io" {
                DOCKER_HUB_KEY
            } else {
                host
            };
            if let Some(credential) = ask(name, server)? {
                return Ok(Some(credential));
            }
        }
        let auths = file.auths.iter().flatten();
        let auths: Vec<(String, &Auth)> = auths
            .filter_map(|(key, auth)| Some((normalized(key), auth.as_ref()?)))
            .collect();
        for key in &keys {
            for (_, auth) in auths.iter().filter(|(normalized, _)| normalized == key) {
                let credential = auth.credential().map_err(|reason| CredentialError::File {
                    path: path.display().to_string(),
                    reason: format!("the entry for {key} {reason}"),
                })?;
                if credential.is_some() {
                    return Ok(credential);
                }
            }
        }
        Ok(None)
    }
}

impl Auth {
    /// The credential; `None` for an empty entry, which docker leaves where a helper keeps the secret.
    fn credential(&self) -> Result<Option<Credential>, String> {
        let given = |text: &Option<String>| {
            text.as_deref()
                .filter(|text| !text.is_empty())
                .map(Secret::new)
        };
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        if let Some(auth) = self.basic.as_deref().filter(|auth| !auth.trim().is_empty()) {
            let decoded = LENIENT
                .decode(auth.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or("is not Base64")?;
            // Only the first colon ends the name of the user.
            let (user, password) = decoded.split_once(':').ok_or("has no password")?;
            return Ok(Some(Credential::Password {
                user: Secret::new(user),
                password: Secret::new(password.trim_end_matches('\0')),
            }));
        }
        let user = given(&self.username);
        Ok(user
            .zip(given(&self.password))
            .map(|(user, password)| Credential::Password { user, password }))
    }
}

/// Reads a file; `None` where there is none.
fn read(path: &Path) -> Result<Option<AuthFile>, CredentialError> {
    let error = |reason: String| CredentialError::File {
        path: path.display().to_string(),
        reason,
    };
    let size = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(error("it is not a file".to_owned())),
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(failure) => return Err(error(failure.to_string())),
    };
    if size > LARGEST_FILE {
        return Err(error(format!("it has more than {LARGEST_FILE} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|failure| error(failure.to_string()))?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    // The parser's message may quote a password: say where, not what.
    let file = serde_json::from_slice(&bytes).map_err(|failure| {
        error(format!(
            "it is not the JSON that docker and podman write (line {}, column {})",
            failure.line(),
            failure.column()
        ))
    })?;
    Ok(Some(file))
}

/// The keys under which a credential may stand, nearest first: `host/ns/repo`, `host/ns`, `host`.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut path = repository;
    while !path.is_empty() {
        keys.push(format!("{host}/{path}"));
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    keys.push(host.to_owned());
    keys
}

/// A key as it is compared: without scheme, and without the version of docker's old API; the names of docker's own
/// registry are one.
fn normalized(key: &str) -> String {
    let key = key.trim();
    let without_scheme = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    let rest = without_scheme.unwrap_or(key).trim_end_matches('/');
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = if without_scheme.is_some() || matches!(path, "v1" | "v2") {
        ""
    } else {
        path
    };
    let host = match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" | "docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    };
    if path.is_empty() {
        host
    } else {
        format!("{host}/{path}")
    }
}

#[cfg(test)]
mod tests;
