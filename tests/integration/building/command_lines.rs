//! Command lines that cannot be: each is one clear error, and nothing is written.

use std::fmt::Write as _;

use insta::assert_snapshot;

use super::{Shop, short};

#[test]
fn a_command_line_that_cannot_be_is_one_error_with_a_hint() {
    let shop = Shop::new();
    let desk = &shop.desk;
    desk.write(
        "key.toml",
        "base = \"oci:base:1.0\"\nrequirement = [\"alpha\"]\n",
    );
    desk.write(
        "none.toml",
        "base = \"oci:base:1.0\"\nrequirements = [\"alpha\"]\n",
    );
    desk.write("broken.toml", "base = \"oci:base:1.0\n");
    desk.write("nobase.toml", "requirements = [\"alpha\"]\n");
    desk.write(
        "damaged.toml",
        "base = \"oci:base:1.0\"\nrequirements = [\"alpha\"]\n",
    );
    desk.write("damaged.lock", "version = 1\nquestion = 7\n");
    desk.write("pylock.toml", "lock-version = \"9.0\"\n");
    std::fs::create_dir(desk.path("folder")).expect("a folder");
    std::fs::create_dir(desk.path("empty.whl")).expect("a folder");
    let names = desk.names();
    let mut told = String::new();
    for words in [
        "oci:base:1.0 alpha",
        "oci:base:1.0 alpha -t registry.example/x:1",
        "oci:base:1.0 alpha --push",
        "oci:base:1.0 alpha -t Registry.example/X:1 --push",
        "oci:base:1.0 alpha -t registry.example/x@sha256:0000000000000000000000000000000000000000000000000000000000000000 --push",
        "oci:base:1.0 alpha -o out",
        "oci:base:1.0 alpha -o tar:out",
        "oci:base:1.0 alpha -o oci:out:@0",
        "oci:base:1.0 alpha -o docker-daemon:x:1",
        "oci:base:1.0 alpha -o oci-archive:-",
        "oci:base:1.0 alpha -o docker-archive:out.tar:UPPER:1",
        "oci:missing alpha -o oci:out",
        "oci:base:2.0 alpha -o oci:out",
        "dir:folder alpha -o oci:out",
        "oci:base:1.0 nothing-like-it -o oci:out",
        "oci:base:1.0 alpha -o oci:out --compression xz",
        "oci:base:1.0 alpha -o oci:out --compression gzip:11",
        "oci:base:1.0 alpha -o oci:out --cmd [1]",
        "oci:base:1.0 -o oci:out --env =x",
        "oci:base:1.0 -o oci:out --env A",
        "oci:base:1.0 alpha -o oci:out --locked",
        "oci:base:1.0 alpha -o oci:out --platform windows",
        "oci:base:1.0 alpha -o oci:out --platform linux/arm64",
        "oci:base:1.0 alpha -o oci:out --platform linux/amd64 --platform linux/amd64",
        "oci:base:1.0 alpha -o oci:out --attach sboms",
        "oci:base:1.0 alpha -o oci:out --load=buildah",
        "oci:base:1.0 alpha -o oci:out --wheel missing.whl",
        "oci:base:1.0 alpha -o oci:out --wheel empty.whl",
        "oci:base:1.0 alpha -r pylock.toml -o oci:out",
        "oci:base:1.0 -r pylock.toml -o oci:out",
        "oci:base:1.0 -r missing.txt -o oci:out",
        "key.toml -o oci:out",
        "broken.toml -o oci:out",
        "nobase.toml -o oci:out",
        "missing.toml -o oci:out",
        "none.toml -o oci:out --locked",
        "none.toml alpha -o oci:out",
        "damaged.toml -o oci:out",
        "oci:base:1.0 alpha --load=docker",
    ] {
        let list: Vec<&str> = words.split(' ').collect();
        let run = desk.build(&list);
        assert_ne!(run.status, 0, "{words}");
        assert!(
            run.stderr.contains("error: ") || run.status == 1,
            "{words}\n{run}"
        );
        let _ = writeln!(told, "$ imgtool build {words}\n{run}");
    }
    assert_eq!(desk.names(), names, "nothing is written");
    assert_snapshot!(short(&told));
}
