#!/usr/bin/env python3
"""Install imgtool's answer into a real TFX 1.16.0 environment and see that nothing broke.

The environment is a virtual environment of Python 3.10 with the base installed; it is copied, never changed (where
there is none it is made from the pin list). imgtool resolves `mlflow-skinny` on the folder and on its embedded
snapshot: both must give the same pins. They are installed with `pip install --no-deps --require-hashes` into one copy
and with uv into another. Then `pip check` must not say more than before, no base distribution may have changed, and
MLflow, TensorFlow and TFX must import in one process. Each step prints what it found.

Needs Python 3.10 with pip, uv on PATH, the network, and about 6 GB of disk. Exit status: 0 all holds, 1 something
does not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = "import mlflow, tensorflow, tfx.v1; print(mlflow.__version__, tensorflow.__version__, tfx.v1.__version__)"
REVERSED = "import tensorflow, tfx.v1, mlflow; print(mlflow.__version__)"


class EnvironmentFailure(Exception):
    """A step that must hold does not."""


def run(command: list[str | Path], check: bool = True) -> subprocess.CompletedProcess:
    """Run a command and give what it printed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        shown = " ".join(str(part) for part in command)
        raise EnvironmentFailure(f"`{shown}` exited {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def step(text: str) -> None:
    """Say what is known."""
    print(f"- {text}", flush=True)


def pins(path: Path) -> dict[str, str]:
    """The pins of a requirements file with hashes."""
    found = {}
    for line in path.read_text().replace("\\\n", " ").splitlines():
        requirement = line.split("#")[0].split("--hash")[0].split(";")[0].strip()
        if "==" in requirement:
            name, version = requirement.split("==", 1)
            found[name.strip().lower().replace("_", "-")] = version.strip()
    return found


def freeze(uv: str, venv: Path) -> dict[str, str]:
    """What is installed in an environment."""
    return {
        entry["name"].lower(): entry["version"]
        for entry in json.loads(run([uv, "pip", "list", "--python", venv, "--format", "json"]).stdout)
    }


def violations(python: str, venv: Path) -> set[str]:
    """The complaints of `pip check`."""
    done = run([python, "-m", "pip", "--python", venv / "bin/python", "check"], check=False)
    if done.returncode == 0:
        return set()
    if not done.stdout.strip():
        raise EnvironmentFailure(f"`pip check` failed: {done.stderr}")
    return set(done.stdout.strip().splitlines())


def make_base(options: argparse.Namespace) -> None:
    """Make the environment of the base where there is none."""
    if (options.venv / "pyvenv.cfg").is_file():
        return
    step(f"making {options.venv} from {options.pins}")
    run([options.uv, "venv", "--no-python-downloads", "--python", options.python, options.venv])
    run([options.uv, "pip", "install", "--python", options.venv, "--no-deps", "-r", options.pins])


def resolve(options: argparse.Namespace, base: str, output: Path) -> dict[str, str]:
    """imgtool's pins for one base."""
    start = time.perf_counter()
    run([options.imgtool, "resolve", base, options.request, "--output", output])
    found = pins(output)
    step(
        f"`resolve {base.split(':')[0]}:… {options.request}`: {len(found)} pins in {time.perf_counter() - start:.2f} s"
    )
    return found


def copy_of(venv: Path, folder: Path) -> Path:
    """A copy that may be changed, sharing blocks where possible. Scripts keep the old path and are not run."""
    run(["cp", "-a", "--reflink=auto", venv, folder])
    return folder


def verify(
    options: argparse.Namespace, copy: Path, before: dict[str, str], wanted: dict[str, str], broken: set[str]
) -> None:
    """What must hold after an installation."""
    after = freeze(options.uv, copy)
    changed = {name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version}
    if changed:
        raise EnvironmentFailure(f"base distributions changed: {changed}")
    added = {name: version for name, version in after.items() if name not in before}
    if added != wanted:
        raise EnvironmentFailure(f"installed {added}, resolved {wanted}")
    step(f"none of {len(before)} base distributions changed, {len(added)} added")
    worse = violations(options.python, copy) - broken
    if worse:
        raise EnvironmentFailure("`pip check` says more than before:\n" + "\n".join(sorted(worse)))
    step(f"`pip check`: nothing that it did not say before ({len(broken)} complaints then)")


def check(options: argparse.Namespace) -> None:
    """All steps."""
    make_base(options)
    with tempfile.TemporaryDirectory(prefix="imgtool-real-", dir=options.scratch) as scratch:
        folder = Path(scratch)
        before = freeze(options.uv, options.venv)
        broken = violations(options.python, options.venv)
        wanted = resolve(options, f"dir:{options.venv}", folder / "dir.txt")
        embedded = resolve(options, "tfx:1.16.0", folder / "tfx.txt")
        if wanted != embedded:
            differing = {
                name: (wanted.get(name), embedded.get(name))
                for name in wanted.keys() | embedded.keys()
                if wanted.get(name) != embedded.get(name)
            }
            raise EnvironmentFailure(f"folder and snapshot give different pins: {differing}")
        step("the folder and the embedded snapshot give the same pins")

        copy = copy_of(options.venv, folder / "pip")
        run(
            [
                options.python,
                "-m",
                "pip",
                "--python",
                copy / "bin/python",
                "install",
                "--no-deps",
                "--require-hashes",
                "-r",
                folder / "dir.txt",
            ]
        )
        step("`pip install --no-deps --require-hashes` accepts the file")
        verify(options, copy, before, wanted, broken)
        for code in (IMPORTS, REVERSED):
            start = time.perf_counter()
            printed = run([copy / "bin/python", "-c", code]).stdout.strip().splitlines()
            step(f"`{code.split(';')[0]}` in {time.perf_counter() - start:.1f} s: {printed[-1] if printed else ''}")
        shutil.rmtree(copy)

        copy = copy_of(options.venv, folder / "uv")
        run([options.uv, "pip", "install", "--python", copy, "--no-deps", "--require-hashes", "-r", folder / "tfx.txt"])
        step("`uv pip install --no-deps --require-hashes` accepts the file")
        verify(options, copy, before, wanted, broken)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--imgtool", type=Path, default=Path("target/release/imgtool"), help="imgtool's executable")
    parser.add_argument(
        "--venv", type=Path, required=True, help="environment with the base installed; copied, not changed"
    )
    parser.add_argument(
        "--pins",
        type=Path,
        default=Path("../shared/data/tfx/pins-1.16.0-py310.txt"),
        help="pin list that makes the environment where there is none",
    )
    parser.add_argument("--python", default="python3.10", help="a Python 3.10 with pip (default python3.10)")
    parser.add_argument("--uv", default="uv", help="uv's executable")
    parser.add_argument("--request", default="mlflow-skinny", help="what to resolve (default mlflow-skinny)")
    parser.add_argument("--scratch", type=Path, help="folder for the copies (default: the system's temporary folder)")
    return parser.parse_args()


def main() -> int:
    """Entry point."""
    try:
        check(arguments())
    except (EnvironmentFailure, OSError) as error:
        print(f"real_environment.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
