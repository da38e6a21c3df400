#!/usr/bin/env python3
"""Measure what is hard to resolve: smallest changes, proofs that nothing fits, hard scenarios, large bases.

Three parts, each beside uv in the same run:

- `tfx`: on a real TFX 1.16.0 environment, under the policies `hold` and `minimal`, solvable and not, with everything cached
  and offline, and with nothing cached.
- `scenarios`: the hard cases of pip's, resolvelib's and packse's own collections, on an empty environment, from an index on
  the loopback.
- `sizes`: made-up bases of 50 to 2,000 distributions; how the time grows is fitted and plotted.

uv has no counterpart of `--policy minimal`: there it does what its user would do, `uv pip install` without the base's pins,
which changes and breaks what it likes. Medians of several runs that alternate between the tools; goals are said beside.

Needs uv on PATH and, for `tfx`, the network. Only the standard library of Python.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from compare import BenchError, Run, in_fresh_cache, run
from loopback_index import LoopbackIndex, Release, Universe, scenarios

PARTS = ("tfx", "scenarios", "sizes")
COLLECTIONS = ("resolvelib-scenarios.json.gz", "pip-yaml-scenarios.json", "packse-scenarios.json")
# Scenarios in which a resolver can lose its way; every other one of the collections is answered at once.
HARD = (
    "chalice",
    "issue-134",
    "backjump-test-1",
    "backjump-test-2",
    "backjump-test-3",
    "backjump-test-4",
    "same-package-extras",
    "backtrack",
    "fallback",
    "huge-0",
    "huge-1",
    "large-0",
    "large-1",
    "large-2",
    "large-3",
    "large-4",
    "poetry2298",
    "backtracking/wrong-backtracking-basic",
    "backtracking/wrong-backtracking-indirect",
)
# Request, policy, whether it fits.
TFX = (
    ("mlflow", "hold", True),
    ("mlflow==2.1.0", "hold", False),
    ("mlflow==2.1.0", "minimal", True),
    ("mlflow-skinny==2.1.0", "minimal", True),
    ("protobuf>=5", "hold", False),
    ("protobuf>=5", "minimal", None),
)
SIZES = (50, 100, 200, 400, 800, 1400, 2000)
OFFLINE, COLD = "all cached, offline", "nothing cached"
# No case may take more than this many times what uv takes; goals beyond that are given where they hold.
LIMIT = 2.0


@dataclass(frozen=True)
class Goal:
    """What imgtool's time may be."""

    share: float = LIMIT
    wall: float = math.inf
    cpu: float = math.inf

    def verdict(self, ours: Run, theirs: Run | None) -> str:
        """Whether it is met, and what it is."""
        parts = []
        met = ours.wall <= self.wall and ours.cpu <= self.cpu
        if theirs is not None:
            parts.append(f"{self.share}x")
            met = met and ours.wall <= self.share * theirs.wall
        if self.wall < math.inf:
            parts.append(f"{self.wall} s")
        if self.cpu < math.inf:
            parts.append(f"{self.cpu * 1000:.0f} ms of processor time")
        return f"{', '.join(parts)}: {'met' if met else '**missed**'}"


@dataclass
class Question:
    """What both tools are asked."""

    requires: list[str]
    venv: Path
    policy: str = "hold"
    constraints: Path | None = None
    index_url: str | None = None
    solvable: bool | None = True

    def imgtool(self, executable: Path, cache: Path, offline: bool) -> list[str]:
        """imgtool's command."""
        command = [str(executable), "resolve", f"dir:{self.venv}", *self.requires, "--cache-dir", str(cache)]
        command += ["--policy", self.policy] if self.policy != "hold" else []
        command += ["--index-url", self.index_url] if self.index_url else []
        return command + (["--offline"] if offline else [])

    def uv(self, executable: str, cache: Path, offline: bool) -> list[str]:
        """uv's command."""
        command = [executable, "pip", "install", "--dry-run", "--python", str(self.venv), "--cache-dir", str(cache)]
        if self.constraints and self.policy == "hold":
            command += ["-c", str(self.constraints)]
        command += ["--index-url", self.index_url] if self.index_url else []
        command += ["--only-binary", ":all:"] if self.index_url else []
        return command + (["--offline"] if offline else []) + self.requires


class Bench:
    """The tools and what was measured."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options = options
        self.scratch = scratch
        self.record: list[dict] = []
        self.missed: list[str] = []

    def ask(self, tool: str, question: Question, cache: Path, offline: bool) -> Run:
        """One run; that it answers what it must is checked."""
        if tool == "uv":
            command = question.uv(self.options.uv, cache, offline)
        else:
            command = question.imgtool(self.options.imgtool, cache, offline)
        # What uv says without the base's pins is not the question.
        free = question.solvable is None or (tool == "uv" and question.policy != "hold")
        accepted = (0, 1) if free else (0,) if question.solvable else (1,)
        return run(command, dict(os.environ), accepted)[0]

    def measure(self, question: Question, situation: str, runs: int) -> dict[str, Run]:
        """The median of each tool."""
        tools = ["imgtool"] if self.options.no_uv else ["uv", "imgtool"]
        taken: dict[str, list[Run]] = {tool: [] for tool in tools}
        caches = {tool: Path(tempfile.mkdtemp(dir=self.scratch)) for tool in tools}
        if situation == OFFLINE:
            for tool in tools:
                self.ask(tool, question, caches[tool], offline=False)
        for number in range(runs):
            for tool in tools if number % 2 == 0 else reversed(tools):
                if situation == COLD:
                    one = in_fresh_cache(lambda cache, tool=tool: self.ask(tool, question, cache, False), self.scratch)
                else:
                    one = self.ask(tool, question, caches[tool], offline=True)
                taken[tool].append(one)
        return {
            tool: Run(*(statistics.median(getattr(it, what) for it in of_tool) for what in ("wall", "cpu", "peak_mib")))
            for tool, of_tool in taken.items()
        }

    def row(self, case: str, question: Question, situation: str, goal: Goal, runs: int | None = None) -> dict[str, Run]:
        """Measure one case and print its line."""
        taken = self.measure(question, situation, runs or self.options.runs)
        ours, theirs = taken["imgtool"], taken.get("uv")
        verdict = goal.verdict(ours, theirs)
        self.record.append(
            {"case": case, "situation": situation, **{tool: asdict(it) for tool, it in taken.items()}, "goal": verdict}
        )
        if "missed" in verdict:
            self.missed.append(f"{case}, {situation}")
        beside = [f"{theirs.wall:.3f} s", f"{theirs.cpu:.3f} s", f"{ours.wall / theirs.wall:.2f}x"] if theirs else ["–"] * 3
        print(
            f"| {case} | {situation} | {ours.wall:.3f} s | {ours.cpu:.3f} s | {ours.peak_mib:.0f} MiB | "
            f"{' | '.join(beside)} | {verdict} |",
            flush=True,
        )
        return taken


HEAD = (
    "| case | situation | imgtool: wall | processor | memory | uv: wall | processor | imgtool : uv | goal |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def bench_tfx(bench: Bench) -> None:
    """The real environment."""
    options = bench.options
    freeze = bench.scratch / "freeze.txt"
    freeze.write_text(run([options.uv, "pip", "freeze", "--python", str(options.venv)], dict(os.environ))[1])
    print(f"\n### TFX 1.16.0\n\n{HEAD}")
    for request, policy, solvable in TFX:
        question = Question([request], options.venv, policy, freeze, None, solvable)
        for situation in (OFFLINE, COLD):
            share = LIMIT if policy != "hold" else 0.33 if situation == OFFLINE else 0.6
            goal = Goal(share)
            if situation == OFFLINE and (request, policy) == ("mlflow", "hold"):
                goal = Goal(share, cpu=0.05)
            if situation == OFFLINE and policy == "minimal":
                goal = Goal(share, wall=2.0)
            says = "" if solvable is not False else ", does not fit"
            bench.row(f"`{request}` {policy}{says}", question, situation, goal)


def empty_environment(bench: Bench, python: str) -> Path:
    """A virtual environment with nothing in it."""
    folder = bench.scratch / f"empty-{python}"
    if not folder.exists():
        run([bench.options.uv, "venv", "-q", "--no-python-downloads", "--python", python, str(folder)], dict(os.environ))
    return folder


def bench_scenarios(bench: Bench) -> None:
    """Hard cases of other resolvers' own collections."""
    known = {
        scenario.name: scenario for path in COLLECTIONS for scenario in scenarios(bench.options.suites / "resolver" / path)
    }
    hard = [known[name] for name in bench.options.scenario or HARD if name in known]
    print(f"\n### Hard scenarios\n\n{HEAD}")
    with LoopbackIndex({scenario.name: scenario.universe for scenario in hard}) as index:
        for scenario in hard:
            versions = sum(map(len, scenario.universe.values()))
            question = Question(
                scenario.requires,
                empty_environment(bench, bench.options.python),
                index_url=index.url(scenario.name),
                solvable=scenario.solvable,
            )
            says = "" if scenario.solvable else ", does not fit"
            for situation in (OFFLINE, COLD):
                bench.row(f"{scenario.name} ({versions} versions{says})", question, situation, Goal())


def synthetic(size: int) -> tuple[dict[str, Release], Universe]:
    """A consistent base of `size` distributions, and an index in which it is one choice among many.

    Distribution i requires up to five earlier ones, some with upper bounds that exclude the newest. `app` has 20 versions:
    up to 12 it takes the base as it is; from 13 on it needs `d7` in version 8, which needs `d11` in version 8, which
    `d17` in the base's version does not allow: three changes, and no fewer.
    """
    chance = random.Random(size)
    names = [f"d{position}" for position in range(size)]
    edges = {
        position: sorted({chance.randrange(position) for _ in range(chance.randrange(6))} - {7, 11})
        for position in range(1, size)
    }
    edges[0] = []
    bounded = {(position, other): chance.random() < 0.3 for position, others in edges.items() for other in others}

    def requires(position: int, version: int) -> list[str]:
        found = [
            f"{names[other]}>=2,<{version + 3}" if bounded[position, other] else f"{names[other]}>=2"
            for other in edges[position]
        ]
        if position == 7 and version >= 8:
            found.append("d11>=8")
        if position == 17:
            found.append("d11<8" if version < 8 else "d11")
        return found

    index: Universe = {
        name: [Release(f"{version}.0", requires(position, version)) for version in range(1, 11)]
        for position, name in enumerate(names)
    }
    base = {name: Release("5.0", requires(position, 5)) for position, name in enumerate(names)}
    leans_on = sorted(chance.sample(range(20, size), 15))
    index["app"] = [
        Release(
            f"{version}.0",
            [f"{names[other]}>=3" for other in leans_on]
            + [f"new{position}>={version // 3 + 1}" for position in range(20)]
            + (["d7>=8"] if version > 12 else []),
        )
        for version in range(1, 21)
    ]
    for position in range(20):
        later = [f"new{other}" for other in range(position + 1, min(position + 3, 20))]
        index[f"new{position}"] = [Release(f"{version}.0", later + [names[leans_on[0]]]) for version in range(1, 9)]
    return base, index


def install(base: dict[str, Release], venv: Path) -> None:
    """Lay a base out as `.dist-info` folders."""
    [site] = venv.glob("lib/python*/site-packages")
    for name, release in base.items():
        folder = site / f"{name}-{release.version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(release.metadata(name))
        (folder / "INSTALLER").write_text("pip\n")
        (folder / "RECORD").write_text(f"{folder.name}/METADATA,,\n{folder.name}/INSTALLER,,\n{folder.name}/RECORD,,\n")


def bench_sizes(bench: Bench) -> None:
    """How the time grows with the base."""
    options = bench.options
    floor = statistics.median(run([str(options.imgtool), "--version"], dict(os.environ))[0].cpu for _ in range(5))
    made = {size: synthetic(size) for size in SIZES}
    curves: dict[str, list[float]] = {}
    print(f"\n### Made-up bases\n\n{HEAD}")
    with LoopbackIndex({str(size): index for size, (_, index) in made.items()}) as index:
        for size, (base, _) in made.items():
            venv = bench.scratch / f"base-{size}"
            run([options.uv, "venv", "-q", "--no-python-downloads", "--python", options.python, str(venv)], dict(os.environ))
            install(base, venv)
            freeze = bench.scratch / f"base-{size}.txt"
            freeze.write_text("".join(f"{name}=={release.version}\n" for name, release in base.items()))
            cases = (
                ("fits", "app", "hold", True),
                ("does not fit", "app>12", "hold", False),
                ("three changes", "app>12", "minimal", True),
            )
            for says, request, policy, solvable in cases:
                question = Question([request], venv, policy, freeze, index.url(str(size)), solvable)
                taken = bench.row(f"{size} distributions: {says}", question, OFFLINE, Goal())
                curves.setdefault(f"imgtool, {says}", []).append(taken["imgtool"].cpu)
                if "uv" in taken:
                    curves.setdefault(f"uv, {says}", []).append(taken["uv"].cpu)
            reading = [run([str(options.imgtool), "inspect", f"dir:{venv}"], dict(os.environ))[0].cpu for _ in range(3)]
            curves.setdefault("imgtool, reading the base alone", []).append(statistics.median(reading))
    print("\nProcessor time, seconds; the exponent is that of the size in a fit of what exceeds an idle start "
          f"({floor * 1000:.0f} ms):\n")
    print(f"| | {' | '.join(map(str, SIZES))} | exponent |\n|---|{'---|' * len(SIZES)}---|")
    for name, times in curves.items():
        power = exponent(SIZES, [max(time - (floor if name.startswith('imgtool') else 0), 1e-4) for time in times])
        print(f"| {name} | {' | '.join(f'{time:.3f}' for time in times)} | {power:.2f} |")
        if name.startswith("imgtool") and power > 1.3:
            bench.missed.append(f"{name}: grows with the size to the power of {power:.2f}")
    bench.record.append({"sizes": SIZES, "curves": curves, "floor": floor})
    options.svg.parent.mkdir(parents=True, exist_ok=True)
    options.svg.write_text(plot(SIZES, curves))
    print(f"\nPlot: {options.svg}")


def exponent(sizes: tuple[int, ...], times: list[float]) -> float:
    """The slope of the least-squares line through the logarithms."""
    xs, ys = [math.log(size) for size in sizes], [math.log(time) for time in times]
    return statistics.linear_regression(xs, ys).slope


def plot(sizes: tuple[int, ...], curves: dict[str, list[float]]) -> str:
    """Curves as SVG, both axes logarithmic."""
    width, height, left, top, right, bottom = 880, 520, 70, 30, 260, 50
    low = 10 ** math.floor(math.log10(min(min(times) for times in curves.values())))
    high = 10 ** math.ceil(math.log10(max(max(times) for times in curves.values())))

    def x(size: float) -> float:
        share = math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])
        return left + share * (width - left - right)

    def y(time: float) -> float:
        return height - bottom - math.log(time / low) / math.log(high / low) * (height - top - bottom)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="18">Processor time of a resolution against the size of the base</text>',
    ]
    decade = low
    while decade <= high * 1.001:
        lines.append(f'<path d="M{left} {y(decade):.1f}H{width - right}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 8}" y="{y(decade) + 4:.1f}" text-anchor="end">{decade:g} s</text>')
        decade *= 10
    for size in sizes:
        lines.append(f'<path d="M{x(size):.1f} {top}V{height - bottom}" stroke="#eee"/>')
        lines.append(f'<text x="{x(size):.1f}" y="{height - bottom + 18}" text-anchor="middle">{size}</text>')
    colours = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#566573", "#17a589")
    for position, (name, times) in enumerate(curves.items()):
        colour, dash = colours[position % len(colours)], ' stroke-dasharray="5 4"' if name.startswith("uv") else ""
        points = " ".join(f"{x(size):.1f},{y(time):.1f}" for size, time in zip(sizes, times, strict=True))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        row = top + 12 + 20 * position
        lines.append(f'<path d="M{width - right + 14} {row}h24" stroke="{colour}" stroke-width="2"{dash}/>')
        lines.append(f'<text x="{width - right + 44}" y="{row + 4}">{name}</text>')
    first = y(curves[next(iter(curves))][-1]) - y(curves[next(iter(curves))][-1] * sizes[0] / sizes[-1])
    lines.append(
        f'<path d="M{left} {height - bottom - 8}L{width - right} {height - bottom - 8 + first:.1f}" stroke="#999" '
        'stroke-dasharray="2 3"/>'
    )
    lines.append(f'<text x="{width - right + 4}" y="{height - bottom - 4 + first:.1f}" fill="#777">linear</text>')
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--imgtool", type=Path, default=Path("target/release/imgtool"), help="imgtool's executable")
    parser.add_argument("--uv", default="uv", help="uv's executable")
    parser.add_argument("--venv", type=Path, help="an environment with TFX 1.16.0 installed, for `tfx`")
    parser.add_argument("--suites", type=Path, default=Path("../shared/data"), help="folder of the scenarios")
    parser.add_argument("--python", default="3.12", help="the Python of empty and made-up environments (default 3.12)")
    parser.add_argument("--runs", type=int, default=5, help="measured runs a cell (default 5)")
    parser.add_argument("--part", action="append", default=[], choices=PARTS, help="only this part (repeatable)")
    parser.add_argument("--scenario", action="append", default=[], help="only this scenario (repeatable)")
    parser.add_argument("--no-uv", action="store_true", help="measure imgtool alone")
    parser.add_argument("--svg", type=Path, default=Path("target/bench/sizes.svg"), help="where the plot is written")
    parser.add_argument("--json", type=Path, help="also write every measurement to this file")
    return parser.parse_args()


def main() -> int:
    """Entry point."""
    options = arguments()
    parts = options.part or [part for part in PARTS if part != "tfx" or options.venv]
    try:
        version = run([options.uv, "--version"], dict(os.environ))[1].strip()
        print(f"{version}; load {os.getloadavg()[0]:.1f}; {os.cpu_count()} processors; medians of {options.runs} runs")
        with tempfile.TemporaryDirectory(prefix="imgtool-bench-") as folder:
            bench = Bench(options, Path(folder))
            for part, measure in zip(PARTS, (bench_tfx, bench_scenarios, bench_sizes), strict=True):
                if part in parts:
                    measure(bench)
        if options.json:
            options.json.write_text(json.dumps(bench.record, indent=1, sort_keys=True) + "\n")
    except (BenchError, OSError) as error:
        print(f"resolve.py: {error}", file=sys.stderr)
        return 2
    print(f"\n{len(bench.missed)} goals missed" + "".join(f"\n- {line}" for line in bench.missed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
