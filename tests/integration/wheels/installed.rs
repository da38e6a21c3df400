//! What becomes of a wheel that is as it should be.

use std::fmt::Write as _;

use imgtool::image_path::ImagePath;
use imgtool::layer::{InstallableWheel, InstalledWheel};
use sha2::{Digest as _, Sha256};

use super::{PLAIN, contents, install, open, scheme};
use crate::support::wheel::{Wheel, metadata};
use crate::support::zip::Member;

/// Path, mode and contents of every file, as text; `sha256=` of RECORD by the first letters.
fn shown(wheel: &InstallableWheel, installed: &InstalledWheel) -> String {
    let mut text = String::new();
    for (path, file) in &installed.files {
        let bytes = contents(wheel, file);
        assert_eq!(file.size, bytes.len() as u64, "{path}");
        assert_eq!(
            file.sha256,
            <[u8; 32]>::from(Sha256::digest(&bytes)),
            "{path}"
        );
        assert_eq!((file.attributes.uid, file.attributes.gid), (1000, 100));
        let _ = writeln!(text, "{path} {:o}", file.attributes.mode);
        for line in String::from_utf8(bytes).expect("text").lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// A wheel with something for every part of a scheme.
fn everything() -> Wheel {
    Wheel::new("Every.Thing-1.0")
        .info("METADATA", metadata("Every.Thing", "1.0", ""))
        .file("every/__init__.py", "root\n")
        .file("every/empty.py", "")
        .member(Member::new("every/", "").stored().mode(0o40_755))
        .member(Member::new("every/tool.so", "library\n").mode(0o100_755))
        .member(Member::new("every/odd.so", "no kind of file\n").mode(0o755))
        .data("purelib/every/pure.py", "purelib\n")
        .data("platlib/every/plat.py", "platlib\n")
        .data("headers/sub/every.h", "headers\n")
        .data("data/share/every/data.txt", "data\n")
        .data("scripts/plain", "#!/bin/sh\n")
        .member(
            Member::new("Every.Thing-1.0.data/scripts/rewritten", "#!pythonw -E\r\nprint()\n")
                .mode(0o100_755),
        )
        .data("scripts/every", "#!python\nmade by a build tool of old\n")
        .data("scripts/window-script.py", "#!python\nthe same\n")
        .info(
            "entry_points.txt",
            "[console_scripts]\nevery = every.cli:App.main [extra]\n[gui_scripts]\nwindow = every:window\n",
        )
}

#[test]
fn every_part_finds_its_place() {
    let (wheel, installed) = install(&everything()).expect("a wheel");
    assert_eq!(installed.name.to_string(), "every-thing");
    assert_eq!(installed.version.to_string(), "1.0");
    assert_eq!(installed.notes, [""; 0]);
    insta::assert_snapshot!(shown(&wheel, &installed));
}

#[test]
fn modules_of_a_platform_go_where_its_modules_lie() {
    let wheel = Wheel::new("alpha-1.0")
        .info("WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
        .file("alpha.py", "")
        .data("purelib/pure.py", "")
        .data("platlib/plat.py", "");
    let (_, installed) = install(&wheel).expect("a wheel");
    let folders: Vec<&str> = installed
        .files
        .keys()
        .map(|path| path.as_str().trim_start_matches("/opt/env/"))
        .collect();
    assert_eq!(
        folders,
        [
            "lib/python3.12/site-packages/pure.py",
            "lib64/python3.12/site-packages/alpha-1.0.dist-info/INSTALLER",
            "lib64/python3.12/site-packages/alpha-1.0.dist-info/METADATA",
            "lib64/python3.12/site-packages/alpha-1.0.dist-info/RECORD",
            "lib64/python3.12/site-packages/alpha-1.0.dist-info/WHEEL",
            "lib64/python3.12/site-packages/alpha.py",
            "lib64/python3.12/site-packages/plat.py",
        ]
    );
}

#[test]
fn requested_is_a_file_and_a_row() {
    let wheel = open(&Wheel::new("alpha-1.0")).expect("a wheel");
    let folder = scheme().purelib.join("alpha-1.0.dist-info");
    let requested = wheel
        .install(7, &scheme(), &PLAIN, true)
        .expect("an installation");
    let record = contents(&wheel, &requested.files[&folder.join("RECORD")]);
    let record = String::from_utf8(record).expect("text");
    assert!(requested.files[&folder.join("REQUESTED")].size == 0);
    assert!(record.contains(
        "alpha-1.0.dist-info/REQUESTED,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\r\n"
    ));
    let other = wheel
        .install(7, &scheme(), &PLAIN, false)
        .expect("an installation");
    assert!(!other.files.contains_key(&folder.join("REQUESTED")));
}

#[test]
fn what_an_earlier_installer_left_is_written_anew() {
    let wheel = Wheel::new("alpha-1.0")
        .info("INSTALLER", "somebody\n")
        .info("REQUESTED", "not empty");
    let opened = open(&wheel).expect("a wheel");
    let folder = scheme().purelib.join("alpha-1.0.dist-info");
    let installed = opened
        .install(0, &scheme(), &PLAIN, true)
        .expect("an installation");
    let file = |name: &str| contents(&opened, &installed.files[&folder.join(name)]);
    assert_eq!(file("INSTALLER"), b"imgtool\n");
    assert_eq!(file("REQUESTED"), b"");
    let record = String::from_utf8(file("RECORD")).expect("text");
    assert_eq!(record.matches("INSTALLER").count(), 1);
}

#[test]
fn an_interpreter_far_away_is_started_by_a_shell() {
    let wheel = Wheel::new("alpha-1.0")
        .info("entry_points.txt", "[console_scripts]\nmade = a:b\n")
        .data("scripts/rewritten", "#!python\n1\n");
    let opened = open(&wheel).expect("a wheel");
    let mut scheme = scheme();
    scheme.executable = ImagePath::new("/my env/bin/python");
    let installed = opened
        .install(0, &scheme, &PLAIN, false)
        .expect("an installation");
    let line = "#!/bin/sh\n'''exec' \"/my env/bin/python\" \"$0\" \"$@\"\n' '''\n";
    for (name, rest) in [("made", "import sys\n"), ("rewritten", "1\n")] {
        let script = contents(&opened, &installed.files[&scheme.scripts.join(name)]);
        let script = String::from_utf8(script).expect("text");
        assert!(script.starts_with(&format!("{line}{rest}")), "{script}");
    }
}

#[test]
fn the_same_file_by_two_ways_is_noted_and_another_is_refused() {
    let wheel = |contents: &str| {
        Wheel::new("alpha-1.0")
            .file("alpha.py", "1")
            .data("purelib/alpha.py", contents)
    };
    let (_, installed) = install(&wheel("1")).expect("a wheel");
    assert_eq!(
        installed.notes,
        [
            "`alpha.py` and `alpha-1.0.data/purelib/alpha.py` of `alpha-1.0-py3-none-any.whl` are the same file \
             `/opt/env/lib/python3.12/site-packages/alpha.py`"
        ]
    );
    assert_eq!(
        super::refusal(&wheel("2")),
        "its members `alpha.py` and `alpha-1.0.data/purelib/alpha.py` would both become \
         `/opt/env/lib/python3.12/site-packages/alpha.py`, with different contents"
    );
    let script = Wheel::new("alpha-1.0")
        .data("data/bin/tool", "1")
        .info("entry_points.txt", "[console_scripts]\ntool = a:b\n");
    assert_eq!(
        super::refusal(&script),
        "its members `alpha-1.0.data/data/bin/tool` and `tool` would both become `/opt/env/bin/tool`, with different contents"
    );
}

#[test]
fn a_file_from_disk_is_the_same() {
    let wheel = everything();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kept-under-another-name");
    std::io::Write::write_all(
        &mut std::fs::File::create(&path).expect("a file"),
        &wheel.build(),
    )
    .expect("a file");
    let of_disk = InstallableWheel::open(&path, &wheel.file_name()).expect("a wheel");
    let (of_memory, installed) = install(&wheel).expect("a wheel");
    let same = of_disk
        .install(0, &scheme(), &PLAIN, false)
        .expect("an installation");
    assert_eq!(shown(&of_disk, &same), shown(&of_memory, &installed));
    let absent =
        InstallableWheel::open(&folder.path().join("absent"), "alpha-1.0-py3-none-any.whl");
    let error = absent.expect_err("an error").to_string();
    assert!(
        error.starts_with(
            "cannot install the wheel `alpha-1.0-py3-none-any.whl`: cannot read it: `"
        ),
        "{error}"
    );
}
