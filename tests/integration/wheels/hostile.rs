//! Wheels made to put files where they do not belong, or to be another wheel than they say.

use proptest::prelude::*;

use imgtool::layer::InstallableWheel;

use super::{PLAIN, install, open, refusal, scheme};
use crate::support::wheel::{Wheel, metadata};
use crate::support::zip::{Member, archive};

fn alpha() -> Wheel {
    Wheel::new("alpha-1.0")
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    for (name, says) in [
        ("/etc/passwd", "has an absolute path as its name"),
        (
            "../x.py",
            "has `..` in its name, which leads out of the wheel",
        ),
        (
            "a/../../x.py",
            "has `..` in its name, which leads out of the wheel",
        ),
        ("a/..", "has `..` in its name, which leads out of the wheel"),
        ("../", "has `..` in its name, which leads out of the wheel"),
        (
            "alpha-1.0.data/scripts/../../../x",
            "has `..` in its name, which leads out of the wheel",
        ),
        (
            "a\\..\\..\\x.py",
            "has a name with a backslash: wheels have slashes",
        ),
        (
            "C:\\x.py",
            "has a name with a backslash: wheels have slashes",
        ),
        ("a.py\0.txt", "has a NUL in its name"),
        ("", "has an empty name"),
        ("./", "is not a name"),
        (".", "has an empty name"),
        ("./.", "has an empty name"),
    ] {
        if name == "./" {
            // A folder that is the wheel itself: odd, and harmless.
            install(&alpha().file(name, "")).expect("a wheel");
            continue;
        }
        assert_eq!(
            refusal(&alpha().file(name, "x")),
            format!("its member `{name}` {says}")
        );
    }
    let long = format!("{}.py", "a".repeat(300));
    assert_eq!(
        refusal(&alpha().file(&long, "")),
        format!("its member `{long}` has a name that is too long")
    );
    let deep = "a/".repeat(300) + "b";
    assert_eq!(
        refusal(&alpha().file(&deep, "")),
        format!("its member `{deep}` would get a path that is too long")
    );
}

#[test]
fn a_name_in_characters_that_nobody_knows_is_refused() {
    let mut member = Member::new("caf\u{e9}.py", "");
    install(&alpha().member(member.clone())).expect("a name in UTF-8");
    member.flags = 0;
    assert_eq!(
        refusal(&alpha().member(member.clone())),
        "its member `caf\u{e9}.py` has a name beyond ASCII that is not marked as UTF-8: some installers would read other characters"
    );
    member.name = b"caf\xe9.py".to_vec();
    let wheel = alpha().record("").member(member);
    assert_eq!(
        refusal(&wheel),
        "its member `caf\u{fffd}.py` has a name that is not UTF-8"
    );
}

#[test]
fn the_same_path_twice_is_refused_however_it_is_spelled() {
    for second in ["alpha.py", "./alpha.py", ".//alpha.py"] {
        assert_eq!(
            refusal(&alpha().file("alpha.py", "1").file(second, "1")),
            format!("its member `{second}` is there twice")
        );
    }
    // On this system these are two files.
    let (_, installed) =
        install(&alpha().file("alpha.py", "1").file("Alpha.py", "2")).expect("a wheel");
    assert_eq!(installed.files.len(), 6);
    assert_eq!(
        refusal(&alpha().file("alpha", "1").file("alpha/b.py", "2")),
        "its member `/opt/env/lib/python3.12/site-packages/alpha` would be a file where \
         `/opt/env/lib/python3.12/site-packages/alpha/b.py` needs a folder"
    );
}

#[test]
fn a_link_becomes_a_file_and_leads_nowhere() {
    let link = Member::new("link", "../../../../etc/passwd").mode(0o120_777);
    let (opened, installed) = install(&alpha().member(link)).expect("a wheel");
    let file = &installed.files[&scheme().purelib.join("link")];
    assert_eq!(super::contents(&opened, file), b"../../../../etc/passwd");
    assert_eq!(file.attributes.mode, 0o644);
    assert_eq!(
        installed.notes,
        [
            "`link` of `alpha-1.0-py3-none-any.whl` is a symbolic link in the archive and becomes a file, as with every installer"
        ]
    );
    // Permissions beyond reading and executing never come along.
    let powerful = Member::new("powerful", "").mode(0o104_755);
    let (_, installed) = install(&alpha().member(powerful)).expect("a wheel");
    assert_eq!(
        installed.files[&scheme().purelib.join("powerful")]
            .attributes
            .mode,
        0o755
    );
}

#[test]
fn folders_of_data_are_those_of_a_scheme() {
    for path in [
        "alpha-1.0.data/include/x",
        "alpha-1.0.data/x",
        "alpha-1.0.data/Scripts/x",
    ] {
        assert_eq!(
            refusal(&alpha().file(path, "")),
            format!(
                "its member `{path}` belongs to no part of an installation: purelib, platlib, scripts, headers and data are known"
            )
        );
    }
    assert_eq!(
        refusal(&alpha().file("other-1.0.data/scripts/x", "")),
        "its folder `other-1.0.data` is not that of its distribution, and installers do not agree on where its files go"
    );
    // However the folder spells name and version, and where it is a folder like any other.
    let spelled = alpha()
        .file("Alpha-1.0.0.data/scripts/x", "")
        .file("models.data/weights", "")
        .file("file.data", "");
    let (_, installed) = install(&spelled).expect("a wheel");
    assert!(installed.files.contains_key(&scheme().scripts.join("x")));
    for below in ["models.data/weights", "file.data"] {
        assert!(installed.files.contains_key(&scheme().purelib.join(below)));
    }
}

#[test]
fn a_wheel_is_the_distribution_that_its_name_says() {
    let second = alpha().file("beta-1.0.dist-info/METADATA", "");
    assert_eq!(
        refusal(&second),
        "it has the two folders `alpha-1.0.dist-info` and `beta-1.0.dist-info`, where a wheel has one `.dist-info`"
    );
    let empty = alpha().file("Alpha-1.0.dist-info/", "");
    assert!(refusal(&empty).starts_with("it has the two folders"));
    for (name, version, says) in [
        ("beta", "1.0", "name `beta`, but the file name `alpha`"),
        ("alpha", "2.0", "version `2.0`, but the file name `1.0`"),
        ("alpha", "one", "version `one`, but the file name `1.0`"),
    ] {
        assert_eq!(
            refusal(&alpha().info("METADATA", metadata(name, version, ""))),
            format!("its METADATA states the {says}")
        );
    }
    assert_eq!(
        refusal(&alpha().info("METADATA", "Metadata-Version: 2.1\nName: alpha\n")),
        "its METADATA states the version nothing, but the file name `1.0`"
    );
    install(&alpha().info("METADATA", metadata("ALPHA", "1.0.0", ""))).expect("the same");
    let of_name = |file_name: &str| {
        let error = InstallableWheel::from_bytes(alpha().build(), file_name).err();
        error.expect("a refusal").to_string()
    };
    assert!(of_name("alpha-1.1-py3-none-any.whl").ends_with(
        "its folder `alpha-1.0.dist-info` is not that of the distribution that the file name announces"
    ));
    assert!(of_name("alpha.whl").ends_with("`alpha.whl` is not the name of a wheel"));
    let bare = archive(&[Member::new("alpha.py", "")]);
    let error = InstallableWheel::from_bytes(bare, "alpha-1.0-py3-none-any.whl").err();
    assert!(
        error
            .expect("a refusal")
            .to_string()
            .ends_with("it has no `.dist-info` folder")
    );
}

#[test]
fn forms_of_the_future_are_refused_and_those_near_noted() {
    let form = |version: &str| {
        alpha().info(
            "WHEEL",
            format!("Wheel-Version: {version}\nRoot-Is-Purelib: true\n"),
        )
    };
    assert_eq!(
        refusal(&form("2.0")),
        "its `Wheel-Version` is 2.0: only 1.x is known"
    );
    let (_, installed) = install(&form("1.1")).expect("a wheel");
    assert_eq!(
        installed.notes,
        [
            "`alpha-1.0-py3-none-any.whl` is of the newer form 1.1: it is installed as one of the form 1.0"
        ]
    );
    for file in ["WHEEL", "METADATA"] {
        let mut wheel = alpha();
        wheel
            .members
            .retain(|member| !member.name.ends_with(file.as_bytes()));
        assert_eq!(
            refusal(&wheel),
            format!("it has no `alpha-1.0.dist-info/{file}`")
        );
    }
}

#[test]
fn scripts_stay_in_their_folder() {
    let points = |text: &str| alpha().info("entry_points.txt", text);
    assert_eq!(
        refusal(&points(
            "[console_scripts]\n../../../etc/profile.d/x = a:b\n"
        )),
        "the script name `../../../etc/profile.d/x` in entry_points.txt is not that of a file"
    );
    assert_eq!(
        refusal(&points("[gui_scripts]\nx = a\n")),
        "the script `x` in entry_points.txt calls `a`, which is not of the form `module:function`"
    );
    let large = alpha().data(
        "scripts/x",
        [b"#!python\n".to_vec(), vec![b'#'; 17 << 20]].concat(),
    );
    assert_eq!(
        refusal(&large),
        "its member `alpha-1.0.data/scripts/x` has 17825801 bytes, more than the 16777216 that are read of such a file"
    );
}

/// Names that mean something, and pieces of which names that mean something else can be made.
fn name() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "..",
        ".",
        "",
        "a",
        "b.py",
        "alpha-1.0.data",
        "alpha-1.0.dist-info",
        "ALPHA-1.data",
        "scripts",
        "headers",
        "data",
        "purelib",
        "platlib",
        "beta-2.data",
        "RECORD",
        "INSTALLER",
        "\\",
        "C:",
        "\0",
        "\u{202e}",
        "~",
        "bin",
        "*",
        "alpha-1.0.dist-info ",
        "entry_points.txt",
    ]);
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_path_leaves_the_folders_of_the_scheme(
        files in prop::collection::vec((name(), any::<u16>()), 0..5),
        script in "[a./\\\\ =:]{0,6}",
    ) {
        let mut wheel = alpha().info(
            "entry_points.txt",
            format!("[console_scripts]\n{script} = a:b\n"),
        );
        for (name, mode) in files {
            wheel = wheel.member(Member::new(&name, "#!python\n").mode(mode.into()));
        }
        let Ok((_, installed)) = install(&wheel) else { return Ok(()) };
        let scheme = scheme();
        for (path, file) in &installed.files {
            let inside = [&scheme.purelib, &scheme.scripts, &scheme.headers, &scheme.data];
            prop_assert!(inside.iter().any(|folder| path.starts_with(folder) && path != *folder), "{}", path);
            prop_assert!(!path.as_str().split('/').any(|part| matches!(part, "." | "..")), "{}", path);
            prop_assert!(matches!(file.attributes.mode, 0o644 | 0o755));
        }
    }

    #[test]
    fn bytes_that_were_changed_are_refused_or_read_as_they_were_promised(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let wheel = alpha().file("alpha.py", "print(1)\n").data("scripts/x", "#!python\n");
        let mut bytes = wheel.build();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let Ok(opened) = InstallableWheel::from_bytes(bytes, &wheel.file_name()) else { return Ok(()) };
        let Ok(installed) = opened.install(0, &scheme(), &PLAIN, false) else { return Ok(()) };
        let path = scheme().purelib.join("alpha.py");
        if let Some(file) = installed.files.get(&path)
            && let imgtool::layer::FileSource::Wheel { member, .. } = file.source
        {
            let mut contents = Vec::new();
            let mut reader = opened.open_member(member).expect("a member");
            if std::io::Read::read_to_end(&mut reader, &mut contents).is_ok() {
                prop_assert_eq!(contents, b"print(1)\n");
            }
        }
    }
}

#[test]
fn what_is_no_archive_is_told_so() {
    for bytes in [Vec::new(), b"<html>".to_vec(), vec![0; 200_000]] {
        let error = InstallableWheel::from_bytes(bytes, "alpha-1.0-py3-none-any.whl").err();
        assert_eq!(
            error.expect("a refusal").to_string(),
            "cannot install the wheel `alpha-1.0-py3-none-any.whl`: it is not a ZIP archive, or it is cut short: no end of a \
             central directory lies at its end"
        );
    }
    assert!(open(&alpha()).is_ok());
}
