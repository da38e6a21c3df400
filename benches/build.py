#!/usr/bin/env python3
"""Measure how fast imgtool builds and pushes a trainer image, beside buildah doing the same job.

In one run, alternating, medians: `buildah pull`, `pip install` inside, `commit`, `push`; and `imgtool build --push` with
nothing cached, with only the base's inventory cached, and with everything cached. The base is the full-size TFX image of
`make tfx-base` in a docker-registry on loopback; each run pushes to a registry of its own that has the base and nothing
else. Both install the same pins, from the index that pip is configured for. Counted beside wall time: peak memory, and the
bytes of base layers that imgtool fetched or sent.

Needs root, buildah, podman, skopeo, docker-registry, the network. Only the standard library of Python. Nothing fails for
being slow.
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
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from images import Run, timed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/oracle"))

from image_parts import ImageFailure, Podman, Registry, clean_up_when_ended, install_commands, need_root, run  # noqa: E402

TAG = "1.16.0"
REQUEST = "mlflow-skinny"
BASE = f"base/tfx:{TAG}"
PIP = "/opt/conda/bin/python3"
# How many times faster than buildah is asked for: nothing cached, the inventory cached, everything cached.
GOALS = {"nothing cached": 10, "inventory cached": 25, "everything cached": 60}
PEAK_MIB = 128


class Bench:
    """The base in a registry, pins, caches."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options = options
        self.scratch = scratch
        self.number = 0
        self.base = scratch / "base"
        with Registry(self.base, authenticated=False) as registry:
            registry.push(f"oci:{options.layout}:{TAG}", BASE)
        self.pins = scratch / "pins.txt"
        self.full = scratch / "cache-full"
        reference = f"oci:{options.layout}:{TAG}"
        resolve = [options.imgtool, "resolve", reference, REQUEST, "--cache-dir", self.full, "--format", "requirements"]
        self.pins.write_text(run(resolve).stdout)
        self.inventory = scratch / "cache-inventory"
        run([options.imgtool, "inspect", reference, "--cache-dir", self.inventory])
        # Wheels are cached by the first build.
        with self.registry() as registry:
            self.imgtool(registry, self.full)

    @contextlib.contextmanager
    def registry(self):
        """A registry that has the base and nothing else."""
        self.number += 1
        folder = self.scratch / f"registry-{self.number}"
        try:
            with Registry(folder, authenticated=False, copy_of=self.base) as registry:
                yield registry
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def imgtool(self, registry: Registry, cache: Path) -> tuple[Run, dict]:
        """One `imgtool build --push`."""
        metadata = self.scratch / "metadata.json"
        command: list[str | Path] = [self.options.imgtool, "build", f"docker://{registry.host}/{BASE}", REQUEST]
        command += ["--cache-dir", cache, "--push", "--tag", f"{registry.host}/team/trainer:1", "--metadata-file", metadata]
        taken = timed(command)
        return taken, json.loads(metadata.read_text())

    def buildah(self, registry: Registry) -> Run:
        """The same job with buildah: what a CI job has in its script."""
        # Where this machine reaches the index by certificates of its own, the container needs them, too.
        trusted = os.environ.get("SSL_CERT_FILE")
        trust = f"--volume {trusted}:/run/trusted.pem:ro --env PIP_CERT=/run/trusted.pem" if trusted else ""
        install = f"{PIP} -m pip install -q --no-deps --root-user-action=ignore"
        with Podman(Path(tempfile.mkdtemp(prefix="buildah-", dir=self.scratch))) as engine:
            script = f"""
            set -e
            buildah pull -q --tls-verify=false {registry.host}/{BASE}
            working=$(buildah from {registry.host}/{BASE})
            buildah copy -q $working {self.pins} /tmp/pins.txt
            buildah run --isolation chroot {trust} $working -- {install} -r /tmp/pins.txt
            buildah run --isolation chroot $working -- rm /tmp/pins.txt
            buildah commit -q $working trainer
            buildah push -q --tls-verify=false trainer {registry.host}/team/trainer:1
            """
            return timed(["sh", "-c", script], env=engine.env)


def measure(bench: Bench, rounds: int) -> dict[str, dict]:
    """Alternate between the contestants; every second round goes backwards."""
    sent = {}

    def build(cache: Path) -> Callable[[Registry], Run]:
        def act(registry: Registry) -> Run:
            taken, metadata = bench.imgtool(registry, cache)
            sent[cache.name] = sum(target["sent"] for target in metadata["targets"])
            return taken

        return act

    def fresh(copy_of: Path | None) -> Callable[[Registry], Run]:
        def act(registry: Registry) -> Run:
            cache = Path(tempfile.mkdtemp(prefix="cache-", dir=bench.scratch))
            if copy_of is not None:
                shutil.copytree(copy_of, cache, dirs_exist_ok=True)
            try:
                return build(cache)(registry)
            finally:
                shutil.rmtree(cache, ignore_errors=True)

        return act

    contestants: dict[str, Callable[[Registry], Run]] = {
        "buildah": bench.buildah,
        "imgtool, nothing cached": fresh(None),
        "imgtool, inventory cached": fresh(bench.inventory),
        "imgtool, everything cached": build(bench.full),
    }
    taken: dict[str, list[Run]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in list(contestants) if number % 2 == 0 else list(reversed(contestants)):
            if name == "buildah" and number >= 2:
                continue
            with bench.registry() as registry:
                taken[name].append(contestants[name](registry))
            print(f"  {name}: {taken[name][-1].wall:.3f} s", file=sys.stderr, flush=True)
    return {
        name: {
            "wall": statistics.median(run.wall for run in runs),
            "cpu": statistics.median(run.cpu for run in runs),
            "peak_mib": max(run.peak_mib for run in runs),
            "runs": [asdict(run) for run in runs],
        }
        for name, runs in taken.items()
    } | {"sent": {"bytes": max(sent.values())}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imgtool", required=True, type=Path)
    parser.add_argument("--layout", required=True, type=Path, help="the base, by tfx_base.py")
    parser.add_argument("--rounds", type=int, default=3, help="buildah takes part in the first two")
    parser.add_argument("--work", type=Path, help="where to work [default: a temporary folder]; 12 GB")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    options.imgtool = options.imgtool.resolve()
    clean_up_when_ended()
    try:
        need_root()
        install_commands(["buildah", "podman", "skopeo", "docker-registry"])
        with tempfile.TemporaryDirectory(prefix="bench-build-", dir=options.work) as scratch:
            result = measure(Bench(options, Path(scratch)), options.rounds)
    except (ImageFailure, subprocess.CalledProcessError) as failure:
        print(f"build: {failure}", file=sys.stderr)
        return 1
    sent = result.pop("sent")["bytes"]
    base = result["buildah"]["wall"]
    print(f"\nBuilding and pushing {REQUEST} on TFX {TAG}; {platform.machine()}, {os.cpu_count()} processors\n")
    print("| what | wall | processor | peak memory | times faster than buildah |")
    print("|---|---|---|---|---|")
    for name, row in result.items():
        print(f"| {name} | {row['wall']:.2f} s | {row['cpu']:.2f} s | {row['peak_mib']:.0f} MiB | {base / row['wall']:.1f} |")
    print()
    for name, wanted in GOALS.items():
        row = result[f"imgtool, {name}"]
        factor = base / row["wall"]
        print(f"- {name}: {factor:.1f} times faster, at least {wanted}: goal {'met' if factor >= wanted else 'MISSED'}")
    peak = max(row["peak_mib"] for name, row in result.items() if name != "buildah")
    print(f"- peak memory: {peak:.0f} MiB, at most {PEAK_MIB}: goal {'met' if peak <= PEAK_MIB else 'MISSED'}")
    print(f"- bytes of blobs sent: {sent:,} (the base's layers have about 1.1 GB)")
    if options.output:
        options.output.write_text(json.dumps(result | {"sent_bytes": sent}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
