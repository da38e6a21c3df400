//! The table of an answer that changes the base.

use insta::assert_snapshot;

use imgtool::report::text::resolution::resolution as table;
use imgtool::resolution::solution::{Reason, Resolution};
use unicode_width::UnicodeWidthStr as _;

use super::{addition, base, by, plain, resolution, version};

fn shown(resolution: &Resolution, width: Option<usize>) -> String {
    let (label, environment) = base();
    plain(&table(resolution, &label, &environment, width))
}

/// The first line of a table.
fn headline(resolution: &Resolution) -> String {
    let text = shown(resolution, None);
    text.lines().next().expect("a line").to_owned()
}

#[test]
fn changes_come_first_each_with_its_reason() {
    assert_snapshot!(shown(&resolution(), None), @"
    mlflow 2.1.0 and pyyaml 6.0.2 fit registry.example/team/train:2.1: 2 distributions to add, 3 of the base to change, 1 to remove (proven fewest)

    Changed in the base  Version                           Why
    importlib-metadata   8.4.0 -> 5.2.0 (downgrade)        mlflow 2.1.0 needs >=3.7.0,!=4.7.0,<6
    opentelemetry-api    1.27.0 -> 1.29.0                  moves along: needs importlib-metadata>=6.0,<=8.4, which goes to 5.2.0
    torch                2.8.0+cu126 -> 2.8.0 (downgrade)  you ask for torch==2.8.0

    Removed from the base  Version  Why
    docker                 7.1.0    mlflow 2.1.0 needs <7
                                    needs packaging>=14, which leaves

    Added           Version  Required by
    alembic         1.13.0   mlflow (<2)
    mlflow[extras]  2.1.0    the request (==2.1.0)

    Held by the base  Version  Required by
    packaging         24.1     mlflow (<25)
    pyyaml            6.0.2    the request and mlflow (>=5.1,<7)

    Base: registry.example/team/train:2.1, Python 3.10.13, 8 distributions
    Read from the image docker://registry.example/team/train:2.1, which is sha256:5555555555555555555555555555555555555555555555555555555555555555.
    ");
}

#[test]
fn a_narrow_terminal_gets_reasons_below_the_names_and_nothing_of_them_is_cut() {
    let text = shown(&resolution(), Some(60));
    assert_snapshot!(text, @"
    mlflow 2.1.0 and pyyaml 6.0.2 fit registry.example/team/train:2.1: 2 distributions to add, 3 of the base to change, 1 to remove (proven fewest)

    Changed in the base
    importlib-metadata 8.4.0 -> 5.2.0 (downgrade)
      mlflow 2.1.0 needs >=3.7.0,!=4.7.0,<6
    opentelemetry-api 1.27.0 -> 1.29.0
      moves along: needs importlib-metadata>=6.0,<=8.4, which
      goes to 5.2.0
    torch 2.8.0+cu126 -> 2.8.0 (downgrade)
      you ask for torch==2.8.0

    Removed from the base  Version  Why
    docker                 7.1.0    mlflow 2.1.0 needs <7
                                    needs packaging>=14, which
                                    leaves

    Added           Version  Required by
    alembic         1.13.0   mlflow (<2)
    mlflow[extras]  2.1.0    the request (==2.1.0)

    Held by the base  Version  Required by
    packaging         24.1     mlflow (<25)
    pyyaml            6.0.2    the request and mlflow (>=5.1,<7)

    Base: registry.example/team/train:2.1, Python 3.10.13, 8 distributions
    Read from the image docker://registry.example/team/train:2.1, which is sha256:5555555555555555555555555555555555555555555555555555555555555555.
    ");
    let tables = text.split("Added").next().expect("a part");
    for line in tables.lines().skip(1) {
        assert!(line.width() <= 60, "too wide: {line}");
    }
    // One that is wider has them beside the names, wrapped.
    let text = shown(&resolution(), Some(90));
    let table = text.split("\n\n").nth(1).expect("a table");
    assert_snapshot!(table, @"
    Changed in the base  Version                           Why
    importlib-metadata   8.4.0 -> 5.2.0 (downgrade)        mlflow 2.1.0 needs
                                                           >=3.7.0,!=4.7.0,<6
    opentelemetry-api    1.27.0 -> 1.29.0                  moves along: needs
                                                           importlib-metadata>=6.0,<=8.4,
                                                           which goes to 5.2.0
    torch                2.8.0+cu126 -> 2.8.0 (downgrade)  you ask for torch==2.8.0
    ");
}

#[test]
fn the_headline_counts_what_there_is() {
    let mut some = resolution();
    let of = |text: &str| {
        text.strip_prefix("mlflow 2.1.0 and pyyaml 6.0.2 fit registry.example/team/train:2.1: ")
            .map_or_else(|| panic!("another headline: {text}"), str::to_owned)
    };
    assert_eq!(
        of(&headline(&some)),
        "2 distributions to add, 3 of the base to change, 1 to remove (proven fewest)"
    );
    some.proven_smallest = false;
    some.removed.clear();
    assert_eq!(
        of(&headline(&some)),
        "2 distributions to add, 3 of the base to change"
    );
    some.added.clear();
    some.changed.truncate(1);
    some.proven_smallest = true;
    assert_eq!(
        of(&headline(&some)),
        "1 distribution of the base to change (proven fewest)"
    );
    some.removed = resolution().removed;
    assert_eq!(
        of(&headline(&some)),
        "1 distribution of the base to change, 1 to remove (proven fewest)"
    );
    some.changed.clear();
    assert_eq!(
        of(&headline(&some)),
        "1 distribution of the base to remove (proven fewest)"
    );
    some.removed.clear();
    assert_eq!(
        of(&headline(&some)),
        "the base has all of it, nothing to add"
    );
    some.added.push(addition("a", "1", vec![by("", "a")]));
    assert_eq!(
        of(&headline(&some)),
        "1 distribution to add, nothing of the base changes"
    );
}

#[test]
fn reasons_never_run_to_pages_and_none_is_told_twice() {
    let mut many = resolution();
    many.changed.truncate(1);
    many.removed.clear();
    let reason = |at: usize| Reason::Required {
        by: by(&format!("needs-{at}"), "importlib-metadata<6"),
        version: Some(version("1.0")),
    };
    many.changed[0].reasons = [0, 0, 1, 2, 3, 4, 5].map(reason).to_vec();
    let text = shown(&many, None);
    let lines: Vec<&str> = text.lines().skip(3).take(4).map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "importlib-metadata   8.4.0 -> 5.2.0 (downgrade)  needs-0 1.0 needs <6",
            "needs-1 1.0 needs <6",
            "needs-2 1.0 needs <6",
            "and 3 further reasons",
        ]
    );
    many.changed[0].reasons.clear();
    assert!(shown(&many, None).contains("it could stay"));
}
