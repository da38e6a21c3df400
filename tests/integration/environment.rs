//! Environments read out of small roots that are made on the spot.

use std::fs;
use std::io::Write;

use imgtool::environment::installer;
use imgtool::environment::{
    Environment, EnvironmentError, Provenance, Search, import_names, read_directory, read_root,
};
use imgtool::packaging::tags::Libc;
use imgtool::rootfs::DirectoryRoot;

use crate::support::root::{LOADER, Root, executable};

/// Home of the user root in an image.
const HOME: &str = "/root";

fn pins(environment: &Environment) -> Vec<String> {
    let pin = |(name, distribution): (&_, &imgtool::environment::InstalledDistribution)| {
        format!("{name}=={}", distribution.version)
    };
    environment.distributions.iter().map(pin).collect()
}

#[track_caller]
fn has_note(environment: &Environment, part: &str) {
    let notes: Vec<String> = environment.all_notes().collect();
    let found = notes.iter().any(|note| note.contains(part));
    assert!(found, "no note with `{part}` in {notes:#?}");
}

const CONDA_SITE: &str = "/opt/conda/lib/python3.10/site-packages";

#[test]
fn conda_comes_before_the_python_of_the_distribution() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    root.python("/usr", "3.9.2");
    root.distribution(CONDA_SITE, "tfx", "1.16.0");
    root.distribution("/usr/lib/python3/dist-packages", "blinker", "1.4");
    // Unpacked conda packages, vendored distributions and wheels of ensurepip are no environment.
    root.distribution(
        "/opt/conda/pkgs/six/lib/python3.10/site-packages",
        "six",
        "1.0",
    );
    root.distribution(&format!("{CONDA_SITE}/pip/_vendor"), "rich", "1.0");
    root.distribution("/opt/conda/lib/python3.10/ensurepip/_bundled", "pip", "1.0");
    root.write("/opt/conda/conda-meta/numpy-1.0-0.json", "{}");

    let environment = root.read();
    assert_eq!(environment.interpreter.version, "3.10.13");
    assert_eq!(environment.interpreter.prefix, "/opt/conda");
    assert_eq!(
        environment.interpreter.executable.as_deref(),
        Some("/opt/conda/bin/python3")
    );
    assert_eq!(environment.interpreter.site_directories, [CONDA_SITE]);
    assert_eq!(environment.platform.architecture, "x86_64");
    assert_eq!(environment.platform.libc, Some(Libc::Glibc(2, 31)));
    assert_eq!(
        environment.markers.python_full_version().to_string(),
        "3.10.13"
    );
    assert_eq!(pins(&environment), ["tfx==1.16.0"]);
    has_note(&environment, "there is also Python 3.9 at /usr/bin/python3");
    assert_eq!(
        environment.provenance,
        Provenance::Directory {
            path: root.path().display().to_string()
        }
    );

    // The same prefix named itself lies in the same root.
    let prefix = root.read_at("/opt/conda", None).expect("an environment");
    assert_eq!(prefix.interpreter, environment.interpreter);
    assert_eq!(prefix.platform, environment.platform);
    assert_eq!(prefix.distributions, environment.distributions);
    assert!(prefix.notes.is_empty(), "{:?}", prefix.notes);
}

#[test]
fn an_interpreter_is_chosen_by_version_or_path() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    root.python("/usr", "3.9.2");
    root.python(&format!("{HOME}/.pyenv/versions/3.12.1"), "3.12.1");
    root.python("/srv/own", "3.8.1");
    for (wanted, version) in [
        ("3.9", "3.9.2"),
        ("3.10.13", "3.10.13"),
        ("python3.12", "3.12.1"),
        ("3", "3.10.13"),
        ("/usr/bin/python3.9", "3.9.2"),
        ("/usr/bin", "3.9.2"),
        ("/srv/own", "3.8.1"),
    ] {
        let environment = root.read_at("/", Some(wanted)).expect("an environment");
        assert_eq!(environment.interpreter.version, version, "{wanted}");
    }
    for wanted in ["3.11", "3.10.1", "/nowhere", "3.1"] {
        let error = root.read_at("/", Some(wanted)).expect_err("not there");
        let text = error.to_string();
        assert!(
            text.contains(&format!(
                "holds no Python `{wanted}`: found Python 3.10 at /opt/conda/bin/python3,"
            )),
            "{text}"
        );
    }
}

#[test]
fn a_path_of_the_image_comes_first() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    root.python("/srv/own", "3.8.1");
    // A shim is no interpreter: only running it would tell which one it starts.
    root.write("/shims/python3", "#!/usr/bin/env bash\n");
    let view = DirectoryRoot::open(root.path()).expect("a root");
    let search = Search {
        path: Some("relative:/none:/shims:/srv/own/bin:/opt/conda/bin"),
        python_path: Some("/srv/extra:/none"),
        python: None,
        ..Search::default()
    };
    root.distribution("/srv/extra", "six", "1.0");
    root.distribution("/srv/own/lib/python3.8/site-packages", "six", "2.0");
    let provenance = Provenance::Directory {
        path: "x".to_owned(),
    };
    let environment = read_root(&view, "x", search, provenance).expect("an environment");
    assert_eq!(environment.interpreter.version, "3.8.1");
    assert_eq!(pins(&environment), ["six==1.0"]);
    has_note(
        &environment,
        "six 2.0 in `/srv/own/lib/python3.8/site-packages/six-2.0.dist-info` is shadowed by 1.0",
    );
}

#[test]
fn debian_looks_into_dist_packages() {
    let root = Root::debian();
    root.python("/usr", "3.11.9");
    root.write(
        "/var/lib/dpkg/status",
        "Package: libpython3.11-minimal\nStatus: install ok installed\nVersion: 3.11.2-6+deb12u6\n\n",
    );
    root.write(
        "/usr/lib/python3.11/EXTERNALLY-MANAGED",
        "[externally-managed]\n",
    );
    // Merged /usr: /bin is the same folder.
    root.link("usr/bin", "/bin");
    let local = "/usr/local/lib/python3.11/dist-packages";
    let system = "/usr/lib/python3/dist-packages";
    root.distribution(local, "six", "1.0");
    root.distribution(system, "six", "9.0");
    root.distribution(system, "blinker", "1.4");
    root.distribution("/usr/lib/python3.11/site-packages", "unseen", "1.0");
    root.write(
        &format!("{system}/dbus_python-1.2.18-py3.11.egg-info"),
        "Metadata-Version: 2.1\nName: dbus-python\nVersion: 1.2.18\n",
    );
    let environment = root.read();
    assert_eq!(environment.interpreter.version, "3.11.2");
    assert!(environment.interpreter.externally_managed);
    assert_eq!(environment.interpreter.site_directories, [local, system]);
    assert_eq!(
        pins(&environment),
        ["blinker==1.4", "dbus-python==1.2.18", "six==1.0"]
    );
    assert_eq!(environment.notes.len(), 1, "{:?}", environment.notes);
    has_note(
        &environment,
        "six 9.0 in `/usr/lib/python3/dist-packages/six-9.0.dist-info` is shadowed by 1.0",
    );
}

#[test]
fn fedora_has_lib64_and_local_folders() {
    let root = Root::new();
    root.write(
        "/usr/lib64/libc.so.6",
        "\0GNU C Library (GNU libc) stable release version 2.39.\n",
    );
    root.link("usr/lib64", "/lib64");
    root.write("/usr/lib64/ld-linux-x86-64.so.2", executable(62, "", ""));
    root.write("/usr/lib64/python3.12/os.py", "");
    root.write("/usr/bin/python3.12", executable(62, LOADER, "3.12.4"));
    root.link("python3.12", "/usr/bin/python3");
    let sites = [
        "/usr/local/lib64/python3.12/site-packages",
        "/usr/local/lib/python3.12/site-packages",
        "/usr/lib64/python3.12/site-packages",
        "/usr/lib/python3.12/site-packages",
    ];
    for site in sites {
        root.folder(site);
    }
    let environment = root.read();
    assert_eq!(environment.interpreter.version, "3.12.4");
    assert_eq!(environment.interpreter.site_directories, sites);
    assert_eq!(environment.platform.libc, Some(Libc::Glibc(2, 39)));
}

#[test]
fn alpine_runs_on_musl() {
    let root = Root::new();
    root.write("/lib/ld-musl-aarch64.so.1", executable(183, "", "1.2.4"));
    root.write("/usr/lib/python3.12/os.py", "");
    root.write("/usr/lib/python3.12/site-packages/x.pth", "");
    root.write(
        "/usr/bin/python3.12",
        executable(183, "/lib/ld-musl-aarch64.so.1", ""),
    );
    root.link("python3.12", "/usr/bin/python3");
    root.write("/usr/lib/libpython3.12.so.1.0", "\x003.12.3\0");
    root.write("/lib/apk/db/installed", "P:musl\nV:1.2.5-r0\n\n");
    let environment = root.read();
    assert_eq!(environment.interpreter.version, "3.12.3");
    assert_eq!(environment.platform.architecture, "aarch64");
    assert_eq!(environment.platform.libc, Some(Libc::Musl(1, 2)));
    assert!(
        environment
            .tags
            .to_list()
            .contains(&"cp312-cp312-musllinux_1_2_aarch64".to_owned())
    );
}

#[test]
fn a_virtual_environment_stands_on_its_base() {
    let root = Root::debian();
    root.python("/usr/local", "3.11.7");
    let base = "/usr/local/lib/python3.11/site-packages";
    let site = "/srv/venv/lib/python3.11/site-packages";
    root.distribution(base, "setuptools", "65.0");
    root.distribution(base, "six", "2.0");
    root.venv("/srv/venv", "home = /usr/local/bin\nversion = 3.11.1\n");
    root.distribution(site, "six", "1.0");

    let environment = root.read_at("/srv/venv", None).expect("an environment");
    // The base was upgraded after the environment was made: the base is what runs.
    assert_eq!(environment.interpreter.version, "3.11.7");
    assert_eq!(
        environment.interpreter.executable.as_deref(),
        Some("/srv/venv/bin/python")
    );
    assert_eq!(environment.interpreter.prefix, "/srv/venv");
    assert_eq!(environment.interpreter.site_directories, [site]);
    assert_eq!(environment.platform.libc, Some(Libc::Glibc(2, 31)));
    assert_eq!(pins(&environment), ["six==1.0"]);

    root.write(
        "/srv/venv/pyvenv.cfg",
        "home = /usr/local/bin\ninclude-system-site-packages = true\n",
    );
    let environment = root.read_at("/srv/venv", None).expect("an environment");
    assert_eq!(environment.interpreter.site_directories, [site, base]);
    assert_eq!(pins(&environment), ["setuptools==65.0", "six==1.0"]);
}

#[test]
fn a_virtual_environment_without_its_base_can_be_read() {
    let root = Root::debian();
    root.venv(
        "/opt/venv",
        "home = /usr/local/bin\nversion_info = 3.11.4.final.0\n",
    );
    let site = "/opt/venv/lib/python3.11/site-packages";
    root.distribution(site, "six", "1.0");
    for path in ["/", "/opt/venv"] {
        let environment = root.read_at(path, None).expect("an environment");
        assert_eq!(environment.interpreter.version, "3.11.4");
        assert_eq!(environment.interpreter.executable, None);
        assert_eq!(environment.platform.architecture, "x86_64");
        assert_eq!(environment.platform.libc, Some(Libc::Glibc(2, 31)));
        assert_eq!(pins(&environment), ["six==1.0"]);
        has_note(
            &environment,
            "the base interpreter of `/opt/venv` is missing from `/usr/local/bin`",
        );
    }
}

#[test]
fn a_copied_executable_finds_its_base_through_home() {
    let root = Root::debian();
    root.python("/usr/local", "3.11.7");
    root.write("/srv/venv/pyvenv.cfg", "home = /usr/local/bin\n");
    root.folder("/srv/venv/lib/python3.11/site-packages");
    root.write("/srv/venv/bin/python", executable(62, LOADER, ""));
    let environment = root.read_at("/srv/venv", None).expect("an environment");
    assert_eq!(environment.interpreter.version, "3.11.7");
    assert!(environment.notes.is_empty(), "{:?}", environment.notes);
}

#[test]
fn free_threaded_and_old_builds_have_abi_flags() {
    let root = Root::debian();
    root.write("/opt/a/lib/python3.13t/os.py", "");
    root.write("/opt/a/bin/python3.13t", executable(62, LOADER, "3.13.1"));
    root.link("python3.13t", "/opt/a/bin/python3");
    root.distribution("/opt/a/lib/python3.13t/site-packages", "six", "1.0");
    root.python("/opt/b", "3.7.16");
    let environment = root.read_at("/opt/a", None).expect("an environment");
    assert_eq!(environment.interpreter.version, "3.13.1");
    assert_eq!(environment.platform.abi_flags, "t");
    assert_eq!(pins(&environment), ["six==1.0"]);
    let environment = root.read_at("/opt/b", None).expect("an environment");
    assert_eq!(environment.platform.abi_flags, "m");
}

#[test]
fn one_bad_distribution_does_not_spoil_the_rest() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    let site = CONDA_SITE;
    root.distribution(site, "good", "1.0");
    // The name is what METADATA says, in any case and with any separators.
    root.metadata(
        site,
        "Weird_Name-9.9.dist-info",
        "name: Opt_Einsum\r\nVERSION: 3.3.0\r\n\r\n",
    );
    root.write(&format!("{site}/no_metadata-1.5.dist-info/RECORD"), "");
    root.metadata(site, "broken-2.0.dist-info", "garbage");
    root.write(
        &format!("{site}/latin-1.0.dist-info/METADATA"),
        b"Name: latin\nAuthor: Andr\xe9\nVersion: 1.1\n",
    );
    root.write(
        &format!("{site}/latin_name-1.0.dist-info/METADATA"),
        b"Name: \xe9\nVersion: 1.1\n",
    );
    root.folder(&format!("{site}/empty-1.0.dist-info"));
    root.folder(&format!("{site}/~umpy-1.0.dist-info"));
    root.folder(&format!("{site}/~umpy"));
    root.folder(&format!("{site}/-ip-1.0.dist-info"));
    root.write(&format!("{site}/file-1.0.dist-info"), "");
    root.write(&format!("{site}/nothing.egg-info/SOURCES.txt"), "");
    root.link("/nowhere", &format!("{site}/dangling-1.0.dist-info"));
    root.link(
        "METADATA",
        &format!("{site}/looping-1.0.dist-info/METADATA"),
    );
    root.metadata(
        site,
        "zest-2.dist-info",
        "Name: zest\nVersion: 2.0a1.zest\n",
    );
    root.metadata(
        site,
        "local-2.dist-info",
        "Name: local\nVersion: 2.3.0a0+ebedce2\n",
    );
    root.link(
        "/elsewhere/linked-1.0",
        &format!("{site}/linked-1.0.dist-info"),
    );
    root.metadata("/elsewhere", "linked-1.0", "Name: linked\nVersion: 1.0\n");
    root.write(&format!("{site}/good-1.0.dist-info/INSTALLER"), "conda\n");

    let environment = root.read();
    assert_eq!(
        pins(&environment),
        [
            "broken==2.0",
            "good==1.0",
            "latin==1.1",
            "latin-name==1.1",
            "linked==1.0",
            "local==2.3.0a0+ebedce2",
            "looping==1.0",
            "no-metadata==1.5",
            "opt-einsum==3.3.0",
            "zest==2.0a1"
        ]
    );
    for note in [
        "no_metadata-1.5.dist-info` has no METADATA",
        "broken-2.0.dist-info` does not say its name and version",
        "latin_name-1.0.dist-info` does not say its name,",
        "empty-1.0.dist-info` is empty",
        "~umpy-1.0.dist-info` is what an interrupted pip left",
        "~umpy` is what an interrupted pip left",
        "-ip-1.0.dist-info` is what an interrupted pip left",
        "file-1.0.dist-info` is not a folder",
        "dangling-1.0.dist-info` is not a folder",
        "nothing.egg-info` is passed over",
        "leads through too many symbolic links",
        "zest has the version `2.0a1.zest`",
    ] {
        has_note(&environment, note);
    }
    let good = environment
        .distributions
        .values()
        .find(|d| d.name.to_string() == "good");
    let in_root = DirectoryRoot::open(root.path()).expect("a root");
    let installer = installer(&in_root, good.expect("there"));
    assert_eq!(installer.as_deref(), Some("conda"));
    let zest = environment
        .distributions
        .values()
        .find(|d| d.name.to_string() == "zest");
    assert_eq!(zest.expect("there").version_text, "2.0a1.zest");
}

#[test]
fn a_file_that_may_not_be_read_is_a_note() {
    use std::os::unix::fs::PermissionsExt;
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    root.distribution(CONDA_SITE, "six", "1.0");
    let path = root.on_disk(&format!("{CONDA_SITE}/six-1.0.dist-info/METADATA"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("permissions");
    let environment = root.read();
    assert_eq!(pins(&environment), ["six==1.0"]);
    // Root may read everything.
    if fs::File::open(&path).is_err() {
        has_note(&environment, "Permission denied");
    }
}

#[test]
fn two_of_one_name_in_one_folder_are_told() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    root.distribution(CONDA_SITE, "six", "1.2");
    root.distribution(CONDA_SITE, "six", "1.10");
    let environment = root.read();
    assert_eq!(pins(&environment), ["six==1.10"]);
    has_note(&environment, "six is installed twice in one folder");
}

#[test]
fn eggs_and_links_of_the_past_are_read() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    let site = CONDA_SITE;
    let egg_info = |path: &str, name: &str, requires: &str| {
        root.write(
            &format!("{path}/PKG-INFO"),
            format!("Metadata-Version: 1.0\nName: {name}\nVersion: 1.0\n"),
        );
        root.write(&format!("{path}/requires.txt"), requires);
    };
    egg_info(
        &format!("{site}/plain-1.0-py3.10.egg-info"),
        "plain",
        "six\n\n[x:python_version<'3']\nenum34\n",
    );
    egg_info(
        &format!("{site}/onpath-1.0-py3.10.egg/EGG-INFO"),
        "onpath",
        "",
    );
    egg_info(
        &format!("{site}/offpath-1.0-py3.10.egg/EGG-INFO"),
        "offpath",
        "",
    );
    root.write(&format!("{site}/zipped-1.0-py3.10.egg"), "PK");
    root.write(
        &format!("{site}/both.egg-info/METADATA"),
        "Name: both\nVersion: 3.0\nRequires-Dist: a\n",
    );
    root.write(&format!("{site}/both.egg-info/requires.txt"), "b\n");
    egg_info("/src/develop/develop.egg-info", "develop", "");
    root.write(&format!("{site}/develop.egg-link"), "/src/develop\n.");
    root.write(&format!("{site}/gone.egg-link"), "/src/gone\n.");
    root.write(
        &format!("{site}/easy-install.pth"),
        "import sys; sys.__plen = len(sys.path)\n./onpath-1.0-py3.10.egg\n/src/develop\nimport sys; new=sys.path[sys.__plen:]; p=getattr(sys,'__egginsert',0); sys.path[p:p]=new; sys.__egginsert = p+len(new)\n",
    );
    let environment = root.read();
    assert_eq!(
        pins(&environment),
        [
            "both==3.0",
            "develop==1.0",
            "offpath==1.0",
            "onpath==1.0",
            "plain==1.0"
        ]
    );
    let find = |name: &str| {
        let found = environment
            .distributions
            .iter()
            .find(|(known, _)| known.to_string() == name);
        found.expect("installed").1
    };
    assert_eq!(
        find("plain").requires_dist,
        ["six", "enum34 ; (python_version<'3') and extra == 'x'"]
    );
    assert_eq!(find("plain").provides_extra, ["x"]);
    assert_eq!(find("both").requires_dist, ["a"]);
    assert_eq!(find("develop").location, "/src/develop/develop.egg-info");
    has_note(
        &environment,
        "gone.egg-link` leads to `/src/gone`, which does not exist",
    );
    has_note(&environment, "zipped-1.0-py3.10.egg` is a zipped egg");
    has_note(
        &environment,
        "offpath-1.0-py3.10.egg` is installed, but no .pth file adds it",
    );
    assert_eq!(environment.notes.len(), 3, "{:?}", environment.notes);
    // easy_install moves what it adds to the front.
    assert_eq!(
        environment.interpreter.site_directories,
        [
            &format!("{site}/onpath-1.0-py3.10.egg"),
            "/src/develop",
            site
        ]
    );
}

#[test]
fn pth_files_add_folders_and_run_nothing() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    root.write(
        &format!("{CONDA_SITE}/a.pth"),
        "\u{feff}# a comment\r\n\nimport os; os.makedirs('/pwned')\n/src/one\r\nrelative\n../../../../../../src/one\n/src/missing\n",
    );
    root.write(&format!("{CONDA_SITE}/.hidden.pth"), "/src/two\n");
    root.distribution("/src/one", "one", "1.0");
    root.distribution("/src/two", "two", "1.0");
    root.folder(&format!("{CONDA_SITE}/relative"));
    let environment = root.read();
    assert_eq!(pins(&environment), ["one==1.0"]);
    assert_eq!(
        environment.interpreter.site_directories,
        [CONDA_SITE, "/src/one", &format!("{CONDA_SITE}/relative")]
    );
    has_note(
        &environment,
        "a.pth` adds `/src/missing` to sys.path, which does not exist",
    );
    assert_eq!(environment.notes.len(), 1, "{:?}", environment.notes);
}

#[test]
fn what_is_installed_for_one_user_is_told_and_not_read() {
    let root = Root::debian();
    root.python("/usr/local", "3.11.7");
    let user = format!("{HOME}/.local/lib/python3.11/site-packages");
    let user = user.as_str();
    root.folder(user);
    assert!(root.read().notes.is_empty());
    root.distribution(user, "six", "1.0");
    let environment = root.read();
    assert!(environment.distributions.is_empty());
    has_note(&environment, &format!("`{user}` is not read"));
}

#[test]
fn import_names_are_read_on_demand() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    root.distribution(CONDA_SITE, "recorded", "1.0");
    root.write(
        &format!("{CONDA_SITE}/recorded-1.0.dist-info/RECORD"),
        "recorded/__init__.py,sha256=x,1\n_fast.cpython-310-x86_64-linux-gnu.so,,\n../../../bin/tool,,\n",
    );
    root.distribution(CONDA_SITE, "declared", "1.0");
    root.write(
        &format!("{CONDA_SITE}/declared-1.0.dist-info/top_level.txt"),
        "b\na\n",
    );
    root.write(
        &format!("{CONDA_SITE}/old.egg-info/PKG-INFO"),
        "Name: old\nVersion: 1\n",
    );
    root.write(
        &format!("{CONDA_SITE}/old.egg-info/installed-files.txt"),
        "../old.py\nPKG-INFO\n../../../../bin/x\n",
    );
    root.write(
        &format!("{CONDA_SITE}/single.egg-info"),
        "Name: single\nVersion: 1\n",
    );
    let environment = root.read();
    let view = DirectoryRoot::open(root.path()).expect("a root");
    let names: Vec<(String, Vec<String>)> = environment
        .distributions
        .values()
        .map(|distribution| {
            (
                distribution.name.to_string(),
                import_names(&view, distribution),
            )
        })
        .collect();
    let expected = [
        ("declared", vec!["a", "b"]),
        ("old", vec!["old"]),
        ("recorded", vec!["_fast", "recorded"]),
        ("single", vec![]),
    ];
    let expected = expected.map(|(name, imports)| {
        let imports: Vec<String> = imports.into_iter().map(ToOwned::to_owned).collect();
        (name.to_owned(), imports)
    });
    assert_eq!(names, expected);
    assert!(
        environment
            .distributions
            .values()
            .all(|d| d.import_names.is_empty())
    );
}

#[test]
fn what_cannot_be_read_is_an_error_with_a_noun() {
    let root = Root::debian();
    root.write("/file", "");
    let error = |path: &str| root.read_at(path, None).expect_err("an error").to_string();
    assert!(
        error("/none").ends_with("/none` does not exist"),
        "{}",
        error("/none")
    );
    assert!(
        error("/file").ends_with("/file` is not a folder"),
        "{}",
        error("/file")
    );
    let nothing = error("/");
    assert!(
        nothing.contains("holds no Python: looked for a virtual environment"),
        "{nothing}"
    );
    assert!(matches!(
        read_directory(&root.on_disk("/none"), None),
        Err(EnvironmentError::NotFound { .. })
    ));

    root.write("/opt/pypy/bin/pypy3.10", executable(62, LOADER, ""));
    root.link("pypy3.10", "/opt/pypy/bin/python3");
    assert!(
        error("/opt/pypy")
            .contains("holds PyPy at /opt/pypy/bin/python3, which cannot be read yet")
    );
    root.write(
        "/srv/venv/pyvenv.cfg",
        "home = /opt/pypy/bin\nimplementation = PyPy\nversion = 3.10.1\n",
    );
    assert!(error("/srv/venv").contains("holds PyPy at /srv/venv"));
    root.python("/opt/old", "2.7.18");
    root.link("python2.7", "/opt/old/bin/python");
    assert!(error("/opt/old").contains("holds Python 2.7 at /opt/old/bin/python"));
}

#[test]
fn links_of_the_root_never_lead_to_this_machine() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    let secret = tempfile::tempdir().expect("a folder");
    let outside = secret.path().join("six-1.0.dist-info");
    fs::create_dir(&outside).expect("a folder");
    let mut file = fs::File::create(outside.join("METADATA")).expect("a file");
    file.write_all(b"Name: secret\nVersion: 6.6.6\n")
        .expect("written");
    let outside = outside.display().to_string();
    root.link(&outside, &format!("{CONDA_SITE}/six-1.0.dist-info"));
    root.link(
        &format!("{outside}/METADATA"),
        &format!("{CONDA_SITE}/seven-1.0.dist-info/METADATA"),
    );
    root.write(
        &format!("{CONDA_SITE}/a.pth"),
        secret.path().display().to_string(),
    );
    let environment = root.read();
    assert_eq!(pins(&environment), ["seven==1.0"]);
}
