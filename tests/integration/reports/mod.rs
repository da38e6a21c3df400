//! Resolutions in every form, for answers that change the base: stated by hand, so that no solver has a part in it.

mod frontier;
mod installers;
mod json;
mod text;

use std::collections::BTreeSet;
use std::str::FromStr;

use imgtool::environment::{Environment, Obstacle, Provenance};
use imgtool::package_index::IndexFile;
use imgtool::packaging::{PackageName, Requirement, Version};
use imgtool::report::BaseLabel;
use imgtool::resolution::request::{Request, Requested};
use imgtool::resolution::solution::{
    Addition, Change, Held, Reason, Removal, Requirer, Resolution, Satisfied,
};
use imgtool::resolution::{Aim, Policy};

use crate::support::environments::environment;

fn name(text: &str) -> PackageName {
    PackageName::from_str(text).expect("a name")
}

fn version(text: &str) -> Version {
    Version::from_str(text).expect("a version")
}

fn requirement(text: &str) -> Requirement {
    Requirement::from_str(text).expect("a requirement")
}

/// Who requires something: a distribution, or the request where it has no name.
fn by(who: &str, what: &str) -> Requirer {
    Requirer {
        name: (!who.is_empty()).then(|| name(who)),
        requirement: requirement(what),
    }
}

/// A wheel whose hash is made of `digit`.
fn wheel(filename: &str, digit: &str) -> IndexFile {
    IndexFile {
        filename: filename.to_owned(),
        url: format!("https://files.invalid/packages/{filename}"),
        sha256: Some(digit.repeat(64)),
        size: Some(1234),
        requires_python: Some(">=3.8".to_owned()),
        yanked: None,
        core_metadata: None,
        upload_time: Some(1_700_000_000_123),
    }
}

fn addition(project: &str, at: &str, required_by: Vec<Requirer>) -> Addition {
    let filename = format!("{}-{at}-py3-none-any.whl", project.replace('-', "_"));
    Addition {
        name: name(project),
        version: version(at),
        extras: BTreeSet::new(),
        required_by,
        wheel: wheel(&filename, "a"),
        compatible: vec![wheel(&filename, "a")],
    }
}

/// A base of a snapshot: what an older MLflow meets in it, a local version, a pre-release, and a version of old.
fn base() -> (BaseLabel, Environment) {
    let mut environment = environment(
        "3.10.13",
        &[
            ("docker", "7.1.0", &["packaging>=14"]),
            ("importlib-metadata", "8.4.0", &[]),
            ("legacy", "1.0", &[]),
            ("opentelemetry-api", "1.27.0", &["importlib-metadata<=8.4"]),
            ("packaging", "24.1", &[]),
            ("pyyaml", "6.0.2", &[]),
            ("rc", "2.0rc1", &["packaging"]),
            ("torch", "2.8.0+cu126", &[]),
        ],
    );
    let legacy = environment
        .distributions
        .get_mut(&name("legacy"))
        .expect("it is there");
    "1.0-custom_build".clone_into(&mut legacy.version_text);
    environment.provenance = Provenance::Image {
        reference: "docker://registry.example/team/train:2.1".to_owned(),
        digest: Some(format!("sha256:{}", "5".repeat(64))),
    };
    let label = BaseLabel {
        reference: "registry.example/team/train:2.1".to_owned(),
        asked: "registry.example/team/train:2.1".to_owned(),
        layers: std::collections::BTreeMap::new(),
        index_end: None,
    };
    (label, environment)
}

fn request() -> Request {
    Request {
        requirements: vec![
            Requested::on_command_line(requirement("mlflow==2.1.0")),
            Requested {
                requirement: requirement("pyyaml"),
                origin: Some("deep/requirements.txt:3".to_owned()),
            },
        ],
        ..Request::default()
    }
}

/// An answer that adds two, changes three and removes one.
fn resolution() -> Resolution {
    let mut mlflow = addition("mlflow", "2.1.0", vec![by("", "mlflow==2.1.0")]);
    mlflow.extras.insert("extras".parse().expect("an extra"));
    let other = "mlflow-2.1.0-cp310-cp310-manylinux_2_17_x86_64.whl";
    mlflow.compatible.insert(0, wheel(other, "b"));
    mlflow.wheel = mlflow.compatible[0].clone();
    let change = |project, from, to, by: Vec<Requirer>, reasons| Change {
        from: version(from),
        to: addition(project, to, by),
        reasons,
    };
    let required = |who: &str, at: &str, what: &str| Reason::Required {
        by: by(who, what),
        version: (!at.is_empty()).then(|| version(at)),
    };
    Resolution {
        requested: vec![
            Satisfied {
                requirement: requirement("mlflow==2.1.0"),
                version: version("2.1.0"),
                held: false,
            },
            Satisfied {
                requirement: requirement("pyyaml"),
                version: version("6.0.2"),
                held: true,
            },
        ],
        added: vec![
            addition("alembic", "1.13.0", vec![by("mlflow", "alembic<2")]),
            mlflow,
        ],
        changed: vec![
            change(
                "importlib-metadata",
                "8.4.0",
                "5.2.0",
                vec![
                    by("mlflow", "importlib-metadata>=3.7.0,!=4.7.0,<6"),
                    by("opentelemetry-api", "importlib-metadata<=8.4"),
                ],
                vec![required(
                    "mlflow",
                    "2.1.0",
                    "importlib-metadata>=3.7.0,!=4.7.0,<6",
                )],
            ),
            change(
                "opentelemetry-api",
                "1.27.0",
                "1.29.0",
                Vec::new(),
                vec![Reason::Requires {
                    requirement: requirement("importlib-metadata<=8.4,>=6.0"),
                    version: Some(version("5.2.0")),
                }],
            ),
            change(
                "torch",
                "2.8.0+cu126",
                "2.8.0",
                vec![by("", "torch==2.8.0")],
                vec![required("", "", "torch==2.8.0")],
            ),
        ],
        removed: vec![Removal {
            name: name("docker"),
            version: version("7.1.0"),
            reasons: vec![
                required("mlflow", "2.1.0", "docker<7"),
                Reason::Requires {
                    requirement: requirement("packaging>=14"),
                    version: None,
                },
            ],
        }],
        held: vec![
            Held {
                name: name("packaging"),
                version: version("24.1"),
                required_by: vec![by("mlflow", "packaging<25")],
            },
            Held {
                name: name("pyyaml"),
                version: version("6.0.2"),
                required_by: vec![by("", "pyyaml"), by("mlflow", "pyyaml<7,>=5.1")],
            },
        ],
        broken_base: Vec::new(),
        proven_smallest: true,
        warnings: Vec::new(),
        behind: Vec::new(),
    }
}

fn policy() -> Policy {
    let mut policy = Policy::with_aim(Aim::Minimal);
    policy.may_leave.insert(name("docker"));
    policy.held.insert(name("packaging"));
    policy.fixed.insert(
        name("pyyaml"),
        Obstacle::Owned {
            manager: "dpkg".to_owned(),
            package: Some("python3-yaml".to_owned()),
        },
    );
    policy
}

/// A text as somebody sees it who has no colours.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
