//! What the layer holds: the base and the plan, and nothing else.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::json;

use super::{Built, Shop, index, short, wheel, wheels};
use crate::support::base_image::{self, Files, SITE, system};
use crate::support::image::{Packing, TestLayer, file, write_layout};
use crate::support::registry::RegistryServer;

fn contents(built: &Built) -> BTreeMap<String, super::Entry> {
    built.last().into_iter().collect()
}

/// The paths of `after` that `before` does not have or has otherwise, and those that are gone, with a minus.
fn changes(before: &Built, after: &Built) -> Vec<String> {
    let mut changed: Vec<String> = after
        .tree
        .iter()
        .filter(|(path, what)| before.tree.get(*path) != Some(what))
        .map(|(path, _)| path.clone())
        .collect();
    let gone = before
        .tree
        .keys()
        .filter(|path| !after.tree.contains_key(*path));
    changed.extend(gone.map(|path| format!("-{path}")));
    changed
}

#[test]
#[expect(clippy::too_many_lines, reason = "one image, looked at from all sides")]
fn the_image_is_the_base_and_the_wheels_as_pip_puts_them() {
    let shop = Shop::new();
    shop.out(&["alpha"]);
    let (before, after) = (shop.image("base"), shop.image("out"));
    let site = |path: &str| format!("{SITE}/{path}");
    let expected: Vec<String> = [
        "opt/conda/bin/alpha",
        "opt/conda/bin/alpha-run",
        "opt/conda/include",
        "opt/conda/include/python3.10",
        "opt/conda/include/python3.10/alpha",
        "opt/conda/include/python3.10/alpha/alpha.h",
        "opt/conda/lib/alpha.so",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain(
        [
            "alpha",
            "alpha-1.0.dist-info",
            "alpha-1.0.dist-info/INSTALLER",
            "alpha-1.0.dist-info/METADATA",
            "alpha-1.0.dist-info/RECORD",
            "alpha-1.0.dist-info/REQUESTED",
            "alpha-1.0.dist-info/WHEEL",
            "alpha-1.0.dist-info/entry_points.txt",
            "alpha/__init__.py",
            "beta",
            "beta-1.0.dist-info",
            "beta-1.0.dist-info/INSTALLER",
            "beta-1.0.dist-info/METADATA",
            "beta-1.0.dist-info/RECORD",
            "beta-1.0.dist-info/WHEEL",
            "beta/__init__.py",
            "google/alpha",
            "google/alpha/__init__.py",
        ]
        .map(site),
    )
    .chain(
        [
            "opt/conda/share",
            "opt/conda/share/alpha",
            "opt/conda/share/alpha/alpha.txt",
        ]
        .map(str::to_owned),
    )
    .collect();
    assert_eq!(changes(&before, &after), expected);

    let text = |path: &str| after.tree[path].trim_start_matches("f:").to_owned();
    let script = text("opt/conda/bin/alpha");
    assert!(script.starts_with("#!/opt/conda/bin/python3\n"), "{script}");
    assert_eq!(
        text("opt/conda/bin/alpha-run"),
        "#!/opt/conda/bin/python3\nimport alpha\n"
    );
    assert_eq!(text(&site("alpha-1.0.dist-info/REQUESTED")), "");
    assert!(
        !text(&site("alpha-1.0.dist-info/INSTALLER"))
            .trim()
            .is_empty()
    );
    let record = text(&site("alpha-1.0.dist-info/RECORD"));
    let names: Vec<&str> = record
        .lines()
        .map(|line| line.split(',').next().expect("a path"))
        .collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(names, sorted);
    for path in [
        "../../../bin/alpha",
        "../../../include/python3.10/alpha/alpha.h",
        "../../../share/alpha/alpha.txt",
        "alpha/__init__.py",
        "google/alpha/__init__.py",
        "alpha-1.0.dist-info/REQUESTED",
    ] {
        assert!(names.contains(&path), "{path} in {record}");
    }
    // Every row that has a hash has the right one.
    for line in record.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let [file, stated, length] = fields[..] else {
            panic!("{line}");
        };
        if file.ends_with("RECORD") {
            assert_eq!((stated, length), ("", ""));
            continue;
        }
        let absolute = match file.strip_prefix("../../../") {
            Some(path) => format!("opt/conda/{}", path.replace("lib64/", "lib/")),
            None => site(file),
        };
        let contents = text(&absolute);
        assert_eq!(length, contents.len().to_string(), "{file}");
        let digest = imgtool::digest::sha256(contents.as_bytes())
            .digest()
            .to_owned();
        let bytes: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&digest[2 * at..2 * at + 2], 16).expect("hex"))
            .collect();
        let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(stated, format!("sha256={encoded}"), "{file}");
    }
}

#[test]
fn folders_keep_mode_and_owner_and_links_of_the_base_stay() {
    let shop = Shop::new();
    shop.out(&["alpha"]);
    let built = shop.image("out");
    let layer = contents(&built);
    for (path, mode, owner) in [
        ("opt", 0o755, (0, 0)),
        ("opt/conda", 0o2775, (1000, 100)),
        ("opt/conda/bin", 0o2775, (1000, 100)),
        ("opt/conda/lib/python3.10", 0o2770, (1000, 100)),
        (SITE, 0o2775, (1000, 200)),
    ] {
        let entry = &layer[path];
        assert_eq!(
            (entry.kind, entry.mode, entry.owner),
            ('d', mode, owner),
            "{path}"
        );
    }
    let alpha = &layer[&format!("{SITE}/alpha/__init__.py")];
    assert_eq!((alpha.mode, alpha.owner), (0o644, (1000, 200)));
    let script = &layer["opt/conda/bin/alpha"];
    assert_eq!((script.mode & 0o7777, script.owner), (0o755, (1000, 100)));
    for link in ["lib", "lib64", "bin", "opt/conda/lib64"] {
        assert!(!layer.contains_key(link), "{link}");
        assert!(built.tree[link].starts_with("l:"), "{link}");
    }
    for entry in layer.values() {
        assert_eq!(entry.modified, base_image::CREATED.1);
    }
    // What lies in a folder comes behind it.
    let order: Vec<String> = built.last().into_iter().map(|(path, _)| path).collect();
    for (at, path) in order.iter().enumerate() {
        if let Some((folder, _)) = path.rsplit_once('/')
            && let Some(of_folder) = order.iter().position(|other| other == folder)
        {
            assert!(of_folder < at, "{path}");
        }
    }
}

#[test]
fn what_is_replaced_or_removed_leaves_with_all_that_was_its_own() {
    let shop = Shop::new();
    shop.out(&["gamma", "--policy", "minimal", "--allow-remove", "tool"]);
    let (before, after) = (shop.image("base"), shop.image("out"));
    let gone: Vec<String> = changes(&before, &after)
        .into_iter()
        .filter(|change| change.starts_with('-'))
        .map(|change| change.replace(SITE, "SITE"))
        .collect();
    assert_eq!(
        gone,
        [
            "-opt/conda/bin/tool",
            "-SITE/__pycache__",
            "-SITE/__pycache__/six.cpython-310.pyc",
            "-SITE/six-1.16.0.dist-info",
            "-SITE/six-1.16.0.dist-info/INSTALLER",
            "-SITE/six-1.16.0.dist-info/METADATA",
            "-SITE/six-1.16.0.dist-info/RECORD",
            "-SITE/six_old",
            "-SITE/six_old/__init__.py",
            "-SITE/tool",
            "-SITE/tool-1.0.dist-info",
            "-SITE/tool-1.0.dist-info/INSTALLER",
            "-SITE/tool-1.0.dist-info/METADATA",
            "-SITE/tool-1.0.dist-info/RECORD",
            "-SITE/tool/__init__.py",
        ]
    );
    assert_eq!(
        after.tree[&format!("{SITE}/six.py")],
        "f:version = '1.17.0'\n"
    );
    // And imgtool itself sees what is there.
    let seen = shop
        .desk
        .run(&["inspect", "oci:out", "--format", "requirements"])
        .expect(0);
    let pins: Vec<&str> = seen
        .stdout
        .lines()
        .filter(|line| line.contains("=="))
        .collect();
    assert_eq!(pins, ["gamma==1.0", "protobuf==3.20.3", "six==1.17.0"]);
}

#[test]
fn two_distributions_may_write_the_same_and_nothing_else() {
    let shop = Shop::new();
    let run = shop.out(&["delta", "epsilon"]);
    assert!(
        run.stderr.contains("shared/same.txt") && run.stderr.contains("epsilon"),
        "{run}"
    );
    std::fs::remove_dir_all(shop.desk.path("out")).expect("removed");
    let error = shop
        .desk
        .build(&["oci:base:1.0", "delta", "zeta", "-o", "oci:out"])
        .one_error(2);
    for part in ["shared/data.txt", "delta", "zeta"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(!shop.desk.path("out").exists(), "nothing is written");
}

#[test]
fn a_file_of_the_base_that_nobody_gives_up_is_not_overwritten() {
    let owned = wheel("intruder-1.0", "").file("google/protobuf/__init__.py", "other\n");
    let shop = Shop::with(&base_image::base(), index(&[owned]));
    let error = shop
        .desk
        .build(&["oci:base:1.0", "intruder", "-o", "oci:out"])
        .one_error(2);
    for part in ["google/protobuf/__init__.py", "intruder", "protobuf"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn a_python_of_a_package_manager_is_left_alone() {
    let system = system().file(
        "opt/conda/lib/python3.10/EXTERNALLY-MANAGED",
        "[externally-managed]\n",
    );
    let shop = Shop::with(&base_image::image(system, Packing::Gzip), index(&wheels()));
    let words = ["oci:base:1.0", "beta", "-o", "oci:out:1.0"];
    let error = shop.desk.build(&words).one_error(2);
    assert!(error.contains("--break-system-packages"), "{error}");
    shop.desk
        .build(&[&words[..], &["--break-system-packages"]].concat())
        .expect(0);
}

#[test]
fn engines_run_no_more_than_127_layers() {
    let mut base = base_image::base();
    for number in base.layers.len()..126 {
        let marker = [file("etc/number", number.to_string())];
        base.layers.push(TestLayer::new(&marker, Packing::Gzip));
    }
    let shop = Shop::with(&base, index(&wheels()));
    shop.out(&["alpha"]);
    assert_eq!(shop.image("out").layers.len(), 127);
    let words = [
        "oci:base:1.0",
        "alpha",
        "--layers",
        "per-distribution",
        "-o",
        "oci:more",
    ];
    let error = shop.desk.build(&words).one_error(2);
    assert!(
        error.contains("128 layers") && error.contains("--layers single"),
        "{error}"
    );
    assert!(!shop.desk.path("more").exists());
}

#[test]
fn layers_can_be_compressed_with_zstd() {
    let shop = Shop::new();
    shop.out(&["alpha"]);
    let gzip = shop.image("out");
    shop.out(&["alpha", "--compression", "zstd:19", "-o", "oci:zstd:1.0"]);
    let zstd = shop.image("zstd");
    let media_type = &zstd.manifest["layers"][2]["mediaType"];
    assert_eq!(media_type, "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(gzip.layers, zstd.layers, "the same archive");
}

/// A registry with a base of Docker's media types.
fn docker() -> (Shop, RegistryServer, String) {
    let mut shop = Shop::new();
    let registry = shop.registry();
    registry.push(
        "team/docker",
        "1.0",
        &base_image::docker(&base_image::base()),
    );
    let reference = format!("docker://{}/team/docker:1.0", registry.host());
    (shop, registry, reference)
}

#[test]
fn an_image_of_docker_stays_one_where_it_is_pushed() {
    let (shop, registry, base) = docker();
    let tag = format!("{}/team/new:1.0", registry.host());
    shop.desk
        .build(&[&base, "alpha", "-t", &tag, "--push"])
        .expect(0);
    let (media_type, bytes) = registry.manifest("team/new", "1.0").expect("an image");
    assert_eq!(
        media_type,
        "application/vnd.docker.distribution.manifest.v2+json"
    );
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 3);
    for layer in layers {
        assert_eq!(
            layer["mediaType"],
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
        );
    }
    let error = shop
        .desk
        .build(&[
            &base,
            "alpha",
            "-t",
            &tag,
            "--push",
            "--compression",
            "zstd",
        ])
        .one_error(2);
    assert!(
        error.contains("zstd") && error.contains("--manifest oci"),
        "{error}"
    );
    let error = shop
        .desk
        .build(&[&base, "alpha", "-t", &tag, "--push", "--annotation", "a=b"])
        .one_error(2);
    assert!(error.contains("--manifest oci"), "{error}");
    let (_, still) = registry.manifest("team/new", "1.0").expect("an image");
    assert_eq!(still, bytes);
    shop.desk
        .build(&[
            &base,
            "alpha",
            "-t",
            &tag,
            "--push",
            "--compression",
            "zstd",
            "--manifest",
            "oci",
        ])
        .expect(0);
    let (media_type, _) = registry.manifest("team/new", "1.0").expect("an image");
    assert_eq!(media_type, "application/vnd.oci.image.manifest.v1+json");
}

#[test]
fn a_layout_of_an_image_of_docker_is_one_of_oci() {
    let (shop, registry, base) = docker();
    let run = shop
        .desk
        .build(&[
            &base,
            "alpha",
            "-o",
            "oci:out:1.0",
            "-o",
            "oci-archive:out.tar:1.0",
        ])
        .expect(0)
        .tells("note: the base has a Docker manifest");
    assert!(run.stderr.contains("OCI"), "{run}");
    let built = shop.image("out");
    assert_eq!(
        built.manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    for layer in built.manifest["layers"].as_array().expect("layers") {
        assert_eq!(
            layer["mediaType"],
            "application/vnd.oci.image.layer.v1.tar+gzip"
        );
    }
    // An archive of Docker can hold it as it is.
    let run = shop
        .desk
        .build(&[&base, "alpha", "-o", "docker-archive:docker.tar:x:1"])
        .expect(0);
    assert!(!run.stderr.contains("OCI"), "{run}");
    // One image goes to both places: what is pushed stays Docker's.
    let tag = format!("{}/team/new:1.0", registry.host());
    let run = shop
        .desk
        .build(&[&base, "alpha", "-t", &tag, "--push", "-o", "oci:both:1.0"]);
    run.expect(0).tells("warning: ");
    let (media_type, _) = registry.manifest("team/new", "1.0").expect("an image");
    assert_eq!(
        media_type,
        "application/vnd.docker.distribution.manifest.v2+json"
    );
}

#[test]
fn what_is_asked_for_of_the_configuration_is_changed_and_nothing_else() {
    let shop = Shop::new();
    shop.out(&["alpha"]);
    let (base, plain) = (shop.image("base").config, shop.image("out").config);
    assert_eq!(plain["config"], base["config"]);
    assert_eq!(plain["created"], base_image::CREATED.0);
    let manifest = shop.image("out").manifest;
    let digest = crate::support::image::descriptor("", &base_image::base().manifest_bytes());
    assert_eq!(
        manifest["annotations"]["org.opencontainers.image.base.digest"],
        digest["digest"]
    );
    assert_eq!(
        plain["history"][plain["history"].as_array().expect("a list").len() - 1]["created_by"],
        "imgtool build: alpha==1.0 beta==1.0"
    );
    std::fs::remove_dir_all(shop.desk.path("out")).expect("removed");
    shop.out(&[
        "alpha",
        "-e",
        "LANG=de_DE.UTF-8",
        "-e",
        "NEW=1",
        "--label",
        "a=b",
        "--annotation",
        "org.example.x=y",
        "--entrypoint",
        "[\"python3\", \"-c\", \"a b\"]",
        "--cmd",
        "one two",
        "--user",
        "0:0",
        "--workdir",
        "/srv",
    ]);
    let changed = shop.image("out");
    assert_eq!(
        changed.config["config"],
        json!({
            "Env": ["PATH=/opt/conda/bin:/usr/bin", "LANG=de_DE.UTF-8", "NEW=1"],
            "Entrypoint": ["python3", "-c", "a b"],
            "Cmd": ["one", "two"],
            "User": "0:0",
            "WorkingDir": "/srv",
            "Labels": { "a": "b", "org.example.team": "base" },
        })
    );
    assert_eq!(changed.manifest["annotations"]["org.example.x"], "y");
}

#[test]
fn wheels_that_are_not_right_are_refused_before_a_byte_goes_in() {
    let lying = wheel("liar-1.0", "").file("liar.py", "x\n");
    let right = lying.right_record();
    let (_, hash) = right.split_once("liar.py,sha256=").expect("a hash");
    let wrong = if hash.starts_with('A') { "B" } else { "A" };
    let record = right.replace(&hash[..42], &format!("{wrong}{}", &hash[1..42]));
    let lying = lying.record(record);
    let stray = wheel("stray-1.0", "").file("stray.py", "x\n");
    let record = stray
        .right_record()
        .lines()
        .skip(1)
        .fold(String::new(), |record, line| record + line + "\n");
    let record = record.replace("stray.py", "other.py");
    let stray = stray.file("more.py", "y\n").record(record);
    let escaping = wheel("escape-1.0", "").file("../../../../../../../etc/passwd", "x\n");
    let shop = Shop::with(&base_image::base(), index(&[lying, stray, escaping]));
    for name in ["liar", "stray", "escape"] {
        let error = shop
            .desk
            .build(&["oci:base:1.0", name, "-o", "oci:out"])
            .one_error(2);
        assert!(
            error.contains(&format!("{name}-1.0-py3-none-any.whl")),
            "{}",
            short(&error)
        );
        assert!(!shop.desk.path("out").exists());
    }
}

#[test]
fn a_base_whose_distributions_lie_behind_a_link_keeps_it() {
    // `/opt/conda` itself is a link, as where a volume was moved.
    let system = Files::new().link("srv/python", "/opt/conda");
    let mut base = base_image::base();
    base.layers.push(system.layer(Packing::Gzip));
    base.config["config"]["Env"] = json!(["PATH=/srv/python/bin:/usr/bin"]);
    let shop = Shop::with(&base, index(&wheels()));
    shop.out(&["beta"]);
    let built = shop.image("out");
    assert_eq!(built.tree["srv/python"], "l:/opt/conda");
    assert!(built.tree.contains_key(&format!("{SITE}/beta/__init__.py")));
    write_layout(&base.layout(None), &shop.desk.path("again"));
}
