//! `imgtool explain`: why a request does not fit, and why an answer is what it is.

use insta::assert_snapshot;

use super::lay_base;
use crate::support::index_server::IndexServer;
use crate::support::program::Desk;

#[test]
fn what_does_not_fit_is_explained_with_status_one() {
    assert_snapshot!(Desk::recorded().run(&["explain", "tfx:1.16.0", "mlflow==2.1.0"]), @"
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
fn what_fits_is_explained_with_status_zero() {
    assert_snapshot!(Desk::recorded().run(&["explain", "tfx:1.16.0", "mlflow-skinny<3.17"]), @"
    status: 0
    ----- stdout
    mlflow-skinny 3.16.1 fits tfx:1.16.0: 12 distributions to add, nothing of the base changes

    Nothing newer of what is asked for is to be had.

    Added                Version  Because
    annotated-doc        0.0.6    fastapi needs annotated-doc>=0.0.2
    databricks-sdk       0.67.0   mlflow-skinny needs databricks-sdk>=0.20.0,<1
    fastapi              0.141.1  mlflow-skinny needs fastapi<1
    gitdb                4.0.12   gitpython needs gitdb>=4.0.1,<5
    gitpython            3.2.1    mlflow-skinny needs gitpython>=3.1.9,<4
    mlflow-skinny        3.16.1   you ask for mlflow-skinny<3.17
    opentelemetry-proto  1.27.0   mlflow-skinny needs opentelemetry-proto>=1.9.0,<3
    python-dotenv        1.2.4    mlflow-skinny needs python-dotenv>=0.19.0,<2
    smmap                5.0.3    gitdb needs smmap>=3.0.1,<6
    starlette            1.7.0    fastapi needs starlette>=0.46.0 and mlflow-skinny needs starlette<2
    typing-inspection    0.4.2    fastapi needs typing-inspection>=0.4.2
    uvicorn              0.54.0   mlflow-skinny needs uvicorn<1

    Base: tfx:1.16.0, Python 3.10.13, 246 distributions
    Read from the embedded snapshot of tfx 1.16.0, made from the pin list pins-1.16.0-py310.txt (246 distributions) and the package index on 2026-11-24, with Python 3.10.13 and glibc 2.35 assumed, not read from the image.
    ----- stderr
    note: what 12 of the 246 distributions require is known with a doubt (`imgtool catalog show tfx:1.16.0` names them)
    ");
}

#[test]
fn the_graph_is_the_same_every_time() {
    let desk = Desk::recorded();
    let arguments = ["explain", "tfx:1.16.0", "mlflow==2.1.0", "--format", "dot"];
    let run = desk.run(&arguments);
    assert_snapshot!(run, @r#"
    status: 1
    ----- stdout
    digraph explanation {
      graph [rankdir=LR, label="tfx:1.16.0", labelloc=t, fontname="sans-serif"];
      node [fontname="sans-serif"];
      edge [fontname="sans-serif"];
      "request" [shape=oval, label="the request"];
      "project docker" [shape=cylinder, label="docker 7.1.0\nin the base"];
      "project mlflow" [shape=box, label="mlflow"];
      "request" -> "project mlflow" [style=solid, label="1. you ask for mlflow==2.1.0"];
      "project mlflow" -> "project docker" [style=solid, label="2. mlflow 2.1.0 needs docker<7"];
      "base tfx" [shape=cylinder, label="tfx 1.16.0\nin the base"];
      "base tfx" -> "project docker" [style=bold, label="3. >=7,<8"];
      "base ml-pipelines-sdk" [shape=cylinder, label="ml-pipelines-sdk 1.16.0\nin the base"];
      "base ml-pipelines-sdk" -> "project docker" [style=bold, label="3. >=7,<8"];
    }
    ----- stderr
    note: what 12 of the 246 distributions require is known with a doubt (`imgtool catalog show tfx:1.16.0` names them)
    "#);
    assert_eq!(run.stdout, desk.run(&arguments).stdout);
    let fits = ["explain", "tfx:1.16.0", "fastapi", "--format", "dot"];
    assert_snapshot!(desk.run(&fits).stdout, @r#"
    digraph explanation {
      graph [rankdir=LR, label="tfx:1.16.0", labelloc=t, fontname="sans-serif"];
      node [fontname="sans-serif"];
      edge [fontname="sans-serif"];
      subgraph cluster_0 {
        label="fastapi 0.141.1, not 0.165.0";
      "0/request" [shape=oval, label="the request"];
      "0/project fastapi" [shape=box, label="fastapi"];
      "0/project opentelemetry-api" [shape=cylinder, label="opentelemetry-api 1.27.0\nin the base"];
      "0/request" -> "0/project fastapi" [style=solid, label="1. the index has versions of fastapi newer than\n0.141.1, up to 0.165.0"];
      "0/fact 2" [shape=octagon, label="2. every version of fastapi from 0.164.0 needs\nPython>=3.11; the base has 3.10.13"];
      "0/project fastapi" -> "0/fact 2" [style=dashed, label=""];
      "0/project fastapi" -> "0/project opentelemetry-api" [style=solid, label="3. every version of fastapi from 0.162.0 needs\nopentelemetry-api>=1.44.0"];
      "0/base opentelemetry-sdk" [shape=cylinder, label="opentelemetry-sdk 1.27.0\nin the base"];
      "0/base opentelemetry-sdk" -> "0/project opentelemetry-api" [style=bold, label="4. ==1.27.0"];
      "0/base opentelemetry-semantic-conventions" [shape=cylinder, label="opentelemetry-semantic-conventions 0.48b0\nin the base"];
      "0/base opentelemetry-semantic-conventions" -> "0/project opentelemetry-api" [style=bold, label="4. ==1.27.0"];
      }
      "request" [shape=oval, label="the request"];
      "project annotated-doc" [shape=box, label="annotated-doc 0.0.6"];
      "project fastapi" [shape=box, label="fastapi 0.141.1"];
      "project starlette" [shape=box, label="starlette 1.7.0"];
      "project typing-inspection" [shape=box, label="typing-inspection 0.4.2"];
      "project fastapi" -> "project annotated-doc" [style=solid, label=">=0.0.2"];
      "request" -> "project fastapi" [style=solid, label="in any version"];
      "project fastapi" -> "project starlette" [style=solid, label=">=0.46.0"];
      "project fastapi" -> "project typing-inspection" [style=solid, label=">=0.4.2"];
    }
    "#);
}

#[test]
fn json_has_numbers_and_what_each_fact_follows() {
    let run = Desk::recorded().run(&["explain", "tfx:1.16.0", "mlflow==2.1.0", "--format", "json"]);
    let json = run.expect(1).json();
    assert_eq!(json["schema"], "imgtool.explain/v1");
    assert_eq!(json["solvable"], false);
    assert_eq!(json["base"], "tfx:1.16.0");
    let keys: Vec<&String> = json.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "added",
            "base",
            "behind",
            "besides",
            "changed",
            "exclude_newer",
            "facts",
            "obstacles",
            "removed",
            "requested",
            "schema",
            "searched",
            "solvable",
            "warnings",
            "would_fit"
        ]
    );
    assert_snapshot!(serde_json::to_string_pretty(&json["facts"]).expect("JSON"), @r#"
    [
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
    ]
    "#);
    assert_eq!(json["besides"].as_array().map(Vec::len), Some(3));
    assert!(
        json["would_fit"][0]
            .as_str()
            .expect("text")
            .starts_with("mlflow 3.17.2")
    );
}

#[test]
fn why_the_answer_is_not_newer_and_who_needs_what() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: gamma<2")
        .wheel("2.0", "Requires-Dist: beta>=2")
        .wheel("2.1", "Requires-Dist: beta>=2")
        .wheel("3.0", "Requires-Dist: beta>=3\nRequires-Python: >=3.11")
        .project("gamma")
        .wheel("1.0", "")
        .start();
    let desk = Desk::at(&index);
    let requires = "Requires-Dist: beta<2";
    lay_base(
        &desk,
        &[
            ("beta", "1.4", ""),
            ("large", "7.0", &format!("{requires}\nRequires-Dist: small")),
            ("odd", "1.0", "Requires-Dist: beta<1"),
            ("small", "1.0", requires),
        ],
    );
    assert_snapshot!(desk.run(&["explain", "dir:base", "alpha"]), @"
    status: 0
    ----- stdout
    alpha 1.0 fits dir:base: 2 distributions to add, nothing of the base changes

    alpha 1.0, not 3.0, because

      1. the index has versions of alpha newer than 1.0, up to 3.0
      2. alpha 3.0 cannot be used: it requires Python >=3.11
      3. alpha 2.0 and 2.1 need beta>=2
      4. the base has beta 1.4; large 7.0 and small 1.0 need beta<2

    Added  Version  Because
    alpha  1.0      you ask for alpha
    gamma  1.0      alpha needs gamma<2

    Base: dir:base, Python 3.10.13, 4 distributions
    ----- stderr
    warning: already broken in the base: odd 1.0 requires beta<1, but beta 1.4 is installed
    ");
    assert_snapshot!(desk.run(&["explain", "dir:base", "alpha>=2", "beta>=2"]), @"
    status: 1
    ----- stdout
    alpha>=2 and beta>=2 do not fit dir:base as long as nothing of the base changes:

      1. you ask for beta>=2
      2. the base has beta 1.4; large 7.0 and small 1.0 need beta<2

    What would fit (found by solving)
      nothing, whichever of the requirements is left without bounds

    Base: dir:base, Python 3.10.13, 4 distributions
    ----- stderr
    warning: already broken in the base: odd 1.0 requires beta<1, but beta 1.4 is installed
    ");
    let json = desk.run(&["explain", "dir:base", "alpha", "--format", "json"]);
    let json = json.expect(0).json();
    assert_eq!(json["solvable"], true);
    assert_eq!(json["behind"][0]["newest"], "3.0");
    assert_eq!(json["behind"][0]["facts"][0]["kind"], "newest");
    assert_eq!(json["added"][1]["name"], "gamma");
    assert_eq!(json["added"][1]["required_by"][0]["name"], "alpha");
}

#[test]
fn each_constraint_without_which_it_fits_is_named_with_its_line() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: beta>=2")
        .project("beta")
        .wheel("1.0", "")
        .wheel("2.0", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    desk.write("c.txt", "six<2\nbeta<2\n");
    let run = desk.run(&["explain", "dir:base", "alpha", "-c", "c.txt"]);
    run.expect(1)
        .says("alpha 1.0, without the constraint beta<2 (c.txt:2)");
}
