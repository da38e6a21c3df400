//! The house rules that a compiler does not check: the ladder of modules, headers, file sizes, and that nothing but one
//! line knows the address of a live index.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The rungs, lowest first. A module names only modules on lower rungs.
const LADDER: &[&[&str]] = &[
    &["cache_folder", "digest", "image_path", "inflate", "finding"],
    &["packaging"],
    &["http"],
    &["transport"],
    &["rootfs"],
    &["environment", "package_index", "catalog"],
    &["resolution"],
    &["plan"],
    &["layer"],
    &["image"],
    &["audit"],
    &["report"],
    &["command"],
    &["cli"],
];

/// Lines a source file may have: what is longer is several things.
const LONGEST_FILE: usize = 800;

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder`, sorted.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the project") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if !matches!(
                    name.as_str(),
                    "target" | ".git" | "corpus" | "artifacts" | "__pycache__" | "node_modules"
                ) {
                    waiting.push(path);
                }
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn sources() -> Vec<(PathBuf, String)> {
    files_below(&project().join("src"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source file");
            (
                path.strip_prefix(project())
                    .expect("below the project")
                    .to_owned(),
                text,
            )
        })
        .collect()
}

/// The module on the ladder that a source file belongs to; `None` for `lib.rs` and `main.rs`.
fn module_of(path: &Path) -> Option<String> {
    let first = path.iter().nth(1)?.to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(name, "lib" | "main")).then(|| name.to_owned())
}

/// The modules of this crate that a source text names, its comments left out.
fn named(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            // `use crate::{a::X, b}`: the word at the head of each branch.
            let mut depth = 0;
            let mut head = true;
            let mut word = String::new();
            for character in group.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        names.push(std::mem::take(&mut word));
                        head = true;
                    }
                    ':' if depth == 0 => head = false,
                    _ if depth == 0
                        && head
                        && (character.is_alphanumeric() || character == '_') =>
                    {
                        word.push(character);
                    }
                    _ => {}
                }
            }
            names.push(word);
        } else {
            names.push(
                rest.chars()
                    .take_while(|character| character.is_alphanumeric() || *character == '_')
                    .collect(),
            );
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn modules_name_only_modules_on_lower_rungs() {
    let rung: BTreeMap<&str, usize> = LADDER
        .iter()
        .enumerate()
        .flat_map(|(rung, modules)| modules.iter().map(move |module| (*module, rung)))
        .collect();
    let mut broken = Vec::new();
    let mut seen = 0;
    for (path, text) in sources() {
        let Some(module) = module_of(&path) else {
            continue;
        };
        let Some(own) = rung.get(module.as_str()) else {
            broken.push(format!(
                "{}: the module `{module}` is not on the ladder",
                path.display()
            ));
            continue;
        };
        for name in named(&text) {
            let Some(other) = rung.get(name.as_str()) else {
                continue;
            };
            seen += 1;
            if name != module && other >= own {
                broken.push(format!(
                    "{} names `{name}`, which is not on a lower rung",
                    path.display()
                ));
            }
        }
    }
    assert!(seen > 50, "the test has lost its eyes: it saw {seen} names");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_reader_of_names_sees_groups_and_skips_comments() {
    assert_eq!(named("use crate::{a::{b, c}, d};"), ["a", "d"]);
    assert_eq!(named("let x = crate::e::f(); // crate::g"), ["e"]);
}

#[test]
fn every_source_file_has_a_header_and_a_size() {
    let mut broken = Vec::new();
    let tests = files_below(&project().join("tests"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source file");
            (path, text)
        });
    for (path, text) in sources().into_iter().chain(tests) {
        if !text.starts_with("//!") {
            broken.push(format!(
                "{} does not begin with a `//!` header",
                path.display()
            ));
        }
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            broken.push(format!(
                "{} has {lines} lines, more than {LONGEST_FILE}",
                path.display()
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_the_default_names_a_live_index() {
    // Composed, because this file is searched too.
    let hosts = [
        ["py", "pi.org"].concat(),
        ["python", "hosted.org"].concat(),
        ["crates", ".io/"].concat(),
        ["npm", "js.org"].concat(),
    ];
    assert!(
        imgtool::package_index::default_index_url().contains(&hosts[0]),
        "the test looks for another host than the default's"
    );
    let mut found = Vec::new();
    for path in files_below(&project()) {
        // The lock file names the source of crates, not an index that the product asks.
        if path.ends_with("Cargo.lock") {
            continue;
        }
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in text.lines().enumerate() {
            if hosts.iter().any(|host| line.contains(host.as_str())) {
                found.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(
        found.is_empty(),
        "live indexes are named in {}",
        found.join(", ")
    );
}
