//! From arguments, environment variables and pip's configuration files to plain settings.
//!
//! The only place that reads environment variables and the wall clock.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum as _;
use etcetera::BaseStrategy as _;

use crate::command::CommandError;
use crate::command::base::BaseSettings;
use crate::command::request::Variables;
use crate::http::HttpSettings;
use crate::layer::PythonPlaces;
use crate::package_index::pip_config;
use crate::package_index::{Clock, IndexSettings, IndexStrategy, PipConfig, parse_exclude_newer};
use crate::rootfs::LayerProgress;
use crate::transport::credentials::CredentialSettings;
use crate::transport::document_cache::DocumentCache;
use crate::transport::platform::OciPlatform;
use crate::transport::registries_conf::RegistriesFiles;
use crate::transport::registry::RegistrySettings;

use super::arguments::{CacheChoice, ImageArguments, IndexArguments, IndexStrategyName, mirror};

/// What the process was started with.
pub struct Surroundings {
    variables: Arc<BTreeMap<OsString, OsString>>,
    home: Option<PathBuf>,
    config_home: Option<PathBuf>,
    cache_home: Option<PathBuf>,
    /// Where the machine's configuration lies.
    system_config: PathBuf,
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
            system_config: PathBuf::from("/etc"),
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

    /// SOURCE_DATE_EPOCH in seconds, where it is set (<https://reproducible-builds.org/specs/source-date-epoch/>).
    #[must_use]
    pub fn source_date(&self) -> Option<i64> {
        self.variable("SOURCE_DATE_EPOCH")?.parse().ok()
    }

    /// The folder of temporary files that may be large: TMPDIR, else `/var/tmp`, as `/tmp` may be memory.
    #[must_use]
    pub fn temporary_folder(&self) -> PathBuf {
        self.path("TMPDIR")
            .unwrap_or_else(|| PathBuf::from("/var/tmp"))
    }

    /// The day, `YYYY-MM-DD`, in UTC: that of SOURCE_DATE_EPOCH where it is set.
    #[must_use]
    pub fn today(&self) -> String {
        let seconds = self
            .source_date()
            .unwrap_or_else(|| i64::try_from(wall_clock() / 1000).unwrap_or(i64::MAX));
        let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        time.strftime("%Y-%m-%d").to_string()
    }

    /// Settings of the package index: flags first, then variables, then pip's configuration files.
    ///
    /// # Errors
    /// When a configuration file of pip cannot be read, or a variable has a value that it cannot have.
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
        if settings.index_url.is_some()
            && arguments.index_url.is_none()
            && self.switch("PIP_NO_INDEX")
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
        if arguments.no_index {
            settings.index_url = None;
            settings.extra_index_urls.clear();
        }
        self.beside_the_indexes(arguments, &mut settings)?;
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
            self.cache_dir(arguments.cache_dir.as_deref())
        };
        settings.refresh = arguments.refresh;
        settings.offline = arguments.offline;
        Ok(settings)
    }

    /// What says which files count, where several indexes and places have some: flags, then variables.
    fn beside_the_indexes(
        &self,
        arguments: &IndexArguments,
        settings: &mut IndexSettings,
    ) -> Result<(), CommandError> {
        let mut find_links = arguments.find_links.clone();
        if find_links.is_empty() {
            // uv has commas between them, pip white space.
            let of_uv = self.variable("UV_FIND_LINKS").unwrap_or_default();
            find_links.extend(of_uv.split(',').map(|place| place.trim().to_owned()));
            let of_pip = self.variable("PIP_FIND_LINKS").unwrap_or_default();
            find_links.extend(of_pip.split_whitespace().map(str::to_owned));
            find_links.retain(|place| !place.is_empty());
        }
        if !find_links.is_empty() {
            settings.find_links = find_links;
        }
        let strategy = match (arguments.index_strategy, self.variable("UV_INDEX_STRATEGY")) {
            (Some(strategy), _) => Some(strategy),
            (None, Some(text)) => Some(IndexStrategyName::from_str(&text, true).map_err(|_| {
                CommandError::Variable {
                    name: "UV_INDEX_STRATEGY",
                    reason: format!(
                        "`{text}` is none of first-index, unsafe-first-match, unsafe-best-match"
                    ),
                }
            })?),
            (None, None) => None,
        };
        settings.strategy = match strategy {
            None | Some(IndexStrategyName::FirstIndex) => IndexStrategy::FirstIndex,
            Some(IndexStrategyName::UnsafeFirstMatch) => IndexStrategy::UnsafeFirstMatch,
            Some(IndexStrategyName::UnsafeBestMatch) => IndexStrategy::UnsafeBestMatch,
        };
        settings.exclude_newer = arguments.exclude_newer;
        for name in ["IMGTOOL_EXCLUDE_NEWER", "UV_EXCLUDE_NEWER"] {
            if settings.exclude_newer.is_none()
                && let Some(text) = self.variable(name)
            {
                let time = parse_exclude_newer(&text)
                    .map_err(|reason| CommandError::Variable { name, reason })?;
                settings.exclude_newer = Some(time);
            }
        }
        Ok(())
    }

    /// How bases are opened.
    ///
    /// # Errors
    /// When a variable has a value that it cannot have.
    pub fn base(
        &self,
        python: Option<&str>,
        image: &ImageArguments,
        cache: CacheChoice<'_>,
        progress: Arc<dyn LayerProgress + Send + Sync>,
    ) -> Result<BaseSettings, CommandError> {
        let mut mirrors = image.mirrors.clone();
        if mirrors.is_empty()
            && let Some(value) = self.variable("IMGTOOL_REGISTRY_MIRRORS")
        {
            for text in value.split_whitespace() {
                mirrors.push(mirror(text).map_err(|reason| CommandError::Variable {
                    name: "IMGTOOL_REGISTRY_MIRRORS",
                    reason,
                })?);
            }
        }
        let cache_dir = (!cache.none)
            .then(|| self.cache_dir(cache.folder))
            .flatten();
        let mut registry = self.registry(
            &image.insecure_registries,
            image.platform.first().cloned(),
            cache.offline,
        );
        registry.documents = DocumentCache::new(cache_dir.as_deref());
        Ok(BaseSettings {
            python: python.map(str::to_owned),
            registry,
            mirrors,
            snapshot: image.snapshot || self.switch("IMGTOOL_SNAPSHOT"),
            program_path: self.program_path(),
            cache_dir,
            clock: clock(),
            progress,
            lists_interpreters: false,
            reads_pip_settings: false,
            needs_image: false,
            temporary: self.temporary_folder(),
            lists_attached: false,
        })
    }

    /// Whether a variable is set to something that means yes.
    fn switch(&self, name: &str) -> bool {
        self.variable(name)
            .is_some_and(|value| !matches!(value.as_str(), "0" | "false" | "no" | "off"))
    }

    /// The folders of PATH, in order.
    fn program_path(&self) -> Vec<PathBuf> {
        self.variables
            .get(&OsString::from("PATH"))
            .map(|path| std::env::split_paths(path).collect())
            .unwrap_or_default()
    }

    /// Where a Python of this machine is looked for: the one that is `named`, the folders of PATH, then the installations of
    /// pyenv (PYENV_ROOT) and uv (`UV_PYTHON_INSTALL_DIR`).
    #[must_use]
    pub fn pythons(&self, named: Option<PathBuf>) -> PythonPlaces {
        let below = |folder: &str| Some(self.home.as_ref()?.join(folder));
        let pyenv = self.path("PYENV_ROOT").or_else(|| below(".pyenv"));
        let of_uv = self.path("UV_PYTHON_INSTALL_DIR").or_else(|| {
            let data = self.path("XDG_DATA_HOME");
            Some(data.or_else(|| below(".local/share"))?.join("uv/python"))
        });
        PythonPlaces {
            named,
            program_path: self.program_path(),
            installations: pyenv
                .map(|folder| folder.join("versions"))
                .into_iter()
                .chain(of_uv)
                .collect(),
        }
    }

    /// Settings of registries. `insecure` and `platform` are what the command line says; credentials come from where
    /// podman and docker keep them: REGISTRY_AUTH_FILE, `containers/auth.json` below XDG_RUNTIME_DIR and the
    /// configuration folder, `config.json` below DOCKER_CONFIG or `~/.docker`. So do certificates of single registries:
    /// `containers/certs.d` and `docker/certs.d` in the configuration folder of the user, then in that of the machine.
    #[must_use]
    pub fn registry(
        &self,
        insecure: &[String],
        platform: Option<OciPlatform>,
        offline: bool,
    ) -> RegistrySettings {
        let below = |folder: Option<PathBuf>, file: &str| folder.map(|folder| folder.join(file));
        let docker = self
            .path("DOCKER_CONFIG")
            .or_else(|| below(self.home.clone(), ".docker"));
        let files = [
            self.path("REGISTRY_AUTH_FILE"),
            below(self.path("XDG_RUNTIME_DIR"), "containers/auth.json"),
            below(self.config_home.clone(), "containers/auth.json"),
            below(docker, "config.json"),
        ];
        let configured = self.config_home.iter().chain([&self.system_config]);
        let certificate_folders = configured
            .flat_map(|folder| {
                ["containers/certs.d", "docker/certs.d"].map(|name| folder.join(name))
            })
            .collect();
        RegistrySettings {
            http: HttpSettings {
                certificate_folders,
                certificates: self
                    .path("PIP_CERT")
                    .or_else(|| self.path("REQUESTS_CA_BUNDLE")),
                offline,
                clock: Some(clock()),
                ..HttpSettings::default()
            },
            credentials: CredentialSettings {
                files: files.into_iter().flatten().collect(),
                search_path: self.program_path(),
                ..CredentialSettings::default()
            },
            insecure: insecure.to_vec(),
            registries: self.registries(),
            platform,
            documents: DocumentCache::default(),
        }
    }

    /// Where podman and skopeo look for places of registries: the file of CONTAINERS_REGISTRIES_CONF alone; else that of
    /// the user with its drop-in files; else that of the machine with its own and with those of the user.
    fn registries(&self) -> RegistriesFiles {
        if let Some(file) = self.path("CONTAINERS_REGISTRIES_CONF") {
            return RegistriesFiles {
                main: Some(file),
                drop_ins: Vec::new(),
            };
        }
        let file_in = |folder: &PathBuf| folder.join("containers/registries.conf");
        let drop_ins_in = |folder: &PathBuf| folder.join("containers/registries.conf.d");
        let own = self.config_home.as_ref();
        match own.map(file_in).filter(|file| file.is_file()) {
            Some(file) => RegistriesFiles {
                main: Some(file),
                drop_ins: own.map(drop_ins_in).into_iter().collect(),
            },
            None => RegistriesFiles {
                main: Some(file_in(&self.system_config)),
                drop_ins: [&self.system_config]
                    .into_iter()
                    .chain(own)
                    .map(drop_ins_in)
                    .collect(),
            },
        }
    }

    /// The cache folder: the one that is named, else that of the environment, else the platform's.
    #[must_use]
    pub fn cache_dir(&self, named: Option<&Path>) -> Option<PathBuf> {
        named
            .map(Path::to_owned)
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
            system_config: PathBuf::from("/etc"),
        }
    }

    fn no_arguments() -> IndexArguments {
        IndexArguments {
            index_url: None,
            extra_index_url: Vec::new(),
            no_index: false,
            find_links: Vec::new(),
            index_strategy: None,
            exclude_newer: None,
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
    fn which_files_count_is_said_by_flags_before_variables() {
        let here = surroundings(&[
            ("UV_FIND_LINKS", "/wheels, https://h.invalid/links"),
            ("PIP_FIND_LINKS", "/more  /yet"),
            ("UV_INDEX_STRATEGY", "unsafe-best-match"),
            ("UV_EXCLUDE_NEWER", "2020-01-01"),
            ("IMGTOOL_EXCLUDE_NEWER", "2025-12-23T08:00:00Z"),
            ("PIP_EXTRA_INDEX_URL", "https://a.invalid/"),
        ]);
        let settings = here.index(&no_arguments()).expect("settings");
        assert_eq!(
            settings.find_links,
            ["/wheels", "https://h.invalid/links", "/more", "/yet"]
        );
        assert_eq!(settings.strategy, IndexStrategy::UnsafeBestMatch);
        let time = settings.exclude_newer.expect("a time");
        assert_eq!(time.to_string(), "2025-12-23T08:00:00Z");

        let mut arguments = no_arguments();
        arguments.find_links = vec!["here".to_owned()];
        arguments.index_strategy = Some(IndexStrategyName::UnsafeFirstMatch);
        arguments.exclude_newer = parse_exclude_newer("2024-02-29").ok();
        arguments.no_index = true;
        let settings = here.index(&arguments).expect("settings");
        assert_eq!(settings.find_links, ["here"]);
        assert_eq!(settings.strategy, IndexStrategy::UnsafeFirstMatch);
        let time = settings.exclude_newer.expect("a time");
        assert_eq!(time.to_string(), "2024-03-01T00:00:00Z");
        assert_eq!(settings.index_url, None);
        assert!(settings.extra_index_urls.is_empty());

        for (name, value) in [
            ("UV_EXCLUDE_NEWER", "7 days"),
            ("UV_INDEX_STRATEGY", "best"),
        ] {
            let error = surroundings(&[(name, value)])
                .index(&no_arguments())
                .expect_err("no such value");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn credentials_of_registries_are_where_podman_and_docker_keep_them() {
        let mut here = surroundings(&[
            ("REGISTRY_AUTH_FILE", "/own/auth.json"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
            ("DOCKER_CONFIG", "/docker"),
            ("PATH", "/usr/bin:/bin"),
            ("REQUESTS_CA_BUNDLE", "/ca.pem"),
        ]);
        here.home = Some(PathBuf::from("/home/u"));
        here.config_home = Some(PathBuf::from("/home/u/.config"));
        let settings = here.registry(&["r.example:5000".to_owned()], None, true);
        assert_eq!(
            settings.credentials.files,
            [
                "/own/auth.json",
                "/run/user/1/containers/auth.json",
                "/home/u/.config/containers/auth.json",
                "/docker/config.json",
            ]
            .map(PathBuf::from)
        );
        assert_eq!(
            settings.credentials.search_path,
            ["/usr/bin", "/bin"].map(PathBuf::from)
        );
        assert_eq!(settings.insecure, ["r.example:5000"]);
        assert_eq!(settings.http.certificates, Some(PathBuf::from("/ca.pem")));
        assert!(settings.http.offline);
        assert_eq!(
            settings.http.certificate_folders,
            [
                "/home/u/.config/containers/certs.d",
                "/home/u/.config/docker/certs.d",
                "/etc/containers/certs.d",
                "/etc/docker/certs.d",
            ]
            .map(PathBuf::from)
        );

        let mut plain = surroundings(&[]);
        plain.home = Some(PathBuf::from("/home/u"));
        let settings = plain.registry(&[], None, false);
        let docker = PathBuf::from("/home/u/.docker/config.json");
        assert_eq!(settings.credentials.files, [docker]);
    }

    #[test]
    fn places_of_registries_are_where_podman_looks_for_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut here = surroundings(&[]);
        here.config_home = Some(folder.path().to_owned());
        here.system_config = PathBuf::from("/machine");
        let own = |name: &str| folder.path().join("containers").join(name);
        let files = here.registry(&[], None, false).registries;
        assert_eq!(
            files.main,
            Some(PathBuf::from("/machine/containers/registries.conf"))
        );
        assert_eq!(
            files.drop_ins,
            [
                PathBuf::from("/machine/containers/registries.conf.d"),
                own("registries.conf.d")
            ]
        );

        std::fs::create_dir(folder.path().join("containers")).expect("a folder");
        std::fs::File::create(own("registries.conf")).expect("a file");
        let files = here.registry(&[], None, false).registries;
        assert_eq!(files.main, Some(own("registries.conf")));
        assert_eq!(files.drop_ins, [own("registries.conf.d")]);

        let named = surroundings(&[("CONTAINERS_REGISTRIES_CONF", "/named.conf")]);
        let files = named.registry(&[], None, false).registries;
        assert_eq!(files.main, Some(PathBuf::from("/named.conf")));
        assert!(files.drop_ins.is_empty());
    }

    #[test]
    fn the_day_can_be_told() {
        assert_eq!(
            surroundings(&[("SOURCE_DATE_EPOCH", "86400")]).today(),
            "1970-01-02"
        );
    }
}
