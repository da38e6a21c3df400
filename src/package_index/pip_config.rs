//! The index settings that a machine already has: pip's configuration files.
//!
//! Where they lie and what they say: <https://pip.pypa.io/en/stable/topics/configuration/>. Only the keys that say which
//! indexes to ask are read, from the sections `[global]`, `[install]` and `[download]`; a later file overrides an
//! earlier one, and within a file a command's section overrides `[global]`.

use std::path::{Path, PathBuf};

use configparser::ini::Ini;

use super::error::IndexError;
use super::settings::IndexSettings;

/// What pip's configuration says about indexes; what it does not say is `None` or empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PipConfig {
    /// `index-url`, with its credentials if it has any.
    pub index_url: Option<String>,
    /// `extra-index-url`.
    pub extra_index_urls: Vec<String>,
    /// `find-links`.
    pub find_links: Vec<String>,
    /// `no-index`.
    pub no_index: Option<bool>,
    /// `cert`.
    pub certificates: Option<PathBuf>,
}

impl std::fmt::Debug for PipConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut settings = IndexSettings {
            index_url: None,
            ..IndexSettings::default()
        };
        self.apply(&mut settings);
        f.debug_struct("PipConfig")
            .field("no_index", &self.no_index)
            .field("certificates", &self.certificates)
            // These know how to hide credentials.
            .field("settings", &settings)
            .finish_non_exhaustive()
    }
}

impl PipConfig {
    /// Reads the text of one file.
    ///
    /// # Errors
    /// When the text is not an INI file; the error is the parser's.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut ini = Ini::new();
        ini.set_multiline(true);
        // Credentials may contain `;` and `#`, which begin a comment only at the start of a line.
        ini.set_inline_comment_symbols(Some(&[]));
        ini.read(text.to_owned())?;
        let mut config = Self::default();
        for section in ["global", "install", "download"] {
            // pip takes both spellings.
            let value = |key: &str| {
                ini.get(section, key)
                    .or_else(|| ini.get(section, &key.replace('-', "_")))
                    .map(|value| value.trim().to_owned())
                    .filter(|value| !value.is_empty())
            };
            let values = |key: &str| {
                let value = value(key).unwrap_or_default();
                value.split_whitespace().map(str::to_owned).collect()
            };
            config.update(Self {
                index_url: value("index-url"),
                extra_index_urls: values("extra-index-url"),
                find_links: values("find-links"),
                no_index: value("no-index").and_then(|value| boolean(&value)),
                certificates: value("cert").map(PathBuf::from),
            });
        }
        Ok(config)
    }

    /// Reads those of `files` that exist, in order of rising precedence.
    ///
    /// # Errors
    /// When one of them exists but cannot be read or is not an INI file.
    pub fn read(files: &[PathBuf]) -> Result<Self, IndexError> {
        let mut config = Self::default();
        for file in files {
            let failed = |reason: String| IndexError::Configuration {
                path: file.display().to_string(),
                reason,
            };
            match std::fs::read(file) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    config.update(Self::parse(&text).map_err(failed)?);
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(failed(error.to_string())),
            }
        }
        Ok(config)
    }

    /// Lets what `later` says override what is said here.
    pub fn update(&mut self, later: Self) {
        let Self {
            index_url,
            extra_index_urls,
            find_links,
            no_index,
            certificates,
        } = later;
        replace(&mut self.index_url, index_url);
        if !extra_index_urls.is_empty() {
            self.extra_index_urls = extra_index_urls;
        }
        if !find_links.is_empty() {
            self.find_links = find_links;
        }
        replace(&mut self.no_index, no_index);
        replace(&mut self.certificates, certificates);
    }

    /// Carries over what the configuration says into `settings`.
    pub fn apply(&self, settings: &mut IndexSettings) {
        if let Some(url) = &self.index_url {
            settings.index_url = Some(url.clone());
        }
        if !self.extra_index_urls.is_empty() {
            settings.extra_index_urls.clone_from(&self.extra_index_urls);
        }
        if !self.find_links.is_empty() {
            settings.find_links.clone_from(&self.find_links);
        }
        if let Some(certificates) = &self.certificates {
            settings.certificates = Some(certificates.clone());
        }
        if self.no_index == Some(true) {
            settings.index_url = None;
            settings.extra_index_urls.clear();
        }
    }
}

/// Where pip looks for its configuration on Linux, in order of rising precedence. Any of the files may not exist.
///
/// `config_home` is `XDG_CONFIG_HOME`, by default
/// `~/.config`; `pip_config_file` is `PIP_CONFIG_FILE`, whose value `/dev/null` switches all files off, as pip has it.
#[must_use]
pub fn candidate_files(
    home: Option<&Path>,
    config_home: Option<&Path>,
    pip_config_file: Option<&Path>,
) -> Vec<PathBuf> {
    if pip_config_file == Some(Path::new("/dev/null")) {
        return Vec::new();
    }
    // The first is in the default of `XDG_CONFIG_DIRS`.
    let mut files = vec![
        PathBuf::from("/etc/xdg/pip/pip.conf"),
        PathBuf::from("/etc/pip.conf"),
    ];
    if let Some(home) = home {
        files.push(home.join(".pip/pip.conf"));
    }
    if let Some(folder) = config_home {
        files.push(folder.join("pip/pip.conf"));
    } else if let Some(home) = home {
        files.push(home.join(".config/pip/pip.conf"));
    }
    files.extend(pip_config_file.map(Path::to_path_buf));
    files
}

/// Whether there is no such file; a path through something that is no folder says the same.
fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// A yes or no as Python's `strtobool` reads it.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Some(true),
        "n" | "no" | "f" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn replace<T>(slot: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *slot = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_pip() {
        let config = PipConfig::parse(
            "# a comment\n[global]\nindex-url = https://u:s;e#cret@example.org/simple\nno_index = off\ntimeout = 60\n\
             trusted-host = example.org\ncert = /etc/ca.pem\n\
             [install]\nextra-index-url =\n    https://a.example.org/simple\n    https://b.example.org/simple\n\
             find-links = /wheels\n  https://u:se2cret@example.org/links\n\
             [list]\nindex-url = https://not.example.org\n",
        )
        .expect("a configuration");
        assert_eq!(
            config,
            PipConfig {
                index_url: Some("https://u:s;e#cret@example.org/simple".to_owned()),
                extra_index_urls: vec![
                    "https://a.example.org/simple".to_owned(),
                    "https://b.example.org/simple".to_owned()
                ],
                find_links: vec![
                    "/wheels".to_owned(),
                    "https://u:se2cret@example.org/links".to_owned()
                ],
                no_index: Some(false),
                certificates: Some(PathBuf::from("/etc/ca.pem")),
            }
        );
        assert!(!format!("{config:?}").contains("cret"), "{config:?}");
    }

    #[test]
    fn a_section_of_a_command_and_a_later_file_override() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::File::create(&path)
                .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
                .expect("written");
            path
        };
        let files = [
            write(
                "1",
                "[install]\nindex_url = https://two\n[global]\nindex-url = https://one\nextra-index-url = https://x https://y\n",
            ),
            folder.path().join("absent"),
            write("2", "[global]\nno-index = yes\n"),
        ];
        let mut settings = IndexSettings::default();
        let config = PipConfig::read(&files[..2]).expect("a configuration");
        config.apply(&mut settings);
        assert_eq!(settings.index_url.as_deref(), Some("https://two"));
        assert_eq!(settings.extra_index_urls, ["https://x", "https://y"]);
        PipConfig::read(&files)
            .expect("a configuration")
            .apply(&mut settings);
        assert_eq!(settings.index_url, None);
        let broken = write("3", "[global\n");
        let error = PipConfig::read(&[broken]).expect_err("no configuration");
        assert!(error.to_string().contains("/3: "), "{error}");
    }

    #[test]
    fn files_in_order_of_precedence() {
        let home = Path::new("/home/a");
        let texts = |files: Vec<PathBuf>| -> Vec<String> {
            files
                .iter()
                .map(|file| file.display().to_string())
                .collect()
        };
        assert_eq!(
            texts(candidate_files(Some(home), None, Some(Path::new("/p")))),
            [
                "/etc/xdg/pip/pip.conf",
                "/etc/pip.conf",
                "/home/a/.pip/pip.conf",
                "/home/a/.config/pip/pip.conf",
                "/p"
            ]
        );
        assert_eq!(
            texts(candidate_files(None, Some(Path::new("/c")), None)),
            ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", "/c/pip/pip.conf"]
        );
        assert!(candidate_files(Some(home), None, Some(Path::new("/dev/null"))).is_empty());
    }
}
