//! What conda says that it installed: one JSON file for each package in `conda-meta`.
//!
//! Their names alone tell name, version and build of every package. Their contents, megabytes in a large prefix, are
//! read for a package that somebody asks about: [`conda_channel`] and the files of a distribution without a `RECORD`.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr as _;

use serde::Deserialize;

use super::{InstalledDistribution, MAX_NAMED};
use crate::image_path::ImagePath;
use crate::packaging::{PackageName, Version};
use crate::rootfs::{RootFs, resolve};

/// Largest record that is read, in bytes: that of Python itself has 2 MB.
const MAX_RECORD: u64 = 32 << 20;
/// Packages of one prefix that are told: the largest environments have about a thousand.
const MAX_PACKAGES: usize = 10_000;

/// A package as conda recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CondaPackage {
    /// Name in conda's channels, which need not be that of a Python project.
    pub name: String,
    /// Version as conda writes it.
    pub version: String,
    /// Build, such as `py310h2372a71_0`.
    pub build: String,
    /// Channel that it came from, where it has been asked for with [`conda_channel`].
    pub channel: Option<String>,
}

impl CondaPackage {
    /// Reads `name-version-build.json`; the name may have hyphens of its own.
    fn parse(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(".json")?;
        let (rest, build) = stem.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        let all = [name, version, build];
        all.iter().all(|part| !part.is_empty()).then(|| Self {
            name: name.to_owned(),
            version: version.to_owned(),
            build: build.to_owned(),
            channel: None,
        })
    }

    fn record(&self, prefix: &ImagePath) -> ImagePath {
        let name = format!("{}-{}-{}.json", self.name, self.version, self.build);
        prefix.join("conda-meta").join(&name)
    }
}

/// What a record says beside its name.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    channel: Option<String>,
    /// Where the package was downloaded from.
    #[serde(default)]
    url: Option<String>,
    /// Paths relative to the prefix.
    #[serde(default)]
    files: Vec<String>,
}

/// The packages of a prefix by name; none where conda does not manage it.
pub(super) fn read_conda_packages(root: &dyn RootFs, prefix: &ImagePath) -> Vec<CondaPackage> {
    let listed = resolve::list_directory(root, &prefix.join("conda-meta"));
    let Ok(Some((_, entries))) = listed else {
        return Vec::new();
    };
    let mut packages: Vec<CondaPackage> = entries
        .iter()
        .filter_map(|entry| CondaPackage::parse(&entry.name))
        .take(MAX_PACKAGES)
        .collect();
    packages.sort_unstable_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    packages
}

/// Says where conda's records are stale: a Python distribution of a package's name has another version, because pip
/// installed it over conda's.
pub(super) fn note_stale(
    packages: &[CondaPackage],
    prefix: &ImagePath,
    distributions: &BTreeMap<PackageName, InstalledDistribution>,
) -> Option<String> {
    let mut stale = packages.iter().filter_map(|package| {
        let name = PackageName::from_str(&package.name).ok()?;
        let found = distributions.get(&name)?;
        let is_in_prefix = ImagePath::new(&found.location).starts_with(prefix);
        let same = package.version == found.version_text
            || Version::from_str(&package.version).is_ok_and(|version| {
                // Conda's packages leave out the local part.
                version == found.version || version == found.version.clone().without_local()
            });
        (is_in_prefix && !same).then(|| {
            format!(
                "{name} {} where {} is installed",
                package.version, found.version_text
            )
        })
    });
    let named: Vec<String> = stale.by_ref().take(MAX_NAMED).collect();
    let rest = stale.count();
    if named.is_empty() {
        return None;
    }
    let more = match rest {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    Some(format!(
        "the records of conda in `{prefix}` are stale: {}{more}",
        named.join(", ")
    ))
}

/// The channel of a package in the prefix of an interpreter, such as `conda-forge`; `None` where its record does not say
/// it. Not read with the rest: it is one more file, and a large one, for each package.
#[must_use]
pub fn conda_channel(root: &dyn RootFs, prefix: &str, package: &CondaPackage) -> Option<String> {
    let record = read_record(root, &package.record(&ImagePath::new(prefix)))?;
    let named = record.channel.as_deref().and_then(channel_name);
    named.or_else(|| {
        let url = record
            .url
            .as_deref()
            .filter(|url| url.starts_with("http"))?;
        channel_name(url.rsplit_once('/')?.0)
    })
}

/// What a record calls its channel, without what an address has around the name: host, credentials (of a private
/// channel, `/t/<token>/` among them) and platform.
fn channel_name(channel: &str) -> Option<String> {
    let Some((_, address)) = channel.split_once("://") else {
        return (!channel.is_empty()).then(|| channel.to_owned());
    };
    let mut parts: Vec<&str> = address
        .split('/')
        .skip(1)
        .filter(|part| !part.is_empty())
        .collect();
    if parts.first() == Some(&"t") {
        parts.drain(..parts.len().min(2));
    }
    let is_platform = |part: &&str| {
        *part == "noarch"
            || ["linux-", "osx-", "win-"]
                .iter()
                .any(|system| part.starts_with(system))
    };
    if parts.last().is_some_and(is_platform) {
        parts.pop();
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn read_record(root: &dyn RootFs, path: &ImagePath) -> Option<Record> {
    let bytes = resolve::read_file(root, path, MAX_RECORD).ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// The files of the conda package that brought the metadata at `location`, a real path, relative to its prefix, and that
/// prefix. The package is the one of the distribution's name.
pub(super) fn files_of(
    root: &dyn RootFs,
    name: &PackageName,
    location: &ImagePath,
) -> Option<(ImagePath, Vec<String>)> {
    let mut ancestor = location.parent();
    while let Some(prefix) = ancestor {
        let packages = read_conda_packages(root, &prefix);
        if packages.is_empty() {
            ancestor = prefix.parent();
            continue;
        }
        let own = |path: &str| {
            let path = prefix.join(path);
            path.starts_with(location)
        };
        return packages
            .iter()
            .filter(|package| PackageName::from_str(&package.name).is_ok_and(|own| own == *name))
            .filter_map(|package| read_record(root, &package.record(&prefix)))
            .find(|record| record.files.iter().any(|path| own(path)))
            .map(|record| (prefix.clone(), record.files));
    }
    None
}

/// Which packages of conda brought the metadata at `infos`, real paths below `prefix` with the names of their
/// distributions, by path.
///
/// Most packages have the name of their distribution. Where there are others (`pytorch` brings torch), all records are
/// searched for them.
pub(super) fn owners(
    root: &dyn RootFs,
    prefix: &ImagePath,
    packages: &[CondaPackage],
    infos: &[(&PackageName, &ImagePath)],
) -> HashMap<String, String> {
    let mut owners = HashMap::new();
    let Ok(Some(prefix_found)) = resolve::resolve(root, prefix) else {
        return owners;
    };
    let mut waiting: Vec<(&PackageName, &ImagePath)> = infos
        .iter()
        .filter(|(_, info)| info.starts_with(&prefix_found.path))
        .copied()
        .collect();
    if packages.is_empty() || waiting.is_empty() {
        return owners;
    }
    let mut searched: Vec<(Option<PackageName>, &CondaPackage)> = packages
        .iter()
        .map(|package| (PackageName::from_str(&package.name).ok(), package))
        .collect();
    let start = prefix_found.path.as_str().trim_end_matches('/').len() + 1;
    let mut take = |waiting: &mut Vec<(&PackageName, &ImagePath)>, package: &CondaPackage| {
        let Ok(Some(bytes)) = resolve::read_file(root, &package.record(prefix), MAX_RECORD) else {
            return;
        };
        // A record is megabytes of JSON of which a few bytes matter. No path that is sought has a character that JSON
        // would write otherwise.
        waiting.retain(|(_, info)| {
            let relative = info.as_str().get(start..).unwrap_or_default();
            let names = |end: &str| {
                let quoted = format!("\"{relative}{end}");
                memchr::memmem::find(&bytes, quoted.as_bytes()).is_some()
            };
            let is_own = !relative.is_empty() && (names("/") || names("\""));
            if is_own {
                owners.insert(info.as_str().to_owned(), package.name.clone());
            }
            !is_own
        });
    };
    searched.retain(|(name, package)| {
        let is_of_this_name = waiting
            .iter()
            .any(|(waiting, _)| name.as_ref() == Some(*waiting));
        if is_of_this_name {
            take(&mut waiting, package);
        }
        !is_of_this_name
    });
    for (_, package) in searched {
        if waiting.is_empty() {
            break;
        }
        take(&mut waiting, package);
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_records_are_divided_from_behind() {
        let package = CondaPackage::parse("ca-certificates-2024.2.2-hbcca054_0.json");
        assert_eq!(
            package,
            Some(CondaPackage {
                name: "ca-certificates".to_owned(),
                version: "2024.2.2".to_owned(),
                build: "hbcca054_0".to_owned(),
                channel: None,
            })
        );
        for name in ["history", "a-b.json", "a--b.json", "-1-2.json", ".json"] {
            assert_eq!(CondaPackage::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_channel_has_a_name_and_no_secret() {
        for (written, name) in [
            ("conda-forge", Some("conda-forge")),
            (
                "https://conda.example.org/conda-forge/linux-64",
                Some("conda-forge"),
            ),
            (
                "https://user:secret@example.org/pkgs/main/noarch",
                Some("pkgs/main"),
            ),
            (
                "https://example.org/t/to-ken/private/linux-64",
                Some("private"),
            ),
            ("https://example.org/t", None),
            ("", None),
        ] {
            assert_eq!(channel_name(written).as_deref(), name, "{written}");
        }
    }
}
