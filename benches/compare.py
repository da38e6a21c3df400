#!/usr/bin/env python3
"""Measure imgtool beside uv, in one run, on a real TFX 1.16.0 environment.

Both solve the same request with every installed distribution held: `imgtool resolve dir:VENV REQUEST` and `uv pip
install --dry-run --python VENV -c FREEZE REQUEST`. Three situations: nothing cached; everything cached and both
offline; the everyday second call, online with a warm cache. Wall and processor time, peak memory (of the process, as
the kernel accounts it: nothing below the first line's floor can be seen) and HTTP requests; medians of several runs
that alternate between the tools. Requests are counted in a run of their own: imgtool says them in its JSON, uv logs
them.

Needs uv on PATH and the network. Only the standard library of Python.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

REQUESTS = ("mlflow-skinny", "mlflow")
SITUATIONS = ("cold", "offline", "second")
TITLES = {"cold": "nothing cached", "offline": "all cached, offline", "second": "second call, online"}
# What imgtool's wall time may be, as a share of uv's.
GOALS = {"cold": 0.6, "offline": 0.33, "second": 0.05}
# One line of uv's log for each request that it hands to its HTTP client, range reads of wheels included.
UV_REQUEST = "Handling request for"


class BenchError(Exception):
    """A tool did not do what is to be measured."""


@dataclass
class Run:
    """One run of one tool."""

    wall: float
    cpu: float
    peak_mib: float


def run(command: list[str], environment: dict[str, str], accepted: tuple[int, ...] = (0,)) -> tuple[Run, str, str]:
    """Run a command to its end, which must be with an accepted exit status; what it took, and what it printed."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        out, err = stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace")
    if process.returncode not in accepted:
        raise BenchError(f"`{' '.join(command)}` exited {process.returncode}:\n{err[-2000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024), out, err


class Uv:
    """uv as its users run it."""

    name = "uv"

    def __init__(self, executable: str, venv: Path, freeze: Path, index_url: str | None) -> None:
        self.command = [executable, "pip", "install", "--dry-run", "--python", str(venv), "-c", str(freeze)]
        self.index_url = index_url

    def environment(self) -> dict[str, str]:
        """The process environment, with the index if one was named."""
        named = {"UV_DEFAULT_INDEX": self.index_url} if self.index_url else {}
        return {**os.environ, **named}

    def solve(self, request: str, cache: Path, offline: bool) -> Run:
        """One measured run."""
        command = [*self.command, "--cache-dir", str(cache), *(["--offline"] if offline else []), request]
        return run(command, self.environment())[0]

    def requests(self, request: str, cache: Path, offline: bool) -> int:
        """HTTP requests of one run that is not measured."""
        command = [*self.command, "--cache-dir", str(cache), *(["--offline"] if offline else []), "-vv", request]
        environment = {**self.environment(), "RUST_LOG": "uv_auth=trace,uv_client=debug"}
        return run(command, environment)[2].count(UV_REQUEST)


class Imgtool:
    """imgtool as its users run it."""

    name = "imgtool"

    def __init__(self, executable: Path, venv: Path, index_url: str | None) -> None:
        self.command = [str(executable), "resolve", f"dir:{venv}"]
        self.index_url = index_url

    def run(self, request: str, cache: Path, offline: bool) -> tuple[Run, str]:
        """One run, and what it says on stderr."""
        named = {"UV_DEFAULT_INDEX": self.index_url} if self.index_url else {}
        command = [*self.command, request, "-v", "--cache-dir", str(cache), *(["--offline"] if offline else [])]
        measured, _, err = run(command, {**os.environ, **named})
        return measured, err

    def solve(self, request: str, cache: Path, offline: bool) -> Run:
        """One measured run."""
        return self.run(request, cache, offline)[0]

    def requests(self, request: str, cache: Path, offline: bool) -> int:
        """HTTP requests of one run that is not measured."""
        said = re.search(r"^http requests: (\d+)$", self.run(request, cache, offline)[1], re.MULTILINE)
        if said is None:
            raise BenchError("imgtool -v does not say how many requests it made")
        return int(said[1])


def in_fresh_cache(act: Callable[[Path], object], scratch: Path) -> object:
    """Do something with a cache folder that did not exist before and does not afterwards."""
    cache = Path(tempfile.mkdtemp(dir=scratch))
    try:
        return act(cache)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def measure(tools: list, request: str, situation: str, runs: int, scratch: Path) -> dict[str, dict]:
    """All runs of all tools for one request in one situation, tools alternating."""
    offline = situation == "offline"
    caches = {tool.name: scratch / f"{tool.name}-{request}" for tool in tools}
    measured: dict[str, list[Run]] = {tool.name: [] for tool in tools}
    counted: dict[str, int] = {}
    if situation != "cold":
        for tool in tools:
            tool.solve(request, caches[tool.name], offline=False)
    for number in range(runs):
        for tool in tools if number % 2 == 0 else reversed(tools):
            if situation == "cold":
                taken = in_fresh_cache(lambda cache, tool=tool: tool.solve(request, cache, False), scratch)
            else:
                taken = tool.solve(request, caches[tool.name], offline)
            measured[tool.name].append(taken)
    for tool in tools:
        if situation == "cold":
            counted[tool.name] = in_fresh_cache(lambda cache, tool=tool: tool.requests(request, cache, False), scratch)
        else:
            counted[tool.name] = tool.requests(request, caches[tool.name], offline)
    return {
        name: {
            "wall": statistics.median(run.wall for run in taken),
            "cpu": statistics.median(run.cpu for run in taken),
            "peak_mib": statistics.median(run.peak_mib for run in taken),
            "http_requests": counted[name],
            "runs": [asdict(run) for run in taken],
        }
        for name, taken in measured.items()
    }


def table_row(request: str, situation: str, result: dict[str, dict]) -> list[str]:
    """The table's lines for one request in one situation."""
    lines = []
    uv = result["uv"]
    for name, taken in result.items():
        ratio = goal = "–"
        if name != "uv":
            share = taken["wall"] / uv["wall"]
            memory = taken["peak_mib"] / uv["peak_mib"]
            ratio = f"{share:.2f}x wall, {memory:.2f}x memory"
            met = share <= GOALS[situation] and memory <= 1
            goal = f"{GOALS[situation]}x wall, 1x memory: {'met' if met else '**missed**'}"
        lines.append(
            f"| {request} | {TITLES[situation]} | {name} | {taken['wall']:.3f} s | {taken['cpu']:.3f} s "
            f"| {taken['peak_mib']:.0f} MiB | {taken['http_requests']} | {ratio} | {goal} |"
        )
    return lines


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--imgtool", type=Path, default=Path("target/release/imgtool"), help="imgtool's executable")
    parser.add_argument("--uv", default="uv", help="uv's executable")
    parser.add_argument("--venv", type=Path, required=True, help="an environment with TFX 1.16.0 installed")
    parser.add_argument("--runs", type=int, default=5, help="measured runs a cell (default 5)")
    parser.add_argument("--request", action="append", default=[], help="only this request (repeatable)")
    parser.add_argument("--situation", action="append", default=[], choices=SITUATIONS, help="only this (repeatable)")
    parser.add_argument("--index-url", help="index for both tools (default: each as it is configured)")
    parser.add_argument("--uv-only", action="store_true", help="measure uv alone")
    parser.add_argument("--json", type=Path, help="also write every run to this file")
    return parser.parse_args()


def bench(options: argparse.Namespace) -> None:
    """Measure everything and print the table."""
    if not (options.venv / "pyvenv.cfg").is_file():
        raise BenchError(f"{options.venv} is not a virtual environment")
    floor = statistics.median(run(["true"], dict(os.environ))[0].peak_mib for _ in range(3))
    version = run([options.uv, "--version"], dict(os.environ))[1].strip()
    record: dict = {"uv": version, "memory_floor_mib": floor, "results": {}}
    print(
        f"{version}; load {os.getloadavg()[0]:.1f}; {os.cpu_count()} processors; memory floor {floor:.0f} MiB; "
        f"medians of {options.runs} runs\n"
    )
    print("| request | situation | tool | wall | processor | peak memory | HTTP requests | against uv | goal |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="imgtool-bench-") as folder:
        scratch = Path(folder)
        freeze = scratch / "freeze.txt"
        listing = run([options.uv, "pip", "freeze", "--python", str(options.venv)], dict(os.environ))[1]
        freeze.write_text(listing)
        tools: list = [Uv(options.uv, options.venv, freeze, options.index_url)]
        if not options.uv_only:
            tools.append(Imgtool(options.imgtool, options.venv, options.index_url))
        for request in options.request or REQUESTS:
            for situation in options.situation or SITUATIONS:
                result = measure(tools, request, situation, options.runs, scratch)
                record["results"].setdefault(request, {})[situation] = result
                print("\n".join(table_row(request, situation, result)), flush=True)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def main() -> int:
    """Entry point."""
    try:
        bench(arguments())
    except (BenchError, OSError) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
