//! A snapshot made from a pin list: names and versions are the list's, everything else is what the package index
//! says of those versions.

use std::str::FromStr as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::packaging::metadata::RawMetadata;
use crate::packaging::source_distribution::{self, Trust};
use crate::packaging::tags::{Libc, TagPlatform, WheelTags};
use crate::packaging::wheel_name::{SourceDistributionName, WheelName};
use crate::packaging::{PackageName, Version};

use super::snapshot::{FORMAT, MetadataSource, Snapshot, SnapshotDistribution};
use super::{CatalogError, Entry, Family, import_names, machine_name};

/// How many distributions are asked for at a time: the index bounds its own connections.
const PARALLEL: usize = 16;

/// One line of a pin list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Normalized name.
    pub name: PackageName,
    /// Version.
    pub version: Version,
}

/// What a snapshot is a snapshot of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotTarget {
    /// The base, such as `tfx:1.16.0`.
    pub base: String,
    /// What the snapshot is made from and what is assumed in it, as a sentence fragment.
    pub made_from: String,
    /// Full version of Python.
    pub python_full_version: String,
    /// The platform that wheels are chosen for.
    pub platform: TagPlatform,
    /// Installation prefix inside the base.
    pub prefix: String,
}

/// What a wheel says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WheelFacts {
    /// Its core metadata.
    pub metadata: RawMetadata,
    /// The paths of its files, where they could be had without the whole wheel.
    pub paths: Option<Vec<String>>,
}

/// What is asked of a package index for a snapshot. Calls block, and come from several threads.
///
/// The errors are sentences for a person: an index that fails ends the making of the snapshot.
pub trait SnapshotIndex: Sync {
    /// Names of the files of `version` (equal by PEP 440) of `project`, yanked ones included; empty when the index
    /// does not have it.
    ///
    /// # Errors
    /// When the index does not answer.
    fn file_names(&self, project: &PackageName, version: &Version) -> Result<Vec<String>, String>;

    /// What the wheel `file_name` says of itself; the inner error is the wheel's own fault.
    ///
    /// # Errors
    /// When the index does not answer.
    fn wheel(
        &self,
        project: &PackageName,
        version: &Version,
        file_name: &str,
    ) -> Result<Result<WheelFacts, String>, String>;

    /// The bytes of the source distribution `file_name`; the inner error is the file's own fault.
    ///
    /// # Errors
    /// When the index does not answer.
    fn source_distribution(
        &self,
        project: &PackageName,
        version: &Version,
        file_name: &str,
    ) -> Result<Result<Vec<u8>, String>, String>;
}

impl SnapshotTarget {
    /// An entry of the catalog as a target: its first architecture, with what the family's file assumes.
    ///
    /// `None` when the entry has no architecture or Python that a snapshot can be made for.
    #[must_use]
    pub fn of_entry(family: &Family, entry: &Entry, made_from: String) -> Option<Self> {
        let architecture = machine_name(family.architectures().first()?)?;
        Self::new(
            entry.base(),
            made_from,
            entry.python_full_version(),
            Some(entry.libc()),
            architecture,
            family.prefix(),
        )
    }

    /// A target from its parts; `None` when `python_full_version` does not begin with two numbers.
    #[must_use]
    pub fn new(
        base: &str,
        made_from: String,
        python_full_version: &str,
        libc: Option<Libc>,
        architecture: &str,
        prefix: &str,
    ) -> Option<Self> {
        let version = Version::from_str(python_full_version).ok()?;
        let [major, minor, ..] = *version.release() else {
            return None;
        };
        let python = (u16::try_from(major).ok()?, u16::try_from(minor).ok()?);
        // Before Python 3.8 every usual build of CPython had pymalloc in its ABI tag.
        let abi_flags = if python < (3, 8) { "m" } else { "" };
        Some(Self {
            base: base.to_owned(),
            made_from,
            python_full_version: python_full_version.to_owned(),
            platform: TagPlatform {
                python,
                abi_flags: abi_flags.to_owned(),
                architecture: architecture.to_owned(),
                libc,
            },
            prefix: prefix.to_owned(),
        })
    }
}

/// Reads a pin list: `name==version` a line; empty lines, comments and `--hash` options are passed over.
///
/// # Errors
/// When a line is something else, a distribution stands there twice, or there is none at all.
pub fn parse_pins(text: &str) -> Result<Vec<Pin>, CatalogError> {
    let mut pins: Vec<Pin> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut content = line.trim();
        if let Some(start) = content.find(" #") {
            content = content[..start].trim_end();
        }
        // `pip freeze` and `pip-compile` output: a pin may go on with its hashes.
        if let Some(start) = content.find(" --hash") {
            content = content[..start].trim_end();
        }
        let content = content.trim_end_matches('\\').trim_end();
        if content.is_empty() || content.starts_with(['#', '-']) {
            continue;
        }
        let pin = content
            .split_once("==")
            .and_then(|(name, version)| {
                // Extras of a pin change nothing about what is installed under its name.
                let name = name.split('[').next().unwrap_or(name);
                Some(Pin {
                    name: PackageName::from_str(name.trim()).ok()?,
                    version: Version::from_str(version.trim()).ok()?,
                })
            })
            .ok_or_else(|| CatalogError::NotAPin {
                line: at + 1,
                text: line.to_owned(),
            })?;
        if pins.iter().any(|known| known.name == pin.name) {
            return Err(CatalogError::PinnedTwice {
                line: at + 1,
                name: pin.name.to_string(),
            });
        }
        pins.push(pin);
    }
    if pins.is_empty() {
        return Err(CatalogError::NoPins);
    }
    pins.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pins)
}

/// Makes a snapshot of `target` from a pin list.
///
/// What is known of a distribution only in part is in the snapshot all the same, with a note: a base that holds a
/// distribution which no index has is a fact.
///
/// # Errors
/// When the pin list cannot be read, or the index does not answer.
pub fn build_from_pins(
    pins: &str,
    target: &SnapshotTarget,
    index: &dyn SnapshotIndex,
) -> Result<Snapshot, CatalogError> {
    let pins = parse_pins(pins)?;
    let tags = WheelTags::for_cpython(&target.platform);
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results = Mutex::new(Vec::with_capacity(pins.len()));
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.min(pins.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(pin) = pins.get(at) else { break };
                    let result = distribution(pin, &tags, index);
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    let mut results = match results.lock() {
                        Ok(results) => results,
                        Err(poisoned) => poisoned.into_inner(),
                    };
                    results.push((at, result));
                }
            });
        }
    });
    let mut results = results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);

    let mut notes = Vec::new();
    let mut distributions = Vec::with_capacity(results.len());
    for (at, result) in results {
        let (distribution, note) = result.map_err(|reason| CatalogError::Index {
            name: pins[at].name.to_string(),
            reason,
        })?;
        distributions.push(distribution);
        notes.extend(note);
    }
    let (major, minor) = target.platform.python;
    Ok(Snapshot {
        format: FORMAT,
        base: target.base.clone(),
        made_from: target.made_from.clone(),
        digest: None,
        python: format!("{major}.{minor}"),
        python_full_version: target.python_full_version.clone(),
        abi_flags: target.platform.abi_flags.clone(),
        libc: target.platform.libc.map(|libc| libc.to_string()),
        architecture: target.platform.architecture.clone(),
        prefix: target.prefix.clone(),
        notes,
        distributions,
    })
}

/// One distribution, and what is doubtful about it.
fn distribution(
    pin: &Pin,
    tags: &WheelTags,
    index: &dyn SnapshotIndex,
) -> Result<(SnapshotDistribution, Option<String>), String> {
    let Pin { name, version } = pin;
    let mut faults = Vec::new();
    let files = index.file_names(name, version)?;
    if files.is_empty() {
        faults.push("the package index does not have it".to_owned());
    }
    for (file, fits) in wheels_by_preference(&files, version, tags) {
        match index.wheel(name, version, file)? {
            Err(fault) => faults.push(format!("`{file}`: {fault}")),
            Ok(facts) => {
                if let Err(fault) = belongs_to(&facts.metadata, pin) {
                    faults.push(format!("`{file}`: {fault}"));
                    continue;
                }
                if !fits {
                    faults.push(format!("no wheel fits the base; read from `{file}`"));
                }
                let import_names = facts.paths.map_or_else(Vec::new, |paths| {
                    import_names::of_wheel_paths(paths.iter().map(String::as_str))
                });
                let found = with_metadata(pin, MetadataSource::Wheel, facts.metadata, import_names);
                return Ok((found, note(pin, &faults)));
            }
        }
    }
    let is_source = |file: &&String| SourceDistributionName::parse_for(file, name).is_ok();
    for file in files.iter().filter(is_source) {
        let facts = index
            .source_distribution(name, version, file)?
            .and_then(|bytes| {
                source_distribution::read(file, &bytes, name).map_err(|error| error.to_string())
            })
            .and_then(|facts| belongs_to(&facts.metadata, pin).map(|()| facts));
        match facts {
            Err(fault) => faults.push(format!("`{file}`: {fault}")),
            Ok(facts) => {
                match facts.trust {
                    Trust::Promised => {}
                    Trust::WhenPacked => faults.push(format!(
                        "it has no wheel; read from `{file}`, a build of which can require something else"
                    )),
                    Trust::Unknown => faults.push(format!(
                        "it has no wheel, and `{file}` does not say what it requires; taken to require nothing"
                    )),
                }
                let found = with_metadata(
                    pin,
                    MetadataSource::Sdist,
                    facts.metadata,
                    import_names::of_top_level(&facts.top_level),
                );
                return Ok((found, note(pin, &faults)));
            }
        }
    }
    faults.push("only its name and version are known".to_owned());
    let found = with_metadata(
        pin,
        MetadataSource::None,
        RawMetadata::default(),
        Vec::new(),
    );
    Ok((found, note(pin, &faults)))
}

/// The wheels among `files`, best first, each with whether it fits; those that do not fit come last, as the
/// requirements of a version rarely differ between its wheels.
fn wheels_by_preference<'a>(
    files: &'a [String],
    version: &Version,
    tags: &WheelTags,
) -> Vec<(&'a str, bool)> {
    let mut wheels: Vec<_> = files
        .iter()
        .filter_map(|file| Some((WheelName::from_str(file).ok()?, file.as_str())))
        .filter(|(wheel, _)| wheel.version == *version)
        .map(|(wheel, file)| {
            let rank = tags.priority(&wheel);
            (rank.is_none(), rank, std::cmp::Reverse(wheel.build), file)
        })
        .collect();
    wheels.sort();
    wheels
        .into_iter()
        .map(|(misfits, _, _, file)| (file, !misfits))
        .collect()
}

/// Refuses metadata of another distribution than the pin's.
fn belongs_to(metadata: &RawMetadata, pin: &Pin) -> Result<(), String> {
    let name = metadata.name.as_deref().unwrap_or_default();
    let version = metadata.version.as_deref().unwrap_or_default();
    let is_same = PackageName::from_str(name).is_ok_and(|name| name == pin.name)
        && Version::from_str(version).is_ok_and(|version| version == pin.version);
    if is_same {
        Ok(())
    } else {
        Err(format!("its metadata is that of `{name}` {version}"))
    }
}

fn note(pin: &Pin, faults: &[String]) -> Option<String> {
    (!faults.is_empty()).then(|| format!("{} {}: {}", pin.name, pin.version, faults.join("; ")))
}

fn with_metadata(
    pin: &Pin,
    metadata_from: MetadataSource,
    metadata: RawMetadata,
    import_names: Vec<String>,
) -> SnapshotDistribution {
    SnapshotDistribution {
        name: pin.name.to_string(),
        version: pin.version.to_string(),
        version_text: None,
        metadata_from,
        requires_python: metadata.requires_python,
        requires_dist: metadata.requires_dist,
        provides_extra: metadata.provides_extra,
        import_names,
        installer: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// An index in memory: the wheels and source distributions of one version each.
    #[derive(Default)]
    struct FakeIndex {
        wheels: BTreeMap<&'static str, Result<WheelFacts, String>>,
        sources: BTreeMap<&'static str, Result<Vec<u8>, String>>,
        is_down: bool,
    }

    impl SnapshotIndex for FakeIndex {
        fn file_names(
            &self,
            project: &PackageName,
            version: &Version,
        ) -> Result<Vec<String>, String> {
            if self.is_down {
                return Err("the index is down".to_owned());
            }
            let is_asked_for = |file: &&&str| {
                WheelName::from_str(file)
                    .map(|wheel| wheel.name == *project && wheel.version == *version)
                    .or_else(|_| {
                        SourceDistributionName::parse_for(file, project)
                            .map(|source| source.version == *version)
                    })
                    .unwrap_or(false)
            };
            let files = self.wheels.keys().chain(self.sources.keys());
            Ok(files
                .filter(is_asked_for)
                .map(|file| (*file).to_owned())
                .collect())
        }

        fn wheel(
            &self,
            _: &PackageName,
            _: &Version,
            file_name: &str,
        ) -> Result<Result<WheelFacts, String>, String> {
            Ok(self.wheels[file_name].clone())
        }

        fn source_distribution(
            &self,
            _: &PackageName,
            _: &Version,
            file_name: &str,
        ) -> Result<Result<Vec<u8>, String>, String> {
            Ok(self.sources[file_name].clone())
        }
    }

    fn wheel(metadata: &str, paths: &[&str]) -> WheelFacts {
        WheelFacts {
            metadata: RawMetadata::parse(metadata.as_bytes()),
            paths: Some(paths.iter().map(|path| (*path).to_owned()).collect()),
        }
    }

    fn target() -> SnapshotTarget {
        SnapshotTarget::new(
            "toy:1",
            "a test".to_owned(),
            "3.7.16",
            Some(Libc::Glibc(2, 31)),
            "x86_64",
            "/opt/conda",
        )
        .expect("a target")
    }

    #[test]
    fn a_pin_list_is_read_as_tools_write_it() {
        let pins = parse_pins(
            "# a comment\n\n--index-url x\nB_b[extra]==1.0  # why\na==2 --hash=sha256:00 \\\n    --hash=sha256:11\n",
        )
        .expect("pins");
        let pins: Vec<String> = pins
            .iter()
            .map(|pin| format!("{}=={}", pin.name, pin.version))
            .collect();
        assert_eq!(pins, ["a==2", "b-b==1.0"]);
        for (text, message) in [
            (
                "a==1\nb>=2\n",
                "line 2 of the pin list is not `name==version`: `b>=2`",
            ),
            (
                "a==1.*",
                "line 1 of the pin list is not `name==version`: `a==1.*`",
            ),
            (
                "a-b==1\nA_B==1",
                "line 2 of the pin list names `a-b` a second time",
            ),
            ("# nothing", "the pin list has no pins"),
        ] {
            assert_eq!(parse_pins(text).expect_err(text).to_string(), message);
        }
    }

    #[test]
    fn the_best_wheel_that_fits_is_read() {
        let index = FakeIndex {
            wheels: BTreeMap::from([
                (
                    "a-1.0-cp37-cp37m-manylinux_2_17_x86_64.whl",
                    Ok(wheel(
                        "Name: A\nVersion: 1\nRequires-Dist: b>=1; extra == \"x\"\nRequires-Python: >=3\nProvides-Extra: x\n",
                        &["a.py", "a-1.0.dist-info/METADATA"],
                    )),
                ),
                (
                    "a-1.0-py3-none-any.whl",
                    Ok(wheel("Name: a\nVersion: 1.0\n", &[])),
                ),
                (
                    "a-1.0-cp37-cp37m-manylinux_2_35_x86_64.whl",
                    Ok(wheel("", &[])),
                ),
            ]),
            ..FakeIndex::default()
        };
        let snapshot = build_from_pins("A==1", &target(), &index).expect("a snapshot");
        insta::assert_snapshot!(snapshot.to_json(), @r#"
        {
        "format": 1,
        "base": "toy:1",
        "made_from": "a test",
        "python": "3.7",
        "python_full_version": "3.7.16",
        "abi_flags": "m",
        "libc": "glibc 2.31",
        "architecture": "x86_64",
        "prefix": "/opt/conda",
        "distributions": [
        {"name":"a","version":"1","metadata_from":"wheel","requires_python":">=3","requires_dist":["b>=1; extra == \"x\""],"provides_extra":["x"],"import_names":["a"]}
        ]
        }
        "#);
    }

    #[test]
    fn what_is_known_in_part_is_kept_with_a_note() {
        let index = FakeIndex {
            wheels: BTreeMap::from([
                (
                    "other-1-cp37-cp37m-win_amd64.whl",
                    Ok(wheel(
                        "Name: other\nVersion: 1\nRequires-Dist: six\n",
                        &["other.py"],
                    )),
                ),
                (
                    "broken-1-py3-none-any.whl",
                    Err("it has no METADATA".to_owned()),
                ),
                (
                    "liar-1-py3-none-any.whl",
                    Ok(wheel("Name: honest\nVersion: 1\n", &[])),
                ),
            ]),
            sources: BTreeMap::from([("broken-1.tar.gz", Ok(b"no archive".to_vec()))]),
            is_down: false,
        };
        let pins = "other==1\nbroken==1\nliar==1\nmissing==1+local";
        let snapshot = build_from_pins(pins, &target(), &index).expect("a snapshot");
        let sources: Vec<_> = snapshot
            .distributions
            .iter()
            .map(|distribution| (distribution.name.as_str(), distribution.metadata_from))
            .collect();
        assert_eq!(
            sources,
            [
                ("broken", MetadataSource::None),
                ("liar", MetadataSource::None),
                ("missing", MetadataSource::None),
                ("other", MetadataSource::Wheel),
            ]
        );
        insta::assert_snapshot!(snapshot.notes.join("\n"), @"
        broken 1: `broken-1-py3-none-any.whl`: it has no METADATA; `broken-1.tar.gz`: the archive is damaged: invalid gzip header; only its name and version are known
        liar 1: `liar-1-py3-none-any.whl`: its metadata is that of `honest` 1; only its name and version are known
        missing 1+local: the package index does not have it; only its name and version are known
        other 1: no wheel fits the base; read from `other-1-cp37-cp37m-win_amd64.whl`
        ");
    }

    #[test]
    fn an_index_that_does_not_answer_ends_it() {
        let index = FakeIndex {
            is_down: true,
            ..FakeIndex::default()
        };
        let error = build_from_pins("a==1\nb==2", &target(), &index).expect_err("down");
        assert!(
            error
                .to_string()
                .ends_with("from the package index: the index is down"),
            "{error}"
        );
    }
}
