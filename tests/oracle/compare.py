#!/usr/bin/env python3
"""Compare imgtool's answers with uv's, on every base whose pins are known.

For each pin list (a base) and each request, uv solves `request + every base pin`, with the pins as constraints too,
and imgtool solves the same request on its embedded snapshot of that base. Both must agree on solvable or not, and
imgtool's version of the requested project must be the same or newer. A difference that is understood stands, with its
reason, in `explained.toml` beside this script; an entry there that no longer differs fails the run like a difference
that is not there.

uv is given what imgtool knows of a base: the Python version, the platform, and that nothing is built. Base
distributions that have no wheel are excepted from the last (they are installed already); which ones is found by
asking uv. Where the pins of a base contradict one another already, uv would call every request unsolvable; imgtool
warns and goes on. There the base distributions are constraints only, which the table says.

Needs uv on PATH, network, Python 3.11 or newer (tomllib). Exit status: 0 agreement, 1 difference, 2 the comparison
failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUESTS = ("mlflow-skinny", "mlflow", "mlflow-skinny>=3", "mlflow==2.1.0", "fastapi", "wandb")
# glibc of the snapshots: see the README beside the pin lists.
PLATFORMS = {"1.17.0": "x86_64-manylinux_2_39", "1.21.0": "x86_64-manylinux_2_39"}
OTHER_PLATFORM = "x86_64-manylinux_2_35"
# The pin lists give the minor version only; uv reads "3.10" as 3.10.0, which no image has.
PYTHONS = {"37": "3.7.16", "38": "3.8.18", "310": "3.10.13"}
PIN_LIST = re.compile(r"pins-(?P<base>[0-9.]+)-py(?P<python>[0-9]+)\.txt")
NO_WHEELS = re.compile(r"[Bb]ecause ([A-Za-z0-9._-]+)==\S+ has no (?:usable )?wheels")


class ComparisonError(Exception):
    """The comparison itself could not be made."""


@dataclass
class Base:
    """One pin list and what uv has to be told about it."""

    name: str
    python: str
    platform: str
    pins: dict[str, str]
    path: Path
    sdist_only: list[str] = field(default_factory=list)
    consistent: bool = True
    contradiction: str = ""


@dataclass
class Answer:
    """What one tool says to one request on one base."""

    solvable: bool
    version: str | None = None
    added: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    reason: str = ""


def normalize(name: str) -> str:
    """Normalize a project name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(text: str) -> dict[str, str]:
    """Read `name==version` lines; everything else on a line is ignored."""
    pins = {}
    for line in text.splitlines():
        line = line.split("#")[0].split(";")[0].strip()
        if "==" in line:
            name, version = line.split("==", 1)
            pins[normalize(name.split("[")[0].strip())] = version.strip()
    return pins


def version_key(text: str) -> tuple:
    """Order public PEP 440 versions: enough for the versions that a resolver chooses."""
    match = re.fullmatch(r"(?:(\d+)!)?(\d+(?:\.\d+)*)(?:(a|b|rc)(\d+))?(?:\.post(\d+))?(?:\.dev(\d+))?(?:\+.*)?", text)
    if match is None:
        raise ComparisonError(f"`{text}` is not a version that this script can order")
    epoch, release, kind, number, post, dev = match.groups()
    numbers = [int(part) for part in release.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    # A pre-release stands before its release, a development release before either.
    stage = (kind, int(number)) if kind else ("", 0) if dev and post is None else ("z", 0)
    return (int(epoch or 0), numbers, stage, int(post) if post else -1, int(dev) if dev else float("inf"))


class Uv:
    """uv's side: runs `uv pip compile`, keeping every answer in a folder."""

    def __init__(self, executable: str, cache: Path, refresh: bool) -> None:
        self.executable = executable
        self.cache = cache
        self.refresh = refresh
        version = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True)
        self.version = version.stdout.strip()

    def compile(self, base: Base, inputs: list[str], *extra: str) -> tuple[bool, str]:
        """Solve `inputs` for the Python of `base`; solvable or not, and the pins or the explanation."""
        options = [
            "--python-version",
            base.python,
            "--python-platform",
            base.platform,
            "--no-python-downloads",
            "--no-header",
            "--no-annotate",
            "--no-progress",
            "--color",
            "never",
            "--only-binary",
            ":all:",
        ]
        for name in base.sdist_only:
            options += ["--no-binary", name]
        options += extra
        constraints = [f"{name}=={version}" for name, version in base.pins.items()]
        key = hashlib.sha256(json.dumps([self.version, options, constraints, inputs]).encode()).hexdigest()[:24]
        kept = self.cache / f"{key}.json"
        if kept.exists() and not self.refresh:
            answer = json.loads(kept.read_text())
            return answer["solvable"], answer["output"]
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "request.in").write_text("\n".join(inputs) + "\n")
            (Path(folder) / "base.txt").write_text("\n".join(constraints) + "\n")
            command = [self.executable, "pip", "compile", "request.in", "-c", "base.txt", *options]
            run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if run.returncode != 0 and "No solution found" not in run.stderr:
            raise ComparisonError(f"uv failed on {base.name} with {inputs[0]}:\n{run.stderr}")
        answer = {"solvable": run.returncode == 0, "output": run.stdout if run.returncode == 0 else run.stderr}
        self.cache.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(answer, indent=1, sort_keys=True) + "\n")
        return answer["solvable"], answer["output"]

    def examine(self, base: Base) -> None:
        """Find out which distributions of a base have no wheel, and whether its pins agree with one another."""
        pins = [f"{name}=={version}" for name, version in base.pins.items()]
        while True:
            solvable, output = self.compile(base, pins, "--no-deps")
            if solvable:
                break
            flat = " ".join(output.split())
            found = [normalize(name) for name in NO_WHEELS.findall(flat)]
            missing = [name for name in found if name in base.pins and name not in base.sdist_only]
            if not missing:
                raise ComparisonError(f"uv cannot take the pins of {base.name} as they are:\n{output}")
            base.sdist_only = sorted({*base.sdist_only, *missing})
        base.consistent, output = self.compile(base, pins)
        if not base.consistent:
            base.contradiction = explanation(output)

    def ask(self, base: Base, request: str) -> Answer:
        """Solve one request on one base."""
        pins = [f"{name}=={version}" for name, version in base.pins.items()]
        solvable, output = self.compile(base, [request, *(pins if base.consistent else [])])
        if not solvable:
            return Answer(False, reason=explanation(output))
        chosen = read_pins(output)
        return Answer(
            True,
            version=chosen[project_of(request)],
            added={name: version for name, version in sorted(chosen.items()) if name not in base.pins},
            changed={
                name: version for name, version in sorted(chosen.items()) if base.pins.get(name, version) != version
            },
        )


def explanation(stderr: str) -> str:
    """uv's explanation on one line, without the warnings before and the hints after it."""
    text = stderr[stderr.find("No solution found") :].split("\n\nhint:")[0]
    text = " ".join(text.replace("cause:", "").split())
    return text.removeprefix("No solution found when resolving dependencies").strip(" :")


def project_of(request: str) -> str:
    """The normalized project name of a requirement."""
    match = re.match(r"[A-Za-z0-9._-]*[A-Za-z0-9]", request)
    if match is None:
        raise ComparisonError(f"`{request}` is not a requirement")
    return normalize(match.group())


def ask_imgtool(executable: Path, base: Base, request: str) -> Answer:
    """imgtool's answer to the same question, from its embedded snapshot."""
    command = [str(executable), "resolve", f"tfx:{base.name}", request, "--format", "json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 1):
        raise ComparisonError(f"`{' '.join(command)}` exited {run.returncode}:\n{run.stderr}")
    try:
        answer = json.loads(run.stdout)
    except json.JSONDecodeError as error:
        raise ComparisonError(f"`{' '.join(command)}` printed no JSON: {error}\n{run.stdout[:500]}") from error
    if answer["solvable"] != (run.returncode == 0):
        raise ComparisonError(f"`{' '.join(command)}`: exit status {run.returncode} contradicts `solvable`")
    if not answer["solvable"]:
        return Answer(False, reason=json.dumps(answer.get("conflict", answer.get("explanation", "")))[:2000])
    versions = {normalize(entry["name"]): entry["version"] for entry in answer["requested"]}
    added = {normalize(entry["name"]): entry["version"] for entry in answer["added"]}
    return Answer(
        True,
        version=versions[project_of(request)],
        added=dict(sorted(added.items())),
        changed={name: version for name, version in sorted(added.items()) if name in base.pins},
    )


def difference(uv: Answer, imgtool: Answer) -> str | None:
    """What imgtool owes an explanation for, if anything."""
    if uv.solvable != imgtool.solvable:
        return "uv finds a solution, imgtool none" if uv.solvable else "imgtool finds a solution, uv none"
    if not uv.solvable:
        return None
    if imgtool.changed:
        return f"imgtool changes the base: {', '.join(imgtool.changed)}"
    if version_key(imgtool.version) < version_key(uv.version):
        return f"imgtool's {imgtool.version} is older than uv's {uv.version}"
    return None


def shown(answer: Answer | None) -> str:
    """One table cell."""
    if answer is None:
        return "–"
    return f"{answer.version} (+{len(answer.added)})" if answer.solvable else "unsolvable"


def load_bases(folder: Path, only: list[str]) -> list[Base]:
    """The pin lists of a folder, oldest base first."""
    bases = []
    for path in sorted(folder.glob("pins-*.txt")):
        match = PIN_LIST.fullmatch(path.name)
        if match is None or (only and match["base"] not in only):
            continue
        if match["python"] not in PYTHONS:
            raise ComparisonError(f"{path.name}: no full version of Python is known for py{match['python']}")
        base = match["base"]
        platform = PLATFORMS.get(base, OTHER_PLATFORM)
        bases.append(Base(base, PYTHONS[match["python"]], platform, read_pins(path.read_text()), path))
    if not bases:
        raise ComparisonError(f"no pin list (pins-VERSION-pyXY.txt) in {folder}")
    return sorted(bases, key=lambda base: version_key(base.name))


def load_explained(path: Path) -> dict[tuple[str, str], str]:
    """Differences that are understood: (base, request) -> reason."""
    entries = tomllib.loads(path.read_text()).get("explained", [])
    return {(entry["base"], entry["request"]): entry["reason"] for entry in entries}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="Exit status: 0, 1 (difference), 2.")
    parser.add_argument("--tfx", type=Path, default=Path("../shared/data/tfx"), help="folder of the pin lists")
    parser.add_argument("--imgtool", type=Path, default=Path("target/release/imgtool"), help="imgtool's executable")
    parser.add_argument("--uv", default="uv", help="uv's executable")
    parser.add_argument("--uv-only", action="store_true", help="produce uv's side, do not run imgtool")
    parser.add_argument("--cache", type=Path, default=Path("target/oracle"), help="where uv's answers are kept")
    parser.add_argument("--refresh", action="store_true", help="ask uv again, whatever is kept")
    parser.add_argument("--base", action="append", default=[], help="only this base (repeatable), such as 1.16.0")
    parser.add_argument("--request", action="append", default=[], help="only this request (repeatable)")
    parser.add_argument("--json", type=Path, help="also write every answer to this file")
    return parser.parse_args()


def compare(options: argparse.Namespace) -> int:
    """Run the comparison and print its table."""
    uv = Uv(options.uv, options.cache, options.refresh)
    explained = load_explained(HERE / "explained.toml")
    requests = options.request or list(REQUESTS)
    record: dict = {"uv": uv.version, "bases": {}}
    unexplained: list[str] = []
    notes: list[str] = []
    print(f"| base | request | {uv.version.split(' (')[0]} | imgtool | verdict |")
    print("|---|---|---|---|---|")
    for base in load_bases(options.tfx, options.base):
        print(f"{base.name}: examining the pins", file=sys.stderr)
        uv.examine(base)
        if not base.consistent:
            notes.append(
                f"{base.name}: its own pins contradict one another, so uv has them as constraints only: "
                f"{base.contradiction}"
            )
        cells = {}
        for request in requests:
            print(f"{base.name}: {request}", file=sys.stderr)
            theirs = uv.ask(base, request)
            if theirs.changed:
                raise ComparisonError(f"uv left the pins of {base.name}: {theirs.changed}")
            ours = None if options.uv_only else ask_imgtool(options.imgtool, base, request)
            cells[request] = {"uv": asdict(theirs), "imgtool": asdict(ours) if ours else None}
            verdict = "not compared"
            if ours is not None:
                found = difference(theirs, ours)
                reason = explained.get((base.name, request))
                if found is None and reason is None:
                    verdict = "same" if ours.version == theirs.version else "newer"
                    if ours.solvable and ours.added != theirs.added and verdict == "same":
                        verdict = "same version, other added distributions"
                elif found is not None and reason is not None:
                    verdict = f"explained: {reason}"
                else:
                    verdict = f"**{found}**" if found else "**explained, but no longer different**"
                    unexplained.append(f"{base.name} {request}: {found or 'stale entry in explained.toml'}")
            print(f"| {base.name} | `{request}` | {shown(theirs)} | {shown(ours)} | {verdict} |", flush=True)
        record["bases"][base.name] = {
            "python": base.python,
            "platform": base.platform,
            "sdist_only": base.sdist_only,
            "consistent": base.consistent,
            "contradiction": base.contradiction,
            "cells": cells,
        }
    for note in notes:
        print(f"\n{note}")
    if options.json:
        options.json.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    print(f"\n{len(unexplained)} unexplained differences" if not options.uv_only else "\nuv's side only")
    for line in unexplained:
        print(f"- {line}")
    return 1 if unexplained else 0


def main() -> int:
    """Entry point."""
    try:
        return compare(arguments())
    except (ComparisonError, OSError) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
