//! Which interpreters a root offers, and which of them is the default.

use imgtool::environment::{
    EnvironmentError, FoundInterpreter, InterpreterKind, Search, list_interpreters,
};

use crate::support::root::{LOADER, Root, executable};

const BASE: &str = "home = /usr/local/bin\nversion = 3.11.7\n";

fn list(root: &Root, search: Search<'_>) -> Vec<FoundInterpreter> {
    list_interpreters(&root.view(), search)
}

fn on_path(path: &str) -> Search<'_> {
    Search {
        path: Some(path),
        ..Search::default()
    }
}

#[test]
fn every_interpreter_is_listed_with_what_it_is() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    root.write("/opt/conda/conda-meta/history", "");
    root.python("/opt/conda/envs/old", "3.7.16");
    root.write("/opt/conda/envs/old/conda-meta/history", "");
    root.python("/usr/local", "3.11.7");
    root.python("/usr", "3.9.2");
    root.link("usr/bin", "/bin");
    root.python(concat!("/root", "/.pyenv/versions/3.12.1"), "3.12.1");
    root.python(
        "/home/app/.local/share/uv/python/cpython-3.13.0-linux-x86_64-gnu",
        "3.13.0",
    );
    root.write("/opt/free/lib/python3.14t/os.py", "");
    root.write(
        "/opt/free/bin/python3.14t",
        executable(62, LOADER, "3.14.0"),
    );
    root.venv("/app/.venv", BASE);
    root.venv(
        "/home/app/project/env",
        "home = /usr/local/bin\ninclude-system-site-packages = true\n",
    );
    root.pypy("/opt/pypy", "3.10.14");
    root.python("/opt/two", "2.7.18");
    root.link("python2.7", "/opt/two/bin/python");

    let listed = list(
        &root,
        on_path("/usr/local/bin:/usr/bin:/bin:/opt/two/bin:/opt/pypy/bin"),
    );
    let lines: Vec<String> = listed
        .iter()
        .map(|found| {
            let kind = match &found.kind {
                InterpreterKind::Installation => "installation".to_owned(),
                InterpreterKind::Conda => "conda".to_owned(),
                InterpreterKind::Venv {
                    base,
                    system_site_packages,
                } => format!(
                    "venv {} {system_site_packages}",
                    base.as_deref().unwrap_or("-")
                ),
            };
            format!(
                "{} {} {} {} {kind}{}",
                found.implementation,
                found.version,
                found.abi.as_deref().unwrap_or("-"),
                found.executable.as_deref().unwrap_or(&found.prefix),
                if found.is_default { " default" } else { "" }
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "CPython 3.11.7 cp311 /usr/local/bin/python3 installation default",
            "CPython 3.9.2 cp39 /usr/bin/python3 installation",
            "CPython 3.10.13 cp310 /opt/conda/bin/python3 conda",
            "CPython 3.7.16 cp37m /opt/conda/envs/old/bin/python3 conda",
            concat!(
                "CPython 3.12.1 cp312 /root",
                "/.pyenv/versions/3.12.1/bin/python3 installation"
            ),
            "CPython 3.11.7 cp311 /app/.venv/bin/python venv /usr/local false",
            "CPython 3.14.0 cp314t /opt/free/bin/python3.14t installation",
            "CPython 3.13.0 cp313 /home/app/.local/share/uv/python/cpython-3.13.0-linux-x86_64-gnu/bin/python3 installation",
            "CPython 3.11.7 cp311 /home/app/project/env/bin/python venv /usr/local true",
            "CPython 2.7.18 - /opt/two/bin/python installation",
            "PyPy 3.10.14 - /opt/pypy/bin/python3 installation",
        ]
    );
}

#[test]
fn the_default_is_what_path_starts() {
    let root = Root::debian();
    root.python("/usr/local", "3.11.7");
    root.python("/usr", "3.9.2");
    root.python("/opt/conda", "3.10.13");
    root.venv("/venv", BASE);
    // A folder with the name `python` alone, and one with a versioned name alone.
    root.python("/srv/plain", "3.8.1");
    std::fs::rename(
        root.on_disk("/srv/plain/bin/python3"),
        root.on_disk("/srv/plain/bin/python"),
    )
    .expect("renamed");
    root.write("/srv/numbered/lib/python3.6/os.py", "");
    root.write(
        "/srv/numbered/bin/python3.6",
        executable(62, LOADER, "3.6.15"),
    );
    root.link("/srv/numbered/bin/python3.6", "/links/python3");
    root.write(
        "/wrapper/python3",
        "#!/bin/sh\nexec /usr/bin/python3 \"$@\"\n",
    );
    root.link("/nowhere", "/dangling/python3");
    root.folder("/folder/python3");
    for (path, version, prefix) in [
        ("/usr/bin:/opt/conda/bin", "3.9.2", "/usr"),
        ("/opt/conda/bin:/usr/bin", "3.10.13", "/opt/conda"),
        ("/venv/bin:/usr/local/bin", "3.11.7", "/venv"),
        // `python3` of a later folder comes before `python` of an earlier one.
        ("/srv/plain/bin:/usr/bin", "3.9.2", "/usr"),
        ("/srv/plain/bin", "3.8.1", "/srv/plain"),
        // A versioned name is started by nobody who types `python3`, but it is on PATH.
        ("/srv/numbered/bin:/usr/bin", "3.9.2", "/usr"),
        ("/srv/numbered/bin", "3.6.15", "/srv/numbered"),
        ("/links:/usr/bin", "3.6.15", "/srv/numbered"),
        ("/wrapper:/dangling:/folder:bin::/usr/bin", "3.9.2", "/usr"),
        // Nothing on PATH: what is found first.
        ("/none", "3.10.13", "/opt/conda"),
    ] {
        let environment = root.read_as(on_path(path)).expect("an environment");
        let interpreter = environment.interpreter;
        assert_eq!(
            (interpreter.version.as_str(), interpreter.prefix.as_str()),
            (version, prefix),
            "{path}"
        );
        let listed = list(&root, on_path(path));
        assert_eq!(listed[0].prefix, prefix, "{path}");
        assert_eq!(listed.iter().filter(|found| found.is_default).count(), 1);
        assert!(listed[0].is_default);
    }
}

#[test]
fn shims_of_pyenv_start_its_chosen_version() {
    let root = Root::debian();
    root.python("/usr", "3.9.2");
    root.python(concat!("/root", "/.pyenv/versions/3.12.1"), "3.12.1");
    root.python(concat!("/root", "/.pyenv/versions/3.10.2"), "3.10.2");
    let shim = "#!/usr/bin/env bash\nexec pyenv exec python3\n";
    root.write(concat!("/root", "/.pyenv/shims/python3"), shim);
    let path = on_path(concat!(
        concat!("/root", "/.pyenv/shims:/root"),
        "/.pyenv/bin:/usr/bin"
    ));
    for (text, version) in [
        ("3.10.2\n", "3.10.2"),
        ("3.12\n", "3.12.1"),
        ("system\n", "3.9.2"),
    ] {
        root.write(concat!("/root", "/.pyenv/version"), text);
        let environment = root.read_as(path).expect("an environment");
        assert_eq!(environment.interpreter.version, version, "{text}");
    }
}

#[test]
fn a_virtual_environment_of_the_config_is_found_anywhere() {
    let root = Root::debian();
    root.python("/usr/local", "3.11.7");
    root.venv("/a/b/c/d/e/f", BASE);
    let search = Search {
        virtual_env: Some("/a/b/c/d/e/f"),
        ..on_path("/usr/local/bin")
    };
    assert_eq!(list(&root, on_path("/usr/local/bin")).len(), 1);
    let listed = list(&root, search);
    assert_eq!(listed[1].prefix, "/a/b/c/d/e/f");
    // Naming it puts it on no PATH: what runs is still the base.
    let environment = root.read_as(search).expect("an environment");
    assert_eq!(environment.interpreter.prefix, "/usr/local");
    let search = Search {
        path: Some("/none"),
        ..search
    };
    let environment = root.read_as(search).expect("an environment");
    assert_eq!(environment.interpreter.prefix, "/a/b/c/d/e/f");
}

#[test]
fn what_cannot_be_read_is_refused_and_not_replaced() {
    let root = Root::debian();
    root.pypy("/opt/pypy", "3.10.14");
    root.python("/usr", "3.9.2");
    let search = on_path("/opt/pypy/bin:/usr/bin");
    let refused = |search: Search<'_>| match root.read_as(search) {
        Err(EnvironmentError::Unsupported { found, .. }) => found,
        other => panic!("{other:?} is no refusal"),
    };
    assert_eq!(refused(search), "PyPy at /opt/pypy/bin/python3");
    let listed = list(&root, search);
    assert_eq!(listed[0].implementation, "PyPy");
    assert!(listed[0].is_default && !listed[1].is_default);
    let python = |python| Search {
        python: Some(python),
        ..search
    };
    let environment = root.read_as(python("3.9")).expect("an environment");
    assert_eq!(environment.interpreter.version, "3.9.2");

    root.python("/opt/two", "2.7.18");
    root.link("python2.7", "/opt/two/bin/python");
    for (wanted, found) in [
        ("2.7", "Python 2.7 at /opt/two/bin/python"),
        ("python2", "Python 2.7 at /opt/two/bin/python"),
        ("2.7.18", "Python 2.7 at /opt/two/bin/python"),
        ("pypy", "PyPy at /opt/pypy/bin/python3"),
        ("pypy3.10", "PyPy at /opt/pypy/bin/python3"),
        ("3.10", "PyPy at /opt/pypy/bin/python3"),
        ("/opt/two", "Python 2.7 at /opt/two/bin/python"),
    ] {
        assert_eq!(refused(python(wanted)), found, "{wanted}");
    }
    let error = root.read_as(python("3.8")).expect_err("not there");
    assert_eq!(
        error.to_string(),
        "`image` holds no Python `3.8`: found Python 3.9 at /usr/bin/python3, PyPy at /opt/pypy/bin/python3, \
         Python 2.7 at /opt/two/bin/python"
    );
    // `python` that is Python 2 is not what starts Python 3, so it is no default.
    let environment = root
        .read_as(on_path("/opt/two/bin:/opt/x"))
        .expect("an environment");
    assert_eq!(environment.interpreter.version, "3.9.2");
}

#[test]
fn many_others_are_counted() {
    let root = Root::debian();
    for minor in 6..14 {
        root.python(&format!("/opt/python3{minor}"), &format!("3.{minor}.1"));
    }
    let environment = root.read();
    assert!(environment.notes.is_empty(), "{:?}", environment.notes);
    let choice = environment.choice.expect("a choice");
    assert!(choice.others.ends_with(" and 4 more"), "{choice}");
    assert!(choice.to_string().contains("; there is also "), "{choice}");
}

#[test]
fn red_hats_own_python_is_found_through_its_links() {
    let root = Root::new();
    root.write("/etc/os-release", "ID=rhel\n");
    root.write("/usr/lib64/python3.6/os.py", "");
    root.write("/usr/lib64/python3.9/os.py", "");
    root.write(
        "/usr/libexec/platform-python3.6",
        executable(62, LOADER, "3.6.8"),
    );
    root.link("../libexec/platform-python3.6", "/usr/bin/python3.6");
    root.link("/etc/alternatives/python3", "/usr/bin/python3");
    root.link("/usr/bin/python3.6", "/etc/alternatives/python3");
    let environment = root.read();
    assert_eq!(environment.interpreter.version, "3.6.8");
    assert_eq!(environment.interpreter.prefix, "/usr");
    assert_eq!(environment.platform.abi_flags, "m");
}

/// The note of the environment that `search` finds on what is read and why.
fn first_note(root: &Root, search: Search<'_>) -> (String, String) {
    let environment = root.read_as(search).expect("an environment");
    let choice = environment.choice.map(|choice| choice.reason);
    let note = environment.notes.first().cloned().or(choice);
    let note = note.unwrap_or_default();
    (environment.interpreter.prefix, note)
}

#[test]
fn a_script_that_path_finds_first_is_told_or_followed() {
    let root = Root::debian();
    root.python("/usr", "3.9.2");
    root.python("/opt/py", "3.12.1");
    root.write("/srv/env/pyvenv.cfg", "home = /usr/bin\nversion = 3.9.2\n");
    root.folder("/srv/env/lib/python3.9/site-packages");
    root.link("/usr/bin/python3.9", "/srv/env/bin/python");
    let path = on_path("/usr/local/bin:/usr/bin");
    let wrapper = |text: &str| root.write("/usr/local/bin/python3", text);

    wrapper("#!/bin/sh\nexport A=1\nexec /opt/py/bin/python3 \"$@\"\n");
    let told = "`/usr/local/bin/python3`, which PATH finds first, is a script; what it starts is not known, so \
                Python 3.9 at /usr/bin/python3 is read";
    assert_eq!(
        first_note(&root, path),
        ("/usr".to_owned(), told.to_owned())
    );
    let notes = root.read_as(path).expect("an environment").notes;
    assert!(
        !notes.iter().any(|note| note.contains("what PATH starts")),
        "{notes:?}"
    );
    // Who names an interpreter is not told what PATH would have started.
    let named = Search {
        python: Some("3.9"),
        ..path
    };
    let notes = root.read_as(named).expect("an environment").notes;
    assert!(
        !notes.iter().any(|note| note.contains("a script")),
        "{notes:?}"
    );

    wrapper("#!/bin/sh\nexec /opt/py/bin/python3 \"$@\"\n");
    let (prefix, note) = first_note(&root, path);
    assert_eq!(prefix, "/opt/py");
    assert!(note.contains("as it is what PATH starts"), "{note}");

    wrapper("#!/bin/bash\nexec \"/srv/env/bin/python\" \"$@\"\n");
    assert_eq!(first_note(&root, path).0, "/srv/env");

    // A wrapper of a wrapper, and one of nothing.
    root.write("/srv/python3", "#!/bin/sh\nexec /usr/bin/python3 \"$@\"\n");
    for target in ["/srv/python3", "/nowhere/python3", "/usr/local/bin/python3"] {
        wrapper(&format!("#!/bin/sh\nexec {target} \"$@\"\n"));
        assert_eq!(first_note(&root, path).1, told, "{target}");
    }
}

#[test]
fn a_guessed_path_starts_nothing() {
    let root = Root::debian();
    root.python("/usr", "3.9.2");
    root.python("/opt/conda", "3.10.13");
    let reason = root.read().choice.expect("a choice").reason;
    assert!(
        reason.ends_with("is read, as it is found first"),
        "{reason}"
    );
}

#[test]
fn the_name_of_python_alone_means_the_default() {
    let root = Root::debian();
    root.python("/usr", "3.9.2");
    root.python("/opt/conda", "3.10.13");
    for python in ["python", "python3", "cpython", "CPython"] {
        for (path, version) in [("/usr/bin", "3.9.2"), ("/opt/conda/bin", "3.10.13")] {
            let search = on_path(path);
            let named = Search {
                python: Some(python),
                ..search
            };
            let named = root.read_as(named).expect("an environment");
            assert_eq!(named.interpreter.version, version, "{python}");
            let default = root.read_as(search).expect("an environment");
            assert_eq!(named.notes, default.notes, "{python}");
        }
    }
}
