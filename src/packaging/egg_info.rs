//! The metadata of distributions that setuptools and distutils installed before wheels: `.egg-info`, `EGG-INFO`.
//!
//! <https://setuptools.pypa.io/en/latest/deprecated/python_eggs.html>; read as `importlib.metadata` reads it.

/// What `requires.txt` says, in the form of core metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requires {
    /// As `Requires-Dist` fields.
    pub requires_dist: Vec<String>,
    /// As `Provides-Extra` fields.
    pub provides_extra: Vec<String>,
}

/// Reads `requires.txt`: requirements in sections `[extra]`, `[:marker]` and `[extra:marker]`.
#[must_use]
pub fn parse_requires(text: &str) -> Requires {
    let mut requires = Requires::default();
    let mut condition = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            let (extra, marker) = section.split_once(':').unwrap_or((section, ""));
            let extra = extra.trim();
            if !extra.is_empty() && !requires.provides_extra.iter().any(|known| known == extra) {
                requires.provides_extra.push(extra.to_owned());
            }
            condition = match (extra, marker.trim()) {
                ("", "") => String::new(),
                ("", marker) => marker.to_owned(),
                (extra, "") => format!("extra == '{extra}'"),
                (extra, marker) => format!("({marker}) and extra == '{extra}'"),
            };
            continue;
        }
        requires.requires_dist.push(if condition.is_empty() {
            line.to_owned()
        } else {
            // The space keeps the semicolon out of a URL.
            format!("{line} ; {condition}")
        });
    }
    requires
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packaging::Requirement;

    #[test]
    fn sections_become_markers() {
        let requires = parse_requires(
            "six>=1.9\n\n[:python_version < \"3\"]\nenum34\n\n[test]\npytest\n# no\n[sec:sys_platform == 'win32' or os_name == 'nt']\nwincertstore==0.2\nfoo @ https://example.org/foo.zip\n[empty]\n",
        );
        assert_eq!(
            requires.requires_dist,
            [
                "six>=1.9",
                "enum34 ; python_version < \"3\"",
                "pytest ; extra == 'test'",
                "wincertstore==0.2 ; (sys_platform == 'win32' or os_name == 'nt') and extra == 'sec'",
                "foo @ https://example.org/foo.zip ; (sys_platform == 'win32' or os_name == 'nt') and extra == 'sec'",
            ]
        );
        assert_eq!(requires.provides_extra, ["test", "sec", "empty"]);
        for text in &requires.requires_dist {
            Requirement::parse_lenient(text).expect("a requirement");
        }
    }
}
