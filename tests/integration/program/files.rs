//! Files that the user names: requirements and constraints that are read, the output that is written.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use insta::assert_snapshot;

use super::lay_base;
use crate::support::index_server::{IndexServer, sha256};
use crate::support::program::Desk;

fn index() -> IndexServer {
    IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: beta")
        .wheel("1.1", "Requires-Dist: beta")
        .project("beta")
        .wheel("1.0", "")
        .wheel("2.0", "")
        .start()
}

fn desk(index: &IndexServer) -> Desk {
    let desk = Desk::at(index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    desk
}

fn mode(desk: &Desk, name: &str) -> u32 {
    let metadata = std::fs::metadata(desk.path(name)).expect("a file");
    metadata.permissions().mode() & 0o7777
}

#[test]
fn requirements_and_constraints_are_read_with_all_that_they_include() {
    let index = index();
    let desk = desk(&index);
    desk.write(
        "deep/more.txt",
        "beta \\\n  >=1  # a comment\n-c bounds.txt\n",
    );
    desk.write("deep/bounds.txt", "beta<2\n");
    desk.write(
        "main.txt",
        "# what we need\n-r deep/more.txt\nalpha ; python_version < '3.11'\ngone ; os_name == 'nt'\n",
    );
    let run = desk
        .resolve_json(&["dir:base", "-r", "main.txt"])
        .expect(0)
        .tells("note: `gone ; os_name == 'nt'` does not apply");
    assert_eq!(run.pins(), ["alpha==1.1", "beta==1.0"]);
    // Arguments come first, then files; each conflict names its place.
    desk.write("never.txt", "alpha<1.1\n");
    assert_snapshot!(desk.resolve(&["dir:base", "alpha>=1.1", "-r", "never.txt"]), @"
    status: 1
    ----- stdout
    alpha>=1.1 and alpha<1.1 cannot be added to dir:base:

      1. you ask for alpha>=1.1
      2. never.txt:1 asks for alpha<1.1

    What would fit (found by solving)
      alpha 1.1, the newest that fits: imgtool resolve dir:base alpha==1.1 -i [INDEX]/simple/

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_line() {
    let index = index();
    let desk = desk(&index);
    desk.write("bad.txt", "alpha\n\nbeta >= banana\n");
    desk.write("loop.txt", "-r loop.txt\n");
    desk.write("outer.txt", "-r missing.txt\n");
    desk.write("nothing.txt", "# nothing\n");
    desk.write("extras.txt", "alpha[fast]<2\n");
    desk.write("local.txt", "alpha\n./beta\n");
    desk.write("editable.txt", "-e ./beta\n");
    desk.write(
        "url.txt",
        "alpha @ https://files.invalid/alpha-1.0-py3-none-any.whl\n",
    );
    desk.write("option.txt", "--no-such-option\nalpha\n");
    std::fs::copy(env!("CARGO_BIN_EXE_imgtool"), desk.path("binary.txt")).expect("copied");
    let error = |arguments: &[&str]| {
        desk.resolve(&[&["dir:base"], arguments].concat())
            .one_error(2)
    };
    assert_snapshot!(error(&["-r", "bad.txt"]), @"error: `bad.txt` line 3: `beta >= banana` is not a requirement: expected version to start with a number, but no leading ASCII digits were found");
    assert_snapshot!(error(&["-r", "loop.txt"]), @"error: `loop.txt` includes itself");
    assert_snapshot!(error(&["-r", "absent.txt"]), @"error: cannot read `absent.txt`: No such file or directory (os error 2)");
    assert_snapshot!(error(&["-r", "outer.txt"]), @"error: `outer.txt` line 1: cannot read `missing.txt`: No such file or directory (os error 2)");
    assert_snapshot!(error(&["-r", "nothing.txt"]), @"
    error: nothing to resolve: no requirement was given
    hint: name what you need, such as `imgtool resolve tfx:1.16.0 mlflow-skinny`, or a file of requirements with `-r`
    ");
    assert_snapshot!(error(&["alpha", "-c", "extras.txt"]), @"error: `extras.txt` line 1: `alpha[fast]<2`: a constraint cannot have extras");
    assert_snapshot!(error(&["alpha", "-c", "absent.txt"]), @"error: cannot read `absent.txt`: No such file or directory (os error 2)");
    assert_snapshot!(error(&["-r", "local.txt"]), @"error: `local.txt` line 2: `./beta` is a path or an address, not a version on an index");
    assert_snapshot!(error(&["-r", "editable.txt"]), @"error: `editable.txt` line 1: `./beta` is a path or an address, not a version on an index");
    assert_snapshot!(error(&["-r", "url.txt"]), @"error: `url.txt` line 1: `alpha @ https://files.invalid/alpha-1.0-py3-none-any.whl` is a path or an address, not a version on an index");
    assert_snapshot!(error(&["-r", "option.txt"]), @"error: `option.txt` line 1: the option `--no-such-option` is not supported in a requirements file");
    assert_snapshot!(error(&["-r", "base"]), @"error: cannot read `base`: Is a directory (os error 21)");
    assert_snapshot!(error(&["-r", "binary.txt"]), @"error: cannot read `binary.txt`: stream did not contain valid UTF-8");
}

#[test]
fn hashes_of_a_requirements_file_are_not_compared_and_that_is_told() {
    let index = index();
    let desk = desk(&index);
    let hash = "0".repeat(64);
    desk.write("pinned.txt", &format!("beta==1.0 --hash=sha256:{hash}\n"));
    desk.resolve(&["dir:base", "-r", "pinned.txt"])
        .expect(0)
        .tells("warning: `pinned.txt` has hashes for 1 of its requirements: they are not compared, those of the index are written");
}

#[test]
fn the_index_that_a_requirements_file_names_is_asked() {
    let index = index();
    let desk = Desk::without_index();
    lay_base(&desk, &[]);
    desk.write(
        "main.txt",
        &format!("--index-url {}\nbeta\n", index.index_url()),
    );
    let run = desk.resolve_json(&["dir:base", "-r", "main.txt"]).expect(0);
    assert_eq!(run.pins(), ["beta==2.0"]);
}

#[test]
fn the_output_pins_what_comes_in_by_the_hashes_of_the_index() {
    let index = index();
    let desk = desk(&index);
    let run = desk
        .resolve(&["dir:base", "alpha", "-o", "pins.txt"])
        .expect(0)
        .says("alpha 1.1 fits dir:base");
    assert_eq!(run.stderr, "");
    let mut expected = Vec::new();
    index.change_projects(|projects| {
        for (project, position) in [("alpha", 1), ("beta", 1)] {
            let bytes = projects[project][position].bytes.as_ref().expect("a wheel");
            expected.push(format!("    --hash=sha256:{}", sha256(bytes)));
        }
    });
    let text = desk.read("pins.txt");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        ["alpha==1.1 \\", &expected[0], "beta==2.0 \\", &expected[1]]
    );
    let stdout = desk.resolve(&["dir:base", "alpha", "--format", "requirements"]);
    assert_eq!(stdout.stdout, text);
    assert_eq!(desk.names(), ["base", "pins.txt"]);
}

#[test]
fn every_wheel_that_fits_is_in_the_output() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel_file(
            "alpha-1.0-cp310-cp310-manylinux_2_17_x86_64.whl",
            crate::support::wheel::metadata("alpha", "1.0", ""),
            serde_json::json!({}),
        )
        .wheel("1.0", "")
        .wheel_file(
            "alpha-1.0-cp310-cp310-win_amd64.whl",
            crate::support::wheel::metadata("alpha", "1.0", ""),
            serde_json::json!({}),
        )
        .start();
    let desk = desk(&index);
    let run = desk
        .resolve(&["dir:base", "alpha", "--format", "requirements"])
        .expect(0);
    let hashes = run.stdout.matches("--hash=sha256:").count();
    assert_eq!(hashes, 2, "the one for Windows is not\n{run}");
    let json = desk.resolve_json(&["dir:base", "alpha"]).json();
    assert_eq!(
        json["added"][0]["wheel"]["filename"],
        "alpha-1.0-cp310-cp310-manylinux_2_17_x86_64.whl"
    );
    assert_eq!(json["added"][0]["sha256"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_index_without_hashes_gives_no_requirements_file() {
    let index = index();
    index.change(|behaviour| behaviour.no_hashes = true);
    let desk = desk(&index);
    desk.resolve(&["dir:base", "beta"]).expect(0);
    let run = desk.resolve(&["dir:base", "beta", "-o", "pins.txt"]);
    assert_snapshot!(run.one_error(2), @"
    error: the index gives no sha256 for beta-2.0-py3-none-any.whl, so beta cannot be pinned by hash
    hint: `--format json` has the resolution without hashes
    ");
    assert_eq!(desk.names(), ["base"]);
    desk.resolve(&["dir:base", "beta", "-o", "pins.json"])
        .expect(0);
}

#[test]
fn a_name_that_ends_in_json_gives_json() {
    let index = index();
    let desk = desk(&index);
    desk.resolve(&["dir:base", "alpha", "-o", "answer.json"])
        .expect(0);
    let written: serde_json::Value = serde_json::from_str(&desk.read("answer.json")).expect("JSON");
    assert_eq!(written, desk.resolve_json(&["dir:base", "alpha"]).json());
    // As its name says, whatever the case of its letters.
    desk.resolve(&["dir:base", "alpha", "-o", "ANSWER.JSON"])
        .expect(0);
    assert_eq!(desk.read("ANSWER.JSON"), desk.read("answer.json"));
}

#[test]
fn what_does_not_fit_leaves_the_file_as_it_was() {
    let index = index();
    let desk = desk(&index);
    desk.write("pins.txt", "precious\n");
    desk.resolve(&["dir:base", "alpha>=9", "-o", "pins.txt"])
        .expect(1)
        .tells("note: `pins.txt` is left as it was: there is nothing to install");
    assert_eq!(desk.read("pins.txt"), "precious\n");
    desk.resolve(&["dir:base", "alpha>=9", "-o", "none.txt"])
        .expect(1)
        .tells("note: `none.txt` is not written: there is nothing to install");
    desk.resolve(&["dir:absent", "alpha", "-o", "pins.txt"])
        .one_error(2);
    assert_eq!(desk.read("pins.txt"), "precious\n");
    assert_eq!(desk.names(), ["base", "pins.txt"]);
}

#[test]
fn what_cannot_be_written_is_one_error_and_leaves_nothing() {
    let index = index();
    let desk = desk(&index);
    desk.write("folder/keep.txt", "");
    desk.write("file", "");
    let error = |path: &str| desk.resolve(&["dir:base", "beta", "-o", path]).one_error(2);
    assert_snapshot!(error("absent/pins.txt"), @"
    error: cannot write `absent/pins.txt`: No such file or directory (os error 2)
    hint: the folder of the file must exist
    ");
    assert_snapshot!(error("folder"), @"error: cannot write `folder`: is a directory");
    assert_snapshot!(error("file/pins.txt"), @"
    error: cannot write `file/pins.txt`: Not a directory (os error 20)
    hint: the folder of the file must exist
    ");
    assert_snapshot!(error(""), @"
    error: a value is required for '--output <FILE>' but none was supplied

    For more information, try '--help'.
    ");
    let folder = desk.path("folder");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).expect("set");
    // Root may write everywhere.
    if std::fs::File::create(folder.join("probe")).is_err() {
        assert_snapshot!(error("folder/pins.txt"), @"error: cannot write `folder/pins.txt`: Permission denied (os error 13)");
    }
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).expect("set");
    assert_eq!(desk.names(), ["base", "file", "folder"]);
    assert!(!folder.join("pins.txt").exists());
}

#[test]
fn a_full_disk_is_one_error() {
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let index = index();
    let desk = desk(&index);
    let run = desk.resolve(&["dir:base", "beta", "-o", "/dev/full"]);
    assert_snapshot!(run.one_error(2), @"error: cannot write `/dev/full`: No space left on device (os error 28)");
    let file = std::fs::File::options()
        .write(true)
        .open(full)
        .expect("a device");
    let output = desk
        .command(&["resolve", "dir:base", "beta"])
        .stdout(file)
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_snapshot!(stderr, @"error: cannot write to stdout: No space left on device (os error 28)");
}

#[test]
fn the_umask_rules_the_mode_of_a_new_file_and_an_old_one_keeps_its_own() {
    let index = index();
    let mut desk = desk(&index);
    for (umask, expected) in [("022", 0o644), ("077", 0o600), ("002", 0o664)] {
        desk.set_umask(umask);
        let name = format!("pins-{umask}.txt");
        desk.resolve(&["dir:base", "beta", "-o", &name]).expect(0);
        assert_eq!(mode(&desk, &name), expected, "umask {umask}");
    }
    desk.write("old.txt", "");
    let permissions = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(desk.path("old.txt"), permissions).expect("set");
    desk.resolve(&["dir:base", "beta", "-o", "old.txt"])
        .expect(0);
    assert_eq!(mode(&desk, "old.txt"), 0o640);
}

#[test]
fn a_link_stays_a_link_and_a_pipe_is_written_to() {
    let index = index();
    let desk = desk(&index);
    desk.write("real/pins.txt", "old\n");
    symlink("real/pins.txt", desk.path("link.txt")).expect("a link");
    desk.resolve(&["dir:base", "beta", "-o", "link.txt"])
        .expect(0);
    assert!(desk.path("link.txt").is_symlink());
    assert!(desk.read("real/pins.txt").contains("beta==2.0"));
    symlink("real/new.txt", desk.path("dangling.txt")).expect("a link");
    desk.resolve(&["dir:base", "beta", "-o", "dangling.txt"])
        .expect(0);
    assert!(desk.path("dangling.txt").is_symlink(), "still a link");
    assert!(desk.read("real/new.txt").contains("beta==2.0"));
    let run = desk
        .resolve(&["dir:base", "beta", "-o", "/dev/null"])
        .expect(0);
    assert_eq!(run.stderr, "");
}

#[test]
fn a_file_of_another_system_is_read_like_one_of_ours() {
    let index = index();
    let desk = desk(&index);
    desk.write(
        "windows.txt",
        "\u{feff}# a comment\r\nalpha<1.1\r\n\r\nbeta \\\r\n  ==1.0 ; python_version >= '3'\r\n",
    );
    let run = desk
        .resolve_json(&["dir:base", "-r", "windows.txt"])
        .expect(0);
    assert_eq!(run.pins(), ["alpha==1.0", "beta==1.0"]);
    // The same file twice, and one that is included twice, are no loop.
    desk.write("both.txt", "-r windows.txt\n-r windows.txt\n");
    let again = desk
        .resolve_json(&["dir:base", "-r", "both.txt", "-r", "windows.txt"])
        .expect(0);
    assert_eq!(again.pins(), ["alpha==1.0", "beta==1.0"]);
}

#[test]
fn swapped_arguments_and_a_dash_for_a_file_are_told() {
    let index = index();
    let desk = desk(&index);
    desk.resolve(&["beta", "tfx:1.16.0"])
        .expect(2)
        .tells("hint: the base comes first, then what is required of it");
    desk.resolve(&["dir:base", "beta", "-o", "-"])
        .expect(2)
        .tells("error: cannot write `-`: `--format` says what is written to stdout");
}
