//! Environments as a test states them.

use std::collections::BTreeMap;
use std::str::FromStr;

use imgtool::environment::{
    Environment, InstalledDistribution, Interpreter, Provenance, RecordKind,
};
use imgtool::packaging::tags::{Libc, TagPlatform, WheelTags};
use imgtool::packaging::{PackageName, Version, marker_environment};

/// An environment of CPython `python` on linux x86_64 with glibc 2.36, in which `installed` is installed: name,
/// version and requirements of each.
pub fn environment(python: &str, installed: &[(&str, &str, &[&str])]) -> Environment {
    let version = Version::from_str(python).expect("a version");
    let release: Vec<u16> = version
        .release()
        .iter()
        .map(|part| u16::try_from(*part).expect("small"))
        .collect();
    let platform = TagPlatform {
        python: (release[0], release[1]),
        abi_flags: if release[1] < 8 {
            "m".to_owned()
        } else {
            String::new()
        },
        architecture: "x86_64".to_owned(),
        libc: Some(Libc::Glibc(2, 36)),
    };
    let mut distributions = BTreeMap::new();
    for (name, version, requires) in installed {
        let name = PackageName::from_str(name).expect("a name");
        distributions.insert(
            name.clone(),
            InstalledDistribution {
                name,
                version: Version::from_str(version).expect("a version"),
                version_text: (*version).to_owned(),
                requires_dist: requires.iter().map(|text| (*text).to_owned()).collect(),
                requires_python: None,
                provides_extra: Vec::new(),
                import_names: Vec::new(),
                location: String::new(),
                installer: None,
                record: RecordKind::Snapshot,
                editable: None,
            },
        );
    }
    Environment {
        interpreter: Interpreter {
            version: python.to_owned(),
            executable: None,
            prefix: "/usr".to_owned(),
            ..Interpreter::default()
        },
        markers: marker_environment::for_cpython_on_linux(python, "x86_64").expect("markers"),
        tags: WheelTags::for_cpython(&platform),
        platform,
        distributions,
        shadowed: Vec::new(),
        conda_packages: Vec::new(),
        choice: None,
        notes: Vec::new(),
        provenance: Provenance::Directory {
            path: "test".to_owned(),
        },
    }
}
