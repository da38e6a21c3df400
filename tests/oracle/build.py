#!/usr/bin/env python3
"""Compare the layers of `imgtool build` with what pip does inside the base, file by file.

For each case the base's root is mounted twice over: once the newest pip, run by the base's Python from its wheel, installs
the same pins there (`--no-deps`, from the same wheels, without byte code), once the new layer is laid over it. The newest,
as the scripts that pip makes have changed over time. Whatever either of them touched must be the same in both:
names, kinds, modes, owners, bytes, targets of links. Only this may differ, as it does between installers: INSTALLER,
REQUESTED, the order of RECORD and the rows of these two in it, byte code, modification times.

Needs root (overlay mounts, chroot), pip, the network, and the full-size base of `make tfx-base`.
Exit status: 0 all cases agree, 1 some do not, 2 it could not be tried.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import gzip
import hashlib
import io
import json
import shutil
import stat
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from image_parts import (
    ImageFailure,
    Layout,
    clean_up_when_ended,
    debian_root,
    install_commands,
    need_root,
    run,
    run_inside,
    step,
)

TAG = "1.16.0"
# What is built: a name, the base, the arguments, whether distributions of the base must be replaced.
CASES = {
    "mlflow-skinny": ("tfx", ["mlflow-skinny"], False),
    "mlflow": ("tfx", ["mlflow"], False),
    "wandb": ("tfx", ["wandb"], False),
    "transformers": ("tfx", ["transformers"], False),
    "minimal": ("tfx", ["mlflow-skinny==2.1.0", "--policy", "minimal"], True),
    "upgrade": (
        "tfx",
        ["rich", "requests", "protobuf", "--policy", "upgrade", "--hold", "tensorflow,tfx,numpy"],
        True,
    ),
    "debian": ("debian", ["mlflow-skinny", "pyyaml"], False),
    "venv": ("venv", ["mlflow-skinny"], False),
    "venv-minimal": ("venv", ["requests==2.32.3", "urllib3==2.2.3", "--policy", "minimal"], True),
}
# What the virtual environment has to begin with.
VENV_PINS = ("requests==2.31.0", "urllib3==1.26.18", "idna==3.6", "certifi==2024.2.2", "charset-normalizer==3.3.2")
# Folders that pip writes to for itself.
PRIVATE = ("/tmp/", "/var/tmp/", "/wheels")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def masked(path: str, content: bytes) -> bytes:
    """The content of a file as far as it must agree."""
    name = path.rsplit("/", 1)[-1]
    in_metadata = ".dist-info/" in path
    if in_metadata and name == "INSTALLER":
        return b""
    if in_metadata and name == "RECORD":
        rows = csv.reader(io.StringIO(content.decode()))
        kept = [row for row in rows if row and not row[0].endswith((".pyc", "/INSTALLER", "/REQUESTED", "/direct_url.json"))]
        return repr(sorted(kept)).encode()
    return content


def is_masked(path: str) -> bool:
    return (
        path.startswith(PRIVATE)
        or path.rstrip("/") in ("/tmp", "/root", "/var/tmp")
        or path.endswith((".pyc", "/__pycache__"))
        or (".dist-info/" in path and path.endswith(("/REQUESTED", "/direct_url.json")))
    )


def state_on_disk(root: Path, path: str) -> tuple:
    """What lies at a path below a folder: its kind, mode, owner, and what is in it."""
    place = root / path.lstrip("/")
    try:
        facts = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ("absent",)
    # Overlays mark what is gone with a device of this number.
    if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
        return ("absent",)
    owner = (facts.st_uid, facts.st_gid)
    mode = stat.S_IMODE(facts.st_mode)
    if stat.S_ISLNK(facts.st_mode):
        return ("link", place.readlink().as_posix())
    if stat.S_ISDIR(facts.st_mode):
        return ("folder", oct(mode), owner)
    return ("file", oct(mode), owner, digest(masked(path, place.read_bytes())))


class Layer:
    """The new layers of an image, over the root of its base."""

    def __init__(self, layout: Path, digests: list[str], root: Path) -> None:
        self.root = root
        self.entries: dict[str, tuple] = {}
        self.gone: set[str] = set()
        for name in digests:
            blob = gzip.decompress((layout / "blobs" / name.replace(":", "/")).read_bytes())
            with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
                for member in archive:
                    self._add(archive, member)

    def _add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = "/" + member.name.rstrip("/")
        folder, _, name = path.rpartition("/")
        if name == ".wh..wh..opq":
            raise ImageFailure(f"{path}: no opaque folder is expected")
        if name.startswith(".wh."):
            self.gone.add(f"{folder}/{name.removeprefix('.wh.')}")
            return
        owner = (member.uid, member.gid)
        if member.isdir():
            self.entries[path] = ("folder", oct(member.mode), owner)
        elif member.isfile():
            content = archive.extractfile(member)
            assert content is not None
            self.entries[path] = ("file", oct(member.mode), owner, digest(masked(path, content.read())))
        else:
            raise ImageFailure(f"{path}: an entry of type {member.type!r} is not expected")

    def paths(self) -> set[str]:
        return set(self.entries) | self.gone

    def state(self, path: str) -> tuple:
        if path in self.entries:
            return self.entries[path]
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts) + 1):
            if "/" + "/".join(parts[:depth]) in self.gone:
                return ("absent",)
        return state_on_disk(self.root, path)


@contextlib.contextmanager
def overlay(root: Path, work: Path) -> Iterator[tuple[Path, Path]]:
    """The root with a layer of its own over it: where it is mounted, and where its changes are."""
    upper, scratch, merged = (work / name for name in ("upper", "scratch", "merged"))
    for folder in (upper, scratch, merged):
        folder.mkdir(parents=True)
    options = f"lowerdir={root},upperdir={upper},workdir={scratch}"
    run(["mount", "-t", "overlay", "overlay", "-o", options, merged])
    try:
        yield merged, upper
    finally:
        run(["umount", "-l", merged], check=False)


def paths_below(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        yield "/" + path.relative_to(folder).as_posix()


@dataclasses.dataclass
class Base:
    """An image, its root, and how its Python is reached."""

    reference: str
    root: Path
    python: str
    # A Python of this machine for which pip fetches the same wheels.
    fetching: Path
    # What both sides are told where a package manager owns the Python.
    words: tuple[str, ...] = ()


def newest_pip(options: argparse.Namespace) -> Path:
    """The wheel of the newest pip that the oldest of the bases' Pythons can run."""
    folder = options.work / "pip"
    if not list(folder.glob("pip-*.whl")):
        run([options.python, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", folder, "pip"])
    return next(folder.glob("pip-*.whl"))


def install_inside(root: Path, python: str, pip: Path, wheels: Path, *words: str) -> None:
    """Let the newest pip install into a root what lies in a folder of this machine; nothing else of it is left there."""
    inside = root / "wheels"
    shutil.copytree(wheels, inside)
    (inside / "tool").mkdir()
    shutil.copy(pip, inside / "tool")
    mounted = 'mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && exec chroot "$@"'
    path = f"{Path(python).parent}:/usr/bin:/bin"
    clean = ["env", "-i", f"PATH={path}", "LANG=C.UTF-8", "sh", "-c", 'umask 022; exec "$@"', "sh"]
    command = [python, f"/wheels/tool/{pip.name}/pip", "install", "--no-deps", "--no-compile", "--no-index"]
    command += ["--no-cache-dir", "--root-user-action=ignore", "--find-links=/wheels", *words]
    run(["unshare", "--mount", "sh", "-c", mounted, "sh", root, *clean, *command])
    shutil.rmtree(inside)


class Bases:
    """The bases, each made when it is first wanted."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.work = options.work

    def get(self, name: str) -> Base:
        return {"tfx": self._tfx, "debian": self._debian, "venv": self._venv}[name]()

    def _tfx(self) -> Base:
        root = self.work / "root"
        if not (root / "rootfs").is_dir():
            step("unpacking the base with umoci")
            run(["umoci", "unpack", "--image", f"{self.options.layout}:{TAG}", root])
        return Base(
            f"oci:{self.options.layout}:{TAG}", root / "rootfs", "/opt/conda/bin/python3", self.options.python
        )

    def _debian(self) -> Base:
        """Debian bookworm with its own Python."""
        folder = self.work / "debian"
        archive, root, layout = folder / "root.tar", folder / "root", folder / "layout"
        if not (layout / "index.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            root.mkdir(parents=True)
            debian_root("bookworm", ["ca-certificates", "python3", "python3-venv", "python3-requests"], archive)
            self._image(archive, root, layout, "/usr/local/bin:/usr/bin:/bin")
        return Base(
            f"oci:{layout}:1", root, "/usr/bin/python3", self.options.debian_python, ("--break-system-packages",)
        )

    def _venv(self) -> Base:
        """The same with a virtual environment, in which pip has installed something."""
        debian = self._debian()
        folder = self.work / "venv"
        archive, root, layout = folder / "root.tar", folder / "root", folder / "layout"
        if not (layout / "index.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            made, wheels = folder / "made", folder / "wheels"
            root.mkdir(parents=True)
            run(["cp", "-a", debian.root, made])
            run_inside(made, {"PATH": "/usr/bin:/bin"}, "/usr/bin/python3", "-m", "venv", "/opt/venv")
            fetch = [self.options.debian_python, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
            run([*fetch, "-d", wheels, *VENV_PINS])
            install_inside(made, "/opt/venv/bin/python3", newest_pip(self.options), wheels, *VENV_PINS)
            run(["tar", "-C", made, "--numeric-owner", "-cf", archive, "."])
            shutil.rmtree(made)
            self._image(archive, root, layout, "/opt/venv/bin:/usr/bin:/bin")
        # pip's scripts name the Python that it was started with, by whichever of its names; imgtool's name this one.
        return Base(f"oci:{layout}:1", root, "/opt/venv/bin/python", self.options.debian_python)

    def _image(self, archive: Path, root: Path, layout: Path, path: str) -> None:
        run(["tar", "-C", root, "--numeric-owner", "-xpf", archive])
        image = Layout(layout, level=1)
        image.add_archive(archive, "root")
        image.finish("1", {"Env": [f"PATH={path}"]})
        archive.unlink()


def compare(name: str, base: Base, words: list[str], replaces: bool, options: argparse.Namespace, work: Path) -> list[str]:
    """The differences between pip's changes and the layer's."""
    target = work / "image"
    cache = ["--cache-dir", str(options.work / "cache")]
    command = [options.imgtool, "build", base.reference, *words, *base.words, *cache]
    built = run([*command, "--output", f"oci:{target}", "--attach", "none", "--format", "json"])
    image = json.loads(built.stdout)["images"][0]
    # Now that it is cached what the newest is, both commands mean the same.
    pins = run([options.imgtool, "resolve", base.reference, *words, *cache, "--format", "requirements"]).stdout
    chosen = {(pin["name"], pin["version"]) for pin in image["added"] + image["replaced"]}
    if replaces != bool(image["replaced"]):
        raise ImageFailure(f"{name}: {len(image['replaced'])} distributions of the base are replaced")
    layer = Layer(target, [layer["digest"] for layer in image["layers"]], base.root)
    wheels = work / "wheels"
    (work / "pins.txt").write_text(pins)
    fetch = [base.fetching, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", wheels]
    run([*fetch, "-r", work / "pins.txt"])
    if len(list(wheels.iterdir())) != len(chosen):
        raise ImageFailure(f"{name}: {len(list(wheels.iterdir()))} wheels were fetched for {len(chosen)} pins")
    (wheels / "pins.txt").write_text(pins)
    with overlay(base.root, work / "mounts") as (merged, upper):
        asked = (*base.words, "--require-hashes", "-r", "/wheels/pins.txt")
        install_inside(merged, base.python, newest_pip(options), wheels, *asked)
        touched = set(paths_below(upper)) | layer.paths()
        differences = []
        files = gone = 0
        for path in sorted(touched):
            if is_masked(path):
                continue
            files += 1
            by_pip, ours = state_on_disk(merged, path), layer.state(path)
            gone += by_pip == ("absent",)
            if by_pip != ours:
                differences.append(f"{path}: pip {by_pip}, imgtool {ours}")
    step(
        f"{name}: {files} paths, {gone} of them gone, of {len(chosen)} distributions, "
        f"{len(image['replaced'])} of them replacing; {len(differences)} differences"
    )
    return differences


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imgtool", required=True, type=Path)
    parser.add_argument("--layout", required=True, type=Path, help="the base, by tfx_base.py")
    parser.add_argument("--python", required=True, type=Path, help="a CPython 3.10 with pip")
    parser.add_argument("--debian-python", required=True, type=Path, help="a CPython 3.11 with pip")
    parser.add_argument("--work", type=Path, help="a folder to work in, kept [default: a temporary one]")
    parser.add_argument("cases", nargs="*", help=f"which of {', '.join(CASES)} [default: all]")
    options = parser.parse_args()
    clean_up_when_ended()
    try:
        need_root()
        install_commands(["mmdebstrap", "umoci"])
        with contextlib.ExitStack() as stack:
            if options.work is None:
                options.work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="build-")))
            options.work.mkdir(parents=True, exist_ok=True)
            bases = Bases(options)
            failed = False
            for name in options.cases or CASES:
                work = options.work / "cases" / name
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir(parents=True)
                base, words, replaces = CASES[name]
                differences = compare(name, bases.get(base), words, replaces, options, work)
                for difference in differences[:40]:
                    print(f"  {difference}")
                failed = failed or bool(differences)
                shutil.rmtree(work, ignore_errors=True)
    except ImageFailure as failure:
        print(f"build: {failure}", file=sys.stderr)
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
