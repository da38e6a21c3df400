//! Names of the files that an index serves: wheels and source distributions.
//!
//! Specifications: <https://packaging.python.org/en/latest/specifications/binary-distribution-format/#file-name-convention>
//! and <https://packaging.python.org/en/latest/specifications/source-distribution-format/#source-distribution-file-name>.

use std::borrow::Cow;
use std::str::FromStr;

use pep440_rs::Version;
use pep508_rs::PackageName;

/// What a file name could not be read as.
#[derive(Debug, thiserror::Error)]
pub enum FileNameError {
    /// The name does not have the parts that the specification asks for.
    #[error("`{0}` is not the name of a wheel")]
    NotAWheel(String),
    /// The name is not that of a source distribution.
    #[error("`{0}` is not the name of a source distribution")]
    NotASourceDistribution(String),
}

/// A parsed wheel file name: `{name}-{version}(-{build})?-{python}-{abi}-{platform}.whl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelName {
    /// Normalized name of the project.
    pub name: PackageName,
    /// Version of the distribution.
    pub version: Version,
    /// Build tag: its number and what follows it; sorts later builds first.
    pub build: Option<(u64, String)>,
    /// Compressed set of Python tags, such as `py2.py3`.
    pub python: String,
    /// Compressed set of ABI tags, such as `cp310`.
    pub abi: String,
    /// Compressed set of platform tags, such as `manylinux_2_17_x86_64.manylinux2014_x86_64`.
    pub platform: String,
}

impl FromStr for WheelName {
    type Err = FileNameError;

    fn from_str(file_name: &str) -> Result<Self, Self::Err> {
        let error = || FileNameError::NotAWheel(file_name.to_owned());
        let stem = file_name.strip_suffix(".whl").ok_or_else(error)?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (name, version, build, tags) = match parts[..] {
            [name, version, python, abi, platform] => {
                (name, version, None, [python, abi, platform])
            }
            [name, version, build, python, abi, platform] => {
                (name, version, Some(build), [python, abi, platform])
            }
            _ => return Err(error()),
        };
        // "__" would normalize to one hyphen and so name another file; the specification forbids it.
        if name.is_empty()
            || name.contains("__")
            || !name
                .chars()
                .all(|c| c.is_alphanumeric() || "._".contains(c))
        {
            return Err(error());
        }
        // Each tag is a set of words with dots between; words of Python tags begin with the implementation.
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if !tags.iter().all(|tag| tag.split('.').all(is_word))
            || tags[0]
                .split('.')
                .any(|word| word.as_bytes()[0].is_ascii_digit())
        {
            return Err(error());
        }
        let build = match build {
            None => None,
            Some(build) => {
                let digits = build.bytes().take_while(u8::is_ascii_digit).count();
                let number = build[..digits].parse().map_err(|_| error())?;
                Some((number, build[digits..].to_owned()))
            }
        };
        Ok(Self {
            name: PackageName::from_str(name).map_err(|_| error())?,
            version: Version::from_str(version).map_err(|_| error())?,
            build,
            python: tags[0].to_ascii_lowercase(),
            abi: tags[1].to_ascii_lowercase(),
            platform: tags[2].to_ascii_lowercase(),
        })
    }
}

/// A build tag: its number and what follows it.
pub type BuildTag<'a> = (u64, &'a str);

/// The build tag and the compressed sets of Python, ABI and platform tags in the name of a wheel; `None` for what is no
/// wheel.
///
/// For names that have been read as a [`WheelName`] before, as those of a page have: choosing among the hundreds of
/// wheels of a project needs their tags again, but not their names and versions.
#[must_use]
pub fn tags_of(file_name: &str) -> Option<(Option<BuildTag<'_>>, [Cow<'_, str>; 3])> {
    let mut parts = file_name.strip_suffix(".whl")?.rsplitn(5, '-');
    let (platform, abi, python) = (parts.next()?, parts.next()?, parts.next()?);
    let before = parts.next()?;
    // With a build tag there is one part more: what stands before it is the version, and then the name.
    let build = match parts.next() {
        Some(name_and_version) if name_and_version.contains('-') => {
            let digits = before.bytes().take_while(u8::is_ascii_digit).count();
            Some((before[..digits].parse().ok()?, &before[digits..]))
        }
        Some(_) => None,
        None => return None,
    };
    Some((
        build,
        [python, abi, platform].map(|tag| {
            if tag.bytes().any(|byte| byte.is_ascii_uppercase()) {
                Cow::Owned(tag.to_ascii_lowercase())
            } else {
                Cow::Borrowed(tag)
            }
        }),
    ))
}

/// A parsed source distribution file name: `{name}-{version}.tar.gz` (or `.zip`, from before PEP 625).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDistributionName {
    /// Normalized name of the project.
    pub name: PackageName,
    /// Version of the distribution.
    pub version: Version,
}

impl FromStr for SourceDistributionName {
    type Err = FileNameError;

    fn from_str(file_name: &str) -> Result<Self, Self::Err> {
        let error = || FileNameError::NotASourceDistribution(file_name.to_owned());
        let stem = file_name
            .strip_suffix(".tar.gz")
            .or_else(|| file_name.strip_suffix(".zip"))
            .ok_or_else(error)?;
        // The version has no hyphen in a name as the specification writes it, so the last hyphen divides.
        let (name, version) = stem
            .rsplit_once('-')
            // `PackageName` accepts the empty text.
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(error)?;
        Ok(Self {
            name: PackageName::from_str(name).map_err(|_| error())?,
            version: Version::from_str(version).map_err(|_| error())?,
        })
    }
}

impl SourceDistributionName {
    /// Reads a name of which the project is known: old archives have hyphens in both halves (`a-b-1.0-1.tar.gz`).
    ///
    /// # Errors
    /// When the name does not begin with the project's, or what follows is not a version and an archive suffix.
    pub fn parse_for(file_name: &str, project: &PackageName) -> Result<Self, FileNameError> {
        let error = || FileNameError::NotASourceDistribution(file_name.to_owned());
        let stem = [".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.Z"]
            .iter()
            .find_map(|suffix| file_name.strip_suffix(suffix))
            .ok_or_else(error)?;
        stem.match_indices('-')
            .find_map(|(at, _)| {
                let name = PackageName::from_str(&stem[..at]).ok()?;
                let version = Version::from_str(&stem[at + 1..]).ok()?;
                (name == *project).then_some(Self { name, version })
            })
            .ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_name_has_five_or_six_parts() {
        let wheel = WheelName::from_str("mlflow_skinny-3.17.2-py3-none-any.whl").expect("a wheel");
        assert_eq!(wheel.name.to_string(), "mlflow-skinny");
        assert_eq!(wheel.version.to_string(), "3.17.2");
        assert_eq!(wheel.build, None);
        let wheel = WheelName::from_str("foo-1.0-1000abc-py2.py3-none-any.whl").expect("a wheel");
        assert_eq!(wheel.build, Some((1000, "abc".to_owned())));
        assert_eq!(wheel.python, "py2.py3");
        for name in [
            "foo-1.0-1000abc-py2.py3-none-any.whl",
            "mlflow_skinny-3.17.2-py3-none-any.whl",
            "a-1-CP310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        ] {
            let wheel = WheelName::from_str(name).expect("a wheel");
            let (build, tags) = tags_of(name).expect("tags");
            assert_eq!(build.map(|(n, rest)| (n, rest.to_owned())), wheel.build);
            assert_eq!(tags, [wheel.python, wheel.abi, wheel.platform]);
        }
        assert_eq!(tags_of("foo-1.0.tar.gz"), None);
        for bad in [
            "foo-1.0-py3-none-any.zip",
            "foo-1.0-py3-none.whl",
            "foo__bar-1.0-py3-none-any.whl",
            "foo-1.0-x1-py3-none-any.whl",
            "-1.0-py3-none-any.whl",
            "foo-notaversion-py3-none-any.whl",
            "foo-1.0-py3.-none-any.whl",
            "foo-1.0-2.7.6-none-any.whl",
            "foo-1.0-py3-none-a/b.whl",
        ] {
            assert!(WheelName::from_str(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_source_distribution_is_divided_where_its_project_ends() {
        let name = PackageName::from_str("python-dateutil").expect("a name");
        let sdist = SourceDistributionName::parse_for("python-dateutil-2.8.2.tar.gz", &name);
        assert_eq!(sdist.expect("an sdist").version.to_string(), "2.8.2");
        let post = SourceDistributionName::parse_for("python-dateutil-1.0-1.zip", &name);
        assert_eq!(post.expect("an sdist").version.to_string(), "1.0.post1");
        assert!(SourceDistributionName::parse_for("other-1.0.tar.gz", &name).is_err());
        assert!(SourceDistributionName::from_str("-1.0.tar.gz").is_err());
    }
}
