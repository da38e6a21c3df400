#!/usr/bin/env python3
"""Apply imgtool's smallest changes of a base, and see that nothing is broken that was not broken before.

For each snapshot of the catalog and each request: where the request does not fit the base as it is, imgtool is asked for
the smallest change (`--policy minimal`). Its answer must pass three examinations that know nothing of imgtool:

1. `pip check`. The base is laid out as `.dist-info` folders in a virtual environment of its own Python, from the
   snapshot's metadata; the changed and added distributions then get the metadata of the wheels that the answer names.
   pip must not complain of anything that it did not complain of before.
2. uv solves the request with the base pinned at what the answer makes of it: it must find a solution.
3. uv solves the request with the base pinned but for the changed distributions without one of them, each in turn: it
   must find none, or the change was not needed. Only where the pins of the base agree with one another, because uv can
   say nothing about a base that contradicts itself.

Where imgtool says that no change helps, uv must find no solution either, with every base distribution free to change.

With `--venv`, one answer is also applied to a copy of that real environment with `pip install --no-deps`.

Needs uv on PATH, the network, and the Pythons of the bases (3.7, 3.8, 3.10), from PATH or a pyenv; a base whose Python
is not there is left out, and said to be. Exit status: 0 all holds, 1 something does not, 2 the examination failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from compare import Base, ComparisonError, Uv, load_bases, normalize
from real_environment import EnvironmentFailure, copy_of, freeze, run, step, violations

REQUESTS = (
    "mlflow-skinny>=3",
    "mlflow>=3",
    "mlflow-skinny==2.1.0",
    "mlflow==2.1.0",
    "mlflow-skinny>=2.0.0",
    "protobuf>=5",
    "numpy>=2",
    "pandas>=2.2",
    "pydantic<2",
    "typing-extensions>=4.13",
    "fastapi>=0.115",
    "transformers>=4.50",
)
# pip's two complaints; what is installed in place of what is required may change between before and after.
COMPLAINT = re.compile(r"^(?P<name>\S+) (?P<version>\S+) (?:has requirement|requires) (?P<requires>.+?), (?:but|which)")


class Broken(Exception):
    """What must hold does not."""


@dataclass
class Change:
    """imgtool's answer under the policy `minimal`."""

    solvable: bool
    changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    added: dict[str, str] = field(default_factory=dict)
    wheels: dict[str, dict] = field(default_factory=dict)
    version: str = ""
    seconds: float = 0.0

    def shown(self) -> str:
        """One table cell."""
        if not self.solvable:
            return "no change helps"
        moves = ", ".join(f"{name} {old} → {new}" for name, (old, new) in self.changed.items())
        return f"{self.version} (+{len(self.added)}): {moves}"


def ask(executable: Path, base: str, request: str, policy: str) -> Change:
    """imgtool's answer on the snapshot of a base."""
    command = [str(executable), "resolve", f"tfx:{base}", "--snapshot", request, "--policy", policy, "--format", "json"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode not in (0, 1):
        raise ComparisonError(f"`{' '.join(command)}` exited {done.returncode}:\n{done.stderr}")
    answer = json.loads(done.stdout)
    if not answer["solvable"]:
        return Change(False, seconds=seconds)
    if policy == "minimal" and not answer["proven_smallest"]:
        raise Broken("the change is not proven to be the smallest")
    came = answer["added"] + answer["changed"]
    return Change(
        True,
        changed={entry["name"]: (entry["from"], entry["to"]) for entry in answer["changed"]},
        removed=[entry["name"] for entry in answer["removed"]],
        added={entry["name"]: entry["version"] for entry in answer["added"]},
        wheels={entry["name"]: entry["wheel"] for entry in came},
        version=answer["requested"][0]["version"],
        seconds=seconds,
    )


def find_python(minor: str) -> str | None:
    """An interpreter of that minor version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [str(path) for path in sorted(pyenv.glob(f"{minor}.*/bin/python{minor}"))] + [f"python{minor}"]
    for place in places:
        if shutil.which(place) and subprocess.run([place, "--version"], capture_output=True, check=False).returncode == 0:
            return place
    return None


class Layout:
    """A base as `.dist-info` folders in a virtual environment, for `pip check`."""

    def __init__(self, python: str, snapshot: dict, folder: Path) -> None:
        self.folder = folder
        run([python, "-m", "venv", folder])
        self.python = folder / "bin/python"
        [self.site] = folder.glob("lib/python*/site-packages")
        for leftover in self.site.glob("setuptools*"):
            # The base's own, if it has one, must be the only one.
            shutil.rmtree(leftover)
        for entry in snapshot["distributions"]:
            self.put(entry["name"], entry["version"], metadata_of(entry))

    def put(self, name: str, version: str, metadata: str) -> None:
        """Write a distribution in place of another of that name."""
        self.drop(name)
        folder = self.site / f"{normalize(name).replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(metadata)
        (folder / "RECORD").write_text("")

    def drop(self, name: str) -> None:
        """Remove a distribution."""
        for folder in self.site.glob("*.dist-info"):
            if normalize(folder.name.removesuffix(".dist-info").rsplit("-", 1)[0]) == normalize(name):
                shutil.rmtree(folder)

    def complaints(self) -> set[tuple[str, str]]:
        """What `pip check` says: who, at which version, and which requirement."""
        done = run([self.python, "-m", "pip", "--disable-pip-version-check", "check"], check=False)
        if done.returncode not in (0, 1) or (done.returncode == 1 and not done.stdout.strip()):
            raise ComparisonError(f"`pip check` failed: {done.stderr}")
        found = set()
        for line in done.stdout.splitlines() if done.returncode else []:
            match = COMPLAINT.match(line)
            if match is None:
                raise ComparisonError(f"`pip check` says what this script cannot read: {line}")
            found.add((f"{normalize(match['name'])} {match['version']}", match["requires"]))
        return found


def metadata_of(entry: dict) -> str:
    """METADATA as a snapshot knows it."""
    lines = ["Metadata-Version: 2.1", f"Name: {entry['name']}", f"Version: {entry['version']}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in entry.get("requires_dist", [])]
    lines += [f"Provides-Extra: {extra}" for extra in entry.get("provides_extra", [])]
    if entry.get("requires_python"):
        lines.append(f"Requires-Python: {entry['requires_python']}")
    return "\n".join(lines) + "\n"


class Wheels:
    """METADATA of wheels, from the index, kept in a folder."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def metadata(self, wheel: dict) -> str:
        """METADATA of one wheel: the index's own file, or out of the wheel, whose hash is verified."""
        kept = self.cache / f"{wheel['filename']}.metadata"
        if kept.exists():
            return kept.read_text()
        url = wheel["url"].split("#")[0]
        try:
            with urllib.request.urlopen(f"{url}.metadata", timeout=60) as response:
                text = response.read().decode()
        except OSError:
            with urllib.request.urlopen(url, timeout=300) as response:
                content = response.read()
            if wheel["sha256"] and hashlib.sha256(content).hexdigest() != wheel["sha256"]:
                raise ComparisonError(f"{url} does not have the hash that the answer says") from None
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                [name] = [it for it in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", it)]
                text = archive.read(name).decode()
        self.cache.mkdir(parents=True, exist_ok=True)
        kept.write_text(text)
        return text


def check_with_pip(layout: Layout, snapshot: dict, answer: Change, wheels: Wheels, before: set) -> int:
    """Apply an answer to the layout, look, and take it back; the number of complaints that it mended."""
    installed = {normalize(entry["name"]): entry for entry in snapshot["distributions"]}
    for name, (old, _) in answer.changed.items():
        if installed[name]["version"] != old:
            raise Broken(f"{name} is said to be {old}, the base has {installed[name]['version']}")
    if twice := sorted(answer.added.keys() & installed.keys()):
        raise Broken(f"added, although the base has them: {', '.join(twice)}")
    coming = answer.added | {name: new for name, (_, new) in answer.changed.items()}
    try:
        for name, version in coming.items():
            layout.put(name, version, wheels.metadata(answer.wheels[name]))
        for name in answer.removed:
            layout.drop(name)
        after = layout.complaints()
    finally:
        for name in (*coming, *answer.removed):
            layout.drop(name)
            if name in installed:
                layout.put(name, installed[name]["version"], metadata_of(installed[name]))
    if worse := after - before:
        raise Broken("`pip check` says more than before: " + "; ".join(f"{who} requires {it}" for who, it in sorted(worse)))
    return len(before - after)


def check_with_uv(uv: Uv, base: Base, request: str, answer: Change) -> str:
    """Whether uv agrees that an answer holds, and that nothing of it could stay as it was; what was found."""
    if not base.consistent:
        return "uv has no say: the pins contradict one another"
    if answer.removed:
        return "uv has no say: something is removed"
    pinned = {name: version for name, version in base.pins.items() if name not in answer.changed}
    made = pinned | {name: new for name, (_, new) in answer.changed.items()}
    solvable, output = solve(uv, base, request, made, [])
    if not solvable:
        raise Broken(f"uv finds no solution with what the answer makes of the base: {' '.join(output.split())[:600]}")
    for name, (old, _) in answer.changed.items():
        free = [other for other in answer.changed if other != name]
        solvable, output = solve(uv, base, request, pinned | {name: old}, free)
        if solvable:
            raise Broken(f"{name} need not change: uv finds a solution with {name} {old}")
    return f"uv agrees, {len(answer.changed)} times"


def solve(uv: Uv, base: Base, request: str, pins: dict[str, str], free: list[str]) -> tuple[bool, str]:
    """uv's answer with `pins` held and `free` present in whatever version."""
    held = dataclasses.replace(base, pins=pins)
    return uv.compile(held, [request, *(f"{name}=={version}" for name, version in pins.items()), *free])


def examine(options: argparse.Namespace) -> int:
    """Run all examinations and print their table."""
    uv = Uv(options.uv, options.cache, options.refresh)
    wheels = Wheels(options.cache / "metadata")
    failures: list[str] = []
    print("| base | request | smallest change | seconds | `pip check` | uv |")
    print("|---|---|---|---|---|---|")
    for base in load_bases(options.tfx, options.base):
        minor = ".".join(base.python.split(".")[:2])
        python = find_python(minor)
        if python is None:
            print(f"| {base.name} | – | left out: there is no Python {minor} | | | |")
            continue
        uv.examine(base)
        snapshot = json.loads((options.snapshots / f"{base.name}.json").read_text())
        with tempfile.TemporaryDirectory(prefix="imgtool-minimal-") as folder:
            layout = Layout(python, snapshot, Path(folder) / "base")
            before = layout.complaints()
            for request in options.request or REQUESTS:
                print(f"{base.name}: {request}", file=sys.stderr)
                if ask(options.imgtool, base.name, request, "hold").solvable:
                    continue
                answer = None
                try:
                    answer = ask(options.imgtool, base.name, request, "minimal")
                    cells = judge(uv, base, request, answer, layout, snapshot, wheels, before)
                except Broken as broken:
                    failures.append(f"{base.name} {request}: {broken}")
                    cells = ("**broken**", "see below")
                shown, seconds = (answer.shown(), f"{answer.seconds:.2f}") if answer else ("–", "–")
                print(f"| {base.name} | `{request}` | {shown} | {seconds} | {cells[0]} | {cells[1]} |", flush=True)
    print(f"\n{len(failures)} failures")
    for line in failures:
        print(f"- {line}")
    return 1 if failures else 0


def judge(
    uv: Uv, base: Base, request: str, answer: Change, layout: Layout, snapshot: dict, wheels: Wheels, before: set
) -> tuple[str, str]:
    """The verdicts of pip and of uv."""
    if answer.solvable:
        if not answer.changed and not answer.removed:
            raise Broken("nothing changes, although the request does not fit the base as it is")
        mended = check_with_pip(layout, snapshot, answer, wheels, before)
        said = f"as before ({len(before)})" + (f", {mended} mended" if mended else "")
        return said, check_with_uv(uv, base, request, answer)
    solvable, output = solve(uv, base, request, {}, list(base.pins))
    if solvable:
        raise Broken(f"no change is said to help, but uv finds {' '.join(output.split())[:600]}")
    return "–", "uv finds nothing either"


def apply(options: argparse.Namespace) -> None:
    """One answer in a copy of a real environment."""
    with tempfile.TemporaryDirectory(prefix="imgtool-minimal-", dir=options.scratch) as scratch:
        folder = Path(scratch)
        before = freeze(options.uv, options.venv)
        broken = violations(options.python, options.venv)
        output = folder / "pins.txt"
        command = [options.imgtool, "resolve", f"dir:{options.venv}", options.apply, "--policy", "minimal"]
        run([*command, "--output", output])
        answer = json.loads(run([*command, "--format", "json"]).stdout)
        changed = {entry["name"]: (entry["from"], entry["to"]) for entry in answer["changed"]}
        step(f"{options.apply}: {', '.join(f'{name} {old} → {new}' for name, (old, new) in changed.items())}")
        copy = copy_of(options.venv, folder / "copy")
        pip = [options.python, "-m", "pip", "--python", copy / "bin/python"]
        run([*pip, "install", "--no-deps", "--require-hashes", "-r", output])
        step("`pip install --no-deps --require-hashes` accepts the file")
        after = freeze(options.uv, copy)
        found = {name: (old, after.get(name)) for name, old in before.items() if after.get(name) != old}
        if found != changed:
            raise EnvironmentFailure(f"changed {found}, but {changed} was announced")
        added = {entry["name"]: entry["version"] for entry in answer["added"]}
        if (there := {name: version for name, version in after.items() if name not in before}) != added:
            raise EnvironmentFailure(f"installed {there}, but {added} was announced")
        step(f"{len(changed)} of {len(before)} base distributions changed, {len(added)} added, as announced")
        worse = violations(options.python, copy) - broken
        if worse:
            raise EnvironmentFailure("`pip check` says more than before:\n" + "\n".join(sorted(worse)))
        step(f"`pip check`: nothing that it did not say before ({len(broken)} complaints then)")
        for code in ("import mlflow, tensorflow, tfx.v1", "import tensorflow, tfx.v1, mlflow"):
            printed = run([copy / "bin/python", "-c", f"{code}; print(mlflow.__version__)"]).stdout.split()
            step(f"`{code}`: MLflow {printed[-1]}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="Exit status: 0, 1 (broken), 2.")
    parser.add_argument("--tfx", type=Path, default=Path("../shared/data/tfx"), help="folder of the pin lists")
    parser.add_argument("--snapshots", type=Path, default=Path("images/tfx"), help="folder of the snapshots")
    parser.add_argument("--imgtool", type=Path, default=Path("target/release/imgtool"), help="imgtool's executable")
    parser.add_argument("--uv", default="uv", help="uv's executable")
    parser.add_argument("--cache", type=Path, default=Path("target/oracle"), help="where answers and metadata are kept")
    parser.add_argument("--refresh", action="store_true", help="ask uv again, whatever is kept")
    parser.add_argument("--base", action="append", default=[], help="only this base (repeatable), such as 1.16.0")
    parser.add_argument("--request", action="append", default=[], help="only this request (repeatable)")
    parser.add_argument("--venv", type=Path, help="an environment with TFX 1.16.0, of which a copy is changed")
    parser.add_argument("--python", default="python3.10", help="a Python 3.10 with pip, for --venv")
    parser.add_argument("--apply", default="mlflow-skinny==2.1.0", help="the request for --venv (default %(default)s)")
    parser.add_argument("--scratch", type=Path, help="folder for the copy (default: the system's temporary folder)")
    return parser.parse_args()


def main() -> int:
    """Entry point."""
    options = arguments()
    try:
        status = examine(options)
        if options.venv:
            apply(options)
    except EnvironmentFailure as error:
        print(f"minimal.py: {error}", file=sys.stderr)
        return 1
    except (ComparisonError, OSError) as error:
        print(f"minimal.py: {error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
