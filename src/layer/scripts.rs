//! Scripts: those that an installer makes from entry points, and those of a wheel whose first line it rewrites.
//!
//! What is written is what pip writes, byte for byte: scripts that are there twice, from pip in a lower layer and from here,
//! are then the same file.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/entry-points/#use-for-scripts> and
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/#recommended-installer-features>.

use std::collections::BTreeMap;

use crate::environment::InstallationScheme;
use crate::packaging::entry_points::{ObjectReference, Scripts};

/// The first bytes of a script whose first line an installer puts in.
pub(super) const PLACEHOLDER: &[u8] = b"#!python";

/// Bytes of a first line that every kernel of Linux reads (127 before 5.1), the line's end included.
const LONGEST_FIRST_LINE: usize = 127;

/// The line, or lines, with which a script starts `executable`.
///
/// The kernel divides a first line at its first space and cuts it at its own length. What does not fit is written so that a
/// shell takes it as a command, and Python as a text that means nothing.
fn first_line(executable: &str) -> String {
    // `#!` and the end of the line.
    if !executable.contains(' ') && executable.len() + 3 <= LONGEST_FIRST_LINE {
        return format!("#!{executable}\n");
    }
    let quoted = if executable.contains(' ') {
        format!("\"{executable}\"")
    } else {
        executable.to_owned()
    };
    format!("#!/bin/sh\n'''exec' {quoted} \"$0\" \"$@\"\n' '''\n")
}

/// The script that calls `reference`.
pub(super) fn generated(executable: &str, reference: &ObjectReference) -> Vec<u8> {
    let ObjectReference { module, attribute } = reference;
    let imported = attribute.split('.').next().unwrap_or(attribute);
    format!(
        "{}import sys\nfrom {module} import {imported}\nif __name__ == '__main__':\n    \
         sys.argv[0] = sys.argv[0].removesuffix('.exe')\n    sys.exit({attribute}())\n",
        first_line(executable)
    )
    .into_bytes()
}

/// The script with its first line rewritten, which begins with [`PLACEHOLDER`]. What follows there (`#!pythonw`, options)
/// goes, as it does with pip.
pub(super) fn rewritten(executable: &str, script: &[u8]) -> Vec<u8> {
    let rest = memchr::memchr(b'\n', script).map_or(&[][..], |end| &script[end + 1..]);
    [first_line(executable).as_bytes(), rest].concat()
}

/// Whether the member `file_name` of a wheel's scripts is one that build tools of old made from an entry point: the
/// installer's own takes its place.
pub(super) fn is_wrapper(file_name: &str, scripts: &Scripts) -> bool {
    let lower = file_name.to_ascii_lowercase();
    let stem = [".exe", "-script.py", ".pya"]
        .iter()
        .find(|ending| lower.ends_with(*ending))
        .map_or(file_name, |ending| {
            &file_name[..file_name.len() - ending.len()]
        });
    scripts.console.contains_key(stem) || scripts.gui.contains_key(stem)
}

/// The scripts to make, by name.
///
/// `pip` and `easy_install` bring the names of the Python that built them; as pip does, they get those of this scheme's
/// Python instead.
pub(super) fn named<'a>(
    scripts: &'a Scripts,
    scheme: &InstallationScheme,
) -> BTreeMap<String, &'a ObjectReference> {
    let mut named: BTreeMap<String, &ObjectReference> = scripts
        .console
        .iter()
        .map(|(name, reference)| (name.clone(), reference))
        .collect();
    if let Some((major, minor)) = python_version(scheme) {
        if let Some(reference) = scripts.console.get("pip") {
            named.retain(|name, _| !is_versioned(name, "pip", false));
            named.insert(format!("pip{major}"), reference);
            named.insert(format!("pip{major}.{minor}"), reference);
        }
        if let Some(reference) = scripts.console.get("easy_install") {
            named.retain(|name, _| !is_versioned(name, "easy_install-", true));
            named.insert(format!("easy_install-{major}.{minor}"), reference);
        }
    }
    // A name in both groups means the same in both.
    for (name, reference) in &scripts.gui {
        named.insert(name.clone(), reference);
    }
    named
}

/// Whether `name` is `stem` and a version: two numbers, or one where that is enough.
fn is_versioned(name: &str, stem: &str, both: bool) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix(stem)
        .is_some_and(|version| match version.split_once('.') {
            Some((major, minor)) => is_number(major) && is_number(minor),
            None => !both && is_number(version),
        })
}

/// Major and minor version of the scheme's Python, as the folder of its modules says.
fn python_version(scheme: &InstallationScheme) -> Option<(u32, u32)> {
    scheme.purelib.as_str().rsplit('/').find_map(|folder| {
        let (major, minor) = folder.strip_prefix("python")?.split_once('.')?;
        // Free-threaded builds have a `t` behind.
        let minor = minor.trim_end_matches('t');
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_path::ImagePath;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("text")
    }

    fn scheme(purelib: &str) -> InstallationScheme {
        let path = ImagePath::new;
        InstallationScheme {
            purelib: path(purelib),
            platlib: path(purelib),
            scripts: path("/usr/bin"),
            headers: path("/usr/include"),
            data: path("/usr"),
            executable: path("/usr/bin/python3"),
        }
    }

    #[test]
    fn a_script_calls_its_function() {
        let scripts = Scripts::parse(b"[console_scripts]\nx = a.b:C.run\n").expect("scripts");
        assert_eq!(
            text(generated(
                "/opt/conda/bin/python3.10",
                &scripts.console["x"]
            )),
            "#!/opt/conda/bin/python3.10\nimport sys\nfrom a.b import C\nif __name__ == '__main__':\n    \
             sys.argv[0] = sys.argv[0].removesuffix('.exe')\n    sys.exit(C.run())\n"
        );
    }

    #[test]
    fn a_shell_starts_what_the_kernel_would_cut() {
        let longest = format!("/{}", "a".repeat(123));
        assert_eq!(first_line(&longest), format!("#!{longest}\n"));
        let longer = format!("{longest}a");
        assert_eq!(
            first_line(&longer),
            format!("#!/bin/sh\n'''exec' {longer} \"$0\" \"$@\"\n' '''\n")
        );
        assert_eq!(
            first_line("/my env/bin/python"),
            "#!/bin/sh\n'''exec' \"/my env/bin/python\" \"$0\" \"$@\"\n' '''\n"
        );
    }

    #[test]
    fn the_first_line_and_nothing_else_is_rewritten() {
        for (script, rewritten_to) in [
            (&b"#!python\nimport a\n"[..], "#!/p\nimport a\n"),
            (b"#!pythonw -E\r\nimport a\r\n", "#!/p\nimport a\r\n"),
            (b"#!python", "#!/p\n"),
        ] {
            assert_eq!(text(rewritten("/p", script)), rewritten_to);
        }
    }

    #[test]
    fn pip_gets_the_names_of_this_python() {
        let scripts = Scripts::parse(
            b"[console_scripts]\npip = p:m\npip3 = p:m\npip3.8 = p:m\npipx = x:m\neasy_install = e:m\neasy_install-3.8 = e:m\n",
        )
        .expect("scripts");
        let names = |purelib: &str| -> Vec<String> {
            named(&scripts, &scheme(purelib)).into_keys().collect()
        };
        assert_eq!(
            names("/usr/local/lib/python3.12/site-packages"),
            [
                "easy_install",
                "easy_install-3.12",
                "pip",
                "pip3",
                "pip3.12",
                "pipx"
            ]
        );
        assert_eq!(
            names("/usr/lib/python3/dist-packages"),
            [
                "easy_install",
                "easy_install-3.8",
                "pip",
                "pip3",
                "pip3.8",
                "pipx"
            ]
        );
        assert_eq!(
            python_version(&scheme("/opt/lib/python3.13t/site-packages")),
            Some((3, 13))
        );
    }

    #[test]
    fn scripts_of_old_build_tools_are_known() {
        let scripts = Scripts::parse(b"[console_scripts]\nTool = a:b\n").expect("scripts");
        for (name, wrapper) in [
            ("Tool", true),
            ("Tool.exe", true),
            ("Tool-script.py", true),
            ("Tool.EXE", true),
            ("Tool.pya", true),
            ("tool", false),
            ("Tool.py", false),
            ("other", false),
        ] {
            assert_eq!(is_wrapper(name, &scripts), wrapper, "{name}");
        }
    }
}
