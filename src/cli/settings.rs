//! From arguments, environment variables and pip's configuration files to plain settings.
//!
//! The only place that reads environment variables and the wall clock.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use etcetera::BaseStrategy as _;

use crate::command::CommandError;
use crate::command::request::Variables;
use crate::package_index::pip_config;
use crate::package_index::{Clock, IndexSettings, PipConfig};

use super::arguments::IndexArguments;

/// What the process was started with.
pub struct Surroundings {
    variables: Arc<BTreeMap<OsString, OsString>>,
    home: Option<PathBuf>,
    config_home: Option<PathBuf>,
    cache_home: Option<PathBuf>,
}

impl Surroundings {
    /// Reads the environment of this process.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place that reads the environment"
    )]
    pub fn of_this_process() -> Self {
        let strategy = etcetera::choose_base_strategy().ok();
        Self {
            variables: Arc::new(std::env::vars_os().collect()),
            home: strategy
                .as_ref()
                .map(|strategy| strategy.home_dir().to_owned()),
            config_home: strategy.as_ref().map(etcetera::BaseStrategy::config_dir),
            cache_home: strategy.as_ref().map(etcetera::BaseStrategy::cache_dir),
        }
    }

    /// The value of a variable; an empty value is none, as in pip and uv.
    fn variable(&self, name: &str) -> Option<String> {
        let value = self.variables.get(&OsString::from(name))?.to_str()?;
        (!value.trim().is_empty()).then(|| value.trim().to_owned())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.variables.get(&OsString::from(name))?;
        (!value.is_empty()).then(|| PathBuf::from(value))
    }

    /// The variables, for who may look one up by a name that a file gives.
    #[must_use]
    pub fn variables(&self) -> Variables {
        let variables = Arc::clone(&self.variables);
        Arc::new(move |name| {
            variables
                .get(&OsString::from(name))?
                .to_str()
                .map(str::to_owned)
        })
    }

    /// Whether the user wants no colours (<https://no-color.org>).
    #[must_use]
    pub fn no_color(&self) -> bool {
        self.variable("NO_COLOR").is_some() || self.variable("TERM").as_deref() == Some("dumb")
    }

    /// The day, `YYYY-MM-DD`, in UTC: that of SOURCE_DATE_EPOCH where it is set.
    #[must_use]
    pub fn today(&self) -> String {
        let seconds = self
            .variable("SOURCE_DATE_EPOCH")
            .and_then(|value| value.parse::<i64>().ok())
            .unwrap_or_else(|| i64::try_from(wall_clock() / 1000).unwrap_or(i64::MAX));
        let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        time.strftime("%Y-%m-%d").to_string()
    }

    /// Settings of the package index: flags first, then variables, then pip's configuration files.
    ///
    /// # Errors
    /// When a configuration file of pip cannot be read.
    pub fn index(&self, arguments: &IndexArguments) -> Result<IndexSettings, CommandError> {
        let mut settings = IndexSettings::default();
        self.pip_config()?.apply(&mut settings);
        let named = arguments
            .index_url
            .clone()
            .or_else(|| {
                self.variable("UV_DEFAULT_INDEX")
                    .map(|value| without_name(&value))
            })
            .or_else(|| self.variable("PIP_INDEX_URL"))
            .or_else(|| self.variable("UV_INDEX_URL"));
        if named.is_some() {
            settings.index_url = named;
        }
        let no_index = self.variable("PIP_NO_INDEX");
        if settings.index_url.is_some()
            && arguments.index_url.is_none()
            && no_index.is_some_and(|value| !matches!(value.as_str(), "0" | "false" | "no" | "off"))
        {
            settings.index_url = None;
        }
        let mut extra_index_urls = arguments.extra_index_url.clone();
        if extra_index_urls.is_empty() {
            for name in ["UV_INDEX", "PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL"] {
                if let Some(value) = self.variable(name) {
                    extra_index_urls.extend(value.split_whitespace().map(without_name));
                }
            }
        }
        if !extra_index_urls.is_empty() {
            settings.extra_index_urls = extra_index_urls;
        }
        settings.netrc = self
            .path("NETRC")
            .or_else(|| Some(self.home.as_ref()?.join(".netrc")))
            .filter(|path| path.is_file());
        if let Some(certificates) = self
            .path("PIP_CERT")
            .or_else(|| self.path("REQUESTS_CA_BUNDLE"))
        {
            settings.certificates = Some(certificates);
        }
        settings.cache_dir = if arguments.no_cache {
            None
        } else {
            self.cache_dir(arguments)
        };
        settings.refresh = arguments.refresh;
        settings.offline = arguments.offline;
        Ok(settings)
    }

    fn cache_dir(&self, arguments: &IndexArguments) -> Option<PathBuf> {
        arguments
            .cache_dir
            .clone()
            .or_else(|| self.path("IMGTOOL_CACHE_DIR"))
            .or_else(|| Some(self.cache_home.as_ref()?.join("imgtool")))
    }

    fn pip_config(&self) -> Result<PipConfig, CommandError> {
        let files = pip_config::candidate_files(
            self.home.as_deref(),
            self.config_home.as_deref(),
            self.path("PIP_CONFIG_FILE").as_deref(),
        );
        Ok(PipConfig::read(&files)?)
    }
}

/// uv lets an index be written as `name=url`.
fn without_name(value: &str) -> String {
    match value.split_once('=') {
        Some((name, url)) if !name.contains([':', '/']) => url.to_owned(),
        _ => value.to_owned(),
    }
}

/// The wall clock, handed to whoever needs the time.
#[must_use]
pub fn clock() -> Clock {
    Arc::new(wall_clock)
}

/// Milliseconds since the epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place that reads the wall clock"
)]
fn wall_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| {
            u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
        Surroundings {
            variables: Arc::new(
                variables
                    .iter()
                    .map(|(name, value)| (OsString::from(name), OsString::from(value)))
                    .collect(),
            ),
            home: None,
            config_home: None,
            cache_home: Some(PathBuf::from("/cache")),
        }
    }

    fn no_arguments() -> IndexArguments {
        IndexArguments {
            index_url: None,
            extra_index_url: Vec::new(),
            offline: false,
            refresh: false,
            cache_dir: None,
            no_cache: false,
        }
    }

    #[test]
    fn flags_come_before_variables_and_these_before_the_default() {
        let both = surroundings(&[
            ("PIP_INDEX_URL", "https://pip.invalid/simple"),
            ("UV_DEFAULT_INDEX", "mine=https://uv.invalid/simple"),
            (
                "PIP_EXTRA_INDEX_URL",
                "https://a.invalid/ https://b.invalid/",
            ),
            ("UV_INDEX_URL", " "),
        ]);
        let settings = both.index(&no_arguments()).expect("settings");
        assert_eq!(
            settings.index_url.as_deref(),
            Some("https://uv.invalid/simple")
        );
        assert_eq!(
            settings.extra_index_urls,
            ["https://a.invalid/", "https://b.invalid/"]
        );
        assert_eq!(settings.cache_dir, Some(PathBuf::from("/cache/imgtool")));

        let mut arguments = no_arguments();
        arguments.index_url = Some("https://flag.invalid/simple".to_owned());
        arguments.no_cache = true;
        let settings = both.index(&arguments).expect("settings");
        assert_eq!(
            settings.index_url.as_deref(),
            Some("https://flag.invalid/simple")
        );
        assert_eq!(settings.cache_dir, None);

        let none = surroundings(&[]).index(&no_arguments()).expect("settings");
        assert_eq!(none.index_url, IndexSettings::default().index_url);
    }

    #[test]
    fn the_day_can_be_told() {
        assert_eq!(
            surroundings(&[("SOURCE_DATE_EPOCH", "86400")]).today(),
            "1970-01-02"
        );
    }
}
