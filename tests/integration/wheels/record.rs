//! A wheel and its RECORD: what must agree, and what is only noted.

use std::fmt::Write as _;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha384, Sha512};

use super::{contents, install, open, refusal, scheme};
use crate::support::wheel::Wheel;
use crate::support::zip::archive;

fn alpha() -> Wheel {
    Wheel::new("alpha-1.0").file("alpha.py", "print(1)\n")
}

/// The right RECORD, with one text replaced.
fn with_record(wheel: &Wheel, from: &str, to: &str) -> Wheel {
    let record = wheel.right_record();
    assert!(record.contains(from), "{record}");
    wheel.clone().record(record.replace(from, to))
}

fn row(wheel: &Wheel, path: &str) -> String {
    let record = wheel.right_record();
    let row = record.lines().find(|line| line.starts_with(path));
    row.expect("a row").to_owned()
}

#[test]
fn other_contents_fail_when_they_are_read() {
    let other = alpha().file("beta.py", "print(2)\n").right_record();
    let hash = other.lines().find(|line| line.starts_with("beta.py,"));
    let hash = hash.expect("a row").replace("beta.py", "alpha.py");
    let wheel = with_record(&alpha(), &row(&alpha(), "alpha.py"), &hash);
    let (opened, installed) = install(&wheel).expect("a wheel whose contents are not read yet");
    let file = &installed.files[&scheme().purelib.join("alpha.py")];
    let imgtool::layer::FileSource::Wheel { member, .. } = file.source else {
        panic!("{file:?}");
    };
    let mut bytes = Vec::new();
    let error = opened
        .open_member(member)
        .expect("a member")
        .read_to_end(&mut bytes)
        .expect_err("other contents");
    assert!(
        error.to_string().starts_with(
            "cannot install the wheel `alpha-1.0-py3-none-any.whl`: its member `alpha.py` is not what RECORD states: its hash is sha256="
        ),
        "{error}"
    );
    // Not even the last bytes were handed over.
    assert_eq!(bytes, b"");
    let error = error
        .downcast::<imgtool::layer::WheelError>()
        .expect("ours");
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.starts_with("fetch it again"))
    );
}

#[test]
fn a_reader_that_stops_at_the_last_byte_has_seen_the_check() {
    let mut members = alpha().all();
    let at = members
        .iter()
        .position(|member| member.name == b"alpha.py")
        .expect("a member");
    members[at].contents = b"print(9)\n".to_vec();
    members[at].method = 0;
    let bytes = archive(&members);
    let wheel = imgtool::layer::InstallableWheel::from_bytes(bytes, "alpha-1.0-py3-none-any.whl")
        .expect("a wheel");
    let mut buffer = [0; 9];
    let error = wheel
        .open_member(at)
        .expect("a member")
        .read_exact(&mut buffer)
        .expect_err("other contents");
    assert!(error.to_string().contains("its hash is"), "{error}");
    assert!(wheel.open_member(99).is_none());
}

#[test]
fn a_checksum_that_is_wrong_fails_as_well() {
    let mut wheel = alpha();
    let last = wheel.members.len() - 1;
    wheel.members[last].checksum = Some(7);
    let (opened, _) = install(&wheel).expect("a wheel");
    let mut bytes = Vec::new();
    let error = opened
        .open_member(last)
        .expect("a member")
        .read_to_end(&mut bytes)
        .expect_err("a checksum");
    assert!(
        error
            .to_string()
            .ends_with("is not what its archive states: its checksum is 3ce11e06, not 00000007"),
        "{error}"
    );
}

#[test]
fn sizes_are_compared_at_once() {
    let wheel = with_record(&alpha(), ",9\n", ",10\n");
    assert_eq!(
        refusal(&wheel),
        "its member `alpha.py` is not what RECORD states: it has 9 bytes, not 10"
    );
}

#[test]
fn a_member_that_nobody_vouches_for_is_refused() {
    let wheel = with_record(&alpha(), &format!("{}\n", row(&alpha(), "alpha.py")), "");
    assert_eq!(
        refusal(&wheel),
        "its member `alpha.py` is not in its RECORD"
    );
    // Nothing can vouch for the signatures of a RECORD.
    let signed = alpha()
        .info("RECORD.jws", "{}")
        .info("RECORD.p7s", "{}")
        .record(alpha().right_record());
    let (opened, installed) = install(&signed).expect("a wheel");
    assert_eq!(installed.notes, [""; 0]);
    let path = scheme().purelib.join("alpha-1.0.dist-info/RECORD.jws");
    assert_eq!(contents(&opened, &installed.files[&path]), b"{}");
}

#[test]
fn rows_must_not_contradict_each_other() {
    let twice = alpha().right_record();
    let same = alpha().record(format!("{twice}{}\n", row(&alpha(), "alpha.py")));
    install(&same).expect("a wheel");
    let other = alpha().record(format!("{twice}alpha.py,,9\n"));
    assert_eq!(
        refusal(&other),
        "its RECORD states two things of `alpha.py`"
    );
    let broken = alpha().record(",".repeat(5000));
    assert_eq!(
        refusal(&broken),
        "a line of the RECORD has more than 4096 columns"
    );
}

#[test]
fn better_hashes_are_verified_and_weak_ones_noted() {
    let right = row(&alpha(), "alpha.py");
    let rows = |algorithm: &str, hash: &[u8]| {
        format!("alpha.py,{algorithm}={},9", URL_SAFE_NO_PAD.encode(hash))
    };
    let contents = b"print(1)\n";
    for good in [
        rows("sha384", &Sha384::digest(contents)),
        rows("sha512", &Sha512::digest(contents)),
        right.replacen("alpha.py", "./alpha.py", 1),
    ] {
        let (opened, installed) = install(&with_record(&alpha(), &right, &good)).expect("a wheel");
        assert_eq!(installed.notes, [""; 0], "{good}");
        let file = &installed.files[&scheme().purelib.join("alpha.py")];
        assert_eq!(super::contents(&opened, file), contents);
    }
    for bad in [
        rows("sha384", &Sha384::digest(b"other")),
        rows("sha512", &Sha512::digest(b"other")),
    ] {
        let refused = refusal(&with_record(&alpha(), &right, &bad));
        assert!(
            refused.starts_with("its member `alpha.py` is not what RECORD states: its hash is sha"),
            "{refused}"
        );
    }
    for weak in [
        "alpha.py,md5=1B2M2Y8AsgTpgAmy7PhCfg,9",
        "alpha.py,,9",
        "alpha.py",
    ] {
        let (_, installed) = install(&with_record(&alpha(), &right, weak)).expect("a wheel");
        assert_eq!(
            installed.notes,
            ["`alpha.py` has no usable hash in the RECORD of `alpha-1.0-py3-none-any.whl`"],
            "{weak}"
        );
    }
}

#[test]
fn rows_without_a_file_are_noted_and_not_written() {
    let mut record = alpha().right_record();
    for number in 0..5 {
        let _ = writeln!(record, "gone{number}.py,sha256=abc,1");
    }
    let (opened, installed) = install(&alpha().record(record)).expect("a wheel");
    assert_eq!(
        installed.notes,
        [
            "`gone0.py`, `gone1.py`, `gone2.py` and 2 more: each is in the RECORD of `alpha-1.0-py3-none-any.whl` and not in \
             the wheel"
        ]
    );
    let record = &installed.files[&scheme().purelib.join("alpha-1.0.dist-info/RECORD")];
    let record = String::from_utf8(contents(&opened, record)).expect("text");
    assert!(!record.contains("gone"), "{record}");
}

#[test]
fn metadata_that_was_edited_is_noted_and_recorded_as_it_is() {
    let before = alpha().right_record();
    let edited = alpha()
        .info(
            "METADATA",
            "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\nRequires-Dist: beta\n",
        )
        .record(before);
    let (opened, installed) = install(&edited).expect("a wheel");
    assert_eq!(
        installed.notes,
        [
            "`alpha-1.0.dist-info/METADATA` is not what the RECORD of `alpha-1.0-py3-none-any.whl` states"
        ]
    );
    let folder = scheme().purelib.join("alpha-1.0.dist-info");
    let record = contents(&opened, &installed.files[&folder.join("RECORD")]);
    let right = row(&edited, "alpha-1.0.dist-info/METADATA");
    assert!(
        String::from_utf8(record).expect("text").contains(&right),
        "{right}"
    );
    // Any other file of the folder is held to what was promised.
    let licence = alpha().info("LICENSE", "yes\n");
    let other = alpha()
        .info("LICENSE", "no!\n")
        .record(licence.right_record());
    let (opened, _) = install(&other).expect("a wheel whose contents are not read yet");
    let last = other.members.len() - 1;
    let mut bytes = Vec::new();
    assert!(
        opened
            .open_member(last)
            .expect("a member")
            .read_to_end(&mut bytes)
            .is_err()
    );
}

#[test]
fn without_a_record_there_is_nothing_to_hold_a_wheel_to() {
    let bytes = archive(&alpha().members);
    let error = imgtool::layer::InstallableWheel::from_bytes(bytes, "alpha-1.0-py3-none-any.whl")
        .expect_err("a refusal");
    assert_eq!(
        error.to_string(),
        "cannot install the wheel `alpha-1.0-py3-none-any.whl`: it has no `alpha-1.0.dist-info/RECORD`"
    );
    assert!(open(&alpha()).is_ok());
}
