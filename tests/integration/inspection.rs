//! What `imgtool inspect` says of an image: layers, sizes, conda, what is hidden, and several interpreters.

use std::collections::BTreeMap;
use std::sync::Arc;

use imgtool::environment::{
    Choice, CondaPackage, Environment, Footprint, FoundInterpreter, InstalledDistribution,
    InterpreterKind, Provenance, RecordKind,
};
use imgtool::report::BaseLabel;
use imgtool::report::bill_of_materials::Created;
use imgtool::report::inspection::{ImageFacts, Inspection, LayerFacts};
use imgtool::report::text::inspect::Shown;
use imgtool::report::{cyclonedx, freeze, json, spdx, text};
use imgtool::transport::{Image, Layer, LayerSource, TransportError};
use insta::assert_snapshot;
use serde_json::Value;

use crate::support::environments::environment;

const REFERENCE: &str = "docker://registry.example:5000/team/train:2.1";
/// A folder that comes later on `sys.path`.
const HIDDEN_SITE: &str = "/usr/lib/python3/dist-packages";
const EVERYTHING: Shown = Shown {
    layers: true,
    size: true,
};

fn digest(character: char) -> String {
    format!("sha256:{}", character.to_string().repeat(64))
}

/// The environment of [`image`].
fn conda_environment() -> Environment {
    let mut environment = environment(
        "3.10.13",
        &[
            ("app", "0.1.0", &["numpy>=1", "torch", "absent"]),
            ("legacy", "1.0", &[]),
            ("numpy", "1.24.4", &[]),
            ("six", "1.16.0", &[]),
            (
                "torch",
                "2.3.0+cu121",
                &["numpy; extra == 'x'", "six", "torch"],
            ),
        ],
    );
    environment.interpreter.executable = Some("/opt/conda/bin/python3".to_owned());
    "/opt/conda".clone_into(&mut environment.interpreter.prefix);
    environment.interpreter.externally_managed = true;
    let site = "/opt/conda/lib/python3.10/site-packages";
    for (name, installed) in &mut environment.distributions {
        installed.location = format!("{site}/{name}-{}.dist-info", installed.version);
        installed.record = RecordKind::DistInfo;
        installed.installer = Some("pip".to_owned());
        match name.as_ref() {
            "app" => installed.editable = Some("/srv/app".to_owned()),
            "legacy" => {
                installed.record = RecordKind::EggInfoFile;
                installed.location = format!("{HIDDEN_SITE}/legacy.egg-info");
                installed.installer = None;
            }
            _ => {}
        }
    }
    let six = "six".parse().expect("a name");
    environment.shadowed = vec![InstalledDistribution {
        version: "1.15.0".parse().expect("a version"),
        version_text: "1.15.0".to_owned(),
        location: format!("{HIDDEN_SITE}/six-1.15.0.egg-info"),
        record: RecordKind::EggInfo,
        ..environment.distributions[&six].clone()
    }];
    environment.conda_packages = [
        ("numpy", "1.26.0"),
        ("openssl", "3.0.13"),
        ("python", "3.10.13"),
        ("six", "1.16.0"),
    ]
    .map(|(name, version)| CondaPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        build: "h0_0".to_owned(),
        channel: Some("conda-forge".to_owned()),
    })
    .to_vec();
    environment.notes = vec!["a doubt with\nan \u{1b}[31mescape".to_owned()];
    environment.provenance = Provenance::Image {
        reference: REFERENCE.to_owned(),
        digest: Some(digest('a')),
    };
    environment
}

/// What [`image`] says of itself.
fn facts() -> ImageFacts {
    let layer = |index: usize, blob, size, created_by: Option<&str>| LayerFacts {
        index,
        digest: Some(digest(blob)),
        diff_id: format!("sha256:{}", index.to_string().repeat(64)),
        size,
        created_by: created_by.map(ToOwned::to_owned),
    };
    let run =
        "RUN /bin/sh -c conda install -y torch numpy six && conda clean --all --yes # buildkit";
    ImageFacts {
        reference: REFERENCE.to_owned(),
        manifest_digest: Some(digest('a')),
        platform: "linux/amd64".to_owned(),
        created: Some("2024-05-01T12:00:00.5Z".to_owned()),
        layers: vec![
            layer(
                0,
                'b',
                Some(29_150_000),
                Some("/bin/sh -c #(nop) ADD file:0 in / "),
            ),
            layer(1, 'c', Some(1_100_000_000), Some(run)),
            layer(2, 'd', None, None),
        ],
        attached: None,
    }
}

/// An image of three layers with a conda prefix, one distribution in development, one that hides an older one, one that
/// pip has replaced, and one whose files nobody recorded.
fn image() -> Inspection {
    let footprint = |layers: &[usize], files, missing, bytes| Footprint {
        layer: layers.last().copied(),
        layers: layers.iter().copied().collect(),
        files,
        missing,
        bytes,
    };
    let footprints = [
        ("app", footprint(&[2], 4, 0, Some(2_048))),
        ("legacy", footprint(&[0], 0, 0, None)),
        ("numpy", footprint(&[1, 2], 900, 2, Some(61_500_000))),
        ("six", footprint(&[1], 5, 1, Some(34_000))),
        ("torch", footprint(&[1], 11_000, 0, Some(1_420_000_000))),
    ]
    .map(|(name, footprint)| (name.parse().expect("a name"), footprint));
    let interpreter = |executable: &str, prefix: &str, version: &str, kind| FoundInterpreter {
        implementation: "CPython".to_owned(),
        version: version.to_owned(),
        abi: Some("cp310".to_owned()),
        executable: Some(executable.to_owned()),
        prefix: prefix.to_owned(),
        is_default: kind == InterpreterKind::Conda,
        kind,
    };
    let venv = InterpreterKind::Venv {
        base: Some("/opt/conda".to_owned()),
        system_site_packages: true,
    };
    let system = InterpreterKind::Installation;
    let conda = InterpreterKind::Conda;
    Inspection {
        label: BaseLabel {
            reference: REFERENCE.to_owned(),
            asked: "registry.example:5000/team/train:2.x".to_owned(),
            layers: BTreeMap::new(),
            index_end: None,
        },
        environment: conda_environment(),
        interpreters: vec![
            interpreter("/opt/conda/bin/python3", "/opt/conda", "3.10.13", conda),
            interpreter("/usr/bin/python3.9", "/usr", "3.9.2", system),
            interpreter("/srv/venv/bin/python", "/srv/venv", "3.10.13", venv),
        ],
        image: Some(facts()),
        footprints: Some(footprints.into_iter().collect()),
    }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn created() -> Created {
    Created::choose(None, Some("2024-05-01T12:00:00.5Z"), 0)
}

#[test]
fn other_interpreters_are_named_once() {
    let mut found = image();
    found.environment.choice = Some(Choice {
        reason: "Python 3.10 at /opt/conda/bin/python3 is read, as it is what PATH starts"
            .to_owned(),
        others: "Python 3.9 at /usr/bin/python3.9".to_owned(),
    });
    let count = |text: &str| text.matches("/usr/bin/python3.9").count();
    let shown = plain(&text::inspect::inspect(&found, EVERYTHING, None));
    assert!(
        shown.contains(
            "\n- Python 3.10 at /opt/conda/bin/python3 is read, as it is what PATH starts\n"
        ),
        "{shown}"
    );
    assert_eq!(count(&shown), 1, "{shown}");
    assert_eq!(count(&json::inspect::inspect(&found)), 1);

    // Where no list names them, the note does.
    found.interpreters.clear();
    let shown = plain(&text::inspect::inspect(&found, EVERYTHING, None));
    assert!(
        shown.contains(
            "as it is what PATH starts; there is also Python 3.9 at /usr/bin/python3.9\n"
        ),
        "{shown}"
    );
}

#[test]
fn an_image_for_a_person() {
    let found = image();
    assert_snapshot!(plain(&text::inspect::inspect(&found, EVERYTHING, Some(80))), @"
    docker://registry.example:5000/team/train:2.1: 5 distributions, 1.5 GB in 11,909 files

      digest     sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
      platform   linux/amd64, glibc 2.36
      python     3.10.13, cp310, /opt/conda/bin/python3
      prefix     /opt/conda, managed by conda
      managed    EXTERNALLY-MANAGED: pip refuses to install here
      layers     3
      others     Python 3.9.2 at /usr/bin/python3.9
                 Python 3.10.13 at /srv/venv/bin/python, a venv of /opt/conda that
                 sees its distributions

    layer  digest           size  distributions  created by
        0  bbbbbbbbbbbb  29.2 MB              1  ADD file:0 in /
        1  cccccccccccc   1.1 GB              2  RUN conda install -y torch numpy s…
        2  dddddddddddd        -              2

    name    version      installer  layer     size  note
    app     0.1.0        pip            2   2.0 kB  editable, from /srv/app
    legacy  1.0          -              0        -
    numpy   1.24.4       pip            2  61.5 MB  conda recorded 1.26.0; 2 record…
    six     1.16.0       pip            1  34.0 kB  hides 1.15.0 in /usr/lib/python…
    torch   2.3.0+cu121  pip            1   1.4 GB
    total                                   1.5 GB

    2 packages of conda that are no Python distributions
      openssl 3.0.13 and python 3.10.13

    notes
    - a doubt with an  [31mescape
    ");
    assert_snapshot!(plain(&text::inspect::inspect(&found, Shown::default(), None)), @"
    docker://registry.example:5000/team/train:2.1: 5 distributions

      digest     sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
      platform   linux/amd64, glibc 2.36
      python     3.10.13, cp310, /opt/conda/bin/python3
      prefix     /opt/conda, managed by conda
      managed    EXTERNALLY-MANAGED: pip refuses to install here
      layers     3
      others     Python 3.9.2 at /usr/bin/python3.9
                 Python 3.10.13 at /srv/venv/bin/python, a venv of /opt/conda that sees its distributions

    name    version      installer  note
    app     0.1.0        pip        editable, from /srv/app
    legacy  1.0          -
    numpy   1.24.4       pip        conda recorded 1.26.0; 2 recorded files are missing
    six     1.16.0       pip        hides 1.15.0 in /usr/lib/python3/dist-packages; 1 recorded file is missing
    torch   2.3.0+cu121  pip

    2 packages of conda that are no Python distributions
      openssl 3.0.13 and python 3.10.13

    notes
    - a doubt with an  [31mescape
    ");
}

#[test]
fn strangers_cannot_steer_the_terminal() {
    let mut found = image();
    let evil = "1.0\u{1b}[2Jx\nfake  9.9";
    for installed in found.environment.distributions.values_mut() {
        installed.version_text = evil.to_owned();
        installed.installer = Some(evil.to_owned());
        installed.editable = Some(evil.to_owned());
    }
    found.environment.conda_packages[1].name = evil.to_owned();
    found.label.reference = evil.to_owned();
    let image = found.image.as_mut().expect("an image");
    image.platform = evil.to_owned();
    image.reference = evil.to_owned();
    image.manifest_digest = Some(evil.to_owned());
    image.layers[0].digest = Some(evil.to_owned());
    image.layers[0].created_by = Some(evil.to_owned());
    let text = plain(&text::inspect::inspect(&found, EVERYTHING, None));
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with("fake")), "{text}");
    let frozen = freeze::freeze(&found.label, &found.environment);
    let is_comment = |line: &str| line.starts_with('#');
    assert!(frozen.lines().all(is_comment), "{frozen}");
}

#[test]
fn an_image_for_programs() {
    let document: Value = serde_json::from_str(&json::inspect::inspect(&image())).expect("JSON");
    assert_eq!(document["image"]["digest"], digest('a'));
    assert_eq!(
        document["image"]["purl"],
        format!(
            "pkg:oci/train@{}?arch=amd64&repository_url=registry.example:5000/team/train&tag=2.1",
            digest('a')
        )
    );
    assert_eq!(document["layers"][1]["distributions"], 2);
    assert_eq!(document["layers"][2]["size"], Value::Null);
    let numpy = &document["distributions"][2];
    assert_eq!(numpy["layer"], 2);
    assert_eq!(numpy["layers"], serde_json::json!([1, 2]));
    assert_eq!(numpy["size"], 61_500_000);
    assert_eq!(
        (&numpy["files"], &numpy["missing_files"]),
        (&900.into(), &2.into())
    );
    assert_eq!(document["distributions"][1]["size"], Value::Null);
    assert_eq!(document["distributions"][1]["record"], "egg-info-file");
    assert_eq!(document["distributions"][0]["editable"], "/srv/app");
    let hidden = "/usr/lib/python3/dist-packages/six-1.15.0.egg-info";
    assert_eq!(
        document["distributions"][3]["shadows"],
        serde_json::json!([hidden])
    );
    assert_eq!(document["shadowed"][0]["location"], hidden);
    assert_eq!(document["conda_packages"][0]["distribution"], "numpy");
    assert_eq!(document["conda_packages"][1]["distribution"], Value::Null);
    assert_eq!(document["interpreters"][2]["kind"], "venv");
    assert_eq!(document["interpreters"][2]["base"], "/opt/conda");
    let inspected: Vec<&Value> = ["0", "1", "2"]
        .iter()
        .map(|at| &document["interpreters"][at.parse::<usize>().expect("a number")]["inspected"])
        .collect();
    assert_eq!(inspected, [true, false, false]);
    assert_eq!(
        document["total"],
        serde_json::json!({"size": 1_481_536_048, "files": 11_909, "missing_files": 3, "without_size": 1})
    );
    let mut without = image();
    without.footprints = None;
    let document: Value = serde_json::from_str(&json::inspect::inspect(&without)).expect("JSON");
    assert_eq!(document["total"], Value::Null);
    assert_eq!(document["layers"][1]["distributions"], Value::Null);
    assert_eq!(document["distributions"][2]["layers"], Value::Null);
}

#[test]
fn what_is_frozen_can_be_a_constraint() {
    let found = image();
    assert_snapshot!(freeze::freeze(&found.label, &found.environment), @"
    # What is installed in docker://registry.example:5000/team/train:2.1, Python 3.10.13.
    # Known from the image docker://registry.example:5000/team/train:2.1, which is sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.
    # app==0.1.0 is editable, from /srv/app
    legacy==1.0
    numpy==1.24.4
    six==1.16.0
    torch==2.3.0+cu121
    ");
}

#[test]
fn cyclonedx_tells_layers_and_what_requires_what() {
    let text = cyclonedx::cyclonedx(&image(), &created());
    assert_eq!(text, cyclonedx::cyclonedx(&image(), &created()));
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["metadata"]["timestamp"], "2024-05-01T12:00:00Z");
    let base = &document["metadata"]["component"];
    assert_eq!(base["type"], "container");
    assert_eq!(base["version"], digest('a'));
    assert_eq!(base["hashes"][0]["alg"], "SHA-256");
    let purls: Vec<&str> = document["components"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|component| component["purl"].as_str().expect("text"))
        .collect();
    // What conda recorded under the name of a distribution is that distribution.
    assert_eq!(
        purls,
        [
            "pkg:pypi/app@0.1.0",
            "pkg:pypi/legacy@1.0",
            "pkg:pypi/numpy@1.24.4",
            "pkg:pypi/six@1.16.0",
            "pkg:pypi/torch@2.3.0%2Bcu121",
            "pkg:pypi/six@1.15.0",
            "pkg:conda/openssl@3.0.13?build=h0_0&channel=conda-forge",
            "pkg:conda/python@3.10.13?build=h0_0&channel=conda-forge",
        ]
    );
    let properties = |at: usize| -> BTreeMap<&str, &str> {
        document["components"][at]["properties"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|property| {
                let text = |name: &str| property[name].as_str().expect("text");
                (text("name"), text("value"))
            })
            .collect()
    };
    let numpy = properties(2);
    assert_eq!(numpy["imgtool:layer:index"], "2");
    assert_eq!(numpy["imgtool:layer:digest"], digest('d'));
    assert_eq!(numpy["imgtool:layer:diffID"], digest('2'));
    assert_eq!(properties(5)["imgtool:shadowed"], "true");
    assert!(
        !numpy.contains_key("imgtool:conda"),
        "that version is gone: {numpy:?}"
    );
    assert_eq!(
        properties(3)["imgtool:conda"],
        "pkg:conda/six@1.16.0?build=h0_0&channel=conda-forge"
    );
    let edges: BTreeMap<&str, Vec<&str>> = document["dependencies"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|edge| {
            let to = edge["dependsOn"].as_array().into_iter().flatten();
            let to = to
                .map(|reference| reference.as_str().expect("text"))
                .collect();
            (edge["ref"].as_str().expect("text"), to)
        })
        .collect();
    assert_eq!(edges["base"].len(), 8);
    assert_eq!(
        edges["pkg:pypi/app@0.1.0"],
        ["pkg:pypi/numpy@1.24.4", "pkg:pypi/torch@2.3.0%2Bcu121"]
    );
    assert_eq!(
        edges["pkg:pypi/torch@2.3.0%2Bcu121"],
        ["pkg:pypi/six@1.16.0"]
    );

    // A time that does not follow from the image stays out, so that the document is the same tomorrow.
    let later = |now| cyclonedx::cyclonedx(&image(), &Created::choose(None, None, now));
    assert_eq!(later(1), later(2));
    assert!(!later(1).contains("timestamp"));
    let mut other = image();
    other.environment.distributions.pop_first();
    let serial = |text: &str| -> Value {
        let document: Value = serde_json::from_str(text).expect("JSON");
        document["serialNumber"].clone()
    };
    assert_ne!(
        serial(&cyclonedx::cyclonedx(&other, &created())),
        serial(&text)
    );
}

#[test]
fn spdx_tells_the_same() {
    let text = spdx::spdx(&image(), &created());
    assert_eq!(text, spdx::spdx(&image(), &created()));
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["creationInfo"]["created"], "2024-05-01T12:00:00Z");
    let packages = document["packages"].as_array().expect("a list");
    assert_eq!(packages.len(), 9);
    assert_eq!(packages[0]["primaryPackagePurpose"], "CONTAINER");
    assert_eq!(packages[0]["checksums"][0]["algorithm"], "SHA256");
    assert_eq!(
        packages[3]["sourceInfo"],
        format!(
            "read from /opt/conda/lib/python3.10/site-packages/numpy-1.24.4.dist-info in layer 2 ({})",
            digest('d')
        )
    );
    let relations: Vec<String> = document["relationships"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|relation| relation["relationshipType"] == "DEPENDS_ON")
        .map(|relation| {
            let text = |name: &str| relation[name].as_str().expect("text").to_owned();
            format!("{} {}", text("spdxElementId"), text("relatedSpdxElement"))
        })
        .collect();
    assert_eq!(
        relations,
        [
            "SPDXRef-Python-app SPDXRef-Python-numpy",
            "SPDXRef-Python-app SPDXRef-Python-torch",
            "SPDXRef-Python-torch SPDXRef-Python-six",
        ]
    );
}

#[derive(Debug)]
struct NoLayers;

impl LayerSource for NoLayers {
    fn open(&self, _: &Layer) -> Result<Box<dyn std::io::Read + Send>, TransportError> {
        Err(TransportError::NotFound("no layer".to_owned()))
    }
}

#[test]
fn history_is_matched_to_layers_where_it_comes_out_even() {
    let made = |history: &str| {
        let config = format!(
            r#"{{"os": "linux", "architecture": "arm64", "variant": "v8", "created": "2024-01-01T00:00:00Z",
                "rootfs": {{"type": "layers", "diff_ids": ["{0}", "{0}"]}}, "history": {history}}}"#,
            digest('e')
        );
        let layer = |index| Layer {
            index,
            digest: None,
            size: Some(7),
            media_type: String::new(),
            diff_id: digest('e').parse().expect("a digest"),
            member: None,
        };
        ImageFacts::of(&Image {
            reference: "docker-archive:image.tar".to_owned(),
            digest: None,
            config: serde_json::from_str(&config).expect("a configuration"),
            manifest_bytes: None,
            config_bytes: Vec::new(),
            layers: vec![layer(0), layer(1)],
            source: Arc::new(NoLayers),
        })
    };
    let steps = |facts: &ImageFacts| -> Vec<Option<String>> {
        facts
            .layers
            .iter()
            .map(|layer| layer.created_by.clone())
            .collect()
    };
    let even = made(
        r#"[{"created_by": "ADD a"}, {"created_by": "ENV b", "empty_layer": true}, {"created_by": "RUN c"}]"#,
    );
    assert_eq!(
        steps(&even),
        [Some("ADD a".to_owned()), Some("RUN c".to_owned())]
    );
    assert_eq!(even.platform, "linux/arm64/v8");
    assert_eq!(even.created.as_deref(), Some("2024-01-01T00:00:00Z"));
    assert_eq!(even.manifest_digest, None);
    let odd = made(r#"[{"created_by": "ADD a"}]"#);
    assert_eq!(steps(&odd), [None, None]);
    assert_eq!(steps(&made("[]")), [None, None]);
}
