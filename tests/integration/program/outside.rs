//! How the program behaves as a program: help, wrong usage, talk, pipes.

use std::io::Read as _;
use std::process::Stdio;

use insta::assert_snapshot;

use super::lay_base;
use crate::support::index_server::IndexServer;
use crate::support::program::Desk;

#[test]
fn alone_it_prints_help() {
    let desk = Desk::without_index();
    let alone = desk.run(&[]);
    assert_snapshot!(alone, @"
    status: 2
    ----- stderr
    Add Python packages to a container image, changing nothing that it has, or as little as possible

    Usage: imgtool [OPTIONS] <COMMAND>

    Commands:
      resolve  Find what must be added to a base, and what of it must change, so that requirements are
               met
      explain  Say why requirements do not fit a base, or why they come to just these versions
      build    Build an image: the base, and one new layer with what the requirements need
      lock     Write down what recipes come to, so that every later build comes to the same
      inspect  Show the Python environment of a base: its interpreter, and what is installed
      catalog  List, show and make snapshots of bases that are known by name
      cache    Show, measure and clear what is kept between runs
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version

    Global options:
      -q, --quiet          Say nothing on stderr but errors
      -v, --verbose        Say more on stderr
          --color <COLOR>  When to use colours [default: auto] [possible values: auto, always, never]

    Examples:
      imgtool resolve tfx:1.16.0 mlflow-skinny                   what to add, and why
      imgtool resolve tfx:1.16.0 mlflow-skinny -o pins.txt       the same as a file for pip, with hashes
      imgtool resolve tfx:1.x 'mlflow>=3'                        on the newest TFX that is known
      imgtool resolve tfx:1.16.0 mlflow==2.1.0 --policy minimal  with the fewest changes of the base
      imgtool resolve tfx:1.16.0 mlflow --frontier               what more changes would buy
      imgtool resolve dir:/opt/venv -r requirements.txt          on what this machine has
      imgtool explain tfx:1.16.0 mlflow==2.1.0                   why it does not fit
      imgtool build tfx:1.16.0 mlflow-skinny --dry-run           what an image of it would be
      imgtool build tfx:1.16.0 mlflow-skinny --tag registry.example/team/trainer:1 --push
      imgtool build images/tfx-mlflow.toml --locked --push       a recipe, exactly as it is locked
      imgtool lock images/tfx-mlflow.toml                        lock what the recipe comes to
      imgtool inspect docker://registry.example/team/base:2.1    what is installed in an image
      imgtool catalog list                                       the bases that are known by name

    Exit status: 0 done, or it fits; 1 it does not fit, and the reason is printed; 2 wrong usage or bad
    input; 3 a registry or the package index failed; 70 a bug in imgtool.
    ");
    assert_eq!(desk.run(&["--help"]).expect(0).stderr, "");
    desk.run(&["resolve", "--help"]).expect(0).says("--output");
    desk.run(&["--version"]).expect(0).says("imgtool ");
    assert_eq!(desk.names(), [""; 0], "help leaves nothing behind");
}

#[test]
fn wrong_usage_is_status_2_and_a_suggestion() {
    let desk = Desk::without_index();
    let error = |arguments: &[&str]| desk.run(arguments).one_error(2);
    assert_snapshot!(error(&["resolve", "--ofline", "tfx", "six"]), @"
    error: unexpected argument '--ofline' found

      tip: a similar argument exists: '--offline'

    Usage: imgtool resolve --offline <REFERENCE> [REQUIREMENT]...

    For more information, try '--help'.
    ");
    assert_snapshot!(error(&["resovle", "tfx", "six"]), @"
    error: unrecognized subcommand 'resovle'

      tip: a similar subcommand exists: 'resolve'

    Usage: imgtool [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(error(&["resolve"]), @"
    error: the following required arguments were not provided:
      <REFERENCE>

    Usage: imgtool resolve <REFERENCE> [REQUIREMENT]...

    For more information, try '--help'.
    ");
    assert_snapshot!(error(&["resolve", "tfx", "six", "--format", "yaml"]), @"
    error: invalid value 'yaml' for '--format <FORMAT>'
      [possible values: text, json, requirements, constraints, pylock]

    For more information, try '--help'.
    ");
    assert_snapshot!(error(&["resolve", "tfx", "six", "--offline", "--refresh"]), @"
    error: the argument '--offline' cannot be used with '--refresh'

    Usage: imgtool resolve --offline <REFERENCE> <REQUIREMENT>...

    For more information, try '--help'.
    ");
    assert_snapshot!(error(&["resolve", "tfx", "six", "--quiet", "--verbose"]), @"
    error: the argument '--quiet' cannot be used with '--verbose'

    Usage: imgtool resolve --quiet <REFERENCE> <REQUIREMENT>...

    For more information, try '--help'.
    ");
    assert_snapshot!(error(&["resolve", "tfx", "six", "--index-url", "files.invalid/simple"]), @"error: `files.invalid/simple` is not the address of a package index: it must begin with https:// or http://");
    assert_snapshot!(error(&["resolve", "tfx", "six", "--index-url", "ftp://files.invalid/simple"]), @"error: `ftp://files.invalid/simple` is not the address of a package index: it must begin with https:// or http://");
}

#[test]
fn quiet_says_nothing_but_errors_and_verbose_says_more() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "")
        .behaviour(|behaviour| behaviour.pep658 = true)
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("tool", "1.0", "Requires-Dist: gone")]);
    let plain = desk
        .resolve(&["dir:base", "alpha"])
        .expect(0)
        .tells("warning: ");
    let quiet = desk.resolve(&["dir:base", "alpha", "--quiet"]).expect(0);
    assert_eq!(quiet.stderr, "");
    assert_eq!(quiet.stdout, plain.stdout);
    let quiet = desk.resolve(&["-q", "dir:base", "alpha>=9"]).expect(1);
    assert_eq!(quiet.stderr, "");
    assert!(!quiet.stdout.is_empty(), "the explanation is the result");
    desk.resolve(&["dir:absent", "alpha", "-q"]).one_error(2);
    desk.resolve(&["dir:base", "alpha", "-v", "--refresh"])
        .expect(0)
        .tells("http requests: 1");
}

#[test]
fn a_closed_pipe_is_quiet() {
    let desk = Desk::without_index();
    for arguments in [
        &["resolve", "tfx:1.16.0", "tfx"][..],
        &["catalog", "show", "tfx:1.16.0", "--format", "json"],
        &["--help"],
    ] {
        let mut child = desk
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let mut stderr = String::new();
        let pipe = child.stderr.as_mut().expect("a pipe");
        pipe.read_to_string(&mut stderr).expect("read");
        let status = child.wait().expect("an end");
        assert!(
            status.code().is_some_and(|code| code < 2),
            "{arguments:?}: {status}"
        );
        assert!(!stderr.contains("error"), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panic"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn colours_are_for_who_asks() {
    let desk = Desk::without_index();
    let run = desk.resolve(&["tfx:1.16.0", "tfx"]).expect(0);
    assert!(!run.stdout.contains('\u{1b}'));
    let run = desk
        .resolve(&["tfx:1.16.0", "tfx", "--color", "always"])
        .expect(0);
    assert!(run.stdout.contains('\u{1b}'));
    for format in ["json", "requirements"] {
        let run = desk
            .resolve(&["tfx:1.16.0", "tfx", "--color", "always", "--format", format])
            .expect(0);
        assert!(!run.stdout.contains('\u{1b}'), "{format}");
    }
}

#[test]
fn arguments_that_are_not_utf_8_are_no_bug() {
    use std::os::unix::ffi::OsStringExt as _;
    let desk = Desk::without_index();
    let odd = std::ffi::OsString::from_vec(b"dir:\xff".to_vec());
    let output = desk
        .command(&["resolve"])
        .arg(&odd)
        .arg("six")
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    // A variable of the environment that is not UTF-8 is nobody's business.
    let output = desk
        .command(&["resolve", "tfx:1.16.0", "tfx"])
        .env("PIP_INDEX_URL", &odd)
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn text_of_strangers_cannot_steer_the_terminal() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel_file(
            "alpha-1.0-py3-none-any.whl",
            crate::support::wheel::metadata("alpha", "1.0", ""),
            serde_json::json!({"yanked": "\u{1b}[2Jbroken\nwarning: all is well"}),
        )
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    for arguments in [&["dir:base", "alpha"][..], &["dir:base", "alpha==1.0"]] {
        let run = desk.resolve(arguments);
        let all = format!("{}{}", run.stdout, run.stderr);
        assert!(!all.contains('\u{1b}'), "{all:?}");
        assert!(
            !all.lines().any(|line| line == "warning: all is well"),
            "{all:?}"
        );
    }
}

#[test]
fn two_that_run_at_once_share_a_cache() {
    let desk = Desk::recorded();
    let arguments = ["resolve", "tfx:1.16.0", "mlflow", "--format", "json"];
    let children: Vec<_> = (0..3)
        .map(|_| {
            desk.command(&arguments)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the program starts")
        })
        .collect();
    let outputs: Vec<_> = children
        .into_iter()
        .map(|child| child.wait_with_output().expect("an end"))
        .collect();
    for output in &outputs {
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stdout, outputs[0].stdout);
        assert_eq!(output.stderr, outputs[0].stderr);
    }
    let offline = desk.resolve_json(&["tfx:1.16.0", "mlflow", "--offline"]);
    assert_eq!(offline.bytes, outputs[0].stdout);
}
