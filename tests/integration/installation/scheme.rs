//! Installation schemes. Expected values of CPython's own builds, of virtual environments and of Debian 12 were printed by
//! `sysconfig` and pip of real ones; those of other distributions follow the patches that they carry.

use imgtool::environment::{Search, installation_scheme, is_virtual};
use imgtool::image_path::ImagePath;
use imgtool::rootfs::RootFs;

use crate::support::retained::RetainedRoot;
use crate::support::root::{LOADER, Root, executable};

/// The scheme of the interpreter `python`: purelib, platlib, scripts, headers, data, executable; or the error.
fn scheme(root: &Root, python: &str) -> [String; 6] {
    let environment = root
        .read_as(Search {
            python: Some(python),
            ..Search::default()
        })
        .expect("an environment");
    let of = |view: &dyn RootFs| match installation_scheme(view, &environment) {
        Ok(scheme) => [
            scheme.purelib,
            scheme.platlib,
            scheme.scripts,
            scheme.headers,
            scheme.data,
            scheme.executable,
        ]
        .map(|path| path.to_string()),
        Err(error) => [
            error.to_string(),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
        ],
    };
    let whole = of(&root.view());
    assert_eq!(
        of(&RetainedRoot(root.view())),
        whole,
        "what is kept is not enough"
    );
    whole
}

/// A CPython that has its standard library in `lib64`.
fn python_of_lib64(root: &Root, prefix: &str, minor: &str, release: &str) {
    root.write(&format!("{prefix}/lib64/python{minor}/os.py"), "");
    root.folder(&format!("{prefix}/lib64/python{minor}/site-packages"));
    root.folder(&format!("{prefix}/lib/python{minor}/site-packages"));
    root.write(
        &format!("{prefix}/bin/python{minor}"),
        executable(62, LOADER, release),
    );
    root.link(&format!("python{minor}"), &format!("{prefix}/bin/python3"));
}

#[test]
fn a_build_of_its_own_installs_into_its_prefix() {
    let root = Root::debian();
    root.python("/usr/local", "3.11.7");
    root.python("/opt/conda", "3.10.13");
    root.python("/srv/pyenv/versions/3.7.16", "3.7.16");
    root.python("/srv/pyenv/versions/3.8.18", "3.8.18");
    for (prefix, python, minor, headers) in [
        ("/usr/local", "/usr/local/bin/python3", "3.11", "3.11"),
        ("/opt/conda", "/opt/conda/bin/python3", "3.10", "3.10"),
        (
            "/srv/pyenv/versions/3.7.16",
            "/srv/pyenv/versions/3.7.16/bin/python3.7",
            "3.7",
            "3.7m",
        ),
        (
            "/srv/pyenv/versions/3.8.18",
            "/srv/pyenv/versions/3.8.18/bin/python3",
            "3.8",
            "3.8",
        ),
    ] {
        let site = format!("{prefix}/lib/python{minor}/site-packages");
        let expected = [
            site.clone(),
            site,
            format!("{prefix}/bin"),
            format!("{prefix}/include/python{headers}"),
            prefix.to_owned(),
            python.to_owned(),
        ];
        assert_eq!(scheme(&root, python), expected);
    }
}

#[test]
fn a_virtual_environment_has_headers_of_its_own_and_keeps_its_executable() {
    let root = Root::debian();
    root.python("/usr/local", "3.11.7");
    root.venv("/opt/venv", "home = /usr/local/bin\nversion = 3.11.7\n");
    root.link("/opt/venv", "/venv");
    let site = "/opt/venv/lib/python3.11/site-packages";
    let expected = [
        site,
        site,
        "/opt/venv/bin",
        "/opt/venv/include/site/python3.11",
        "/opt/venv",
        "/opt/venv/bin/python",
    ];
    assert_eq!(scheme(&root, "/opt/venv"), expected);
    assert_eq!(scheme(&root, "/venv"), expected);
    let read = |python| {
        root.read_as(Search {
            python: Some(python),
            ..Search::default()
        })
    };
    assert!(is_virtual(&root.view(), &read("/venv").expect("read")));
    assert!(!is_virtual(
        &root.view(),
        &read("/usr/local/bin/python3").expect("read")
    ));
}

#[test]
fn a_virtual_environment_of_a_lib64_build_follows_its_link() {
    let root = Root::new();
    python_of_lib64(&root, "/usr", "3.9", "3.9.18");
    root.link("usr/bin", "/bin");
    root.write("/lib64/ld-linux-x86-64.so.2", executable(62, "", ""));
    for at in ["/linked", "/apart"] {
        root.write(
            &format!("{at}/pyvenv.cfg"),
            "home = /usr/bin\nversion = 3.9.18\n",
        );
        root.folder(&format!("{at}/lib/python3.9/site-packages"));
        root.link("/usr/bin/python3", &format!("{at}/bin/python"));
    }
    root.link("lib", "/linked/lib64");
    root.folder("/apart/lib64/python3.9/site-packages");
    assert_eq!(
        scheme(&root, "/linked")[..2],
        [
            "/linked/lib/python3.9/site-packages",
            "/linked/lib/python3.9/site-packages"
        ]
    );
    assert_eq!(
        scheme(&root, "/apart")[..2],
        [
            "/apart/lib/python3.9/site-packages",
            "/apart/lib64/python3.9/site-packages"
        ]
    );
}

#[test]
fn the_python_of_debian_installs_below_usr_local() {
    for (release, headers) in [
        ("3.11.2", "/usr/include/python3.11"),
        ("3.10.12", "/usr/include/python3.10"),
        ("3.9.2", "/usr/local/include/python3.9"),
        ("3.8.10", "/usr/local/include/python3.8"),
    ] {
        let root = Root::debian();
        root.python("/usr", release);
        root.folder("/usr/lib/python3/dist-packages");
        // The system's folders are links into usr, and the executable may be found through one of them.
        root.link("usr/bin", "/bin");
        let minor = release.rsplit_once('.').expect("a minor").0;
        // It does not exist: nothing has been installed yet.
        let site = format!("/usr/local/lib/python{minor}/dist-packages");
        let expected = [
            &site,
            &site,
            "/usr/local/bin",
            headers,
            "/usr/local",
            "/bin/python3",
        ];
        assert_eq!(scheme(&root, "/bin/python3"), expected);
        // A user's own build beside it is another matter.
        root.python("/usr/local", release);
        let own = format!("/usr/local/lib/python{minor}/site-packages");
        assert_eq!(scheme(&root, "/usr/local/bin/python3")[0], own);
    }
}

#[test]
fn the_python_of_fedora_installs_below_usr_local() {
    for (minor, release, headers) in [
        ("3.12", "3.12.1", "/usr/include/python3.12"),
        ("3.9", "3.9.18", "/usr/local/include/python3.9"),
        ("3.6", "3.6.8", "/usr/local/include/python3.6m"),
    ] {
        let root = Root::new();
        python_of_lib64(&root, "/usr", minor, release);
        root.write("/usr/lib64/ld-linux-x86-64.so.2", executable(62, "", ""));
        root.link("usr/lib64", "/lib64");
        assert_eq!(
            scheme(&root, "/usr/bin/python3"),
            [
                &format!("/usr/local/lib/python{minor}/site-packages"),
                &format!("/usr/local/lib64/python{minor}/site-packages"),
                "/usr/local/bin",
                headers,
                "/usr/local",
                "/usr/bin/python3",
            ]
        );
    }
}

#[test]
fn a_lib64_build_elsewhere_has_two_folders_in_its_prefix() {
    let root = Root::debian();
    python_of_lib64(&root, "/opt/python", "3.11", "3.11.7");
    assert_eq!(
        scheme(&root, "/opt/python/bin/python3"),
        [
            "/opt/python/lib/python3.11/site-packages",
            "/opt/python/lib64/python3.11/site-packages",
            "/opt/python/bin",
            "/opt/python/include/python3.11",
            "/opt/python",
            "/opt/python/bin/python3",
        ]
    );
}

#[test]
fn links_of_the_base_are_followed_and_what_cannot_be_is_an_error() {
    let root = Root::debian();
    root.python("/opt/python", "3.11.7");
    root.folder("/data/bin");
    root.link("/data", "/opt/python/include");
    assert_eq!(
        scheme(&root, "/opt/python/bin/python3")[3],
        "/data/python3.11"
    );

    let root = Root::debian();
    root.python("/opt/python", "3.11.7");
    root.write("/opt/python/include", "");
    assert_eq!(
        scheme(&root, "/opt/python/bin/python3")[0],
        "`/opt/python/include/python3.11` cannot be made: `/opt/python/include` is no folder"
    );

    // A virtual environment whose interpreter is gone can be read, but no script can start it.
    let root = Root::debian();
    root.venv("/opt/venv", "home = /usr/local/bin\nversion = 3.11.7\n");
    let environment = root.read_at("/opt/venv", None).expect("an environment");
    let view = root.view();
    let error = installation_scheme(&view, &environment).expect_err("an error");
    assert_eq!(
        error.to_string(),
        "the Python at `/opt/venv` has no executable, so no script can name one"
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("--python")));

    // An environment that was read elsewhere.
    let root = Root::debian();
    root.python("/opt/python", "3.11.7");
    let environment = root.read();
    let other = Root::debian();
    let error = installation_scheme(&other.view(), &environment).expect_err("an error");
    assert_eq!(
        error.to_string(),
        "there is no interpreter at `/opt/python` to install for"
    );
    assert_eq!(
        ImagePath::new(&environment.interpreter.prefix).as_str(),
        "/opt/python"
    );
}
