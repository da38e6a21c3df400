//! Which installed distributions cannot be changed in an image, and why.

use std::collections::BTreeMap;

use imgtool::environment::{Search, layer_of, obstacles};
use imgtool::rootfs::RootFs;

use crate::support::retained::RetainedRoot;
use crate::support::root::Root;

const DEBIAN: &str = "/usr/lib/python3/dist-packages";
const LOCAL: &str = "/usr/local/lib/python3.11/dist-packages";
const CONDA: &str = "/opt/conda/lib/python3.10/site-packages";

/// A distribution as pip or another installer leaves it.
fn install(root: &Root, site: &str, name: &str, version: &str, installer: Option<&str>) {
    root.distribution(site, name, version);
    let info = format!("{site}/{name}-{version}.dist-info");
    root.write(
        &format!("{info}/RECORD"),
        format!("{name}-{version}.dist-info/METADATA,,\n"),
    );
    if let Some(installer) = installer {
        root.write(&format!("{info}/INSTALLER"), format!("{installer}\n"));
    }
}

/// What stands in the way of each distribution of the interpreter `python`, as text; the same from layers.
#[track_caller]
fn told(root: &Root, python: &str) -> BTreeMap<String, String> {
    let environment = root
        .read_as(Search {
            python: Some(python),
            ..Search::default()
        })
        .expect("an environment");
    let of = |root: &dyn RootFs| -> BTreeMap<String, String> {
        obstacles(Some(root), &environment)
            .into_iter()
            .map(|(name, obstacle)| (name.to_string(), obstacle.to_string()))
            .collect()
    };
    let whole = of(&root.view());
    assert_eq!(
        of(&RetainedRoot(root.view())),
        whole,
        "what is kept is not enough"
    );
    assert!(obstacles(None, &environment).is_empty());
    whole
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> BTreeMap<String, String> {
    expected
        .into_iter()
        .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
        .collect()
}

#[test]
fn what_dpkg_brought_is_dpkgs() {
    let root = Root::debian();
    root.python("/usr", "3.11.2");
    root.write("/var/lib/dpkg/status", "Package: python3-blinker\n\n");
    // The classic: a file of distutils that a package brought.
    root.write(
        &format!("{DEBIAN}/blinker-1.4.egg-info"),
        "Metadata-Version: 1.1\nName: blinker\nVersion: 1.4\n",
    );
    root.write(
        "/var/lib/dpkg/info/python3-blinker.list",
        format!("/.\n/usr\n{DEBIAN}\n{DEBIAN}/blinker-1.4.egg-info\n"),
    );
    root.distribution(DEBIAN, "numpy", "1.24.2");
    root.write(
        "/var/lib/dpkg/info/python3-numpy:amd64.list",
        format!("{DEBIAN}/numpy-1.24.2.dist-info\n{DEBIAN}/numpy-1.24.2.dist-info/METADATA\n"),
    );
    // Of a package whose name does not tell that it is Python's.
    root.distribution(DEBIAN, "ansible", "7.3.0");
    root.write(
        "/var/lib/dpkg/info/ansible.list",
        format!("{DEBIAN}/ansible-7.3.0.dist-info\n"),
    );
    // By pip, into Debian's folder and into the right one.
    install(&root, DEBIAN, "forced", "1.0", Some("pip"));
    install(&root, LOCAL, "six", "1.16.0", Some("pip"));
    root.distribution(LOCAL, "bare", "1.0");
    assert_eq!(
        told(&root, "/usr/bin/python3"),
        pairs([
            ("ansible", "dpkg owns it"),
            ("bare", "it has no RECORD of its files"),
            ("blinker", "dpkg owns it (package python3-blinker)"),
            ("numpy", "dpkg owns it (package python3-numpy)"),
        ])
    );
}

#[test]
fn what_records_no_files_stays() {
    let root = Root::debian();
    root.python("/usr/local", "3.11.7");
    let site = "/usr/local/lib/python3.11/site-packages";
    install(&root, site, "six", "1.16.0", None);
    // An empty RECORD records nothing.
    root.distribution(site, "empty", "1.0");
    root.write(&format!("{site}/empty-1.0.dist-info/RECORD"), "");
    let metadata = |name: &str| format!("Metadata-Version: 1.1\nName: {name}\nVersion: 1.0\n");
    root.write(&format!("{site}/old-1.0.egg-info"), metadata("old"));
    root.write(
        &format!("{site}/folder-1.0.egg-info/PKG-INFO"),
        metadata("folder"),
    );
    root.write(
        &format!("{site}/listed-1.0.egg-info/PKG-INFO"),
        metadata("listed"),
    );
    root.write(
        &format!("{site}/listed-1.0.egg-info/installed-files.txt"),
        "../listed.py\n",
    );
    root.write(
        &format!("{site}/egg-1.0-py3.11.egg/EGG-INFO/PKG-INFO"),
        metadata("egg"),
    );
    root.write(
        &format!("{site}/easy-install.pth"),
        "./egg-1.0-py3.11.egg\n",
    );
    // In development, the new way and the old.
    install(&root, site, "app", "1.0", Some("pip"));
    root.write(
        &format!("{site}/app-1.0.dist-info/direct_url.json"),
        r#"{"url": "file:///srv/app", "dir_info": {"editable": true}}"#,
    );
    root.write("/srv/link/link.egg-info/PKG-INFO", metadata("link"));
    root.write(&format!("{site}/link.egg-link"), "/srv/link\n.\n");
    let distutils = "distutils installed it and recorded no files";
    let editable = "it is installed from a source folder";
    assert_eq!(
        told(&root, "/usr/local/bin/python3"),
        pairs([
            ("app", editable),
            ("empty", "it has no RECORD of its files"),
            ("folder", distutils),
            ("link", editable),
            ("old", distutils),
        ])
    );
}

#[test]
fn what_conda_brought_is_condas_until_pip_comes() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    let record = |file: &str, infos: &[&str]| {
        let files: Vec<String> = infos
            .iter()
            .map(|info| format!("\"lib/python3.10/site-packages/{info}\""))
            .collect();
        root.write(
            &format!("/opt/conda/conda-meta/{file}.json"),
            format!("{{\"name\": \"x\", \"files\": [{}]}}", files.join(", ")),
        );
    };
    install(&root, CONDA, "idna", "3.7", Some("conda"));
    record("idna-3.7-pyh_0", &["idna-3.7.dist-info/METADATA"]);
    // The name of the package is another.
    install(&root, CONDA, "torch", "2.1.0", Some("conda"));
    record("pytorch-2.1.0-py_0", &["torch-2.1.0.dist-info/METADATA"]);
    // An egg-info has no INSTALLER.
    root.write(
        &format!("{CONDA}/old-1.0.egg-info"),
        "Metadata-Version: 1.1\nName: old\nVersion: 1.0\n",
    );
    record("old-1.0-py_0", &["old-1.0.egg-info"]);
    // Replaced by pip: another version, and the same.
    install(&root, CONDA, "requests", "2.32.0", Some("pip"));
    record(
        "requests-2.31.0-pyh_0",
        &["requests-2.31.0.dist-info/METADATA"],
    );
    install(&root, CONDA, "six", "1.16.0", Some("pip"));
    record("six-1.16.0-pyh_0", &["six-1.16.0.dist-info/METADATA"]);
    // By conda's own word, and no record has it.
    install(&root, CONDA, "stray", "1.0", Some("conda"));
    assert_eq!(
        told(&root, "/opt/conda/bin/python3"),
        pairs([
            ("idna", "conda owns it (package idna)"),
            ("old", "conda owns it (package old)"),
            ("torch", "conda owns it (package pytorch)"),
        ])
    );
}

#[test]
fn what_apk_brought_is_apks() {
    let root = Root::new();
    root.python("/usr", "3.12.3");
    let site = "/usr/lib/python3.12/site-packages";
    install(&root, site, "six", "1.16.0", Some("gpep517"));
    install(&root, site, "own", "1.0", Some("pip"));
    root.write(
        "/lib/apk/db/installed",
        "C:Q1\nP:py3-six\nV:1.16.0-r9\nF:usr/lib/python3.12/site-packages\nR:six.py\n\
         F:usr/lib/python3.12/site-packages/six-1.16.0.dist-info\nR:METADATA\n\n\
         P:other\nF:usr/lib/python3.12/site-packages/own-1.0.dist-info\n\n",
    );
    assert_eq!(
        told(&root, "/usr/bin/python3"),
        pairs([("six", "apk owns it (package py3-six)")])
    );
}

#[test]
fn the_layer_of_a_distribution_is_that_of_its_metadata() {
    let root = Root::debian();
    root.python("/opt/conda", "3.10.13");
    root.distribution(CONDA, "six", "1.16.0");
    let environment = root.read();
    let six = environment.distributions.values().next().expect("six");
    assert_eq!(layer_of(&root.view(), six), None);
    assert_eq!(layer_of(&RetainedRoot(root.view()), six), Some(1));
}

#[test]
fn what_rpm_brought_says_so() {
    let root = Root::new();
    root.python("/usr", "3.12.3");
    let site = "/usr/lib/python3.12/site-packages";
    install(&root, site, "six", "1.16.0", Some("pip"));
    root.distribution(site, "packed", "1.0");
    root.write(&format!("{site}/packed-1.0.dist-info/INSTALLER"), "rpm\n");
    assert_eq!(
        told(&root, "/usr/bin/python3"),
        pairs([("packed", "rpm owns it")])
    );
}
