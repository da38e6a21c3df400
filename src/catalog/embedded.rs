//! The files of the catalog, embedded in the binary: nothing is read from disk, so every machine has the same bases.

/// Every file of the catalog below `images/`, by its path there, sorted. A test compares the list with the folder, where
/// recipes lie, too: files with a `base`, and their locks.
pub(super) const FILES: [(&str, &str); 8] = [
    ("tfx.toml", include_str!("../../images/tfx.toml")),
    (
        "tfx/1.12.0.json",
        include_str!("../../images/tfx/1.12.0.json"),
    ),
    (
        "tfx/1.13.0.json",
        include_str!("../../images/tfx/1.13.0.json"),
    ),
    (
        "tfx/1.14.0.json",
        include_str!("../../images/tfx/1.14.0.json"),
    ),
    (
        "tfx/1.15.1.json",
        include_str!("../../images/tfx/1.15.1.json"),
    ),
    (
        "tfx/1.16.0.json",
        include_str!("../../images/tfx/1.16.0.json"),
    ),
    (
        "tfx/1.17.0.json",
        include_str!("../../images/tfx/1.17.0.json"),
    ),
    (
        "tfx/1.21.0.json",
        include_str!("../../images/tfx/1.21.0.json"),
    ),
];

/// The contents of the file at `path` below `images/`.
pub(super) fn file(path: &str) -> Option<&'static str> {
    FILES
        .binary_search_by_key(&path, |(path, _)| path)
        .ok()
        .map(|at| FILES[at].1)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded_and_nothing_else() {
        fn visit(folder: &Path, below: &str, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let entry = entry.expect("an entry");
                let name = entry.file_name().into_string().expect("a name in UTF-8");
                let path = format!("{below}{name}");
                if entry.file_type().expect("a type").is_dir() {
                    visit(&entry.path(), &format!("{path}/"), found);
                } else {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        visit(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("images"),
            "",
            &mut found,
        );
        // A recipe is no family, and nothing that is embedded is a recipe.
        let is_recipe = |path: &String| {
            let Some(stem) = path.strip_suffix(".toml").or(path.strip_suffix(".lock")) else {
                return false;
            };
            let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("images/{stem}.toml"));
            let text = std::fs::read_to_string(recipe).unwrap_or_default();
            let table: toml::Table = text.parse().unwrap_or_default();
            table.contains_key("base") && !table.contains_key("repository")
        };
        found.retain(|path| path.contains('/') || !is_recipe(path));
        found.sort();
        let embedded: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(embedded, found, "src/catalog/embedded.rs lists images/");
    }

    #[test]
    fn the_catalog_is_small() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        for (_, contents) in FILES {
            packed.write_all(contents.as_bytes()).expect("memory");
        }
        let size = packed.finish().expect("memory").len();
        assert!(size < 1 << 20, "the catalog has {size} bytes compressed");
    }
}
