//! Which wheels an interpreter can install: the ordered set of its compatibility tags.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/>.
//! The order is that of `packaging.tags.sys_tags()`: what stands earlier is preferred.

use std::fmt;

use rustc_hash::FxHashMap;

use super::wheel_name::WheelName;

/// The C library of a Linux system and its version, which decides about `manylinux` and `musllinux` wheels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Libc {
    /// The GNU C library, major and minor version.
    Glibc(u16, u16),
    /// musl, major and minor version.
    Musl(u16, u16),
}

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glibc(major, minor) => write!(f, "glibc {major}.{minor}"),
            Self::Musl(major, minor) => write!(f, "musl {major}.{minor}"),
        }
    }
}

/// The interpreter's part of a platform: what its wheels are tagged with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPlatform {
    /// Major and minor version of CPython.
    pub python: (u16, u16),
    /// Suffix of the ABI: empty, `t` (free-threaded) or `m` (before Python 3.8, with pymalloc).
    pub abi_flags: String,
    /// Machine name as `uname -m` prints it, such as `x86_64`.
    pub architecture: String,
    /// The C library; `None` where it could not be told: then only `linux_*` and `any` wheels fit.
    pub libc: Option<Libc>,
}

/// The ordered compatibility tags of one interpreter on one platform.
#[derive(Debug, Clone)]
pub struct WheelTags {
    /// Ranks of the pairs that go with the platform's own tags, by ABI tag, then by Python tag.
    native: FxHashMap<String, FxHashMap<String, u32>>,
    /// Likewise of the pairs that go with `any`.
    any: FxHashMap<String, FxHashMap<String, u32>>,
    platforms: FxHashMap<String, u32>,
    ordered: Vec<(String, String, PlatformKind)>,
    platform_order: Vec<String>,
}

/// Whether a pair of Python tag and ABI tag goes with the platform's own tags or with `any`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlatformKind {
    Native,
    Any,
}

impl WheelTags {
    /// The tags of CPython on Linux.
    #[must_use]
    pub fn for_cpython(platform: &TagPlatform) -> Self {
        let platform_order = linux_platforms(&platform.architecture, platform.libc);
        let (major, minor) = platform.python;
        let interpreter = format!("cp{major}{minor}");
        let free_threaded = platform.abi_flags.contains('t');
        let mut ordered = Vec::new();
        let mut push =
            |python: String, abi: &str, kind| ordered.push((python, abi.to_owned(), kind));

        let abi = format!("cp{major}{minor}{}", platform.abi_flags);
        push(interpreter.clone(), &abi, PlatformKind::Native);
        // PEP 703: a free-threaded build has no stable ABI of the ordinary kind.
        if !free_threaded {
            push(interpreter.clone(), "abi3", PlatformKind::Native);
        }
        push(interpreter.clone(), "none", PlatformKind::Native);
        if !free_threaded {
            for older in (2..minor).rev() {
                push(format!("cp{major}{older}"), "abi3", PlatformKind::Native);
            }
        }
        let generic = || {
            std::iter::once(format!("py{major}{minor}"))
                .chain(std::iter::once(format!("py{major}")))
                .chain(
                    (0..minor)
                        .rev()
                        .map(move |older| format!("py{major}{older}")),
                )
        };
        for python in generic() {
            push(python, "none", PlatformKind::Native);
        }
        push(interpreter, "none", PlatformKind::Any);
        for python in generic() {
            push(python, "none", PlatformKind::Any);
        }

        let mut native: FxHashMap<String, FxHashMap<String, u32>> = FxHashMap::default();
        let mut any: FxHashMap<String, FxHashMap<String, u32>> = FxHashMap::default();
        for (rank, (python, abi, kind)) in ordered.iter().enumerate() {
            let pairs = match kind {
                PlatformKind::Native => &mut native,
                PlatformKind::Any => &mut any,
            };
            pairs
                .entry(abi.clone())
                .or_default()
                .insert(python.clone(), u32::try_from(rank).unwrap_or(u32::MAX));
        }
        let platforms = platform_order
            .iter()
            .enumerate()
            .map(|(rank, tag)| (tag.clone(), u32::try_from(rank).unwrap_or(u32::MAX)))
            .collect();
        Self {
            native,
            any,
            platforms,
            ordered,
            platform_order,
        }
    }

    /// How well `wheel` fits: smaller is better, `None` where it cannot be installed.
    #[must_use]
    pub fn priority(&self, wheel: &WheelName) -> Option<(u32, u32)> {
        self.priority_of([&wheel.python, &wheel.abi, &wheel.platform])
    }

    /// As [`WheelTags::priority`], of a wheel with these compressed sets of Python, ABI and platform tags in lower case.
    #[must_use]
    pub fn priority_of(&self, [pythons, abis, platforms]: [&str; 3]) -> Option<(u32, u32)> {
        let mut best = None;
        for platform in platforms.split('.') {
            let (pairs, platform_rank) = if platform == "any" {
                (&self.any, 0)
            } else if let Some(rank) = self.platforms.get(platform) {
                (&self.native, *rank)
            } else {
                continue;
            };
            for of_abi in abis.split('.').filter_map(|abi| pairs.get(abi)) {
                for rank in pythons.split('.').filter_map(|python| of_abi.get(python)) {
                    let found = (*rank, platform_rank);
                    if best.is_none_or(|best| found < best) {
                        best = Some(found);
                    }
                }
            }
        }
        best
    }

    /// Every tag as `python-abi-platform`, best first: what `packaging.tags.sys_tags()` gives.
    #[must_use]
    pub fn to_list(&self) -> Vec<String> {
        let mut tags = Vec::new();
        for (python, abi, kind) in &self.ordered {
            match kind {
                PlatformKind::Any => tags.push(format!("{python}-{abi}-any")),
                PlatformKind::Native => tags.extend(
                    self.platform_order
                        .iter()
                        .map(|platform| format!("{python}-{abi}-{platform}")),
                ),
            }
        }
        tags
    }
}

/// Platform tags of Linux, newest first; `linux_*` leads, as on a real interpreter.
fn linux_platforms(architecture: &str, libc: Option<Libc>) -> Vec<String> {
    let mut tags = Vec::new();
    match libc {
        None => {}
        Some(Libc::Musl(major, minor)) => {
            for minor in (0..=minor).rev() {
                tags.push(format!("musllinux_{major}_{minor}_{architecture}"));
            }
        }
        Some(Libc::Glibc(major, minor)) => {
            // PEP 600: x86 goes back to glibc 2.5 (manylinux1), every other architecture to 2.17 (manylinux2014).
            let oldest = if matches!(architecture, "x86_64" | "i686") {
                5
            } else {
                17
            };
            for minor in (oldest..=minor).rev() {
                tags.push(format!("manylinux_{major}_{minor}_{architecture}"));
                let legacy = match (major, minor) {
                    (2, 17) => Some("manylinux2014"),
                    (2, 12) => Some("manylinux2010"),
                    (2, 5) => Some("manylinux1"),
                    _ => None,
                };
                if let Some(legacy) = legacy {
                    tags.push(format!("{legacy}_{architecture}"));
                }
            }
        }
    }
    let linux = format!("linux_{architecture}");
    tags.insert(0, linux);
    tags
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn tags(libc: Option<Libc>) -> WheelTags {
        WheelTags::for_cpython(&TagPlatform {
            python: (3, 10),
            abi_flags: String::new(),
            architecture: "x86_64".to_owned(),
            libc,
        })
    }

    fn fits(tags: &WheelTags, name: &str) -> bool {
        tags.priority(&WheelName::from_str(name).expect("a wheel"))
            .is_some()
    }

    #[test]
    fn the_c_library_of_the_image_decides() {
        let debian_11 = tags(Some(Libc::Glibc(2, 31)));
        assert!(fits(
            &debian_11,
            "a-1-cp310-cp310-manylinux_2_28_x86_64.whl"
        ));
        assert!(!fits(
            &debian_11,
            "a-1-cp310-cp310-manylinux_2_39_x86_64.whl"
        ));
        assert!(!fits(
            &debian_11,
            "a-1-cp310-cp310-musllinux_1_1_x86_64.whl"
        ));
        assert!(fits(
            &tags(Some(Libc::Musl(1, 2))),
            "a-1-cp310-cp310-musllinux_1_1_x86_64.whl"
        ));
        assert!(!fits(
            &debian_11,
            "a-1-cp310-cp310-manylinux_2_17_aarch64.whl"
        ));
        assert!(!fits(
            &debian_11,
            "a-1-cp311-cp311-manylinux_2_17_x86_64.whl"
        ));
        assert!(fits(&debian_11, "a-1-cp38-abi3-manylinux2014_x86_64.whl"));
        assert!(fits(&tags(None), "a-1-py3-none-any.whl"));
    }

    #[test]
    fn the_more_specific_wheel_is_preferred() {
        let tags = tags(Some(Libc::Glibc(2, 36)));
        let rank = |name| {
            tags.priority(&WheelName::from_str(name).expect("a wheel"))
                .expect("fits")
        };
        assert!(
            rank("a-1-cp310-cp310-manylinux_2_28_x86_64.whl")
                < rank("a-1-cp310-cp310-manylinux_2_17_x86_64.whl")
        );
        assert!(
            rank("a-1-cp310-cp310-manylinux1_x86_64.whl")
                < rank("a-1-cp37-abi3-manylinux_2_28_x86_64.whl")
        );
        assert!(rank("a-1-cp37-abi3-manylinux1_x86_64.whl") < rank("a-1-py3-none-any.whl"));
    }
}
