//! What there is to have for how many changes of the base, as a table and as JSON.

use insta::assert_snapshot;
use serde_json::Value;

use imgtool::report::json;
use imgtool::report::text::frontier::frontier as table;
use imgtool::resolution::Frontier;
use imgtool::resolution::frontier::Row;

use super::{base, name, plain, policy, resolution, version};

/// Three rows: nothing changes, one thing does, everything of the made-up answer does.
fn rows() -> Frontier {
    let row = |versions: [&str; 2], changed: usize, removed: usize| {
        let mut resolution = resolution();
        resolution.changed.truncate(changed);
        resolution.removed.truncate(removed);
        Row {
            versions: versions.map(version).to_vec(),
            resolution,
        }
    };
    Frontier {
        projects: vec![name("mlflow"), name("pyyaml")],
        rows: vec![
            row(["1.30.1", "6.0.2"], 0, 0),
            row(["2.0.1", "6.0.2"], 1, 0),
            row(["2.1.0", "6.0.2"], 3, 1),
        ],
        newest: vec![Some(version("3.5.1")), Some(version("6.0.2"))],
    }
}

fn shown(frontier: &Frontier, width: Option<usize>) -> String {
    let (label, environment) = base();
    plain(&table(frontier, &label, &environment, width))
}

#[test]
fn each_row_says_what_it_costs() {
    assert_snapshot!(shown(&rows(), None), @"
    What there is of mlflow and pyyaml on registry.example/team/train:2.1, by changes of the base

    Changes  mlflow  What changes
          0  1.30.1  nothing
          1  2.0.1   importlib-metadata 8.4.0 -> 5.2.0 (downgrade)
          4  2.1.0   importlib-metadata 8.4.0 -> 5.2.0 (downgrade), opentelemetry-api 1.27.0 -> 1.29.0, torch 2.8.0+cu126 -> 2.8.0 (downgrade) and 1 more

    In every row: pyyaml 6.0.2.
    The newest on the index: mlflow 3.5.1.
    Each row is solved, with the fewest changes for its versions; ask for these with `--policy minimal` to see all of it.

    Base: registry.example/team/train:2.1, Python 3.10.13, 8 distributions
    Read from the image docker://registry.example/team/train:2.1, which is sha256:5555555555555555555555555555555555555555555555555555555555555555.
    ");
    let narrow = shown(&rows(), Some(50));
    let table: Vec<&str> = narrow.lines().skip(2).take(4).collect();
    assert!(
        table.iter().all(|line| line.chars().count() <= 50),
        "{narrow}"
    );
}

#[test]
fn one_row_shows_every_project_and_no_row_is_a_no() {
    let mut one = rows();
    one.rows.truncate(1);
    let text = shown(&one, None);
    assert!(
        text.contains("Changes  mlflow  pyyaml  What changes"),
        "{text}"
    );
    assert!(text.contains("      0  1.30.1  6.0.2   nothing"), "{text}");
    one.rows.clear();
    let text = shown(&one, None);
    assert!(
        text.starts_with("mlflow and pyyaml do not fit registry.example/team/train:2.1,"),
        "{text}"
    );
}

#[test]
fn json_has_every_row_in_full() {
    let (label, environment) = base();
    let text = json::frontier::frontier(
        &rows(),
        &policy(),
        &label,
        &environment,
        &[],
        &["a warning".to_owned()],
    );
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["schema"], "imgtool.frontier/v1");
    assert_eq!(document["projects"][0]["name"], "mlflow");
    assert_eq!(document["projects"][0]["newest"], "3.5.1");
    assert_eq!(document["warnings"][0], "a warning");
    assert_eq!(document["policy"]["aim"], "minimal");
    let rows = document["rows"].as_array().expect("rows");
    let changes: Vec<&Value> = rows.iter().map(|row| &row["changes"]).collect();
    assert_eq!(changes, [0, 1, 4]);
    assert_eq!(rows[1]["versions"][0], "2.0.1");
    assert_eq!(rows[1]["changed"][0]["to"], "5.2.0");
    assert_eq!(rows[2]["removed"][0]["name"], "docker");
    assert_eq!(rows[2]["added"][1]["wheel"]["size"], 1234);
}
