//! Two that want one path.

use super::support::{SITE, assembled, base, changes, install, refused, wheel};

#[test]
fn the_same_bytes_of_two_distributions_are_one_file() {
    let root = base();
    let shared = [("ns/__init__.py", "same"), ("ns/more.py", "same")];
    let a = wheel("a", "1", &[shared[0], shared[1], ("ns/a.py", "")]);
    let b = wheel("b", "1", &[shared[0], shared[1], ("ns/b.py", "")]);
    let c = wheel("c", "1", &[shared[0]]);
    let assembled = assembled(&root, vec![a, b, c], &[]).expect("assembled");
    assert_eq!(
        changes(&assembled),
        ["ns/__init__.py", "ns/a.py", "ns/b.py", "ns/more.py"]
    );
    assert_eq!(
        assembled.notes,
        [
            "a and b have 2 files in common, with the same contents".to_owned(),
            format!("a and c have `{SITE}/ns/__init__.py` in common, with the same contents"),
        ]
    );
    // Each layer is whole.
    let layers = assembled.per_distribution();
    let sizes: Vec<usize> = layers
        .iter()
        .map(|layer| layer.contents.entries.len())
        .collect();
    assert_eq!(sizes, [5, 5, 3]);
}

#[test]
fn other_bytes_of_two_distributions_are_an_error_that_names_both() {
    let root = base();
    let a = wheel("a", "1", &[("ns/__init__.py", "one")]);
    let b = wheel("b", "1", &[("ns/__init__.py", "two")]);
    assert_eq!(
        refused(&root, vec![a, b], &[]),
        format!("a and b both bring `{SITE}/ns/__init__.py`, with different contents")
    );
    let a = wheel("a", "1", &[("ns", "")]);
    let b = wheel("b", "1", &[("ns/deep/b.py", "")]);
    for wheels in [vec![a.clone(), b.clone()], vec![b, a]] {
        assert_eq!(
            refused(&root, wheels, &[]),
            format!("a brings the file `{SITE}/ns`, which b needs as a folder")
        );
    }
    // Case makes a difference.
    let a = wheel("a", "1", &[("Module.py", "one")]);
    let b = wheel("b", "1", &[("module.py", "two")]);
    assert!(assembled(&root, vec![a, b], &[]).is_ok());
}

#[test]
fn links_of_the_base_lead_two_paths_to_one() {
    let root = base();
    root.folder(&format!("{SITE}/real"));
    root.link("real", &format!("{SITE}/link"));
    let a = wheel("a", "1", &[("link/x.py", "one")]);
    let b = wheel("b", "1", &[("real/x.py", "two")]);
    assert_eq!(
        refused(&root, vec![a.clone(), b], &[]),
        format!("a and b both bring `{SITE}/real/x.py`, with different contents")
    );
    // The link stays, and the file is where it leads.
    assert_eq!(
        changes(&assembled(&root, vec![a], &[]).expect("assembled")),
        ["real/x.py"]
    );
}

#[test]
fn files_of_distributions_that_stay_are_not_changed() {
    let root = base();
    install(
        &root,
        "x",
        "1",
        &[("ns/__init__.py", "same"), ("ns/x.py", "x")],
    );
    let new = |contents| vec![wheel("a", "1", &[("ns/__init__.py", contents)])];
    let same = assembled(&root, new("same"), &[]).expect("assembled");
    assert_eq!(
        same.notes,
        [format!(
            "a has `{SITE}/ns/__init__.py` in common with x of the base, with the same contents"
        )]
    );
    assert_eq!(
        refused(&root, new("other"), &[]),
        format!(
            "a would overwrite `{SITE}/ns/__init__.py` of x, which stays, with different contents"
        )
    );
    // Where it leaves, its file may change.
    let leaving = assembled(&root, new("other"), &["x"]).expect("assembled");
    assert_eq!(
        changes(&leaving),
        ["ns/__init__.py", "-ns/x.py", "-x-1.dist-info"]
    );
    assert_eq!((leaving.removed_files, leaving.replaced_files), (3, 1));
    // Without a hash in the record, the file itself tells.
    let path = format!("{SITE}/x-1.dist-info/RECORD");
    root.write(&path, "ns/__init__.py,,\nns/x.py,,\n");
    assert!(assembled(&root, new("same"), &[]).is_ok());
    assert!(refused(&root, new("emas"), &[]).contains("of x, which stays"));
}

#[test]
fn files_that_nobody_names_are_overwritten_and_that_is_told() {
    let root = base();
    root.write(&format!("{SITE}/a.py"), "by hand");
    root.link("/usr/bin/tool", "/opt/python/bin/tool");
    let a = wheel("a", "1", &[("a.py", "new"), ("../../../bin/tool", "new")]);
    let assembled = assembled(&root, vec![a], &[]).expect("assembled");
    assert_eq!(
        assembled.notes,
        [format!(
            "a overwrites `/opt/python/bin/tool`, `{SITE}/a.py` of the base, which no record names"
        )]
    );
}

#[test]
fn folders_and_files_of_the_base_are_in_one_anothers_way() {
    let root = base();
    root.write(&format!("{SITE}/folder/file.py"), "");
    root.write(&format!("{SITE}/file"), "");
    root.link("nowhere", &format!("{SITE}/dangling"));
    let new = |path| vec![wheel("a", "1", &[(path, "")])];
    assert_eq!(
        refused(&root, new("folder"), &[]),
        format!("a brings the file `{SITE}/folder`, where the base has a folder")
    );
    for at in ["file", "dangling"] {
        let path = format!("{at}/deep/x.py");
        assert_eq!(
            refused(&root, vec![wheel("a", "1", &[(&path, "")])], &[]),
            format!("a brings `{SITE}/{path}`, but `{SITE}/{at}` of the base is no folder")
        );
    }
}

#[test]
fn a_file_takes_the_place_of_a_folder_that_leaves_and_the_other_way_round() {
    let root = base();
    install(&root, "x", "1", &[("x/a.py", ""), ("x/b/c.py", "")]);
    let module = wheel("x", "2", &[("x", "")]);
    let assembled_file = assembled(&root, vec![module], &[]).expect("assembled");
    assert_eq!(changes(&assembled_file), ["x", "-x-1.dist-info"]);
    root.write(&format!("{SITE}/x/b/unowned"), "");
    let module = wheel("x", "2", &[("x", "")]);
    assert!(refused(&root, vec![module], &[]).contains("where the base has a folder"));

    let root = base();
    install(&root, "x", "1", &[("x", "")]);
    let package = wheel("x", "2", &[("x/a/b.py", "")]);
    let assembled_folder = assembled(&root, vec![package], &[]).expect("assembled");
    assert_eq!(changes(&assembled_folder), ["-x-1.dist-info", "x/a/b.py"]);
}
