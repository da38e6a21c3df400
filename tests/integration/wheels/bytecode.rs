//! Byte code of modules, written by a real Python of this machine: whichever there is, as the image is made to have it, too.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use imgtool::environment::InstallationScheme;
use imgtool::image_path::ImagePath;
use imgtool::layer::{
    Compiled, Compiler, FileSource, InstallableWheel, InstalledWheel, PythonPlaces,
    compile_bytecode,
};

use super::{PLAIN, contents, open};
use crate::support::wheel::Wheel;

/// Unmarshals byte code, compares it with what `py_compile` makes of the source, and runs the module from it.
const CHECK: &str = r#"
import importlib.util, marshal, os, py_compile, sys, tempfile
source, pyc, path = sys.argv[1:]
data = open(pyc, "rb").read()
assert data[:4] == importlib.util.MAGIC_NUMBER, data[:4]
assert data[4:8] == b"\1\0\0\0", data[4:8]
assert data[8:16] == importlib.util.source_hash(open(source, "rb").read())
py_compile.compile(source, pyc + ".own", path, doraise=True)
own = marshal.loads(open(pyc + ".own", "rb").read()[16:])
code = marshal.loads(data[16:])
kind = type(code)
def same(a, b):
    assert type(a) is type(b), (a, b)
    if isinstance(a, kind):
        for name in sorted(n for n in dir(a) if n.startswith("co_") and not callable(getattr(a, n))):
            if name != "co_lnotab":
                same(getattr(a, name), getattr(b, name))
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b):
            same(one, other)
    else:
        assert a == b and repr(a) == repr(b) or isinstance(a, frozenset) and a == b, (a, b)
same(own, code)
assert code.co_filename == path, code.co_filename
names = {}
exec(code, names)
assert names["answer"]() == 42
print("good")
"#;

/// A module with everything that code objects have: nested functions, closures, sets, long and negative numbers, text of all
/// kinds, constants that are equal and not the same.
const MODULE: &str = r#"# The first line.
"A module."
import sys
LARGE = 123456789012345678901234567890, -5, 1.5, -0.0, 2j, b"bytes", ..., None
TEXT = "häuser", "\u4e2d\u6587", "long text that is no name " * 20, "\udc80"
def outer(a, /, b=(1, (2, 3)), *, c="long_enough_name"):
    free = 1
    def inner(x: "int" = 100000) -> str:
        nonlocal free
        free += x
        return x in {"red", "green", "blue", ("a", 1), 7, b"x", 2.5, frozenset}, x in {"red", "green", 3}
    return [y for y in range(b[0]) if y in {1, 2, 3}], inner, lambda: (1, (2, 3)), {"k": TEXT[1:-1]}
class Thing:
    """With a docstring that is long."""
    def method(self):
        return __class__, "long_enough_name", "long text, and no name", b"\0" * 8
    def other(self):
        self.one, self.two, self.three = "long text, and no name", 1, 2
        return super().method()
async def later(items):
    async for item in items:
        yield item
def answer():
    try:
        return 42 if "green" in {"red", "green", "blue"} else 0
    finally:
        outer(1)
"#;

/// The Python of this machine, and its version.
fn python() -> (PathBuf, String) {
    let output = Command::new("python3")
        .args([
            "-c",
            "import sys; print(sys.executable); print('%d.%d.%d' % sys.version_info[:3])",
        ])
        .output()
        .expect("a python3 on this machine, which the tests of byte code need");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines = text.lines().map(str::to_owned);
    let path = lines.next().expect("a path").into();
    (path, lines.next().expect("a version"))
}

fn compiler() -> Compiler {
    let (path, version) = python();
    let places = PythonPlaces {
        named: Some(path),
        ..PythonPlaces::default()
    };
    Compiler::find(&version, &places).expect("a compiler")
}

fn scheme() -> InstallationScheme {
    super::scheme()
}

struct Made {
    wheels: Vec<InstallableWheel>,
    installed: Vec<InstalledWheel>,
    spool: File,
    compiled: Compiled,
}

fn make(wheels: &[Wheel], workers: usize) -> Made {
    let wheels: Vec<InstallableWheel> = wheels
        .iter()
        .map(|wheel| open(wheel).expect("a wheel"))
        .collect();
    let mut installed: Vec<InstalledWheel> = wheels
        .iter()
        .enumerate()
        .map(|(at, wheel)| wheel.install(at, &scheme(), &PLAIN, false).expect("files"))
        .collect();
    let mut spool = tempfile::tempfile().expect("a file");
    let compiled = compile_bytecode(
        &compiler(),
        &mut installed,
        &wheels,
        &scheme(),
        &mut spool,
        workers,
    )
    .expect("byte code");
    Made {
        wheels,
        installed,
        spool,
        compiled,
    }
}

impl Made {
    /// All byte code by path.
    fn byte_code(&self) -> BTreeMap<ImagePath, Vec<u8>> {
        let mut all = BTreeMap::new();
        for (path, file) in self.installed.iter().flat_map(|wheel| &wheel.files) {
            if let FileSource::Compiled { offset, length } = file.source {
                assert_eq!(file.size, length);
                let mut bytes = vec![0; usize::try_from(length).expect("a size")];
                self.spool.read_exact_at(&mut bytes, offset).expect("bytes");
                all.insert(path.clone(), bytes);
            }
        }
        all
    }
}

fn check(folder: &Path, source: &[u8], pyc: &[u8], path: &str) {
    let at = |name: &str| folder.join(name);
    for (name, bytes) in [("m.py", source), ("m.pyc", pyc)] {
        let mut file = std::fs::File::create(at(name)).expect("a file");
        file.write_all(bytes).expect("a file");
    }
    let output = Command::new(python().0)
        .args(["-W", "ignore", "-c", CHECK])
        .args([at("m.py"), at("m.pyc")])
        .arg(path)
        .output()
        .expect("an interpreter");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, b"good\n", "{errors}");
}

fn minor() -> String {
    let version = python().1;
    version
        .split('.')
        .nth(1)
        .expect("a minor version")
        .to_owned()
}

#[test]
fn modules_get_the_code_that_python_would_have_made() {
    let wheel = Wheel::new("thing-1.0")
        .file("thing/__init__.py", MODULE)
        .file("thing/old.py", "print 'no Python 3'\n")
        .file("thing/data.txt", "text")
        .data("data/share/example.py", "a = 1\n")
        .data("scripts/run.py", "#!python\na = 1\n");
    let made = make(&[wheel], 1);
    let root = "/opt/env/lib/python3.12/site-packages";
    let code = made.byte_code();
    let place = ImagePath::new(&format!(
        "{root}/thing/__pycache__/__init__.cpython-3{}.pyc",
        minor()
    ));
    assert_eq!(code.keys().collect::<Vec<_>>(), [&place]);
    assert_eq!(made.compiled.files, 1);
    let left_out = [ImagePath::new(&format!("{root}/thing/old.py"))];
    assert_eq!(made.compiled.left_out, left_out);
    let folder = tempfile::tempdir().expect("a folder");
    let path = format!("{root}/thing/__init__.py");
    check(folder.path(), MODULE.as_bytes(), &code[&place], &path);

    let record = ImagePath::new(&format!("{root}/thing-1.0.dist-info/RECORD"));
    let record = contents(&made.wheels[0], &made.installed[0].files[&record]);
    let record = String::from_utf8(record).expect("text");
    let row = format!("thing/__pycache__/__init__.cpython-3{}.pyc,,", minor());
    assert!(record.lines().any(|line| line == row), "{record}");
    assert_eq!(record.lines().count(), made.installed[0].files.len());
    assert_eq!(made.installed[0].files[&place].attributes, PLAIN);
}

#[test]
fn the_bytes_depend_on_neither_order_nor_workers() {
    let wheel = |at: usize| {
        let module = format!("{MODULE}\nNUMBER = {at}\n");
        Wheel::new(&format!("thing{at}-1.0"))
            .file(&format!("thing{at}/__init__.py"), module)
            .file("shared/__init__.py", MODULE)
    };
    let first = make(&(0..5).map(wheel).collect::<Vec<_>>(), 1);
    let expected = first.byte_code();
    assert_eq!(expected.len(), 6);
    assert_eq!(first.compiled.files, 10);
    for run in 0..20 {
        let order: Vec<Wheel> = (0..5).map(|at| wheel((at * 2 + run) % 5)).collect();
        assert_eq!(make(&order, 1 + run % 3).byte_code(), expected, "{run}");
    }
}

#[test]
fn what_is_not_what_the_wheel_promises_is_not_compiled() {
    let wheel = Wheel::new("thing-1.0").file("thing/__init__.py", "answer = 1\n");
    let record = wheel.right_record();
    let changed = Wheel::new("thing-1.0")
        .file("thing/__init__.py", "answer = 2\n")
        .record(record);
    let opened = open(&changed).expect("a wheel that is only read when it is used");
    let mut installed = [opened.install(0, &scheme(), &PLAIN, false).expect("files")];
    let mut spool = tempfile::tempfile().expect("a file");
    let compiled = compile_bytecode(
        &compiler(),
        &mut installed,
        &[opened],
        &scheme(),
        &mut spool,
        2,
    );
    let error = compiled.expect_err("a refusal").to_string();
    assert!(error.contains("thing/__init__.py"), "{error}");
    let mut bytes = Vec::new();
    spool.read_to_end(&mut bytes).expect("a file");
    assert!(bytes.is_empty());
}
