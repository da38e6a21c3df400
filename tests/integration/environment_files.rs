//! What is installed, told from the files of folders that are searched: user site, `.pth` files, editable installs,
//! shadowing, conda's records; and how large it is.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use imgtool::environment::{
    CondaPackage, Environment, Footprint, InstalledDistribution, RecordKind, Search, conda_channel,
    footprint,
};
use imgtool::packaging::Requirement;

use crate::support::retained::RetainedRoot;
use crate::support::root::Root;

const SITE: &str = "/usr/local/lib/python3.11/site-packages";
const BASE: &str = "home = /usr/local/bin\nversion = 3.11.7\n";

fn base() -> Root {
    let root = Root::debian();
    root.python("/usr/local", "3.11.7");
    root
}

fn find<'a>(environment: &'a Environment, name: &str) -> &'a InstalledDistribution {
    environment
        .distributions
        .values()
        .find(|found| found.name.to_string() == name)
        .unwrap_or_else(|| panic!("{name} is not installed"))
}

fn versions(environment: &Environment) -> Vec<String> {
    environment
        .distributions
        .values()
        .map(|found| format!("{}=={}", found.name, found.version_text))
        .collect()
}

#[test]
fn the_user_site_counts_where_the_home_is_known() {
    let root = base();
    let user = "/home/app/.local/lib/python3.11/site-packages";
    root.distribution(user, "six", "2.0");
    root.write(&format!("{user}/more.pth"), "/srv/more\n");
    root.distribution("/srv/more", "more", "1.0");
    root.distribution(SITE, "six", "1.0");
    root.venv("/venv", BASE);
    root.venv(
        "/open",
        "home = /usr/local/bin\ninclude-system-site-packages = true\n",
    );
    let read = |python: &str, home| {
        let search = Search {
            python: Some(python),
            home,
            ..Search::default()
        };
        root.read_as(search).expect("an environment")
    };
    let at_home = read("3.11", Some("/home/app"));
    assert_eq!(versions(&at_home), ["more==1.0", "six==2.0"]);
    assert_eq!(
        at_home.interpreter.site_directories,
        [user, "/srv/more", SITE]
    );
    assert_eq!(versions(&read("3.11", None)), ["six==1.0"]);
    assert_eq!(versions(&read("3.11", Some("/home/other"))), ["six==1.0"]);
    // A virtual environment that does not see its base does not see the user either.
    assert_eq!(versions(&read("/venv", Some("/home/app"))), [""; 0]);
    assert_eq!(
        read("/open", Some("/home/app"))
            .interpreter
            .site_directories,
        [
            "/open/lib/python3.11/site-packages",
            user,
            "/srv/more",
            SITE
        ]
    );
}

#[test]
fn code_in_pth_files_is_told_where_it_may_change_the_path() {
    let root = base();
    let code =
        "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; __import__('_distutils_hack').add_shim();\n";
    root.write(&format!("{SITE}/distutils-precedence.pth"), code);
    root.write(&format!("{SITE}/_virtualenv.pth"), "import _virtualenv\n");
    root.write(
        &format!("{SITE}/__editable__.app-1.0.pth"),
        "import __editable___app_1_0_finder; __editable___app_1_0_finder.install()\n",
    );
    root.write(
        &format!("{SITE}/google-nspkg.pth"),
        "import sys, types, os;p = os.path.join(sys._getframe(1).f_locals['sitedir'], *('google',))\n",
    );
    root.write(&format!("{SITE}/comment.pth"), "# import sys; sys.path\n");
    assert_eq!(root.read().notes, [""; 0]);
    root.write(
        &format!("{SITE}/hack.pth"),
        "import sys; sys.path.insert(0, '/srv')\nimport site; site.addsitedir('/x')\n",
    );
    assert_eq!(
        root.read().notes,
        [format!(
            "`{SITE}/hack.pth` runs code that may change sys.path, which is not known without running it"
        )]
    );
}

#[test]
fn customization_is_told_where_it_may_change_the_path() {
    let root = base();
    let debian = "try:\n    import apport_python_hook\nexcept ImportError:\n    pass\n";
    root.write("/etc/python3.11/sitecustomize.py", debian);
    root.link(
        "/etc/python3.11/sitecustomize.py",
        "/usr/local/lib/python3.11/sitecustomize.py",
    );
    assert_eq!(root.read().notes, [""; 0]);
    // The first one on sys.path is the one that is imported, and the standard library comes first.
    let code = "import sys\nsys.path.reverse()\n";
    root.write(&format!("{SITE}/sitecustomize.py"), code);
    assert_eq!(root.read().notes, [""; 0]);
    root.write("/srv/ahead/sitecustomize.py", code);
    let search = Search {
        python_path: Some("/srv/ahead"),
        ..Search::default()
    };
    assert_eq!(
        root.read_as(search).expect("an environment").notes,
        [
            "`/srv/ahead/sitecustomize.py` runs code that may change sys.path, which is not known without running it"
        ]
    );
}

#[test]
fn one_folder_under_two_names_is_one() {
    let root = base();
    root.venv("/venv", BASE);
    root.distribution("/venv/lib/python3.11/site-packages", "six", "1.0");
    root.link("/venv/lib/python3.11/site-packages", "/linked");
    root.write(
        "/venv/lib/python3.11/site-packages/again.pth",
        "/linked\n.\n../site-packages\n",
    );
    let environment = root.read_at("/venv", None).expect("an environment");
    assert_eq!(
        environment.interpreter.site_directories,
        ["/venv/lib/python3.11/site-packages"]
    );
    assert!(environment.shadowed.is_empty());
    assert!(environment.notes.is_empty(), "{:?}", environment.notes);

    // A whole site-packages that lies elsewhere.
    let root = Root::debian();
    root.python("/opt/py", "3.11.7");
    std::fs::remove_dir(root.on_disk("/opt/py/lib/python3.11/site-packages")).expect("removed");
    root.link("/data/packages", "/opt/py/lib/python3.11/site-packages");
    root.distribution("/data/packages", "six", "1.0");
    let environment = root.read_at("/opt/py", None).expect("an environment");
    assert_eq!(environment.interpreter.site_directories, ["/data/packages"]);
    assert_eq!(versions(&environment), ["six==1.0"]);
}

#[test]
fn what_is_hidden_is_kept_and_told_in_few_words() {
    let root = base();
    root.venv(
        "/venv",
        "home = /usr/local/bin\ninclude-system-site-packages = true\n",
    );
    let site = "/venv/lib/python3.11/site-packages";
    for name in ["a", "b", "c"] {
        root.distribution(site, name, "2.0");
        root.distribution(SITE, name, "1.0");
    }
    // The same version twice is no news.
    root.distribution(site, "pip", "23.0");
    root.distribution(SITE, "pip", "23.0");
    let environment = root.read_at("/venv", None).expect("an environment");
    let hidden: Vec<(String, &str, &str)> = environment
        .shadowed
        .iter()
        .map(|found| {
            (
                found.name.to_string(),
                found.version_text.as_str(),
                found.location.as_str(),
            )
        })
        .collect();
    let place = |name: &str, version: &str| format!("{SITE}/{name}-{version}.dist-info");
    let places = [
        place("a", "1.0"),
        place("b", "1.0"),
        place("c", "1.0"),
        place("pip", "23.0"),
    ];
    assert_eq!(
        hidden,
        [
            ("a".to_owned(), "1.0", places[0].as_str()),
            ("b".to_owned(), "1.0", places[1].as_str()),
            ("c".to_owned(), "1.0", places[2].as_str()),
            ("pip".to_owned(), "23.0", places[3].as_str()),
        ]
    );
    assert_eq!(environment.notes.len(), 3, "{:?}", environment.notes);
    root.distribution(site, "d", "2.0");
    root.distribution(SITE, "d", "1.0");
    for name in ["u", "v", "w", "x"] {
        root.distribution(site, name, "1.0");
        root.distribution(site, name, "2.0");
    }
    let environment = root.read_at("/venv", None).expect("an environment");
    assert_eq!(
        environment.notes,
        [
            "4 distributions are installed twice in one folder, and of each the one counts that is listed first: u, v, w, x",
            "4 distributions are shadowed by one of the same name in an earlier folder: a, b, c, d",
        ]
    );
    assert_eq!(environment.shadowed.len(), 9);
}

#[test]
fn editable_installs_name_their_source() {
    let root = base();
    root.distribution(SITE, "modern", "1.0");
    root.write(
        &format!("{SITE}/modern-1.0.dist-info/direct_url.json"),
        r#"{"url": "file:///src/my%20app", "dir_info": {"editable": true}}"#,
    );
    root.write(
        &format!("{SITE}/__editable__.modern-1.0.pth"),
        "import __editable___modern_1_0_finder; __editable___modern_1_0_finder.install()\n",
    );
    root.write(
        &format!("{SITE}/__editable___modern_1_0_finder.py"),
        "MAPPING = {}\n",
    );
    root.distribution(SITE, "copied", "1.0");
    root.write(
        &format!("{SITE}/copied-1.0.dist-info/direct_url.json"),
        r#"{"url": "file:///src/copied", "dir_info": {}}"#,
    );
    root.distribution(SITE, "odd", "1.0");
    root.write(&format!("{SITE}/odd-1.0.dist-info/direct_url.json"), "{");
    root.write(
        "/src/develop/Develop_App.egg-info/PKG-INFO",
        "Name: develop-app\nVersion: 1.0\n",
    );
    root.write(&format!("{SITE}/develop-app.egg-link"), "/src/develop\n.");
    root.write(&format!("{SITE}/easy-install.pth"), "/src/develop\n");
    root.write(
        &format!("{SITE}/single-1.0.egg-info"),
        "Name: single\nVersion: 1.0\n",
    );
    root.write(
        &format!("{SITE}/folder-1.0-py3.11.egg-info/PKG-INFO"),
        "Name: folder\nVersion: 1.0\n",
    );
    root.write(
        &format!("{SITE}/egg-1.0-py3.11.egg/EGG-INFO/PKG-INFO"),
        "Name: egg\nVersion: 1.0\n",
    );
    let environment = root.read();
    let recorded = |name| {
        let found = find(&environment, name);
        (found.record, found.editable.as_deref())
    };
    assert_eq!(
        recorded("modern"),
        (RecordKind::DistInfo, Some("/src/my app"))
    );
    assert_eq!(recorded("copied"), (RecordKind::DistInfo, None));
    assert_eq!(recorded("odd"), (RecordKind::DistInfo, None));
    assert_eq!(
        recorded("develop-app"),
        (RecordKind::EggLink, Some("/src/develop"))
    );
    assert_eq!(recorded("single"), (RecordKind::EggInfoFile, None));
    assert_eq!(recorded("folder"), (RecordKind::EggInfo, None));
    assert_eq!(recorded("egg"), (RecordKind::Egg, None));
    assert!(environment.shadowed.is_empty());
    assert_eq!(
        environment.notes,
        [
            format!("`{SITE}/odd-1.0.dist-info/direct_url.json` is broken"),
            format!(
                "`{SITE}/egg-1.0-py3.11.egg` is installed, but no .pth file adds it to sys.path"
            ),
        ]
    );
}

#[test]
fn odd_metadata_is_read_as_far_as_it_goes() {
    let root = base();
    let odd = "NAME : Odd.One\r\nversion:1.0\r\nREQUIRES-DIST: six\r\n (>=1.0)\r\nRequires-Dist: torch (>=3.)\r\n\
               Requires-Dist: zope>=9.0.0a1.0\r\nRequires-Dist: enum34 ; python_version<'3'\r\nRequires-Python: >=3.6.*\r\n\r\n\
               Requires-Dist: not-in-the-header\r\n";
    root.metadata(SITE, "odd_one-1.0.dist-info", odd);
    root.metadata(
        SITE,
        "bom-1.0.dist-info",
        "\u{feff}Name: bom\nVersion: 1.0\n",
    );
    root.metadata(
        SITE,
        "unknown_version-1.0.dist-info",
        "Name: unknown-version\nVersion: unknown\n",
    );
    root.write(&format!("{SITE}/nul-1.0.dist-info/METADATA"), [0_u8; 64]);
    root.metadata(
        SITE,
        "long-1.0.dist-info",
        &format!(
            "Keywords: {}\nName: long\nVersion: 1.0\n\n",
            "x".repeat(40_000)
        ),
    );
    // As `_vendor`, `ensurepip` and an SBOM inside of a distribution: not installed.
    root.distribution(&format!("{SITE}/setuptools/_vendor"), "wheel", "0.1");
    root.write(
        &format!("{SITE}/odd_one-1.0.dist-info/sboms/bom.cdx.json"),
        "{\"components\":[]}",
    );
    let environment = root.read();
    assert_eq!(
        versions(&environment),
        [
            "bom==1.0",
            "long==1.0",
            "nul==1.0",
            "odd-one==1.0",
            "unknown-version==1.0"
        ]
    );
    let odd = find(&environment, "odd-one");
    assert_eq!(
        odd.requires_dist,
        [
            "six (>=1.0)",
            "torch (>=3.)",
            "zope>=9.0.0a1.0",
            "enum34 ; python_version<'3'"
        ]
    );
    for text in &odd.requires_dist {
        Requirement::parse_lenient(text).expect("a requirement");
    }
    assert_eq!(environment.notes.len(), 3, "{:?}", environment.notes);
}

#[test]
fn condas_records_are_told_and_doubted() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    let site = "/opt/conda/lib/python3.10/site-packages";
    let meta =
        |name: &str, text: &str| root.write(&format!("/opt/conda/conda-meta/{name}.json"), text);
    meta("python-3.10.13-hd12c33a_0_cpython", "{}");
    meta(
        "libzlib-1.2.13-hd590300_5",
        r#"{"channel": "https://conda.example.org/t/secret/conda-forge/linux-64"}"#,
    );
    meta(
        "numpy-1.24.3-py310_0",
        r#"{"channel": null, "url": "https://conda.example.org/pkgs/main/linux-64/numpy-1.24.3-py310_0.conda"}"#,
    );
    meta("torch-2.1.0-py310_0", "{}");
    root.write("/opt/conda/conda-meta/history", "==> 2024 <==\n");
    root.distribution(site, "numpy", "1.26.4");
    root.distribution(site, "torch", "2.1.0+cpu");
    let environment = root.read();
    let package = |name: &str, version: &str, build: &str| CondaPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        build: build.to_owned(),
        channel: None,
    };
    assert_eq!(
        environment.conda_packages,
        [
            package("libzlib", "1.2.13", "hd590300_5"),
            package("numpy", "1.24.3", "py310_0"),
            package("python", "3.10.13", "hd12c33a_0_cpython"),
            package("torch", "2.1.0", "py310_0"),
        ]
    );
    assert_eq!(
        versions(&environment),
        ["numpy==1.26.4", "torch==2.1.0+cpu"]
    );
    assert_eq!(
        environment.notes,
        ["the records of conda in `/opt/conda` are stale: numpy 1.24.3 where 1.26.4 is installed"]
    );
    let channel =
        |at: usize| conda_channel(&root.view(), "/opt/conda", &environment.conda_packages[at]);
    assert_eq!(channel(0).as_deref(), Some("conda-forge"));
    assert_eq!(channel(1).as_deref(), Some("pkgs/main"));
    assert_eq!(channel(2), None);
}

fn footprint_of(root: &Root, name: &str) -> Footprint {
    let environment = root.read();
    footprint(&root.view(), find(&environment, name))
}

#[test]
fn files_of_a_record_are_counted_once_each() {
    let root = base();
    root.distribution(SITE, "app", "1.0");
    root.write(&format!("{SITE}/app/__init__.py"), [b'x'; 100]);
    root.write(&format!("{SITE}/a,b \"c\".py"), [b'x'; 10]);
    root.write("/usr/local/bin/app", [b'x'; 1000]);
    root.write("/etc/app.conf", [b'x'; 7]);
    root.link("/usr/local/bin/app", &format!("{SITE}/app/link"));
    root.link("app", &format!("{SITE}/alias"));
    root.write(
        &format!("{SITE}/app-1.0.dist-info/RECORD"),
        "app/__init__.py,sha256=x,100\nalias/__init__.py,,\n./app/../app/__init__.py,,\n\"a,b \"\"c\"\".py\",,\n\
         ../../../bin/app,sha256=wrong,1\n/etc/app.conf,,\napp/link,,\napp/gone.py,,\nnowhere/gone.py,,\n\
         app-1.0.dist-info/METADATA,,\n../../../../../../../../etc/app.conf,,\n..,,\n/,,\n",
    );
    let metadata = "Metadata-Version: 2.1\nName: app\nVersion: 1.0\n\n".len() as u64;
    let expected = Footprint {
        layer: None,
        layers: [].into(),
        files: 6,
        missing: 4,
        bytes: Some(100 + 10 + 1000 + 7 + metadata),
    };
    assert_eq!(footprint_of(&root, "app"), expected);
    let environment = root.read();
    let in_layers = footprint(&RetainedRoot(root.view()), find(&environment, "app"));
    assert_eq!(in_layers.layer, Some(1));
    assert_eq!(in_layers.layers, [1].into());
    assert_eq!(in_layers.bytes, expected.bytes);

    // Nothing records these.
    root.distribution(SITE, "bare", "1.0");
    assert_eq!(footprint_of(&root, "bare"), Footprint::default());
    root.write(&format!("{SITE}/bare-1.0.dist-info/RECORD"), "\"broken");
    assert_eq!(footprint_of(&root, "bare").files, 0);
}

#[test]
fn older_lists_of_files_are_read_too() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    let site = "/opt/conda/lib/python3.10/site-packages";
    root.write(
        &format!("{site}/old-1.0.egg-info/PKG-INFO"),
        "Name: old\nVersion: 1.0\n",
    );
    root.write(
        &format!("{site}/old-1.0.egg-info/installed-files.txt"),
        "../old.py\nPKG-INFO\n../../../../bin/old\n\n",
    );
    root.write(&format!("{site}/old.py"), [b'x'; 20]);
    root.write("/opt/conda/bin/old", [b'x'; 300]);
    let found = footprint_of(&root, "old");
    assert_eq!((found.files, found.missing, found.bytes), (3, 0, Some(343)));

    root.write(
        &format!("{site}/by_conda-1.0.egg-info"),
        "Name: by-conda\nVersion: 1.0\n",
    );
    root.write(&format!("{site}/by_conda.py"), [b'x'; 5000]);
    root.write(
        "/opt/conda/conda-meta/by-conda-1.0-py310_0.json",
        r#"{"files": ["lib/python3.10/site-packages/by_conda-1.0.egg-info", "lib/python3.10/site-packages/by_conda.py", "bin/none"]}"#,
    );
    let found = footprint_of(&root, "by-conda");
    assert_eq!(
        (found.files, found.missing, found.bytes),
        (2, 1, Some(5028))
    );
    // A record of conda that does not name the metadata speaks of something else.
    root.write(
        "/opt/conda/conda-meta/by-conda-1.0-py310_0.json",
        r#"{"files": ["bin/old"]}"#,
    );
    assert_eq!(footprint_of(&root, "by-conda").bytes, None);
}

#[test]
fn a_long_record_is_no_long_wait() {
    let root = base();
    root.distribution(SITE, "huge", "1.0");
    let mut record = String::new();
    for number in 0..10_000 {
        let _ = writeln!(
            record,
            "huge/part{}/module{number}.py,sha256=x,1",
            number % 100
        );
    }
    root.write(&format!("{SITE}/huge-1.0.dist-info/RECORD"), record);
    root.folder(&format!("{SITE}/huge/part7"));
    let environment = root.read();
    let start = Instant::now();
    let found = footprint(&root.view(), find(&environment, "huge"));
    assert_eq!((found.files, found.missing), (0, 10_000));
    // A hundredth of it on a quiet machine, optimized.
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn what_is_made_to_be_too_much_is_cut() {
    let root = base();
    let mut lines = String::new();
    for number in 0..1_100 {
        let _ = writeln!(lines, "/srv/{number}");
        root.folder(&format!("/srv/{number}"));
        root.folder(&format!("{SITE}/~left{number}"));
    }
    root.write(&format!("{SITE}/many.pth"), lines);
    let environment = root.read();
    assert_eq!(environment.interpreter.site_directories.len(), 1_000);
    assert_eq!(
        environment.notes[0],
        "only the first 1000 folders of sys.path are looked at"
    );
    assert_eq!(environment.notes.len(), 1_001);
    assert_eq!(
        environment.notes[1_000],
        "there are 101 more doubts of this kind"
    );
}

#[test]
fn bad_lines_of_pth_files_have_an_end() {
    let root = base();
    let line = format!("/{}\n", "n".repeat(5_000));
    root.write(&format!("{SITE}/a.pth"), "x\n".repeat(9_990));
    root.write(&format!("{SITE}/b.pth"), line.repeat(200));
    // Lines beyond the most that are followed add nothing.
    root.distribution("/srv/more", "more", "1.0");
    root.write(&format!("{SITE}/c.pth"), "/srv/more\n");
    let environment = root.read();
    assert_eq!(versions(&environment), [""; 0]);
    assert_eq!(environment.notes.len(), 1_001);
    assert_eq!(
        environment.notes[1_000],
        "there are 9001 more doubts of this kind"
    );

    root.write(&format!("{SITE}/a.pth"), "");
    root.write(&format!("{SITE}/b.pth"), &line);
    let environment = root.read();
    assert_eq!(versions(&environment), ["more==1.0"]);
    let note = &environment.notes[0];
    assert!(note.len() < 400 && note.contains("nnn…`"), "{note}");

    root.write(&format!("{SITE}/a.pth"), format!("{SITE}\n").repeat(10_001));
    let environment = root.read();
    assert_eq!(versions(&environment), [""; 0]);
    assert_eq!(
        environment.notes,
        ["only the first 10000 lines of .pth files are followed"]
    );
}

#[test]
fn requirements_without_end_are_cut() {
    let root = base();
    root.installed(SITE, "many", "1.0", &"Requires-Dist: a\n".repeat(10_001));
    let long = format!("Requires-Dist: a>={}\n", "1".repeat(1 << 18));
    root.installed(SITE, "long", "1.0", &long.repeat(5));
    let egg = format!("{SITE}/egg.egg-info");
    root.write(&format!("{egg}/PKG-INFO"), "Name: egg\nVersion: 1.0\n");
    root.write(
        &format!("{egg}/requires.txt"),
        format!("[:{}]\n{}", "a".repeat(1_001), "six\n".repeat(9_000)),
    );
    root.installed(SITE, "usual", "1.0", "Requires-Dist: six\n");
    let environment = root.read();
    for (name, kept) in [("many", 10_000), ("long", 3), ("egg", 0), ("usual", 1)] {
        assert_eq!(find(&environment, name).requires_dist.len(), kept, "{name}");
    }
    assert_eq!(environment.notes.len(), 3, "{:?}", environment.notes);
    for (name, part) in [
        ("many-1.0", "has more requirements than are kept"),
        ("long-1.0", "has more requirements than are kept"),
        ("requires.txt", "is passed over"),
    ] {
        let has = |note: &String| note.contains(name) && note.contains(part);
        assert!(environment.notes.iter().any(has), "{name}");
    }
}

#[test]
fn a_record_with_too_many_rows_is_not_looked_up() {
    let root = base();
    root.distribution(SITE, "tiny", "1.0");
    root.write(&format!("{SITE}/a"), "12345");
    let record = format!("{SITE}/tiny-1.0.dist-info/RECORD");
    root.write(&record, "a,,\n".repeat(200_000));
    let environment = root.read();
    let found = footprint(&root.view(), find(&environment, "tiny"));
    assert_eq!((found.files, found.missing, found.bytes), (1, 0, Some(5)));
    root.write(&record, "a,,\n".repeat(200_001));
    let found = footprint(&root.view(), find(&environment, "tiny"));
    assert_eq!((found.files, found.missing, found.bytes), (0, 0, None));
}

#[test]
fn variables_of_the_config_are_heeded_or_told() {
    let root = base();
    let user = "/home/app/.local/lib/python3.11/site-packages";
    root.distribution(user, "mine", "1.0");
    root.distribution("/srv/app/lib", "relative", "1.0");
    root.distribution("/lib", "at-root", "1.0");
    let usual = Search {
        home: Some("/home/app"),
        path: Some("/usr/local/bin"),
        ..Search::default()
    };
    let read = |search| {
        let environment = root.read_as(search).expect("an environment");
        (versions(&environment), environment.notes)
    };
    assert_eq!(read(usual), (vec!["mine==1.0".to_owned()], Vec::new()));
    let without = Search {
        no_user_site: true,
        ..usual
    };
    assert_eq!(read(without), (Vec::new(), Vec::new()));
    let relative = Search {
        python_path: Some("lib"),
        ..without
    };
    assert_eq!(
        read(relative),
        (vec!["at-root==1.0".to_owned()], Vec::new())
    );
    let in_folder = Search {
        working_directory: Some("/srv/app"),
        ..relative
    };
    assert_eq!(
        read(in_folder),
        (vec!["relative==1.0".to_owned()], Vec::new())
    );
    let told = Search {
        path: Some("bin:/usr/local/bin::~/bin"),
        python_home: Some("/opt/home"),
        ..without
    };
    assert_eq!(
        read(told).1,
        [
            "the image sets PYTHONHOME to `/opt/home`, which is not followed: its Python may look elsewhere",
            "PATH has folders that are not absolute, which are passed over: `bin`, `~/bin`",
        ]
    );
}
