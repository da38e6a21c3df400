//! What conda says that it installed: one JSON file for each package in `conda-meta`.

/// A package as conda recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CondaPackage {
    /// Name in conda's channels, which need not be that of a Python project.
    pub name: String,
    /// Version as conda writes it.
    pub version: String,
    /// Build, such as `py310h2372a71_0`.
    pub build: String,
    /// Channel that it came from, where the record says it.
    pub channel: Option<String>,
}
