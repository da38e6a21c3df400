//! `imgtool cache`: where it lies, how large it is, and that nothing of anybody else's is touched.

use std::fs::FileTimes;
use std::time::{Duration, SystemTime};

use insta::assert_snapshot;

use crate::support::index_server::IndexServer;
use crate::support::program::Desk;

/// Gives a file the age of so many days.
fn age(desk: &Desk, name: &str, days: u64) {
    let file = std::fs::File::options()
        .write(true)
        .open(desk.path(name))
        .expect("a file");
    let time = modified(desk, name) - Duration::from_secs(days * 86_400);
    file.set_times(FileTimes::new().set_accessed(time).set_modified(time))
        .expect("set");
}

fn modified(desk: &Desk, name: &str) -> SystemTime {
    let metadata = std::fs::metadata(desk.path(name)).expect("a file");
    metadata.modified().expect("a time")
}

/// A cache with an entry of each kind, one of them old, and what kills and former versions left behind.
fn desk() -> Desk {
    let desk = Desk::without_index();
    for (name, days) in [
        ("cache/package-index-v1/pages/ab/new", 0),
        ("cache/package-index-v1/pages/ab/old", 31),
        ("cache/package-index-v1/metadata/cd/one", 1),
        ("cache/package-index-v1/contents/ef/.new-1", 2),
        ("cache/package-index-v1/contents/ef/.new-2", 0),
        ("cache/package-index-v0/pages/x", 0),
        ("cache/layers-v2/sha256/ab", 0),
        ("cache/layers-v3/sha256/ab", 0),
        ("cache/.imgtool-removed-x/y/z", 0),
    ] {
        desk.write(name, "0123456789");
        age(&desk, name, days);
    }
    desk
}

fn left(desk: &Desk, folder: &str) -> Vec<String> {
    let mut left = Vec::new();
    let mut waiting = vec![desk.path(folder)];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(desk.path(folder)).expect("inside");
                left.push(name.display().to_string());
            }
        }
    }
    left.sort();
    left
}

#[test]
fn the_folder_is_the_one_that_other_verbs_use() {
    let mut desk = Desk::without_index();
    assert_snapshot!(desk.run(&["cache", "dir"]), @"
    status: 0
    ----- stdout
    [DESK]/home/cache/imgtool
    ");
    assert_snapshot!(desk.run(&["cache", "dir", "--cache-dir", "here", "--format", "json"]), @r#"
    status: 0
    ----- stdout
    {
      "schema": "imgtool.cache-dir/v1",
      "folder": "here"
    }
    "#);
    desk.set("IMGTOOL_CACHE_DIR", "/elsewhere");
    assert_eq!(desk.run(&["cache", "dir"]).expect(0).stdout, "/elsewhere\n");
}

#[test]
fn sizes_are_told_by_kind() {
    let desk = desk();
    assert_snapshot!(desk.run(&["cache", "size", "--cache-dir", "cache"]), @"
    status: 0
    ----- stdout
    cache: 90 B in 9 files

    what                                   files  size
    pages of the package index                 2  20 B
    metadata of wheels                         1  10 B
    inventories of layers                      1  10 B
    files of a newer imgtool                   1  10 B
    temporary files                            2  20 B
    files that this version does not read      2  20 B
    total                                      9  90 B
    ");
    assert_snapshot!(desk.run(&["cache", "size", "--cache-dir", "cache", "--format", "json"]), @r#"
    status: 0
    ----- stdout
    {
      "schema": "imgtool.cache-size/v1",
      "folder": "cache",
      "parts": [
        {
          "name": "index-pages",
          "description": "pages of the package index",
          "files": 2,
          "size": 20
        },
        {
          "name": "wheel-metadata",
          "description": "metadata of wheels",
          "files": 1,
          "size": 10
        },
        {
          "name": "wheel-contents",
          "description": "contents of wheels",
          "files": 0,
          "size": 0
        },
        {
          "name": "wheels",
          "description": "wheels",
          "files": 0,
          "size": 0
        },
        {
          "name": "wheel-hashes",
          "description": "hashes of wheels",
          "files": 0,
          "size": 0
        },
        {
          "name": "layer-inventories",
          "description": "inventories of layers",
          "files": 1,
          "size": 10
        },
        {
          "name": "image-documents",
          "description": "manifests and configurations of images",
          "files": 0,
          "size": 0
        },
        {
          "name": "other",
          "description": "files of a newer imgtool",
          "files": 1,
          "size": 10
        },
        {
          "name": "temporary-files",
          "description": "temporary files",
          "files": 2,
          "size": 20
        },
        {
          "name": "former-formats",
          "description": "files that this version does not read",
          "files": 2,
          "size": 20
        }
      ],
      "total": {
        "files": 9,
        "size": 90
      }
    }
    "#);
    assert_snapshot!(desk.run(&["cache", "size"]), @"
    status: 0
    ----- stdout
    [DESK]/home/cache/imgtool: empty
    ");
}

#[test]
fn what_is_old_or_useless_is_pruned() {
    let desk = desk();
    assert_snapshot!(desk.run(&["cache", "prune", "--cache-dir", "cache"]), @"
    status: 0
    ----- stdout
    removed 40 B in 4 files from cache

    what                                   files  size
    pages of the package index                 1  10 B
    temporary files                            1  10 B
    files that this version does not read      2  20 B
    total                                      4  40 B
    ");
    assert_eq!(
        left(&desk, "cache"),
        [
            "layers-v2/sha256/ab",
            "layers-v3/sha256/ab",
            "package-index-v1/contents/ef/.new-2",
            "package-index-v1/metadata/cd/one",
            "package-index-v1/pages/ab/new"
        ]
    );
    assert_snapshot!(desk.run(&["cache", "prune", "--cache-dir", "cache"]), @"
    status: 0
    ----- stdout
    nothing to remove from cache
    ");
    desk.run(&["cache", "prune", "--days", "0", "--cache-dir", "cache"])
        .expect(0)
        .says("removed 40 B in 4 files");
    assert_eq!(
        left(&desk, "cache"),
        ["package-index-v1/contents/ef/.new-2"]
    );
}

#[test]
fn all_of_ours_is_cleaned_and_nothing_else() {
    let desk = desk();
    desk.write("cache/mine.txt", "kept");
    desk.write("cache/layers/mine.txt", "kept");
    desk.write("outside/kept.txt", "kept");
    std::os::unix::fs::symlink(
        "../../../outside",
        desk.path("cache/package-index-v1/pages/out"),
    )
    .expect("a link");
    std::os::unix::fs::symlink("../outside", desk.path("cache/layers-v4")).expect("a link");
    assert_snapshot!(desk.run(&["cache", "clean", "--cache-dir", "cache"]), @"
    status: 0
    ----- stdout
    removed 90 B in 9 files from cache

    what                                   files  size
    pages of the package index                 2  20 B
    metadata of wheels                         1  10 B
    inventories of layers                      1  10 B
    files of a newer imgtool                   1  10 B
    temporary files                            2  20 B
    files that this version does not read      2  20 B
    total                                      9  90 B
    ----- stderr
    note: `cache/layers-v4` is not a folder and is left alone
    ");
    assert_eq!(desk.read("outside/kept.txt"), "kept");
    assert_eq!(desk.read("cache/mine.txt"), "kept");
    assert_eq!(desk.read("cache/layers/mine.txt"), "kept");
    assert!(!desk.path("cache/package-index-v1").exists());
    assert!(!desk.path("cache/layers-v2").exists());
    std::fs::remove_file(desk.path("cache/layers-v4")).expect("a link");
    assert_eq!(left(&desk, "cache"), ["layers/mine.txt", "mine.txt"]);
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let desk = Desk::without_index();
    desk.write("documents/letter.txt", "dear");
    desk.write(
        "tagged/CACHEDIR.TAG",
        "Signature: 8a477f597d28d172789f06886806bc55\n",
    );
    for verb in ["size", "prune", "clean"] {
        for folder in ["documents", "tagged"] {
            desk.run(&["cache", verb, "--cache-dir", folder])
                .one_error(2);
        }
    }
    assert_snapshot!(desk.run(&["cache", "clean", "--cache-dir", "documents"]).one_error(2), @"
    error: `documents` is not a cache of imgtool, so nothing in it is touched
    hint: a cache holds `package-index-v1`, `layers-v2`, `image-documents-v1` or a CACHEDIR.TAG of imgtool; `imgtool cache dir` says where yours lies
    ");
    assert_eq!(desk.read("documents/letter.txt"), "dear");
    assert_snapshot!(desk.run(&["cache", "clean", "--cache-dir", "documents/letter.txt"]).one_error(2), @"error: cannot read `documents/letter.txt`: Not a directory (os error 20)");
    std::fs::create_dir(desk.path("empty")).expect("a folder");
    for folder in ["empty", "absent"] {
        let run = desk
            .run(&["cache", "clean", "--cache-dir", folder])
            .expect(0);
        assert_eq!(run.stdout, format!("nothing to remove from {folder}\n"));
    }
    assert!(!desk.path("absent").exists());
}

#[test]
fn the_cache_of_a_resolution_is_marked_measured_and_cleaned() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "")
        .behaviour(|behaviour| behaviour.pep658 = true)
        .start();
    let desk = Desk::at(&index);
    super::lay_base(&desk, &[]);
    let resolve = || desk.resolve(&["dir:base", "alpha"]).expect(0);
    resolve();
    let cache = "home/cache/imgtool";
    assert!(left(&desk, cache).contains(&"CACHEDIR.TAG".to_owned()));
    let json = desk
        .run(&["cache", "size", "--format", "json"])
        .expect(0)
        .json();
    assert_eq!(json["parts"][0]["name"], "index-pages");
    assert_eq!(json["parts"][0]["files"], 1);
    assert_eq!(json["parts"][1]["name"], "wheel-metadata");
    assert_eq!(json["parts"][1]["files"], 1);
    desk.run(&["cache", "clean"]).expect(0).says("removed");
    assert_eq!(left(&desk, cache), [""; 0]);
    desk.run(&["cache", "clean"])
        .expect(0)
        .says("nothing to remove");
    resolve();
    assert!(left(&desk, cache).contains(&"CACHEDIR.TAG".to_owned()));
}

#[test]
fn clearing_beside_running_processes_harms_nobody() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: beta")
        .project("beta")
        .wheel("2.0", "")
        .start();
    let desk = Desk::at(&index);
    super::lay_base(&desk, &[]);
    std::thread::scope(|scope| {
        for verb in [&["clean"][..], &["prune", "--days", "0"], &["clean"]] {
            let desk = &desk;
            scope.spawn(move || {
                for _ in 0..15 {
                    desk.run(&[&["cache"], verb].concat()).expect(0);
                    desk.run(&["cache", "size"]).expect(0);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let run = desk.resolve_json(&["dir:base", "alpha"]).expect(0);
                    assert_eq!(run.pins(), ["alpha==1.0", "beta==2.0"]);
                }
            });
        }
    });
    desk.run(&["cache", "clean"]).expect(0);
    assert_eq!(left(&desk, "home/cache/imgtool"), [""; 0]);
}
