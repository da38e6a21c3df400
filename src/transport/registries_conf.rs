//! Where images of a registry are really asked for: `registries.conf` of containers.
//!
//! Format: containers-registries.conf(5), version 2. Of it the tables `[[registry]]` (`prefix`, `location`, `insecure`,
//! `blocked`, `mirror-by-digest-only`) and `[[registry.mirror]]` (`location`, `insecure`, `pull-from-mirror`) count. A name
//! without a registry means Docker Hub, whatever `unqualified-search-registries` and aliases say: what a name means must
//! not depend on the machine. `insecure` allows to do without TLS, never to accept a certificate that is not trusted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use oci_distribution::Reference;
use serde::Deserialize;

use super::TransportError;

/// The files that are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistriesFiles {
    /// The main file; one that is not there says nothing.
    pub main: Option<PathBuf>,
    /// Folders whose files `*.conf` are read afterwards, each folder in the order of names. A table replaces an earlier one
    /// with the same prefix.
    pub drop_ins: Vec<PathBuf>,
}

/// A file that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BrokenFile {
    path: PathBuf,
    reason: String,
}

impl From<BrokenFile> for TransportError {
    fn from(broken: BrokenFile) -> Self {
        Self::Invalid {
            what: broken.path.display().to_string(),
            reason: broken.reason,
        }
    }
}

/// What the files say of registries.
#[derive(Debug, Default)]
pub(super) struct RegistriesConf {
    /// By prefix.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    table: RegistryTable,
    /// The file it stands in.
    path: PathBuf,
}

/// A place where an image is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The image there.
    pub(super) reference: Reference,
    /// Whether the registry there may be asked without TLS.
    pub(super) insecure: bool,
}

#[derive(Deserialize)]
struct File {
    #[serde(default, rename = "registry")]
    registries: Vec<RegistryTable>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryTable {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default, rename = "mirror")]
    mirrors: Vec<MirrorTable>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<PullFromMirror>,
}

/// For which references a mirror is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFromMirror {
    All,
    DigestOnly,
    TagOnly,
}

impl RegistriesConf {
    /// Reads the files. Those that are not there are passed over.
    ///
    /// # Errors
    /// When a file cannot be read or is not of this form.
    pub(super) fn read(files: &RegistriesFiles) -> Result<Self, BrokenFile> {
        let mut paths: Vec<PathBuf> = files.main.iter().cloned().collect();
        for folder in &files.drop_ins {
            paths.extend(drop_ins_of(folder)?);
        }
        let mut conf = Self::default();
        for path in paths {
            let broken = |reason: String| BrokenFile {
                path: path.clone(),
                reason,
            };
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(broken(error.to_string())),
            };
            let file: File =
                toml::from_str(&text).map_err(|error| broken(error.message().to_owned()))?;
            for table in file.registries {
                let (prefix, table) = checked(table).map_err(broken)?;
                let path = path.clone();
                conf.entries.insert(prefix, Entry { table, path });
            }
        }
        Ok(conf)
    }

    /// The places where `reference` is asked for, in order; at least one. The last is the registry itself.
    ///
    /// # Errors
    /// When a file blocks it, or makes something of it that is no reference.
    pub(super) fn sources(&self, reference: &Reference) -> Result<Vec<Source>, TransportError> {
        let name = reference.whole();
        let nearest = self
            .entries
            .iter()
            .filter_map(|(prefix, entry)| Some((matched(prefix, &name)?, prefix, entry)))
            .max_by_key(|(length, ..)| *length);
        let Some((length, prefix, entry)) = nearest else {
            return Ok(vec![Source {
                reference: reference.clone(),
                insecure: false,
            }]);
        };
        let table = &entry.table;
        if table.blocked {
            return Err(TransportError::Blocked {
                what: format!("docker://{reference}"),
                prefix: prefix.clone(),
                path: entry.path.display().to_string(),
            });
        }
        let at = |location: &str, insecure: bool| {
            let name = format!("{location}{}", &name[length..]);
            let reference = Reference::from_str(&name).map_err(|error| BrokenFile {
                path: entry.path.clone(),
                reason: format!("it leads to `{name}`: {error}"),
            })?;
            Ok::<_, BrokenFile>(Source {
                reference,
                insecure,
            })
        };
        let mut sources = Vec::new();
        for mirror in &table.mirrors {
            let asked = match mirror.pull_from_mirror {
                Some(asked) => asked,
                None if table.mirror_by_digest_only => PullFromMirror::DigestOnly,
                None => PullFromMirror::All,
            };
            let counts = match asked {
                PullFromMirror::All => true,
                PullFromMirror::DigestOnly => reference.digest().is_some(),
                PullFromMirror::TagOnly => reference.digest().is_none(),
            };
            if counts {
                sources.push(at(&mirror.location, mirror.insecure)?);
            }
        }
        let location = table.location.as_deref().unwrap_or(&name[..length]);
        sources.push(at(location, table.insecure)?);
        Ok(sources)
    }
}

/// The files `*.conf` of a folder, in the order of their names.
fn drop_ins_of(folder: &Path) -> Result<Vec<PathBuf>, BrokenFile> {
    let broken = |error: std::io::Error| BrokenFile {
        path: folder.to_owned(),
        reason: error.to_string(),
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(broken(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(broken)?.path();
        if path.extension().is_some_and(|end| end == "conf") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The prefix of a table, and the table with its locations as they are put before names; or what is wrong with it.
fn checked(mut table: RegistryTable) -> Result<(String, RegistryTable), String> {
    let locations = table
        .prefix
        .iter_mut()
        .chain(&mut table.location)
        .chain(table.mirrors.iter_mut().map(|mirror| &mut mirror.location));
    for location in locations {
        location.truncate(location.trim_end_matches('/').len());
        if location.contains("://") {
            return Err(format!(
                "`{location}` is an address, where HOST[:PORT][/NAMESPACE] is meant"
            ));
        }
        if location.is_empty() {
            return Err("a prefix or location of it is empty".to_owned());
        }
    }
    let prefix = table.prefix.clone().or_else(|| table.location.clone());
    let prefix = prefix.ok_or("a registry in it has neither `prefix` nor `location`")?;
    Ok((prefix, table))
}

/// How many bytes of `name` (`HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`) a prefix covers, where it covers whole parts of it.
/// One that begins with `*.` covers all hosts of a domain.
fn matched(prefix: &str, name: &str) -> Option<usize> {
    let host_length = name.find('/').unwrap_or(name.len());
    let length = match prefix.strip_prefix('*') {
        None => name.starts_with(prefix).then_some(prefix.len())?,
        Some(domain) => {
            let domain_host = domain.split('/').next().unwrap_or(domain);
            let host = &name[..host_length];
            let before = host.len().checked_sub(domain_host.len())?;
            if before == 0 || !host.ends_with(domain_host) || !name[before..].starts_with(domain) {
                return None;
            }
            before + domain.len()
        }
    };
    let ends_a_part = match name.as_bytes().get(length) {
        None | Some(b'/' | b'@') => true,
        // A tag; behind the host it is a port, which makes another registry.
        Some(b':') => length > host_length,
        Some(_) => false,
    };
    ends_a_part.then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(path).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn conf(text: &str) -> Result<RegistriesConf, BrokenFile> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("registries.conf");
        write(&path, text);
        RegistriesConf::read(&RegistriesFiles {
            main: Some(path),
            drop_ins: Vec::new(),
        })
    }

    /// Where a reference leads, with `!` behind what may be asked without TLS.
    fn sources(conf: &RegistriesConf, reference: &str) -> Result<Vec<String>, String> {
        let reference = reference.parse().expect("a reference");
        let sources = conf
            .sources(&reference)
            .map_err(|error| error.to_string())?;
        Ok(sources
            .iter()
            .map(|source| {
                let mark = if source.insecure { "!" } else { "" };
                format!("{}{mark}", source.reference.whole())
            })
            .collect())
    }

    #[test]
    fn the_longest_prefix_says_where_an_image_is() {
        let conf = conf(
            r#"
            unqualified-search-registries = ["search.example"]
            short-name-mode = "enforcing"
            [aliases]
            "python" = "alias.example/python"

            [[registry]]
            location = "r.example"
            insecure = true

            [[registry]]
            prefix = "r.example/team"
            location = "elsewhere.example:5000/their/"
            [[registry.mirror]]
            location = "m1.example"
            [[registry.mirror]]
            location = "m2.example/cache"
            insecure = true

            [[registry]]
            prefix = "*.wild.example"

            [[registry]]
            prefix = "*.gone.example/old"
            location = "new.example/old"

            [[registry]]
            prefix = "docker.io/library"
            location = "hub.example"

            [[registry]]
            prefix = "r.example/secret"
            blocked = true
            "#,
        )
        .expect("a configuration");
        let digest = format!("@sha256:{}", "0".repeat(64));
        for (reference, expected) in [
            ("r.example/a:1", &["r.example/a:1!"][..]),
            ("r.example:5000/a:1", &["r.example:5000/a:1"]),
            ("r.example.org/a:1", &["r.example.org/a:1"]),
            (
                "r.example/team/app:1",
                &[
                    "m1.example/app:1",
                    "m2.example/cache/app:1!",
                    "elsewhere.example:5000/their/app:1",
                ],
            ),
            ("r.example/teams/app:1", &["r.example/teams/app:1!"]),
            ("a.wild.example/x:1", &["a.wild.example/x:1"]),
            ("a.b.gone.example/old/x:1", &["new.example/old/x:1"]),
            ("gone.example/old/x:1", &["gone.example/old/x:1"]),
            ("a.gone.example/older/x:1", &["a.gone.example/older/x:1"]),
            ("python:3.12", &["hub.example/python:3.12"]),
            ("team/app:1", &["docker.io/team/app:1"]),
        ] {
            let found = sources(&conf, reference).expect("sources");
            assert_eq!(found, expected, "{reference}");
        }
        let found = sources(&conf, &format!("r.example/team/app{digest}")).expect("sources");
        assert_eq!(found[0], format!("m1.example/app{digest}"));
        let error = sources(&conf, "r.example/secret/x:1").expect_err("blocked");
        assert!(
            error.starts_with("docker://r.example/secret/x:1 is blocked by ")
                && error.ends_with("registries.conf (`r.example/secret`)"),
            "{error}"
        );
    }

    #[test]
    fn mirrors_may_be_for_tags_or_digests_alone() {
        let conf = conf(
            r#"
            [[registry]]
            location = "r.example"
            [[registry.mirror]]
            location = "tags.example"
            pull-from-mirror = "tag-only"
            [[registry.mirror]]
            location = "digests.example"
            pull-from-mirror = "digest-only"
            [[registry.mirror]]
            location = "all.example"
            pull-from-mirror = "all"
            [[registry]]
            location = "s.example"
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "m.example"
            "#,
        )
        .expect("a configuration");
        let digest = format!("@sha256:{}", "0".repeat(64));
        let hosts = |reference: &str| {
            let found = sources(&conf, reference).expect("sources");
            let host = |source: &String| source.split('/').next().unwrap_or_default().to_owned();
            found.iter().map(host).collect::<Vec<_>>()
        };
        assert_eq!(
            hosts("r.example/a:1"),
            ["tags.example", "all.example", "r.example"]
        );
        assert_eq!(
            hosts(&format!("r.example/a{digest}")),
            ["digests.example", "all.example", "r.example"]
        );
        assert_eq!(hosts("s.example/a:1"), ["s.example"]);
        assert_eq!(
            hosts(&format!("s.example/a{digest}")),
            ["m.example", "s.example"]
        );
    }

    #[test]
    fn later_files_replace_tables_of_earlier_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let drop_ins = folder.path().join("registries.conf.d");
        std::fs::create_dir(&drop_ins).expect("a folder");
        for (name, location) in [("20.conf", "b"), ("10.conf", "a"), ("30.conf.bak", "c")] {
            let text =
                format!("[[registry]]\nprefix = \"r.example\"\nlocation = \"{location}.example\"");
            write(&drop_ins.join(name), &text);
        }
        let conf = RegistriesConf::read(&RegistriesFiles {
            main: Some(folder.path().join("registries.conf")),
            drop_ins: vec![drop_ins, folder.path().join("absent")],
        })
        .expect("a configuration");
        assert_eq!(
            sources(&conf, "r.example/x:1"),
            Ok(vec!["b.example/x:1".to_owned()])
        );
    }

    #[test]
    fn a_file_that_is_broken_is_named() {
        for (text, says) in [
            ("[[registry]", "registries.conf is invalid: "),
            (
                "[[registry]]\nblocked = true",
                "neither `prefix` nor `location`",
            ),
            (
                "[[registry]]\nlocation = \"https://r.example\"",
                "is an address",
            ),
            ("[[registry]]\nlocation = \"/\"", "is empty"),
            (
                "[[registry]]\nlocation = \"r.example\"\n[[registry.mirror]]\ninsecure = true",
                "missing field `location`",
            ),
        ] {
            let error = TransportError::from(conf(text).expect_err("broken")).to_string();
            assert!(error.contains(says), "{error}");
        }
        let conf = conf("[[registry]]\nprefix = \"r.example\"\nlocation = \"not a host\"");
        let error = sources(&conf.expect("a file"), "r.example/x:1").expect_err("no reference");
        assert!(error.contains("it leads to `not a host/x:1`"), "{error}");
    }
}
