//! Operating system and architecture of an image, and the choice of one image from an index.
//!
//! Specification: OCI image-spec, `image-index.md`, "platform" and "Platform Variants"; names are normalized as
//! containerd does (`x86_64` is `amd64`, `arm` is `arm/v7`), so that what works for `docker pull --platform` works here.

use std::fmt;
use std::str::FromStr;

use oci_spec::image::{Descriptor, ImageConfiguration};

use super::TransportError;

/// Operating systems by their Go names: a lone word is one of these, or an architecture.
const OPERATING_SYSTEMS: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

/// Architectures by their Go names.
const ARCHITECTURES: [&str; 14] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm",
];

/// Marks an entry of an index as the attestation of another one.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// The most platforms that an error lists.
const MOST_LISTED: usize = 24;

/// What an image runs on, in normalized Go names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OciPlatform {
    /// Operating system, such as `linux`.
    pub os: String,
    /// Architecture, such as `amd64`.
    pub architecture: String,
    /// Variant of the architecture, such as `v7`; `None` for the usual one.
    pub variant: Option<String>,
}

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a platform: write it as `linux/amd64`, `linux/arm/v7` or `arm64`")]
pub struct PlatformError {
    /// What was given.
    pub text: String,
}

impl OciPlatform {
    /// The platform of these names, normalized. An empty operating system is Linux.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "" => "linux".to_owned(),
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386" | "386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
            ("arm64" | "aarch64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            (architecture, variant) => (architecture, variant),
        };
        Self {
            os,
            architecture: architecture.to_owned(),
            variant: (!variant.is_empty()).then(|| variant.to_owned()),
        }
    }

    /// Linux on the architecture of this machine: images are Linux images, whatever reads them.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new("linux", architecture, "")
    }

    /// What a configuration says of its image; `None` where it names no architecture.
    #[must_use]
    pub fn of_config(config: &ImageConfiguration) -> Option<Self> {
        let architecture = config.architecture().to_string();
        let variant = config.variant().as_deref().unwrap_or_default();
        (!architecture.is_empty())
            .then(|| Self::new(&config.os().to_string(), &architecture, variant))
    }

    /// What an entry of an index says of its image.
    #[must_use]
    pub fn of_descriptor(descriptor: &Descriptor) -> Option<Self> {
        let platform = descriptor.platform().as_ref()?;
        let architecture = platform.architecture().to_string();
        let variant = platform.variant().as_deref().unwrap_or_default();
        (!architecture.is_empty())
            .then(|| Self::new(&platform.os().to_string(), &architecture, variant))
    }

    /// Whether an image for `offered` will do for who asked for this platform.
    #[must_use]
    pub fn matches(&self, offered: &Self) -> bool {
        self.rank(offered).is_some()
    }

    /// How well an image for `offered` fits: 0 is this very platform; `None` where it does not run here. An older variant
    /// runs on a newer one. Who names no variant takes the usual one, and if need be any.
    fn rank(&self, offered: &Self) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        if self.variant == offered.variant {
            return Some(0);
        }
        let (wanted, has) = (self.level()?, offered.level()?);
        if has < wanted {
            Some(wanted - has)
        } else if self.variant.is_none() {
            Some(1000 + has - wanted)
        } else {
            None
        }
    }

    /// The variant as a number to compare by: `v8.2` is 802.
    fn level(&self) -> Option<u32> {
        let Some(variant) = &self.variant else {
            return Some(if self.architecture == "arm64" {
                800
            } else {
                100
            });
        };
        let (major, minor) = variant
            .strip_prefix('v')?
            .split_once('.')
            .unwrap_or((&variant[1..], "0"));
        let (major, minor): (u8, u8) = (major.parse().ok()?, minor.parse().ok()?);
        Some(u32::from(major) * 100 + u32::from(minor.min(99)))
    }
}

impl fmt::Display for OciPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for OciPlatform {
    type Err = PlatformError;

    /// `os/architecture[/variant]`, `architecture[/variant]`, or an operating system alone (on this machine's
    /// architecture).
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError {
            text: text.to_owned(),
        };
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        if !parts.iter().all(word) {
            return Err(error());
        }
        let known_os = |part: &str| {
            let part = part.to_ascii_lowercase();
            part == "macos" || OPERATING_SYSTEMS.contains(&part.as_str())
        };
        let known_architecture = |part: &str| {
            let normalized = Self::new("linux", part, "").architecture;
            ARCHITECTURES.contains(&normalized.as_str())
        };
        match parts.as_slice() {
            [os] if known_os(os) => {
                let here = Self::of_this_machine();
                Ok(Self::new(os, &here.architecture, ""))
            }
            [architecture] if known_architecture(architecture) => {
                Ok(Self::new("linux", architecture, ""))
            }
            [architecture, variant]
                if !known_os(architecture) && known_architecture(architecture) =>
            {
                Ok(Self::new("linux", architecture, variant))
            }
            [os, architecture] if known_os(os) => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] if known_os(os) => Ok(Self::new(os, architecture, variant)),
            _ => Err(error()),
        }
    }
}

/// Whether an entry of an index is about another entry (a signature, a bill of materials) rather than an image.
#[must_use]
pub fn is_attestation(descriptor: &Descriptor) -> bool {
    let annotated = descriptor
        .annotations()
        .as_ref()
        .is_some_and(|annotations| annotations.contains_key(REFERENCE_TYPE));
    annotated
        || OciPlatform::of_descriptor(descriptor)
            .is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown")
}

/// Chooses from the entries of an index that are images or further indexes. `wanted` is what the user asked for; without
/// it the platform of this machine is preferred, and the only image taken where there is just one. Of entries that fit
/// equally well, the first. `what` names the index.
///
/// # Errors
/// [`TransportError::NotFound`], which lists what there is.
pub fn choose<'a>(
    entries: &'a [Descriptor],
    wanted: Option<&OciPlatform>,
    what: &str,
) -> Result<&'a Descriptor, TransportError> {
    let images: Vec<&Descriptor> = entries
        .iter()
        .filter(|entry| !is_attestation(entry))
        .collect();
    let here = OciPlatform::of_this_machine();
    let sought = wanted.unwrap_or(&here);
    let fitting = images
        .iter()
        .filter_map(|entry| Some((sought.rank(&OciPlatform::of_descriptor(entry)?)?, *entry)))
        .min_by_key(|(rank, _)| *rank);
    if let Some((_, entry)) = fitting {
        return Ok(entry);
    }
    // An entry without a platform says it in its configuration, which is compared later.
    match images.as_slice() {
        [] => {
            return Err(TransportError::NotFound(format!(
                "{what} is an index without an image"
            )));
        }
        [only] if wanted.is_none() || only.platform().is_none() => return Ok(only),
        _ => {}
    }
    let unsaid: Vec<&Descriptor> = images
        .iter()
        .filter(|entry| OciPlatform::of_descriptor(entry).is_none())
        .copied()
        .collect();
    if let [only] = unsaid.as_slice() {
        return Ok(only);
    }
    let mut platforms: Vec<String> = images
        .iter()
        .map(|entry| {
            OciPlatform::of_descriptor(entry).map_or_else(
                || "one that names no platform".to_owned(),
                |it| it.to_string(),
            )
        })
        .collect();
    platforms.sort();
    platforms.dedup();
    let more = platforms.len().saturating_sub(MOST_LISTED);
    platforms.truncate(MOST_LISTED);
    if more > 0 {
        platforms.push(format!("{more} more"));
    }
    Err(TransportError::NotFound(format!(
        "{what} has no image for {sought}; it has {}",
        platforms.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::image::{MediaType, PlatformBuilder};
    use std::collections::HashMap;

    fn platform(text: &str) -> OciPlatform {
        text.parse().expect("a platform")
    }

    fn entry(number: u8, text: Option<&str>) -> Descriptor {
        let digest = crate::digest::sha256(&[number]);
        let mut entry = Descriptor::new(MediaType::ImageManifest, 1, digest);
        if let Some(text) = text {
            let parts: Vec<&str> = text.split('/').collect();
            let mut builder = PlatformBuilder::default()
                .os(parts[0])
                .architecture(parts[1]);
            if let Some(variant) = parts.get(2) {
                builder = builder.variant(*variant);
            }
            entry.set_platform(Some(builder.build().expect("a platform")));
        }
        entry
    }

    #[test]
    fn names_are_normalized_as_containerd_does() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("arm64", "linux/arm64"),
            ("aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/9", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("arm/v6", "linux/arm/v6"),
            ("linux/arm/7", "linux/arm/v7"),
            ("armhf", "linux/arm/v7"),
            ("armel", "linux/arm/v6"),
            ("i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("windows/amd64", "windows/amd64"),
            ("linux/sw64", "linux/sw64"),
        ] {
            assert_eq!(platform(text).to_string(), shown, "{text}");
        }
        let here = OciPlatform::of_this_machine();
        assert_eq!(platform("linux"), here);
        assert_eq!(platform(&here.to_string()), here);
        for text in [
            "",
            "/",
            "linux/",
            "pentium",
            "lin ux/amd64",
            "a/b/c",
            "linux/arm/v7/x",
        ] {
            let error = text.parse::<OciPlatform>().expect_err("no platform");
            assert!(error.to_string().contains(&format!("`{text}`")));
        }
    }

    #[test]
    fn an_older_variant_runs_on_a_newer_one() {
        for (wanted, offered, matches) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/arm64", false),
            ("linux/amd64", "windows/amd64", false),
            ("linux/arm/v7", "linux/arm/v6", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/amd64/v3", "linux/amd64/v2", true),
            ("linux/amd64/v2", "linux/amd64/v3", false),
            ("linux/arm64/v9", "linux/arm64", true),
            ("linux/amd64", "linux/amd64/v2", true),
        ] {
            assert_eq!(
                platform(wanted).matches(&platform(offered)),
                matches,
                "{wanted} {offered}"
            );
        }
    }

    #[test]
    fn the_nearest_entry_is_chosen_and_never_an_attestation() {
        let mut attestation = entry(9, Some("linux/amd64"));
        attestation.set_annotations(Some(HashMap::from([(
            REFERENCE_TYPE.to_owned(),
            "attestation-manifest".to_owned(),
        )])));
        let entries = [
            attestation,
            entry(0, Some("unknown/unknown")),
            entry(1, Some("linux/arm/v5")),
            entry(2, Some("linux/arm/v6")),
            entry(3, Some("linux/amd64/v2")),
            entry(4, Some("linux/amd64")),
            entry(5, Some("linux/amd64")),
        ];
        let chosen = |text: &str| {
            let chosen = choose(&entries, Some(&platform(text)), "x");
            let digest = chosen.expect("an entry").digest().clone();
            (0..9).find(|number| crate::digest::sha256(&[*number]) == digest)
        };
        assert_eq!(chosen("linux/amd64"), Some(4));
        assert_eq!(chosen("linux/amd64/v4"), Some(3));
        assert_eq!(chosen("linux/arm"), Some(2));
        let error = choose(&entries, Some(&platform("s390x")), "the index x").expect_err("none");
        assert_eq!(
            error.to_string(),
            "the index x has no image for linux/s390x; it has linux/amd64, linux/amd64/v2, linux/arm/v5, \
             linux/arm/v6"
        );
    }

    #[test]
    fn the_only_image_is_taken_when_nobody_asked_for_another() {
        let only = [
            entry(0, Some("unknown/unknown")),
            entry(1, Some("linux/s390x")),
        ];
        assert_eq!(choose(&only, None, "x").expect("an entry"), &only[1]);
        assert!(choose(&only, Some(&platform("amd64")), "x").is_err());
        let unsaid = [entry(1, None)];
        assert!(choose(&unsaid, Some(&platform("amd64")), "x").is_ok());
        assert!(choose(&[], None, "x").is_err());
        let both = [entry(1, None), entry(2, None)];
        assert!(choose(&both, None, "x").is_err());
        assert!(choose(&only[..1], None, "x").is_err(), "an attestation");
    }
}
