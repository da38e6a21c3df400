//! What leaves with a distribution, and what cannot leave.

use imgtool::environment::Search;
use imgtool::layer::assemble;

use super::support::{
    SITE, assembled, base, changes, environment, install, name_of, record, refused, wheel,
};
use crate::support::root::Root;

#[test]
fn what_the_record_names_leaves_with_its_byte_code() {
    let root = base();
    install(
        &root,
        "x",
        "1",
        &[
            ("x/__init__.py", "old"),
            ("x/gone.py", "old"),
            ("x/sub/deep.py", "old"),
            ("y.py", "old"),
            ("../../../bin/x", "script"),
            ("../../../share/x/data", "data"),
        ],
    );
    for compiled in [
        "x/__pycache__/__init__.cpython-311.pyc",
        "x/__pycache__/gone.cpython-311.pyc",
        "x/__pycache__/gone.cpython-311.opt-1.pyc",
        "x/__pycache__/gone.cpython-311.opt-2.pyc",
        "x/sub/deep.pyc",
        "__pycache__/y.cpython-311.pyc",
        "__pycache__/other.cpython-311.pyc",
        // Of another Python, which has nothing to do with this one.
        "x/__pycache__/gone.cpython-310.pyc",
    ] {
        root.write(&format!("{SITE}/{compiled}"), "compiled");
    }
    root.write("/opt/python/bin/other", "");
    root.write("/opt/python/share/other", "");
    let new = wheel("x", "2", &[("x/__init__.py", "new"), ("x/new.py", "new")]);
    let assembled = assembled(&root, vec![new], &["x"]).expect("assembled");
    assert_eq!(
        changes(&assembled),
        [
            "-/opt/python/bin/x",
            "-__pycache__/y.cpython-311.pyc",
            "-x-1.dist-info",
            "x/__init__.py",
            "-x/__pycache__/__init__.cpython-311.pyc",
            "-x/__pycache__/gone.cpython-311.opt-1.pyc",
            "-x/__pycache__/gone.cpython-311.opt-2.pyc",
            "-x/__pycache__/gone.cpython-311.pyc",
            "-x/gone.py",
            "x/new.py",
            "-x/sub",
            "-y.py",
            "-/opt/python/share/x",
        ]
    );
    assert_eq!((assembled.removed_files, assembled.replaced_files), (13, 1));
    assert_eq!(assembled.notes, [""; 0]);
}

#[test]
fn a_folder_goes_as_a_whole_where_nothing_stays_in_it() {
    let root = base();
    install(
        &root,
        "x",
        "1",
        &[
            ("x/a.py", ""),
            ("x/b/c.py", ""),
            ("z/d.py", ""),
            ("e/f/g.py", ""),
        ],
    );
    root.folder(&format!("{SITE}/x/b/empty"));
    root.write(&format!("{SITE}/z/unowned.txt"), "");
    root.link("a.py", &format!("{SITE}/e/link"));
    let assembled = assembled(&root, Vec::new(), &["x"]).expect("assembled");
    assert_eq!(
        changes(&assembled),
        ["-e/f", "-x", "-x-1.dist-info", "-z/d.py"]
    );
    // The only distribution there was: its folder is one that Python looks into, and stays.
    assert_eq!(assembled.removed_files, 6);
    assert_eq!(assembled.replaced_files, 0);
    let layers = assembled.per_distribution();
    assert_eq!(layers.len(), 1);
    assert!(layers[0].distribution.is_none());
    assert_eq!(layers[0].contents.entries.len(), 4);
}

#[test]
fn the_folder_of_distributions_stays_when_the_last_one_leaves() {
    let root = base();
    install(&root, "x", "1", &[("x.py", "")]);
    let assembled = assembled(&root, Vec::new(), &["x"]).expect("assembled");
    assert_eq!(changes(&assembled), ["-x-1.dist-info", "-x.py"]);
}

#[test]
fn scripts_that_only_the_entry_points_name_leave() {
    let root = base();
    install(&root, "x", "1", &[("x.py", "")]);
    install(&root, "y", "1", &[("../../../bin/of-y", "")]);
    let entry_points =
        "[console_scripts]\nx = x:main\nof-y = x:main\npython3 = x:main\nabsent = x:main\n";
    root.write(
        &format!("{SITE}/x-1.dist-info/entry_points.txt"),
        entry_points,
    );
    root.write("/opt/python/bin/x", "");
    let assembled = assembled(&root, Vec::new(), &["x"]).expect("assembled");
    assert_eq!(
        changes(&assembled),
        [
            "-/opt/python/bin/x",
            "-x-1.dist-info/METADATA",
            "-x-1.dist-info/RECORD",
            "-x.py"
        ]
    );
    assert_eq!(
        assembled.notes[0],
        "`/opt/python/bin/of-y` stays, as y has it as well"
    );
}

#[test]
fn what_another_distribution_has_as_well_stays() {
    let root = base();
    install(
        &root,
        "x",
        "1",
        &[
            ("ns/__init__.py", "same"),
            ("ns/x.py", ""),
            ("ns/y.py", "of both"),
        ],
    );
    install(
        &root,
        "y",
        "1",
        &[("ns/__init__.py", "same"), ("ns/y.py", "of both")],
    );
    for compiled in ["x", "y"] {
        let path = format!("{SITE}/ns/__pycache__/{compiled}.cpython-311.pyc");
        root.write(&path, "");
    }
    let assembled = assembled(&root, Vec::new(), &["x"]).expect("assembled");
    assert_eq!(
        changes(&assembled),
        [
            "-ns/__pycache__/x.cpython-311.pyc",
            "-ns/x.py",
            "-x-1.dist-info"
        ]
    );
    assert_eq!(
        assembled.notes,
        [format!(
            "`{SITE}/ns/__init__.py`, `{SITE}/ns/y.py` stay, as y has them as well"
        )]
    );
    // Where both leave, nobody has it.
    let both = super::support::assembled(&root, Vec::new(), &["x", "y"]).expect("assembled");
    assert_eq!(changes(&both), ["-ns", "-x-1.dist-info", "-y-1.dist-info"]);
}

#[test]
fn metadata_that_no_record_names_stays_and_is_told() {
    let root = base();
    install(&root, "x", "1", &[("x.py", "")]);
    let extra = format!("{SITE}/x-1.dist-info/extra.json");
    root.write(&extra, "{}");
    let assembled = assembled(&root, Vec::new(), &["x"]).expect("assembled");
    assert_eq!(
        changes(&assembled),
        ["-x-1.dist-info/METADATA", "-x-1.dist-info/RECORD", "-x.py"]
    );
    assert_eq!(
        assembled.notes,
        [format!(
            "`{extra}` is left of metadata that leaves, as no record names it"
        )]
    );
}

#[test]
fn links_are_removed_and_never_followed_to_what_they_lead_to() {
    let root = base();
    install(&root, "x", "1", &[("x/a.py", ""), ("moved/b.py", "")]);
    let info = format!("{SITE}/x-1.dist-info");
    root.write("/srv/target.py", "");
    root.link("/srv/target.py", &format!("{SITE}/x/link.py"));
    std::fs::remove_dir_all(root.on_disk(&format!("{SITE}/moved"))).expect("removed");
    root.write("/opt/python/real/b.py", "");
    root.link("/opt/python/real", &format!("{SITE}/moved"));
    let text = format!(
        "x/a.py,,\nx/link.py,,\nmoved/b.py,,\n{}",
        record("x-1.dist-info", &[])
    );
    root.write(&format!("{info}/RECORD"), text);
    std::fs::remove_file(root.on_disk(&format!("{info}/METADATA"))).expect("removed");
    let assembled = assembled(&root, Vec::new(), &["x"]).expect("assembled");
    // The link to a folder is none that a record names.
    assert_eq!(
        changes(&assembled),
        ["-x", "-x-1.dist-info", "-/opt/python/real"]
    );
}

#[test]
fn an_egg_info_with_a_list_leaves_as_a_whole() {
    let root = base();
    let info = format!("{SITE}/x-1.egg-info");
    root.write(
        &format!("{info}/PKG-INFO"),
        "Metadata-Version: 1.1\nName: x\nVersion: 1\n",
    );
    root.write(&format!("{info}/unlisted/file"), "");
    root.write(&format!("{SITE}/x.py"), "");
    root.write("/opt/python/bin/x", "");
    root.write("/opt/python/bin/y", "");
    let list = "../x.py\n../../../../bin/x\nPKG-INFO\n";
    root.write(&format!("{info}/installed-files.txt"), list);
    let assembled = assembled(&root, Vec::new(), &["x"]).expect("assembled");
    assert_eq!(
        changes(&assembled),
        ["-/opt/python/bin/x", "-x-1.egg-info", "-x.py"]
    );
}

#[test]
fn what_cannot_be_removed_safely_stops_everything() {
    let root = base();
    assert_eq!(
        refused(&root, Vec::new(), &["x"]),
        "x is not installed in the base, so it cannot be removed from it"
    );
    root.distribution(SITE, "x", "1");
    assert_eq!(
        refused(&root, Vec::new(), &["x"]),
        "x 1 of the base cannot be removed: it has no RECORD of its files"
    );
    let path = format!("{SITE}/x-1.dist-info/RECORD");
    root.write(&path, "\"broken");
    root.write(&path, ",".repeat(5000));
    assert_eq!(
        refused(&root, Vec::new(), &["x"]),
        "x 1 of the base cannot be removed: it has no readable record of its files"
    );
    for (named, on_disk) in [
        ("/etc/debian_version", "/etc/debian_version"),
        ("../../../../../etc/debian_version", "/etc/debian_version"),
        ("../../../../../../opt/python/x", "/opt/python/x"),
    ] {
        root.write("/opt/python/x", "");
        root.write(&path, format!("{named},,\nx-1.dist-info/RECORD,,\n"));
        assert_eq!(
            refused(&root, Vec::new(), &["x"]),
            format!(
                "x 1 of the base cannot be removed: its record names `{on_disk}`, which is outside of its environment"
            )
        );
    }
    // What is not there is nobody's matter.
    root.write(&path, "/etc/absent,,\nx-1.dist-info/RECORD,,\n");
    assert!(assembled(&root, Vec::new(), &["x"]).is_ok());

    let root = base();
    root.write(
        &format!("{SITE}/x-1-py3.11.egg/EGG-INFO/PKG-INFO"),
        "Metadata-Version: 1.1\nName: x\nVersion: 1\n",
    );
    root.write(&format!("{SITE}/easy-install.pth"), "./x-1-py3.11.egg\n");
    let error = refused(&root, Vec::new(), &["x"]);
    assert!(error.contains("easy-install.pth"), "{error}");

    let root = base();
    root.write(
        &format!("{SITE}/x-1.egg-info"),
        "Metadata-Version: 1.1\nName: x\nVersion: 1\n",
    );
    let error = refused(&root, vec![wheel("x", "2", &[])], &[]);
    assert_eq!(
        error,
        "x 1 of the base cannot be removed: distutils installed it and recorded no files"
    );
}

#[test]
fn a_second_copy_leaves_with_the_first_or_would_hide_the_new_one() {
    let root = base();
    install(&root, "x", "1", &[("x.py", "")]);
    install(&root, "x", "1.1", &[("x.py", "")]);
    let new = || vec![wheel("x", "2", &[("x.py", "new")])];
    let both = assembled(&root, new(), &[]).expect("assembled");
    assert_eq!(
        changes(&both),
        ["-x-1.1.dist-info", "-x-1.dist-info", "x.py"]
    );
    assert_eq!(both.notes.len(), 1, "{:?}", both.notes);

    let root = base();
    root.distribution("/first", "x", "1");
    root.write("/first/x-1.dist-info/RECORD", record("x-1.dist-info", &[]));
    root.distribution("/second", "x", "1.1");
    let search = Search {
        python: Some("/opt/python/bin/python3"),
        python_path: Some("/first:/second"),
        ..Search::default()
    };
    let environment = root.read_as(search).expect("an environment");
    let error = assemble(&root.view(), &environment, new(), &[]).expect_err("an error");
    assert_eq!(
        error.to_string(),
        "x cannot be replaced: another copy of it, `/second/x-1.1.dist-info`, would come before the new one on sys.path"
    );
}

#[test]
fn what_lies_outside_of_a_virtual_environment_is_hidden_and_not_removed() {
    let root = base();
    install(&root, "x", "1", &[("x.py", "")]);
    root.write(
        "/venv/pyvenv.cfg",
        "home = /opt/python/bin\nversion = 3.11.7\ninclude-system-site-packages = true\n",
    );
    root.folder("/venv/lib/python3.11/site-packages");
    root.link("/opt/python/bin/python3", "/venv/bin/python");
    let search = Search {
        python: Some("/venv"),
        ..Search::default()
    };
    let environment = root.read_as(search).expect("an environment");
    let view = root.view();
    let new = vec![wheel("x", "2", &[])];
    let replaced = assemble(&view, &environment, new, &[]).expect("assembled");
    assert_eq!(replaced.removed_files, 0);
    assert!(
        replaced.notes[0].contains("is hidden by the new one"),
        "{:?}",
        replaced.notes
    );
    let error = assemble(&view, &environment, Vec::new(), &[name_of("x")]).expect_err("an error");
    assert!(error.to_string().contains("outside of it"), "{error}");
}

#[test]
fn files_beside_a_folder_of_pythonpath_and_in_the_user_site_may_leave() {
    let root: Root = base();
    let site = "/home/u/.local/lib/python3.11/site-packages";
    root.distribution(site, "x", "1");
    root.write("/home/u/.local/bin/x", "");
    root.write("/home/u/other", "");
    let record = format!("{site}/x-1.dist-info/RECORD");
    root.write(&record, "../../../bin/x,,\nx-1.dist-info/RECORD,,\n");
    let read = || {
        let search = Search {
            python: Some("/opt/python/bin/python3"),
            home: Some("/home/u"),
            ..Search::default()
        };
        root.read_as(search).expect("an environment")
    };
    let removed = assemble(&root.view(), &read(), Vec::new(), &[name_of("x")]).expect("assembled");
    assert_eq!(
        changes(&removed),
        [
            "-/home/u/.local/bin",
            &format!("-{site}/x-1.dist-info/RECORD")
        ]
    );
    root.write(&record, "../../../../other,,\n");
    let error = assemble(&root.view(), &read(), Vec::new(), &[name_of("x")]).expect_err("an error");
    assert!(error.to_string().contains("`/home/u/other`"), "{error}");
    assert!(!environment(&root).distributions.contains_key(&name_of("x")));
}
