//! The main job on recorded pages: MLflow on TFX.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::program::Desk;

#[test]
fn mlflow_skinny_fits_tfx() {
    assert_snapshot!(Desk::recorded().resolve(&["tfx:1.16.0", "mlflow-skinny"]), @"
    status: 0
    ----- stdout
    mlflow-skinny 3.17.2 fits tfx:1.16.0: 12 distributions to add, nothing of the base changes

    Added                Version  Required by
    annotated-doc        0.0.6    fastapi (>=0.0.2)
    databricks-sdk       0.67.0   mlflow-skinny (>=0.20.0,<1)
    fastapi              0.141.1  mlflow-skinny (<1)
    gitdb                4.0.12   gitpython (>=4.0.1,<5)
    gitpython            3.2.1    mlflow-skinny (>=3.1.9,<4)
    mlflow-skinny        3.17.2   the request
    opentelemetry-proto  1.27.0   mlflow-skinny (>=1.9.0,<3)
    python-dotenv        1.2.4    mlflow-skinny (>=0.19.0,<2)
    smmap                5.0.3    gitdb (>=3.0.1,<6)
    starlette            1.7.0    fastapi (>=0.46.0) and mlflow-skinny (<2)
    typing-inspection    0.4.2    fastapi (>=0.4.2)
    uvicorn              0.54.0   mlflow-skinny (<1)

    Held by the base    Version  Required by
    anyio               4.6.0    mlflow-skinny (>=3.6.2,!=4.15.0,<5) and starlette (>=4.0.0,<5)
    cachetools          5.5.0    mlflow-skinny (>=5.0.0,<8)
    click               8.1.7    mlflow-skinny (>=7.0,<9) and uvicorn (>=7.0)
    cloudpickle         2.2.1    mlflow-skinny (<4)
    google-auth         2.35.0   databricks-sdk (~=2.0)
    h11                 0.14.0   uvicorn (>=0.8)
    importlib-metadata  8.4.0    mlflow-skinny (>=3.7.0,!=4.7.0,<10)
    opentelemetry-api   1.27.0   mlflow-skinny (>=1.9.0,<3)
    opentelemetry-sdk   1.27.0   mlflow-skinny (>=1.9.0,<3)
    packaging           23.2     mlflow-skinny (<27)
    protobuf            3.20.3   mlflow-skinny (>=3.12.0,<8) and opentelemetry-proto (>=3.19,<5.0)
    pydantic            2.9.2    fastapi (>=2.9.0) and mlflow-skinny (>=2.0.0,<3)
    pyyaml              6.0.2    mlflow-skinny (>=5.1,<7)
    requests            2.32.3   databricks-sdk (>=2.28.1,<3) and mlflow-skinny (>=2.17.3,<3)
    sqlparse            0.5.1    mlflow-skinny (>=0.4.0,<1)
    typing-extensions   4.12.2   fastapi (>=4.8.0), mlflow-skinny (>=4.0.0,<5), starlette (>=4.10.0), typing-inspection (>=4.12.0) and 1 more

    Base: tfx:1.16.0, Python 3.10.13, 246 distributions
    Read from the embedded snapshot of tfx 1.16.0, made from the pin list pins-1.16.0-py310.txt (246 distributions) and the package index on 2026-11-24, with Python 3.10.13 and glibc 2.35 assumed, not read from the image.
    ----- stderr
    note: what 12 of the 246 distributions require is known with a doubt (`imgtool catalog show tfx:1.16.0` names them)
    ");
}

#[test]
fn an_old_mlflow_does_not_fit_and_the_reason_is_told() {
    assert_snapshot!(Desk::recorded().resolve(&["tfx:1.16.0", "mlflow==2.1.0"]), @"
    status: 1
    ----- stdout
    mlflow==2.1.0 does not fit tfx:1.16.0 as long as nothing of the base changes:

      1. you ask for mlflow==2.1.0
      2. mlflow 2.1.0 needs docker<7
      3. the base has docker 7.1.0; tfx 1.16.0 and ml-pipelines-sdk 1.16.0 need docker>=7

    Without that there would still be
      mlflow 2.1.0 needs importlib-metadata<6; the base has importlib-metadata 8.4.0; opentelemetry-api 1.27.0 needs importlib-metadata>=6.0
      mlflow 2.1.0 needs packaging<23; the base has packaging 23.2; tfx 1.16.0, apache-beam 2.59.0 and 11 more need it, but not this version of it
      mlflow 2.1.0 needs pytz<2023; the base has pytz 2024.2; apache-beam 2.59.0 and pandas 1.5.3 need it, but not this version of it

    What would fit (found by solving)
      mlflow 3.17.2, the newest that fits: imgtool resolve tfx:1.16.0 mlflow==3.17.2 -i [INDEX]/simple/

    Base: tfx:1.16.0, Python 3.10.13, 246 distributions
    Read from the embedded snapshot of tfx 1.16.0, made from the pin list pins-1.16.0-py310.txt (246 distributions) and the package index on 2026-11-24, with Python 3.10.13 and glibc 2.35 assumed, not read from the image.
    ----- stderr
    note: what 12 of the 246 distributions require is known with a doubt (`imgtool catalog show tfx:1.16.0` names them)
    ");
}

#[test]
fn what_fits_is_what_a_real_resolution_found() {
    let desk = Desk::recorded();
    let skinny = desk
        .resolve_json(&["tfx:1.16.0", "mlflow-skinny"])
        .expect(0)
        .pins();
    let bounded = desk
        .resolve_json(&["tfx:1.16.0", "mlflow-skinny>=3"])
        .expect(0)
        .pins();
    assert_eq!(skinny, bounded, "the bound changes nothing");
    assert_snapshot!(desk.resolve_json(&["tfx:1.16.0", "mlflow"]).expect(0).pins().join("\n"), @"
    aiohappyeyeballs==2.7.1
    aiohttp==3.14.5
    aiosignal==1.4.0
    alembic==1.20.1
    annotated-doc==0.0.6
    blinker==1.9.0
    contourpy==1.3.2
    cryptography==45.0.7
    cycler==0.12.1
    databricks-sdk==0.67.0
    fastapi==0.141.1
    flask==3.1.3
    flask-cors==6.0.5
    fonttools==4.65.0
    frozenlist==1.8.0
    gitdb==4.0.12
    gitpython==3.2.1
    graphene==3.4.3
    graphql-core==3.2.14
    graphql-relay==3.2.0
    greenlet==3.5.6
    gunicorn==26.2.0
    huey==3.5.4
    itsdangerous==2.2.0
    kiwisolver==1.5.1
    mako==1.4.3
    matplotlib==3.10.9
    mlflow==3.17.2
    mlflow-skinny==3.17.2
    mlflow-tracing==3.17.2
    multidict==7.1.0
    opentelemetry-proto==1.27.0
    prettytable==3.17.0
    propcache==0.5.4
    python-dotenv==1.2.4
    skops==0.16.0
    smmap==5.0.3
    sqlalchemy==2.0.58
    starlette==1.7.0
    typing-inspection==0.4.2
    uvicorn==0.54.0
    yarl==1.25.1
    ");
    assert_snapshot!(desk.resolve_json(&["tfx:1.16.0", "fastapi"]).expect(0).pins().join("\n"), @"
    annotated-doc==0.0.6
    fastapi==0.141.1
    starlette==1.7.0
    typing-inspection==0.4.2
    ");
}

/// The names of an object's fields.
fn keys(value: &Value) -> Vec<String> {
    let object = value.as_object().expect("an object");
    object.keys().cloned().collect()
}

#[test]
fn json_of_what_fits_has_every_promised_field() {
    let run = Desk::recorded().resolve_json(&["tfx:1.16.x", "mlflow-skinny<4"]);
    let json = run.expect(0).json();
    assert_eq!(
        keys(&json),
        [
            "added",
            "base",
            "base_violations",
            "besides",
            "changed",
            "exclude_newer",
            "facts",
            "fitting",
            "held",
            "obstacles",
            "policy",
            "proven_smallest",
            "relaxed_constraints",
            "removals",
            "removed",
            "requested",
            "schema",
            "searched",
            "smallest_change",
            "solvable",
            "warnings",
            "without_constraints"
        ]
    );
    let docs = include_str!("../../../docs/outputs.md");
    for key in keys(&json).iter().chain(&keys(&json["base"])) {
        assert!(
            docs.contains(&format!("`{key}`")),
            "docs do not name `{key}`"
        );
    }
    assert_eq!(json["schema"], "imgtool.resolve/v1");
    assert_eq!(json["solvable"], true);
    assert_eq!(json["base"]["reference"], "tfx:1.16.0");
    assert_eq!(json["base"]["asked"], "tfx:1.16.x");
    assert_eq!(json["base"]["source"], "snapshot");
    assert_eq!(json["base"]["python"], "3.10.13");
    assert_eq!(json["base"]["prefix"], "/opt/conda");
    assert_eq!(json["base"]["architecture"], "x86_64");
    assert_eq!(json["base"]["libc"], "glibc 2.35");
    assert_eq!(json["base"]["distributions"], 246);
    let made_from = json["base"]["made_from"].as_str().expect("text");
    assert!(made_from.starts_with("the pin list "), "{made_from}");
    let note = json["base"]["note"].as_str().expect("text");
    assert!(note.ends_with("not read from the image"), "{note}");
    assert_eq!(
        json["requested"],
        json!([{"name": "mlflow-skinny", "requirement": "mlflow-skinny<4", "version": "3.17.2", "held": false}])
    );
    assert_eq!(json["facts"], json!([]));
    assert_eq!(json["fitting"], json!([]));
    assert_eq!(json["base_violations"], json!([]));
    assert!(json["warnings"][0].is_string());
    let added = json["added"].as_array().expect("a list");
    assert_eq!(added.len(), 12);
    for added in added {
        assert_eq!(
            keys(added),
            [
                "extras",
                "name",
                "required_by",
                "sha256",
                "version",
                "wheel"
            ]
        );
        let wheel = &added["wheel"];
        assert_eq!(keys(wheel), ["filename", "sha256", "size", "url"]);
        let filename = wheel["filename"].as_str().expect("text");
        let url = wheel["url"].as_str().expect("text");
        assert!(url.starts_with("http://127.0.0.1:") && url.ends_with(filename));
        assert!(
            added["sha256"]
                .as_array()
                .expect("a list")
                .contains(&wheel["sha256"])
        );
        assert_eq!(wheel["sha256"].as_str().map(str::len), Some(64));
        assert!(wheel["size"].is_u64());
        assert_eq!(keys(&added["required_by"][0]), ["name", "requirement"]);
    }
    let requested = added.iter().find(|added| added["name"] == "mlflow-skinny");
    assert_eq!(
        requested.expect("added")["required_by"],
        json!([{"name": null, "requirement": "mlflow-skinny<4"}])
    );
    let held = json["held"].as_array().expect("a list");
    let protobuf = held
        .iter()
        .find(|held| held["name"] == "protobuf")
        .expect("held");
    assert_eq!(keys(protobuf), ["name", "required_by", "version"]);
    assert_eq!(protobuf["version"], "3.20.3");
}

#[test]
#[expect(clippy::too_many_lines, reason = "the whole of one answer")]
fn json_of_what_does_not_fit_has_facts_and_what_would() {
    let run = Desk::recorded().resolve_json(&["tfx:1.16.0", "mlflow==2.1.0"]);
    let mut json = run.expect(1).json();
    json["base"] = Value::Null;
    json["warnings"] = Value::Null;
    assert_snapshot!(serde_json::to_string_pretty(&json).expect("JSON"), @r#"
    {
      "added": [],
      "base": null,
      "base_violations": [],
      "besides": [
        {
          "held": {
            "extra": null,
            "follows": [
              1
            ],
            "kind": "held",
            "layer": null,
            "number": 2,
            "project": "importlib-metadata",
            "required_by": [
              {
                "name": "opentelemetry-api",
                "requirement": "importlib-metadata>=6.0,<=8.4.0"
              }
            ],
            "requirements": [],
            "text": "the base has importlib-metadata 8.4.0; opentelemetry-api 1.27.0 needs importlib-metadata>=6.0",
            "versions": [
              "8.4.0"
            ]
          },
          "requires": {
            "extra": null,
            "follows": [],
            "kind": "requires",
            "layer": null,
            "number": 1,
            "project": "mlflow",
            "required_by": [],
            "requirements": [
              "importlib-metadata>=3.7.0,!=4.7.0,<6"
            ],
            "text": "mlflow 2.1.0 needs importlib-metadata<6",
            "versions": [
              "2.1.0"
            ]
          },
          "text": "mlflow 2.1.0 needs importlib-metadata<6; the base has importlib-metadata 8.4.0; opentelemetry-api 1.27.0 needs importlib-metadata>=6.0"
        },
        {
          "held": {
            "extra": null,
            "follows": [
              1
            ],
            "kind": "held",
            "layer": null,
            "number": 2,
            "project": "packaging",
            "required_by": [
              {
                "name": "tfx",
                "requirement": "packaging>=22"
              },
              {
                "name": "apache-beam",
                "requirement": "packaging>=22.0"
              },
              {
                "name": "tensorflow",
                "requirement": "packaging"
              },
              {
                "name": "jupyter-server",
                "requirement": "packaging"
              },
              {
                "name": "jupyterlab",
                "requirement": "packaging"
              },
              {
                "name": "nbconvert",
                "requirement": "packaging"
              },
              {
                "name": "ipykernel",
                "requirement": "packaging"
              },
              {
                "name": "google-cloud-aiplatform",
                "requirement": "packaging>=14.3"
              },
              {
                "name": "ml-pipelines-sdk",
                "requirement": "packaging>=22"
              },
              {
                "name": "jupyterlab-server",
                "requirement": "packaging>=21.3"
              },
              {
                "name": "keras",
                "requirement": "packaging"
              },
              {
                "name": "google-cloud-bigquery",
                "requirement": "packaging>=20.0.0"
              },
              {
                "name": "keras-tuner",
                "requirement": "packaging"
              }
            ],
            "requirements": [],
            "text": "the base has packaging 23.2; tfx 1.16.0, apache-beam 2.59.0 and 11 more need it, but not this version of it",
            "versions": [
              "23.2"
            ]
          },
          "requires": {
            "extra": null,
            "follows": [],
            "kind": "requires",
            "layer": null,
            "number": 1,
            "project": "mlflow",
            "required_by": [],
            "requirements": [
              "packaging<23"
            ],
            "text": "mlflow 2.1.0 needs packaging<23",
            "versions": [
              "2.1.0"
            ]
          },
          "text": "mlflow 2.1.0 needs packaging<23; the base has packaging 23.2; tfx 1.16.0, apache-beam 2.59.0 and 11 more need it, but not this version of it"
        },
        {
          "held": {
            "extra": null,
            "follows": [
              1
            ],
            "kind": "held",
            "layer": null,
            "number": 2,
            "project": "pytz",
            "required_by": [
              {
                "name": "apache-beam",
                "requirement": "pytz>=2018.3"
              },
              {
                "name": "pandas",
                "requirement": "pytz>=2020.1"
              }
            ],
            "requirements": [],
            "text": "the base has pytz 2024.2; apache-beam 2.59.0 and pandas 1.5.3 need it, but not this version of it",
            "versions": [
              "2024.2"
            ]
          },
          "requires": {
            "extra": null,
            "follows": [],
            "kind": "requires",
            "layer": null,
            "number": 1,
            "project": "mlflow",
            "required_by": [],
            "requirements": [
              "pytz<2023"
            ],
            "text": "mlflow 2.1.0 needs pytz<2023",
            "versions": [
              "2.1.0"
            ]
          },
          "text": "mlflow 2.1.0 needs pytz<2023; the base has pytz 2024.2; apache-beam 2.59.0 and pandas 1.5.3 need it, but not this version of it"
        }
      ],
      "changed": [],
      "exclude_newer": null,
      "facts": [
        {
          "extra": null,
          "follows": [],
          "kind": "asked",
          "layer": null,
          "number": 1,
          "project": "mlflow",
          "required_by": [],
          "requirements": [
            "mlflow==2.1.0"
          ],
          "text": "you ask for mlflow==2.1.0",
          "versions": []
        },
        {
          "extra": null,
          "follows": [
            1
          ],
          "kind": "requires",
          "layer": null,
          "number": 2,
          "project": "mlflow",
          "required_by": [],
          "requirements": [
            "docker>=4.0.0,<7"
          ],
          "text": "mlflow 2.1.0 needs docker<7",
          "versions": [
            "2.1.0"
          ]
        },
        {
          "extra": null,
          "follows": [
            2
          ],
          "kind": "held",
          "layer": null,
          "number": 3,
          "project": "docker",
          "required_by": [
            {
              "name": "tfx",
              "requirement": "docker>=7,<8"
            },
            {
              "name": "ml-pipelines-sdk",
              "requirement": "docker>=7,<8"
            },
            {
              "name": "tensorflow-cloud",
              "requirement": "docker"
            }
          ],
          "requirements": [],
          "text": "the base has docker 7.1.0; tfx 1.16.0 and ml-pipelines-sdk 1.16.0 need docker>=7",
          "versions": [
            "7.1.0"
          ]
        }
      ],
      "fitting": [
        {
          "name": "mlflow",
          "requirement": "mlflow==2.1.0",
          "version": "3.17.2"
        }
      ],
      "held": [],
      "obstacles": [],
      "policy": {
        "aim": "hold",
        "fixed": [],
        "held": [],
        "may_change": [],
        "may_leave": []
      },
      "proven_smallest": null,
      "relaxed_constraints": [],
      "removals": [],
      "removed": [],
      "requested": [
        {
          "held": false,
          "name": "mlflow",
          "requirement": "mlflow==2.1.0",
          "version": null
        }
      ],
      "schema": "imgtool.resolve/v1",
      "searched": true,
      "smallest_change": null,
      "solvable": false,
      "warnings": null,
      "without_constraints": []
    }
    "#);
}

#[test]
fn the_requirements_file_is_what_pip_accepts() {
    let run =
        Desk::recorded().resolve(&["tfx:1.16.0", "mlflow-skinny", "--format", "requirements"]);
    let run = run.expect(0);
    let mut pins = 0;
    let mut lines = run
        .stdout
        .lines()
        .filter(|line| !line.starts_with('#'))
        .peekable();
    while let Some(line) = lines.next() {
        let pin = line
            .strip_suffix(" \\")
            .expect("a pin with a hash after it");
        assert!(pin.contains("=="), "{pin}");
        pins += 1;
        loop {
            let hash = lines.next().expect("a hash");
            let (hash, more) = hash
                .strip_suffix(" \\")
                .map_or((hash, false), |hash| (hash, true));
            let hex = hash.strip_prefix("    --hash=sha256:").expect("a hash");
            assert!(hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
            if !more {
                break;
            }
        }
    }
    assert_eq!(pins, 12);
}
