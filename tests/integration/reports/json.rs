//! JSON of answers that change the base, and of conflicts that a change would end.

use insta::assert_snapshot;
use serde_json::Value;

use imgtool::environment::Obstacle;
use imgtool::report::json::v1::resolve;
use imgtool::resolution::conflict::Fitting;
use imgtool::resolution::{Conflict, Outcome};

use super::{base, name, policy, requirement, resolution};

fn document(outcome: &Outcome) -> Value {
    let (label, environment) = base();
    let requested = ["mlflow==2.1.0".to_owned(), "pyyaml".to_owned()];
    let text = resolve(outcome, &requested, &policy(), &label, &environment, &[]);
    assert!(text.ends_with("}\n"));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn changes_and_removals_have_their_reasons() {
    let document = document(&Outcome::Resolution(resolution()));
    let pretty = |part: &Value| serde_json::to_string_pretty(part).expect("JSON");
    assert_eq!(document["schema"], "imgtool.resolve/v1");
    assert_eq!(document["proven_smallest"], true);
    assert_snapshot!(pretty(&document["changed"][0]), @r#"
    {
      "downgrade": true,
      "extras": [],
      "from": "8.4.0",
      "name": "importlib-metadata",
      "reasons": [
        {
          "by": "mlflow",
          "kind": "required",
          "requirement": "importlib-metadata>=3.7.0,!=4.7.0,<6",
          "version": "2.1.0"
        }
      ],
      "required_by": [
        {
          "name": "mlflow",
          "requirement": "importlib-metadata>=3.7.0,!=4.7.0,<6"
        },
        {
          "name": "opentelemetry-api",
          "requirement": "importlib-metadata<=8.4"
        }
      ],
      "sha256": [
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      ],
      "to": "5.2.0",
      "wheel": {
        "filename": "importlib_metadata-5.2.0-py3-none-any.whl",
        "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "size": 1234,
        "url": "https://files.invalid/packages/importlib_metadata-5.2.0-py3-none-any.whl"
      }
    }
    "#);
    assert_snapshot!(pretty(&document["changed"][1]["reasons"]), @r#"
    [
      {
        "by": "opentelemetry-api",
        "kind": "requires",
        "requirement": "importlib-metadata>=6.0,<=8.4",
        "version": "5.2.0"
      }
    ]
    "#);
    assert_snapshot!(pretty(&document["changed"][2]["reasons"]), @r#"
    [
      {
        "by": null,
        "kind": "asked",
        "requirement": "torch==2.8.0",
        "version": null
      }
    ]
    "#);
    assert_snapshot!(pretty(&document["removed"]), @r#"
    [
      {
        "name": "docker",
        "reasons": [
          {
            "by": "mlflow",
            "kind": "required",
            "requirement": "docker<7",
            "version": "2.1.0"
          },
          {
            "by": "docker",
            "kind": "requires",
            "requirement": "packaging>=14",
            "version": null
          }
        ],
        "version": "7.1.0"
      }
    ]
    "#);
}

#[test]
fn an_answer_says_what_might_have_changed() {
    let document = document(&Outcome::Resolution(resolution()));
    let policy = serde_json::to_string_pretty(&document["policy"]).expect("JSON");
    assert_snapshot!(policy, @r#"
    {
      "aim": "minimal",
      "fixed": [
        {
          "kind": "owned",
          "manager": "dpkg",
          "name": "pyyaml",
          "package": "python3-yaml",
          "reason": "dpkg owns it (package python3-yaml)"
        }
      ],
      "held": [
        "packaging"
      ],
      "may_change": [],
      "may_leave": [
        "docker"
      ]
    }
    "#);
    for empty in ["obstacles", "removals", "facts", "fitting"] {
        assert_eq!(document[empty], Value::Array(Vec::new()), "{empty}");
    }
    assert_eq!(document["smallest_change"], Value::Null);
}

#[test]
fn a_conflict_has_what_would_end_it() {
    let conflict = Conflict {
        is_searched: true,
        facts: Vec::new(),
        besides: Vec::new(),
        relaxed: Vec::new(),
        fitting: vec![Fitting {
            requested: requirement("mlflow==2.1.0"),
            held: false,
            version: None,
        }],
        without_constraints: Vec::new(),
        smallest_change: Some(Box::new(resolution())),
        obstacles: vec![(name("pyyaml"), Obstacle::Distutils)],
        removals: vec![name("docker")],
        broken_base: Vec::new(),
    };
    let document = document(&Outcome::Conflict(conflict));
    assert_eq!(document["solvable"], false);
    assert_eq!(document["proven_smallest"], Value::Null);
    assert_eq!(document["changed"], Value::Array(Vec::new()));
    let change = &document["smallest_change"];
    assert_eq!(change["proven_smallest"], true);
    assert_eq!(change["changed"][0]["name"], "importlib-metadata");
    assert_eq!(change["changed"][0]["downgrade"], true);
    assert_eq!(change["added"][1]["name"], "mlflow");
    assert_eq!(change["removed"][0]["name"], "docker");
    assert_eq!(document["removals"][0], "docker");
    assert_eq!(
        document["obstacles"][0],
        serde_json::json!({
            "name": "pyyaml",
            "kind": "distutils",
            "reason": "distutils installed it and recorded no files",
            "manager": null,
            "package": null,
        })
    );
}
