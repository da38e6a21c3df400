//! The bill of materials of a new image.

use std::collections::BTreeMap;

use imgtool::environment::CondaPackage;
use imgtool::packaging::PackageName;
use imgtool::report::BaseLabel;
use imgtool::report::bill_of_materials::{
    AddedDistribution, Composition, Created, WheelOrigin, compose,
};
use imgtool::report::cyclonedx::cyclonedx_of_result;
use imgtool::report::inspection::{ImageFacts, Inspection};
use serde_json::{Value, json};

use crate::support::environments::environment;

fn name(text: &str) -> PackageName {
    text.parse().expect("a name")
}

fn facts(reference: &str, digit: char) -> ImageFacts {
    ImageFacts {
        reference: reference.to_owned(),
        manifest_digest: Some(format!("sha256:{}", digit.to_string().repeat(64))),
        platform: "linux/amd64".to_owned(),
        ..ImageFacts::default()
    }
}

fn added(text: &str, version: &str, requires: &[&str], url: Option<&str>) -> AddedDistribution {
    AddedDistribution {
        name: name(text),
        version: version.parse().expect("a version"),
        location: format!("/usr/lib/python3/site-packages/{text}-{version}.dist-info"),
        requires_dist: requires.iter().map(|text| (*text).to_owned()).collect(),
        requires_python: None,
        provides_extra: Vec::new(),
        wheel: WheelOrigin {
            file_name: format!("{text}-{version}-py3-none-any.whl"),
            sha256: "ab".repeat(32),
            url: url.map(str::to_owned),
            index: Some("https://index.example/simple/".to_owned()),
        },
    }
}

/// protobuf is replaced, blinker leaves, mlflow-skinny comes, six stays.
fn result() -> (Inspection, Composition) {
    let mut environment = environment(
        "3.12.1",
        &[
            ("blinker", "1.4", &[]),
            ("protobuf", "3.20.3", &[]),
            ("six", "1.16.0", &[]),
        ],
    );
    environment.conda_packages = ["blinker", "openssl"]
        .map(|name| CondaPackage {
            name: name.to_owned(),
            version: "1.4".to_owned(),
            build: "0".to_owned(),
            channel: None,
        })
        .to_vec();
    let base = Inspection {
        label: BaseLabel {
            reference: "docker://registry.example/base:1".to_owned(),
            asked: "docker://registry.example/base:1".to_owned(),
            layers: BTreeMap::new(),
            index_end: None,
        },
        environment,
        interpreters: Vec::new(),
        image: Some(facts("docker://registry.example/base:1", 'a')),
        footprints: None,
    };
    let wheels = vec![
        added("protobuf", "4.25.3", &[], None),
        added(
            "mlflow-skinny",
            "3.0",
            &["protobuf>=4", "six", "absent"],
            Some("https://files.example/mlflow_skinny-3.0-py3-none-any.whl"),
        ),
    ];
    let image = facts("docker://registry.example/team/new:1", 'b');
    compose(&base, &[name("blinker"), name("protobuf")], wheels, image)
}

#[test]
fn base_and_added_are_told_apart() {
    let (found, composition) = result();
    let created = Created::choose(Some(1_700_000_000), None, 0);
    let text = cyclonedx_of_result(&found, &composition, &created);
    assert_eq!(text, cyclonedx_of_result(&found, &composition, &created));
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let origins: BTreeMap<&str, Vec<&str>> = document["components"]
        .as_array()
        .expect("components")
        .iter()
        .map(|component| {
            let properties = component["properties"].as_array().expect("properties");
            let told = properties
                .iter()
                .filter(|property| {
                    let name = property["name"].as_str().expect("a name");
                    matches!(name, "imgtool:origin" | "imgtool:replaces")
                })
                .map(|property| property["value"].as_str().expect("a value"));
            (component["name"].as_str().expect("a name"), told.collect())
        })
        .collect();
    assert_eq!(
        origins,
        BTreeMap::from([
            ("mlflow-skinny", vec!["added"]),
            ("openssl", vec!["base"]),
            ("protobuf", vec!["replaced", "3.20.3"]),
            ("six", vec!["base"]),
        ])
    );
    let subject = &document["metadata"]["component"];
    assert_eq!(subject["name"], "docker://registry.example/team/new:1");
    assert_eq!(
        subject["pedigree"]["ancestors"][0]["name"],
        "docker://registry.example/base:1"
    );
    let mlflow = &document["components"][0];
    let hashes = json!([{ "alg": "SHA-256", "content": "ab".repeat(32) }]);
    assert_eq!(mlflow["hashes"], hashes);
    assert_eq!(
        mlflow["externalReferences"],
        json!([{
            "type": "distribution",
            "url": "https://files.example/mlflow_skinny-3.0-py3-none-any.whl",
            "hashes": hashes,
        }])
    );
    let properties = mlflow["properties"].to_string();
    assert!(
        properties.contains("mlflow-skinny-3.0-py3-none-any.whl"),
        "{properties}"
    );
    assert!(
        properties.contains("https://index.example/simple/"),
        "{properties}"
    );
    let removed = json!({ "name": "imgtool:removed", "value": "blinker==1.4" });
    let of_subject = subject["properties"].as_array().expect("properties");
    assert!(of_subject.contains(&removed), "{of_subject:?}");
    // What is new depends on what the base has, and only on what is there.
    assert_eq!(
        document["dependencies"][1],
        json!({
            "ref": "pkg:pypi/mlflow-skinny@3.0",
            "dependsOn": ["pkg:pypi/protobuf@4.25.3", "pkg:pypi/six@1.16.0"],
        })
    );
}
