//! Archives that contradict themselves, and those that are only unusual.

use imgtool::layer::InstallableWheel;

use super::{PLAIN, contents, scheme};
use crate::support::wheel::Wheel;
use crate::support::zip::{Member, archive, end, end64, parts};

const NAME: &str = "alpha-1.0-py3-none-any.whl";

fn alpha() -> Wheel {
    Wheel::new("alpha-1.0").file("alpha.py", "print(1)\n".repeat(20))
}

/// The members of a good wheel, one of them changed.
fn changed(change: impl FnOnce(&mut Member)) -> Vec<u8> {
    let mut members = alpha().all();
    let member = members
        .iter_mut()
        .find(|member| member.name == b"alpha.py")
        .expect("a member");
    change(member);
    archive(&members)
}

/// Why the archive is refused.
fn refused(bytes: Vec<u8>) -> String {
    let error = InstallableWheel::from_bytes(bytes, NAME).err();
    let error = error.expect("a refusal").to_string();
    let start = format!("cannot install the wheel `{NAME}`: ");
    error.strip_prefix(&start).expect(&error).to_owned()
}

/// That the archive is read, with the right contents.
fn accepted(bytes: Vec<u8>) {
    let wheel = InstallableWheel::from_bytes(bytes, NAME).expect("a wheel");
    let installed = wheel
        .install(0, &scheme(), &PLAIN, false)
        .expect("an installation");
    let file = &installed.files[&scheme().purelib.join("alpha.py")];
    assert_eq!(contents(&wheel, file), "print(1)\n".repeat(20).into_bytes());
}

#[test]
fn unusual_archives_are_read() {
    accepted(archive(&alpha().all()));
    accepted(changed(|member| member.method = 0));
    // A checksum and sizes behind the data, unknown when the header was written.
    accepted(changed(|member| {
        member.flags = 0x8;
        member.local.checksum = Some(0);
        member.local.sizes = Some((0, 0));
        member.local.descriptor = vec![0; 16];
    }));
    // Known, and said again.
    accepted(changed(|member| {
        member.flags = 0x8;
        member.local.descriptor = vec![0; 12];
    }));
    // An extra field longer than what is read along, and three bytes that are none.
    accepted(changed(|member| {
        member.local.extra = [&[9, 0, 200, 0][..], &[7; 200]].concat();
        member.extra = vec![9, 0, 1, 0, 7, 1, 2, 3];
    }));
    let (data, directory) = parts(&alpha().all());
    let members = alpha().all().len();
    // A comment; the end for large archives beside the usual one, and where that has no room.
    let with_comment = end(members, directory.len(), data.len(), b"a comment");
    accepted([&data[..], &directory, &with_comment].concat());
    let large = end64(members as u64, directory.len() as u64, data.len() as u64);
    let short = end(members, directory.len(), data.len(), b"");
    accepted([&data[..], &directory, &large, &short].concat());
    let mut full = short.clone();
    full[8..20].fill(0xff);
    accepted([&data[..], &directory, &large, &full].concat());
}

#[test]
fn large_sizes_stand_in_an_extra_field() {
    let bytes = changed(|member| {
        member.method = 0;
        member.sizes = Some((u32::MAX, u32::MAX));
        let size = 180_u64.to_le_bytes();
        member.extra = [&[1, 0, 16, 0][..], &size, &size].concat();
        member.local.extra = member.extra.clone();
    });
    accepted(bytes);
    let cut = changed(|member| {
        member.sizes = Some((u32::MAX, u32::MAX));
        member.extra = vec![1, 0, 8, 0, 180, 0, 0, 0, 0, 0, 0, 0];
    });
    assert_eq!(
        refused(cut),
        "its member `alpha.py` has a broken extra field"
    );
}

#[test]
fn headers_that_say_two_things_are_refused() {
    let differs = |what: &str| {
        format!(
            "its member `alpha.py` has another {what} in its own header than in the central directory"
        )
    };
    for (change, what) in [
        (
            (|member: &mut Member| member.local.name = Some(b"other.py".to_vec()))
                as fn(&mut Member),
            "name",
        ),
        (|member| member.local.method = Some(0), "method"),
        (|member| member.local.checksum = Some(1), "checksum"),
        (|member| member.local.checksum = Some(0), "checksum"),
        (|member| member.local.sizes = Some((0, 0)), "size"),
        (|member| member.local.sizes = Some((181, 15)), "size"),
        (|member| member.local.flags = Some(0x800), "set of flags"),
        (|member| member.local.flags = Some(0x1), "set of flags"),
        (
            |member| member.local.extra = b"\x75\x70\x0d\0\x01crc4other.py".to_vec(),
            "name",
        ),
    ] {
        assert_eq!(refused(changed(change)), differs(what));
    }
    let second = changed(|member| member.extra = b"\x75\x70\x0d\0\x01crc4other.py".to_vec());
    assert_eq!(
        refused(second),
        "its member `alpha.py` has a second name in its extra field"
    );
}

#[test]
fn members_that_cannot_be_read_are_refused_with_the_reason() {
    let fault = |says: &str| format!("its member `alpha.py` {says}");
    for flag in [0x1, 0x40, 0x2000] {
        assert_eq!(
            refused(changed(|member| member.flags = flag)),
            fault("is encrypted")
        );
    }
    // Deflate64, bzip2, LZMA, zstd.
    for method in [9, 12, 14, 93] {
        assert_eq!(
            refused(changed(|member| member.method = method)),
            fault(&format!(
                "is packed with method {method}: wheels are stored or deflated"
            ))
        );
    }
    let other = |offset| changed(move |member| member.offset = Some(offset));
    assert_eq!(
        refused(other(1)),
        fault("has no header where the central directory says")
    );
    assert_eq!(
        refused(other(u32::MAX - 1)),
        fault("has no header where the central directory says")
    );
    assert_eq!(
        refused(changed(|member| member.sizes = Some((1 << 30, 20)))),
        fault("states a size that it cannot have")
    );
    assert_eq!(
        refused(changed(|member| {
            member.method = 0;
            member.sizes = Some((1 << 20, 1 << 20));
        })),
        fault("states a size that it cannot have")
    );
}

#[test]
fn bytes_that_belong_to_two_members_are_refused() {
    // The bomb of David Fifield in small: many entries, the same data.
    let mut members = alpha().all();
    let at = members
        .iter()
        .position(|member| member.name == b"alpha.py")
        .expect("a member");
    let (before, _) = parts(&members[..at]);
    let mut again = members[at].clone();
    again.offset = Some(u32::try_from(before.len()).expect("small"));
    again.local.absent = true;
    members.push(again);
    assert_eq!(
        refused(archive(&members)),
        "its member `alpha.py` shares bytes with another member"
    );
    // A member whose data are headers of others.
    let bytes = changed(|member| {
        member.method = 0;
        member.sizes = Some((400, 400));
    });
    assert!(
        refused(bytes).ends_with("shares bytes with another member"),
        "overlap"
    );
}

#[test]
fn what_unpacks_to_more_than_any_wheel_has_is_refused() {
    let mut members = alpha().all();
    for number in 0..9 {
        // Possible for deflate, as the directory tells it: the data are not there.
        let mut member = Member::new(format!("bomb{number}"), "");
        member.sizes = Some((u32::MAX - 1, 5 << 20));
        members.push(member);
    }
    assert_eq!(
        refused(archive(&members)),
        "its members have more than 34359738368 bytes together"
    );
    let (data, directory) = parts(&alpha().all());
    let large = end64(1 << 40, directory.len() as u64, data.len() as u64);
    let mut short = end(0, directory.len(), data.len(), b"");
    short[8..12].fill(0xff);
    assert_eq!(
        refused([&data[..], &directory, &large, &short].concat()),
        "it has 1099511627776 members, more than the 250000 that are read of a wheel"
    );
}

#[test]
fn a_directory_is_at_one_place_only() {
    let (data, directory) = parts(&alpha().all());
    let members = alpha().all().len();
    let good = end(members, directory.len(), data.len(), b"");
    let broken = |bytes: &[&[u8]]| refused(bytes.concat());
    let moved = "its central directory is broken: it does not lie where its end says: something was put before it, or behind";
    assert_eq!(broken(&[b"prefix", &data, &directory, &good]), moved);
    assert_eq!(broken(&[&data, &directory, b"between", &good]), moved);
    assert!(broken(&[&data, &directory, &good, b"suffix"]).starts_with("it is not a ZIP archive"));
    assert!(
        broken(&[&data, &directory, &good[..21]]).starts_with("it is not a ZIP archive"),
        "cut short"
    );
    let inner = end(0, 0, 0, b"");
    let two = end(members, directory.len(), data.len(), &inner);
    assert_eq!(
        broken(&[&data, &directory, &two]),
        "its end can be read in two ways: one end of a central directory lies in the comment of another"
    );
    let fewer = end(members - 1, directory.len(), data.len(), b"");
    assert_eq!(
        broken(&[&data, &directory, &fewer]),
        "its central directory is broken: it goes on behind its last member"
    );
    let more = end(members + 1, directory.len(), data.len(), b"");
    assert_eq!(
        broken(&[&data, &directory, &more]),
        "its central directory is broken: it ends before its last member"
    );
    let mut parts_of_several = good.clone();
    parts_of_several[4] = 1;
    assert_eq!(
        broken(&[&data, &directory, &parts_of_several]),
        "it is one part of several"
    );
    let large = end64(
        members as u64,
        directory.len() as u64,
        data.len() as u64 - 1,
    );
    assert_eq!(
        broken(&[&data, &directory, &large, &good]),
        "its central directory is broken: its end for large archives is broken"
    );
}
