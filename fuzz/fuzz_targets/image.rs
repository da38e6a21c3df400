//! A whole image, from its layers to what `imgtool inspect` says of it: layers are made of whatever paths, kinds, links
//! and contents the bytes spell, most of them words that mean something to who looks for a Python environment. Nothing
//! panics or hangs, and what is said is about this root and cannot steer a terminal.
//!
//! The first group of the input is the image's configuration, the others are layers, lowest first; a group has records,
//! a record has fields. What separates them are the separators that ASCII has for this, so a seed is a readable file. A
//! byte that is no ASCII stands for one of [`WORDS`].
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use imgtool::digest::{Digest, sha256};
use imgtool::environment::{
    Environment, Provenance, Search, conda_channel, footprint, home_of, import_names, installer,
    list_interpreters, read_root,
};
use imgtool::image_path::ImagePath;
use imgtool::report::bill_of_materials::Created;
use imgtool::report::inspection::{ImageFacts, Inspection, LayerFacts};
use imgtool::report::text::inspect::Shown;
use imgtool::report::{BaseLabel, cyclonedx, freeze, json, spdx, text};
use imgtool::rootfs::budget::ImageBudget;
use imgtool::rootfs::inventory::builder::Keeping;
use imgtool::rootfs::inventory::{Contents, Inventory, InventoryBuilder};
use imgtool::rootfs::retention::retention;
use imgtool::rootfs::{Limits, Overlay, RootFs, WantedFiles, resolve};
use libfuzzer_sys::fuzz_target;

/// Separate groups, records and fields.
const GROUP: u8 = 0x1d;
const RECORD: u8 = 0x1e;
const FIELD: u8 = 0x1f;

/// Layers of one image.
const LAYERS: usize = 5;

/// How often layers are read again because a file was not kept, as `imgtool` does it.
const READS_AGAIN: usize = 2;

/// Inputs up to this length are read twice, to see that the second answer is the first.
const READ_TWICE: usize = 1024;

/// Bytes of a file that is longer than its record.
const LONG_FILE: usize = 80 << 10;

/// Small, so that the limits themselves are tried.
const LIMITS: Limits = Limits {
    layers: LAYERS,
    layer_entries: 2_000,
    image_entries: 4_000,
    layer_retained: 1 << 20,
    image_retained: 2 << 20,
    layer_uncompressed: 8 << 20,
    image_uncompressed: 16 << 20,
};

/// An executable's first bytes and a loader's, and the versions that each may hold.
static EXECUTABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let loader = b"/lib64/ld-linux-x86-64.so.2\0";
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    // ET_DYN for EM_X86_64, version 1; no entry; program headers at 64; no sections; sizes and counts.
    for half in [3_u16, 62] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    for word in [0_u64, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    // PT_INTERP, readable, at 120.
    for half in [3_u32, 4] {
        elf.extend(half.to_le_bytes());
    }
    let length = loader.len() as u64;
    for word in [120, 0, 0, length, length, 1] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(loader);
    elf.extend(
        b"\x003.10.13\0GNU C Library (GNU libc) stable release version 2.36.\n\0GLIBC_2.36\0",
    );
    elf
});

/// What a byte from 128 on stands for, in paths and in contents.
const WORDS: [&[u8]; 122] = [
    // Folders.
    b"usr/",
    b"usr/bin/",
    b"usr/local/",
    b"usr/local/bin/",
    b"usr/local/lib/python3.10/",
    b"usr/lib/python3/dist-packages/",
    b"usr/lib/python3.11/",
    b"usr/local/lib/python3.10/site-packages/",
    b"opt/",
    b"opt/conda/",
    b"opt/conda/bin/",
    b"opt/conda/conda-meta/",
    b"opt/conda/lib/python3.10/site-packages/",
    b"opt/conda/envs/",
    b"opt/venv/",
    b"app/.venv/",
    b"root/",
    b"root/.pyenv/",
    b"versions/",
    b"shims/",
    b"root/.local/lib/python3.10/site-packages/",
    b"lib/",
    b"lib64/",
    b"bin/",
    b"lib/python3.10/",
    b"lib/python3.13t/",
    b"site-packages/",
    b"dist-packages/",
    b"include/python3.10/",
    b"etc/",
    b"usr/lib/",
    b"x86_64-linux-gnu/",
    b"var/lib/dpkg/",
    b"status.d/",
    b"lib/apk/db/",
    b"conda-meta/",
    b"a-1.0.dist-info/",
    b"b-2.0.dist-info/",
    b"a.egg-info/",
    b"a-1.0-py3.10.egg/",
    b"EGG-INFO/",
    b"~a-1.0.dist-info/",
    b"../",
    b"/",
    // Names.
    b"python",
    b"python3",
    b"python3.10",
    b"python3.11",
    b"python2.7",
    b"python3.13t",
    b"pypy3",
    b"pypy3.10",
    b"libpython3.10.so.1.0",
    b"libc.so.6",
    b"libc-2.31.so",
    b"ld-linux-x86-64.so.2",
    b"ld-musl-x86_64.so.1",
    b"METADATA",
    b"PKG-INFO",
    b"RECORD",
    b"INSTALLER",
    b"WHEEL",
    b"REQUESTED",
    b"direct_url.json",
    b"top_level.txt",
    b"requires.txt",
    b"entry_points.txt",
    b"installed-files.txt",
    b"namespace_packages.txt",
    b"pyvenv.cfg",
    b"EXTERNALLY-MANAGED",
    b"patchlevel.h",
    b"sitecustomize.py",
    b"os.py",
    b"a.pth",
    b"easy-install.pth",
    b"python310._pth",
    b"a.egg-link",
    b"a-1.0.egg-info",
    b"__editable___a_finder.py",
    b"python-3.10.13-hd12c33a_0_cpython.json",
    b"a-1.0-py310_0.json",
    b"os-release",
    b"debian_version",
    b"passwd",
    b"status",
    b"installed",
    b"version",
    b".wh.",
    b".wh..wh..opq",
    // Contents.
    b"Metadata-Version: 2.1\nName: a\nVersion: 1.0\n",
    b"Name: ",
    b"\nVersion: ",
    b"\nRequires-Dist: b[c]>=1; extra == \"d\"",
    b"\nProvides-Extra: d",
    b"\nRequires-Python: >=3.8",
    b",sha256=AAAA,12\n",
    b"a/__init__.py",
    b"home = ",
    b"\nversion = 3.10.13",
    b"\nversion_info = 3.10.13.final.0",
    b"\ninclude-system-site-packages = true\n",
    b"\nimplementation = ",
    b"#define PY_VERSION \"3.10.13\"\n",
    b"{\"url\": \"file:///src/a\", \"dir_info\": {\"editable\": true}}",
    b"{\"name\": \"a\", \"version\": \"1.0\", \"channel\": \"https://conda.example/t/x/c\", \"files\": [\"",
    b"\"]}",
    b"import sys; sys.path.insert(0, '",
    b"import sys; sys.__plen = len(sys.path)\n",
    b"MAPPING: dict[str, str] = {'a': '/src/a/a'}\n",
    b"#!/bin/sh\nexec /opt/conda/bin/python3.10 \"$@\"\n",
    b"#!/usr/bin/env pyenv\n",
    b"root:x:0:0::/root:/bin/sh\n",
    b"Package: libpython3.11-minimal\nVersion: 3.11.2-6\n\n",
    b"P:musl\nV:1.2.4-r0\n\n",
    b"[d]\nb>=1\n",
    b"pip\n",
    b"\n",
    b"\0",
    b"3.10.13",
    b"PyPy",
    b"1.0",
];

/// `bytes` with its words spelled out. The byte behind the last word stands for an executable.
fn spelled(bytes: &[u8]) -> Vec<u8> {
    let mut spelled = Vec::new();
    for byte in bytes {
        match byte.checked_sub(128) {
            None => spelled.push(*byte),
            Some(word) => match WORDS.get(usize::from(word)) {
                Some(word) => spelled.extend_from_slice(word),
                None => spelled.extend_from_slice(&EXECUTABLE),
            },
        }
    }
    spelled
}

/// Appends one entry of a tar archive, with the long names of GNU tar where there is need.
fn append(archive: &mut Vec<u8>, kind: u8, path: &[u8], link: &[u8], contents: &[u8]) {
    for (long, text) in [(b'L', path), (b'K', link)] {
        if text.len() > 100 {
            append_block(archive, long, b"././@LongLink", b"", text);
        }
    }
    append_block(archive, kind, path, link, contents);
}

fn append_block(archive: &mut Vec<u8>, kind: u8, path: &[u8], link: &[u8], contents: &[u8]) {
    let mut header = tar::Header::new_gnu();
    let fields = header.as_old_mut();
    for (field, text) in [(&mut fields.name, path), (&mut fields.linkname, link)] {
        let length = text.len().min(field.len());
        field[..length].copy_from_slice(&text[..length]);
    }
    fields.linkflag = [kind];
    header.set_mode(0o755);
    header.set_size(contents.len() as u64);
    header.set_cksum();
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(contents);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// The archive of one layer.
fn archive(group: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    for record in group.split(|byte| *byte == RECORD) {
        let mut fields = record.splitn(2, |byte| *byte == FIELD);
        let Some((kind, path)) = fields.next().and_then(<[u8]>::split_first) else {
            continue;
        };
        let path = spelled(path);
        let rest = fields.next().unwrap_or_default();
        let text = spelled(rest);
        match kind {
            b'd' => append(&mut archive, b'5', &path, b"", b""),
            b's' => append(&mut archive, b'2', &path, &text, b""),
            b'h' => append(&mut archive, b'1', &path, &text, b""),
            b'o' => append(&mut archive, b'6', &path, b"", b""),
            // As it is: contents that are not UTF-8.
            b'b' => append(&mut archive, b'0', &path, b"", rest),
            // Longer than most that is kept.
            b'l' if !text.is_empty() => {
                let long: Vec<u8> = text.iter().copied().cycle().take(LONG_FILE).collect();
                append(&mut archive, b'0', &path, b"", &long);
            }
            _ => append(&mut archive, b'0', &path, b"", &text),
        }
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// The inventories of the layers, lowest first; `None` where the image is refused.
fn inventories(
    archives: &[(Digest, Vec<u8>)],
    wanted: &WantedFiles,
) -> Option<Vec<(Digest, Arc<Inventory>)>> {
    let budget = ImageBudget::new(LIMITS);
    archives
        .iter()
        .map(|(diff_id, archive)| {
            let wanted: BTreeSet<String> = wanted.of(diff_id);
            let keeping = Keeping {
                retention: &retention,
                wanted: &wanted,
            };
            let budget = budget.layer();
            let builder = InventoryBuilder::new(keeping, &budget, Contents::in_memory());
            let unsealed = builder.read(archive.as_slice()).ok()?;
            let (inventory, _) = unsealed.seal(diff_id, Path::new("")).expect("memory");
            budget.settle(&inventory).ok()?;
            Some((diff_id.clone(), Arc::new(inventory)))
        })
        .collect()
}

/// What is said of a text from an image may have the styles of the report, and nothing else that steers a terminal.
fn assert_tame(text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() && c != '\n') {
        let style = rest[at..].strip_prefix("\x1b[").expect("a style");
        let end = style.find(|c: char| !(c.is_ascii_digit() || c == ';'));
        assert_eq!(end.map(|end| &style[end..=end]), Some("m"), "{text:?}");
        rest = &style[end.unwrap_or_default()..];
    }
}

/// What lies where `environment` says that something lies.
fn assert_true(root: &Overlay, environment: &Environment) {
    for folder in &environment.interpreter.site_directories {
        root.list(&ImagePath::new(folder)).expect("a real folder");
    }
    for (name, distribution) in &environment.distributions {
        assert_eq!(*name, distribution.name);
        let location = ImagePath::new(&distribution.location);
        let found = resolve::resolve(root, &location).expect("an answer");
        assert!(found.is_some(), "{location} is missing");
    }
    assert!(environment.notes.len() <= 1_001);
}

/// Everything that can be asked about an image, as text.
fn inspect(root: &Overlay, search: Search<'_>, layers: &[(Digest, Vec<u8>)]) -> String {
    let provenance = Provenance::Image {
        reference: "oci:image".to_owned(),
        digest: None,
    };
    let interpreters = list_interpreters(root, search);
    let defaults = interpreters.iter().filter(|listed| listed.is_default);
    assert_eq!(defaults.count(), usize::from(!interpreters.is_empty()));
    let mut environment = match read_root(root, "oci:image", search, provenance) {
        Ok(environment) => environment,
        Err(error) => return format!("{error}: {interpreters:?}"),
    };
    assert_true(root, &environment);
    assert!(!interpreters.is_empty() || search.python.is_some());

    let mut footprints = BTreeMap::new();
    let prefix = environment.interpreter.prefix.clone();
    for (name, distribution) in &mut environment.distributions {
        distribution.installer = installer(root, distribution);
        distribution.import_names = import_names(root, distribution);
        footprints.insert(name.clone(), footprint(root, distribution));
    }
    for package in &mut environment.conda_packages {
        package.channel = conda_channel(root, &prefix, package);
    }
    let found = Inspection {
        label: BaseLabel {
            reference: "oci:image".to_owned(),
            asked: "oci:image".to_owned(),
            layers: BTreeMap::new(),
        },
        environment,
        interpreters,
        image: Some(ImageFacts {
            layers: layers
                .iter()
                .enumerate()
                .map(|(index, (diff_id, _))| LayerFacts {
                    index,
                    diff_id: diff_id.to_string(),
                    ..LayerFacts::default()
                })
                .collect(),
            ..ImageFacts::default()
        }),
        footprints: Some(footprints),
    };
    let shown = Shown {
        layers: true,
        size: true,
    };
    let table = text::inspect::inspect(&found, shown, Some(80));
    assert_tame(&table);
    let pins = freeze::freeze(&found.label, &found.environment);
    assert_tame(&pins);
    let created = Created::choose(Some(0), None, 0);
    [
        table,
        pins,
        json::inspect::inspect(&found),
        cyclonedx::cyclonedx(&found, &created),
        spdx::spdx(&found, &created),
    ]
    .concat()
}

/// One run of `imgtool inspect`: layers are read again where a file that matters was not kept.
fn run(archives: &[(Digest, Vec<u8>)], config: &[Option<String>; 7]) -> Option<String> {
    let [
        path,
        python,
        python_path,
        working_directory,
        virtual_env,
        user,
        home,
    ] = config.each_ref().map(Option::as_deref);
    let mut wanted = WantedFiles::default();
    let mut reads_left = READS_AGAIN;
    loop {
        let root = Overlay::new(inventories(archives, &wanted)?);
        let home = home
            .map(str::to_owned)
            .or_else(|| home_of(&root, user.unwrap_or_default()));
        let search = Search {
            python,
            path: Some(path.unwrap_or("/opt/conda/bin:/usr/local/bin:/usr/bin:/bin")),
            python_path,
            working_directory,
            virtual_env,
            home: home.as_deref(),
            ..Search::default()
        };
        let answer = inspect(&root, search, archives);
        if reads_left > 0 && wanted.extend(&root.missed()) {
            reads_left -= 1;
            continue;
        }
        return Some(answer);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut groups = data.split(|byte| *byte == GROUP);
    let mut fields = groups.next().unwrap_or_default().split(|b| *b == FIELD);
    let config: [Option<String>; 7] = std::array::from_fn(|_| {
        let text = String::from_utf8_lossy(&spelled(fields.next()?)).into_owned();
        (!text.is_empty()).then_some(text)
    });
    let archives: Vec<(Digest, Vec<u8>)> = groups
        .take(LAYERS)
        .map(|group| {
            let archive = archive(group);
            (sha256(&archive), archive)
        })
        .collect();
    let answer = run(&archives, &config);
    if data.len() <= READ_TWICE {
        assert_eq!(run(&archives, &config), answer);
    }
});
