//! What is kept of a layer is all that reading its environment wants.

use imgtool::environment::{
    Environment, Provenance, Search, conda_channel, footprint, home_of, import_names, installer,
    list_interpreters, read_root,
};
use imgtool::rootfs::RootFs;

use crate::support::retained::RetainedRoot;
use crate::support::root::{LOADER, Root, executable};

/// Everything that can be known of `root`, as text.
fn all_of(root: &dyn RootFs, search: Search<'_>) -> String {
    let provenance = Provenance::Image {
        reference: "image".to_owned(),
        digest: None,
    };
    let environment = read_root(root, "image", search, provenance).expect("an environment");
    let Environment {
        distributions,
        conda_packages,
        interpreter,
        ..
    } = &environment;
    let details: Vec<_> = distributions
        .values()
        .map(|found| {
            let mut footprint = footprint(root, found);
            // A folder has no layers.
            footprint.layer = None;
            footprint.layers.clear();
            (footprint, installer(root, found), import_names(root, found))
        })
        .collect();
    let channels: Vec<_> = conda_packages
        .iter()
        .map(|package| conda_channel(root, &interpreter.prefix, package))
        .collect();
    format!(
        "{environment:#?}\n{details:#?}\n{channels:?}\n{:#?}\n{:?}",
        list_interpreters(root, search),
        home_of(root, "app")
    )
}

#[track_caller]
fn is_enough(root: &Root, search: Search<'_>) -> String {
    let whole = all_of(&root.view(), search);
    let kept = all_of(&RetainedRoot(root.view()), search);
    if whole != kept {
        let different: Vec<_> = whole
            .lines()
            .zip(kept.lines())
            .filter(|(whole, kept)| whole != kept)
            .take(10)
            .collect();
        panic!("what is kept is not enough: {different:#?}");
    }
    kept
}

/// Debian with a Python of its own, and a user.
fn debian() -> Root {
    let root = Root::new();
    root.write("/etc/os-release", "ID=debian\n");
    root.write("/etc/debian_version", "12\n");
    root.write("/etc/passwd", "app:x:1000:1000::/home/app:/bin/sh\n");
    root.write(
        "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        executable(62, "", ""),
    );
    root.link("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", LOADER);
    root.write(
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "\0GNU C Library (Debian GLIBC 2.36-9+deb12u7) stable release version 2.36.\n\0",
    );
    root.write(
        "/var/lib/dpkg/status",
        "Package: libpython3.11-minimal\nVersion: 3.11.2-6\n\n",
    );
    root.python("/usr", "3.11.0");
    root.write(
        "/usr/lib/python3.11/EXTERNALLY-MANAGED",
        "[externally-managed]\n",
    );
    root
}

#[test]
fn of_conda_on_debian() {
    let root = debian();
    root.python("/opt/conda", "3.10.2");
    root.write(
        "/opt/conda/include/python3.10/patchlevel.h",
        "#define PY_VERSION \"3.10.13\"\n",
    );
    root.write(
        "/opt/conda/conda-meta/numpy-1.24.3-py310_0.json",
        r#"{"channel": "conda-forge", "files": []}"#,
    );
    root.write(
        "/opt/conda/conda-meta/six-1.0-py310_0.json",
        r#"{"files": ["lib/python3.10/site-packages/six-1.0.egg-info", "bin/six"]}"#,
    );
    root.write("/opt/conda/bin/six", "x");
    let site = "/opt/conda/lib/python3.10/site-packages";
    root.distribution(site, "numpy", "1.26.4");
    let numpy = format!("{site}/numpy-1.26.4.dist-info");
    root.write(&format!("{numpy}/RECORD"), "numpy/__init__.py,,\n");
    root.write(&format!("{numpy}/INSTALLER"), "pip\n");
    root.write(
        &format!("{numpy}/direct_url.json"),
        r#"{"url": "file:///src", "dir_info": {"editable": true}}"#,
    );
    root.write(&format!("{site}/numpy/__init__.py"), "1");
    root.write(
        &format!("{site}/six-1.0.egg-info"),
        "Name: six\nVersion: 1.0\n",
    );
    root.write(
        &format!("{site}/old.egg-info/PKG-INFO"),
        "Name: old\nVersion: 1.0\n",
    );
    root.write(&format!("{site}/old.egg-info/requires.txt"), "six\n");
    root.write(&format!("{site}/old.egg-info/top_level.txt"), "old\n");
    root.write(
        &format!("{site}/old.egg-info/installed-files.txt"),
        "../old.py\n",
    );
    root.write(&format!("{site}/dev.egg-link"), "/src/dev\n.");
    root.write(
        "/src/dev/dev.egg-info/PKG-INFO",
        "Name: dev\nVersion: 1.0\n",
    );
    root.write(
        &format!("{site}/egg-1.0-py3.10.egg/EGG-INFO/PKG-INFO"),
        "Name: egg\nVersion: 1.0\n",
    );
    root.write(
        &format!("{site}/more.pth"),
        "./egg-1.0-py3.10.egg\n/src/dev\nimport sys; sys.path\n",
    );
    root.distribution(
        "/home/app/.local/lib/python3.10/site-packages",
        "mine",
        "1.0",
    );
    root.distribution("/srv/first", "first", "1.0");

    let search = Search {
        path: Some("/opt/conda/bin:/usr/bin"),
        python_path: Some("/srv/first"),
        home: Some("/home/app"),
        ..Search::default()
    };
    let text = is_enough(&root, search);
    for part in [
        "3.10.13",
        "conda-forge",
        "Glibc",
        "/home/app",
        "editable: Some",
        "\"mine\"",
    ] {
        assert!(text.contains(part), "{part}");
    }
    let search = Search {
        python: Some("/usr/bin/python3"),
        ..search
    };
    assert!(is_enough(&root, search).contains("externally_managed: true"));
}

#[test]
fn of_alpine_with_virtual_environments() {
    let root = Root::new();
    root.write("/lib/ld-musl-x86_64.so.1", executable(62, "", "1.2.4"));
    let loader = "/lib/ld-musl-x86_64.so.1";
    root.write("/usr/lib/python3.12/os.py", "");
    root.write("/usr/bin/python3.12", executable(62, loader, ""));
    root.link("python3.12", "/usr/bin/python3");
    root.write("/usr/lib/libpython3.12.so.1.0", "\x003.12.3\0");
    root.write(
        "/app/.venv/pyvenv.cfg",
        "home = /usr/bin\nversion_info = 3.12.3\n",
    );
    root.link("/usr/bin/python3.12", "/app/.venv/bin/python3");
    root.distribution("/app/.venv/lib/python3.12/site-packages", "six", "1.0");
    root.python(concat!("/root", "/.pyenv/versions/3.10.2"), "3.10.2");
    root.python(concat!("/root", "/.pyenv/versions/3.12.1"), "3.12.1");
    root.write(concat!("/root", "/.pyenv/version"), "3.10.2\n");
    root.write(concat!("/root", "/.pyenv/shims/python3"), "#!/bin/sh\n");
    root.pypy("/opt/pypy", "3.10.14");
    for path in [
        "/app/.venv/bin:/usr/bin",
        "/usr/bin",
        concat!("/root", "/.pyenv/shims"),
        "/none",
    ] {
        let search = Search {
            path: Some(path),
            ..Search::default()
        };
        let text = is_enough(&root, search);
        assert!(text.contains("3.10.14"), "{path}");
        assert!(text.contains("\"3.12.3\""), "{path}");
    }
    root.write("/usr/lib/apk/db/installed", "P:musl\nV:1.2.5-r0\n\n");
    is_enough(&root, Search::default());
}
