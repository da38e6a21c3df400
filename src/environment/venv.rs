//! `pyvenv.cfg`: what a virtual environment says of where it came from.
//!
//! Specification: PEP 405; read as `site.py` reads it: `key = value` lines, keys in any case.

use crate::image_path::ImagePath;
use crate::rootfs::{RootFs, resolve};

/// Largest configuration file that is read, in bytes: real ones have a dozen lines.
pub(super) const MAX_CONFIG: u64 = 1 << 20;

/// What `pyvenv.cfg` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct VenvConfig {
    /// Folder of the base interpreter's executable.
    pub home: Option<String>,
    /// Version of the base interpreter when the environment was made, such as `3.10.13`.
    pub version: Option<String>,
    /// Implementation of the base interpreter, such as `CPython`, where it is said.
    pub implementation: Option<String>,
    /// Whether the base's own site-packages are visible.
    pub system_site_packages: bool,
}

impl VenvConfig {
    /// Reads the `pyvenv.cfg` of the real folder `prefix`; `None` where there is none.
    pub(super) fn read(root: &dyn RootFs, prefix: &ImagePath) -> Option<Self> {
        let bytes = resolve::read_file_in(root, prefix, "pyvenv.cfg", MAX_CONFIG).ok()??;
        Some(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    fn parse(text: &str) -> Self {
        let mut config = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "home" => config.home = Some(value.to_owned()),
                "include-system-site-packages" => {
                    config.system_site_packages = value.eq_ignore_ascii_case("true");
                }
                "implementation" => config.implementation = Some(value.to_owned()),
                // `venv` writes the first, `virtualenv` and `uv` the second, the former as 3.10.13.final.0.
                "version" | "version_info" if config.version.is_none() => {
                    config.version = release_of(value);
                }
                _ => {}
            }
        }
        config
    }

    /// Major and minor number of the version.
    pub(super) fn minor(&self) -> Option<(u16, u16)> {
        let mut numbers = self.version.as_deref()?.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

/// Reads `3.13.0.candidate.2` as virtualenv writes `sys.version_info`, or a version as it is.
fn release_of(value: &str) -> Option<String> {
    let parts: Vec<&str> = value.split('.').collect();
    if let [major, minor, micro, level, serial] = parts[..] {
        let release = format!("{major}.{minor}.{micro}");
        return Some(match level {
            "alpha" => format!("{release}a{serial}"),
            "beta" => format!("{release}b{serial}"),
            "candidate" => format!("{release}rc{serial}"),
            _ => release,
        });
    }
    (!value.is_empty()).then(|| value.trim_end_matches('+').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_writers_of_pyvenv_cfg_are_understood() {
        for (text, version) in [
            ("home = /usr/bin\nversion = 3.11.2\n", "3.11.2"),
            (
                "home = /usr/bin\nversion_info = 3.11.2.final.0\nversion = 3\n",
                "3.11.2",
            ),
            (
                "Home=/usr/bin\r\nVERSION_INFO=3.13.0.candidate.2\r\n",
                "3.13.0rc2",
            ),
            ("home = /usr/bin\nversion = 3.14.0a3+\n", "3.14.0a3"),
        ] {
            let config = VenvConfig::parse(text);
            assert_eq!(config.home.as_deref(), Some("/usr/bin"));
            assert_eq!(config.version.as_deref(), Some(version));
            assert!(!config.system_site_packages);
        }
        assert_eq!(VenvConfig::parse("version = 3.10.1").minor(), Some((3, 10)));
        assert!(VenvConfig::parse("include-system-site-packages = True").system_site_packages);
    }
}
