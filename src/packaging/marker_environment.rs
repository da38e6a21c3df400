//! The values of environment markers for an interpreter that is read, not run.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/dependency-specifiers/#environment-markers>.

use pep440_rs::Version;
use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder};

/// An interpreter whose marker values cannot be told.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is not a Python version")]
pub struct MarkerError(String);

/// The marker values of CPython `version` on Linux, on `machine` (as `uname -m` prints it).
///
/// `platform_release` and `platform_version` tell of the running kernel, which an image does not have; they are empty,
/// as PEP 508 says of values that are not known.
///
/// # Errors
/// When `version` does not begin with two numbers.
pub fn for_cpython_on_linux(
    version: &str,
    machine: &str,
) -> Result<MarkerEnvironment, MarkerError> {
    let error = || MarkerError(version.to_owned());
    let parsed: Version = version.parse().map_err(|_| error())?;
    let [major, minor, ..] = parsed.release() else {
        return Err(error());
    };
    let python_version = format!("{major}.{minor}");
    MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: version,
        os_name: "posix",
        platform_machine: machine,
        platform_python_implementation: "CPython",
        platform_release: "",
        platform_system: "Linux",
        platform_version: "",
        python_full_version: version,
        python_version: &python_version,
        sys_platform: "linux",
    })
    .map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_not_a_decimal_fraction() {
        let markers = for_cpython_on_linux("3.10.13", "x86_64").expect("markers");
        assert_eq!(markers.python_version().to_string(), "3.10");
        assert_eq!(markers.python_full_version().to_string(), "3.10.13");
        assert!(for_cpython_on_linux("3", "x86_64").is_err());
        assert!(for_cpython_on_linux("python", "x86_64").is_err());
    }
}
