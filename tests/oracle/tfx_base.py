#!/usr/bin/env python3
"""Make a full-size TFX 1.16.0 base image as an OCI layout, and see that it works.

Two layers, as the release's own image has them: a Debian bookworm root, and under /opt/conda a CPython 3.10 with the
real wheels of the TFX 1.16.0 pin list. About 3 GB, 1.1 GB compressed, 59,000 files. It is what the pin list gives, not
a reading of the published image. The image then runs under podman: Python is what it says it is, its extension modules
load, `pip list` has every pin, and `import tensorflow, tfx` works.

A complete layout is left alone; nothing incomplete ever has its name. Needs root, uv on PATH, a CPython 3.10 in a
prefix of its own, the network, and about 12 GB of disk while it works. Exit status: 0 there is a base, 1 there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

from image_parts import (
    PYTHON_LIBRARIES,
    ImageFailure,
    Layout,
    Podman,
    clean_python,
    clean_up_when_ended,
    copy_python,
    debian_root,
    install_commands,
    move_scripts,
    need_root,
    run,
    sorted_tree,
    step,
)

TAG = "1.16.0"
PREFIX = "/opt/conda"
PATH = f"{PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONFIG = {
    "Env": [f"PATH={PATH}", "LANG=C.UTF-8"],
    "Entrypoint": ["/opt/apache/beam/boot"],
    "WorkingDir": "/",
}
SELF_TEST = """
import ctypes, bz2, lzma, readline, sqlite3, ssl, sys, sysconfig, uuid, zlib
assert sys.prefix == sys.base_prefix == %(prefix)r, sys.prefix
assert sysconfig.get_path('purelib') == %(prefix)r + '/lib/python3.10/site-packages', sysconfig.get_path('purelib')
assert sysconfig.get_config_var('prefix') == %(prefix)r, sysconfig.get_config_var('prefix')
assert sqlite3.connect(':memory:').execute('select 1').fetchone() == (1,)
assert ssl.create_default_context().get_ca_certs(), 'no certificates'
assert ctypes.CDLL(None).getpid() > 0
print(sys.version.split()[0])
""" % {"prefix": PREFIX}


def pinned(path: Path) -> dict[str, str]:
    """The pins of a requirements file, by normalized name."""
    found = {}
    for line in path.read_text().splitlines():
        requirement = line.split("#")[0].split(";")[0].strip()
        if "==" in requirement:
            name, version = requirement.split("==", 1)
            found[normalized(name.split("[")[0])] = version.strip()
    return found


def normalized(name: str) -> str:
    """A project's name as the index writes it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def python_layer(options: argparse.Namespace, stage: Path) -> None:
    """Fill a folder with /opt/conda."""
    prefix = stage / PREFIX.strip("/")
    prefix.mkdir(parents=True)
    copy_python(options.python, prefix, PREFIX)
    start = time.perf_counter()
    run(
        [options.uv, "pip", "install", "--python", prefix / "bin/python3.10", "--no-deps", "-r", options.pins],
        env=clean_python(),
    )
    move_scripts(prefix, PREFIX)
    step(f"wheels of {options.pins.name} installed in {time.perf_counter() - start:.0f} s")


def verify(options: argparse.Namespace, layout: Path) -> None:
    """Run the image."""
    run(["skopeo", "inspect", f"oci:{layout}:{TAG}"])
    with Podman(options.output / "check") as engine:
        engine.podman("pull", "-q", f"oci:{layout}:{TAG}")
        image = engine.podman("images", "-q").stdout.split()[0]

        def python(*words: str) -> str:
            return engine.run(image, *words, options=("--entrypoint", "python")).strip()

        step(f"runs under podman: Python {python('-c', SELF_TEST)} in {PREFIX}")
        listed = json.loads(python("-m", "pip", "list", "--format", "json"))
        installed = {normalized(entry["name"]): entry["version"] for entry in listed}
        wanted = pinned(options.pins)
        wrong = {name: (version, installed.get(name)) for name, version in wanted.items()}
        wrong = {name: pair for name, pair in wrong.items() if pair[0] != pair[1]}
        if wrong:
            raise ImageFailure(f"installed is not what is pinned: {wrong}")
        step(f"pip lists {len(installed)} distributions, each of {len(wanted)} pins among them")
        start = time.perf_counter()
        said = python("-c", "import tensorflow, tfx; print(tensorflow.__version__, tfx.__version__)").splitlines()[-1]
        step(f"`import tensorflow, tfx` in {time.perf_counter() - start:.1f} s: {said}")


def make(options: argparse.Namespace) -> None:
    """Make the layout where there is none."""
    layout = options.output / "layout"
    if (layout / "index.json").is_file():
        step(f"{layout} is complete")
        return
    need_root()
    install_commands(["mmdebstrap", "patchelf", "podman", "runc", "skopeo"], ["libsnappy-dev", "gcc", "g++"])
    work = options.output / f"work-{os.getpid()}"
    try:
        work.mkdir(parents=True)
        start = time.perf_counter()
        debian_root("bookworm", PYTHON_LIBRARIES, work / "root.tar")
        step(f"Debian bookworm root in {time.perf_counter() - start:.0f} s")
        stage = work / "stage"
        python_layer(options, stage)
        files = sum(1 for path in sorted_tree(stage) if not path.is_dir() or path.is_symlink())
        start = time.perf_counter()
        writing = Layout(work / "layout")
        root = writing.add_archive(work / "root.tar", "debian bookworm")
        python = writing.add_folder(stage, f"CPython 3.10 and {options.pins.name} under {PREFIX}")
        digest = writing.finish(TAG, CONFIG)
        for name, layer in (("root", root), ("python", python)):
            step(f"{name} layer: {layer['plain_size'] / 1e9:.2f} GB, {layer['size'] / 1e9:.2f} GB compressed")
        step(f"{files} files in the python layer; written in {time.perf_counter() - start:.0f} s; {digest}")
        shutil.rmtree(stage)
        if options.check:
            verify(options, work / "layout")
        (work / "layout").replace(layout)
        step(f"{layout}:{TAG} is complete")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=Path("target/tfx-base"), help="folder that gets `layout`")
    parser.add_argument(
        "--pins", type=Path, default=Path("../shared/data/tfx/pins-1.16.0-py310.txt"), help="pin list to install"
    )
    parser.add_argument("--python", type=Path, default=Path("python3.10"), help="a CPython 3.10 with its own prefix")
    parser.add_argument("--uv", default="uv", help="uv's executable")
    parser.add_argument("--no-check", dest="check", action="store_false", help="do not run the image")
    options = parser.parse_args()
    options.output = options.output.resolve()
    return options


def main() -> int:
    """Entry point."""
    clean_up_when_ended()
    try:
        make(arguments())
    except (ImageFailure, OSError) as error:
        print(f"tfx_base.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
