#!/usr/bin/env python3
"""Record the small offline index that the tests are served: `fixtures/index/`.

The projects are those that the requests below bring in on TFX 1.16.0 with every base pin held: what uv chooses, and
what any recorded candidate requires beyond the base, so that a solver that searches is never sent outside. Of each
project a few versions are kept, of each version the wheel that CPython 3.10 on Linux x86_64 would take (the source
distribution where there is none), of each wheel the metadata fields that decide about installation. Addresses are
relative, keys and files are sorted: the same index gives the same bytes.

Needs uv on PATH and the network. The index is `--index-url`, else what pip is configured with, else pip's own
default.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

from oracle.compare import OTHER_PLATFORM, Base, ComparisonError, Uv, normalize, project_of, read_pins, version_key

HERE = Path(__file__).resolve().parent
REQUESTS = ("mlflow-skinny", "mlflow-skinny>=3", "mlflow==2.1.0", "mlflow", "fastapi")
# Versions that tests ask for by name.
ALWAYS = {"mlflow": ("2.1.0", "2.10.0", "2.16.0"), "mlflow-skinny": ("2.1.0", "2.10.0", "2.16.0")}
PYTHON = (3, 10)
GLIBC = int(OTHER_PLATFORM.rsplit("_", 1)[1])
KEPT_FIELDS = (
    "metadata-version",
    "name",
    "version",
    "requires-python",
    "requires-dist",
    "provides-extra",
    "dynamic",
)
MARKERS = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.10.13",
    "python_version": "3.10",
    "sys_platform": "linux",
}
COMPARISON = re.compile(
    r"""(?P<left>[\w.]+|'[^']*'|"[^"]*")\s*(?P<op><=|>=|===?|!=|~=|<|>|not\s+in\b|in\b)\s*"""
    r"""(?P<right>[\w.]+|'[^']*'|"[^"]*")"""
)


class RecordError(Exception):
    """The index could not be recorded."""


@dataclass
class Recording:
    """One project in progress."""

    page: dict
    base_url: str
    files: dict[str, dict] = field(default_factory=dict)
    metadata: dict[str, bytes] = field(default_factory=dict)


def fetch(url: str, accept: str = "*/*") -> bytes:
    """The body of an answer."""
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "imgtool-fixtures"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


class RemoteFile(io.RawIOBase):
    """A file on a server, read where it is wanted: `zipfile` looks at the end of a wheel and at one entry."""

    BLOCK = 64 * 1024

    def __init__(self, url: str, size: int) -> None:
        self.url, self.size, self.position = url, size, 0
        self.blocks: dict[int, bytes] = {}

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = start + offset
        return self.position

    def tell(self) -> int:
        """The position."""
        return self.position

    def read(self, size: int = -1) -> bytes:
        """Read from the position on, block by block; a server that ignores the range costs the whole file, once."""
        end = self.size if size < 0 else min(self.size, self.position + size)
        data = b""
        while self.position < end:
            number, offset = divmod(self.position, self.BLOCK)
            if number not in self.blocks:
                self.load(number)
            piece = self.blocks[number][offset : offset + end - self.position]
            if not piece:
                raise RecordError(f"{self.url} ends before its size")
            data += piece
            self.position += len(piece)
        return data

    def load(self, number: int) -> None:
        """Fetch one block."""
        start = number * self.BLOCK
        wanted = {"Range": f"bytes={start}-{min(start + self.BLOCK, self.size) - 1}", "User-Agent": "imgtool-fixtures"}
        with urllib.request.urlopen(urllib.request.Request(self.url, headers=wanted), timeout=60) as answer:
            body = answer.read()
            if answer.status == 206:
                self.blocks[number] = body
            else:
                self.blocks.update(
                    {at // self.BLOCK: body[at : at + self.BLOCK] for at in range(0, len(body), self.BLOCK)}
                )


def index_url(option: str | None) -> str:
    """The index to record: as told, as configured, or pip's default; this file names none."""
    if option or os.environ.get("PIP_INDEX_URL"):
        return (option or os.environ["PIP_INDEX_URL"]).rstrip("/") + "/"
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    if configured.returncode == 0 and configured.stdout.strip():
        return configured.stdout.strip().rstrip("/") + "/"
    default = subprocess.run(
        [sys.executable, "-c", "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"],
        capture_output=True,
        text=True,
        check=False,
    )
    if default.returncode != 0:
        raise RecordError("pip does not say which index to use; give --index-url")
    return default.stdout.strip().rstrip("/") + "/"


def evaluate(marker: str, extras: set[str]) -> bool:
    """Evaluate a marker for the base's interpreter; `extras` are those asked for."""

    def compare(match: re.Match) -> str:
        left, right = (value(match[side]) for side in ("left", "right"))
        op = " ".join(match["op"].split())
        if "extra" in (match["left"], match["right"]):
            name = normalize(right if match["left"] == "extra" else left)
            return str((name in extras) == (op == "=="))
        if re.fullmatch(r"[0-9][0-9.]*", left) and re.fullmatch(r"[0-9][0-9.]*", right) and "in" not in op:
            left_key, right_key = version_key(left), version_key(right)
        else:
            left_key, right_key = left, right
        answer = {
            "<": lambda: left_key < right_key,
            "<=": lambda: left_key <= right_key,
            "==": lambda: left_key == right_key,
            ">": lambda: left_key > right_key,
            ">=": lambda: left_key >= right_key,
            "!=": lambda: left_key != right_key,
            "===": lambda: left == right,
            "in": lambda: left in right,
            "not in": lambda: left not in right,
            "~=": lambda: left_key >= right_key,
        }[op]()
        return str(answer)

    def value(text: str) -> str:
        return text[1:-1] if text[0] in "'\"" else MARKERS.get(text, "")

    logic = COMPARISON.sub(compare, marker)
    if not re.fullmatch(r"(?:True|False|and|or|[()\s])+", logic):
        raise RecordError(f"cannot evaluate the marker `{marker}`")
    return bool(eval(logic, {"__builtins__": {}}))  # nothing but True, False, and, or, parentheses


def wheel_rank(filename: str) -> tuple | None:
    """How well a wheel fits CPython 3.10 on Linux x86_64 (smaller is better); `None` where it does not."""
    python, abi, platform = filename.removesuffix(".whl").split("-")[-3:]
    best_platform = None
    for tag in platform.split("."):
        if tag == "any":
            rank = 1000
        elif match := re.fullmatch(r"manylinux_2_(\d+)_x86_64", tag):
            rank = GLIBC - int(match[1])
        elif tag in ("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"):
            rank = GLIBC - {"manylinux2014_x86_64": 17, "manylinux2010_x86_64": 12, "manylinux1_x86_64": 5}[tag]
        else:
            continue
        if rank >= 0 and (best_platform is None or rank < best_platform):
            best_platform = rank
    best_python = None
    for tag in python.split("."):
        for kind in abi.split("."):
            minor = int(tag[3:]) if re.fullmatch(r"(cp|py)3\d+", tag) else None
            if kind == "cp310" and tag == "cp310":
                rank = 0
            elif kind == "abi3" and tag.startswith("cp") and minor is not None and minor <= PYTHON[1]:
                rank = 1 + PYTHON[1] - minor
            elif kind == "none" and (tag == "py3" or (minor is not None and minor <= PYTHON[1])):
                rank = 100
            else:
                continue
            if best_python is None or rank < best_python:
                best_python = rank
    return None if best_python is None or best_platform is None else (best_python, best_platform, filename)


def python_fits(specifier: str | None) -> bool:
    """Whether Requires-Python admits the base's interpreter."""
    for part in (specifier or "").split(","):
        match = re.fullmatch(r"\s*(<=|>=|==|!=|~=|<|>)\s*([0-9.]+?)(\.\*)?\s*", part)
        if match is None:
            continue
        op, version, prefix = match.groups()
        ours, theirs = [3, 10, 13], [int(number) for number in version.split(".") if number]
        if prefix:
            same = ours[: len(theirs)] == theirs
            fits = same if op == "==" else not same
        else:
            fits = {
                "<": ours < theirs,
                "<=": ours <= theirs,
                ">": ours > theirs,
                ">=": ours >= theirs,
                "==": ours == theirs,
                "!=": ours != theirs,
                "~=": ours >= theirs,
            }[op]
        if not fits:
            return False
    return True


def version_of(filename: str, project: str) -> str | None:
    """The version that a file name says, where this script can order it."""
    if filename.endswith(".whl"):
        text = filename.split("-")[1]
    elif filename.endswith((".tar.gz", ".zip")):
        stem = filename.removesuffix(".tar.gz").removesuffix(".zip")
        dash = next((m.start() for m in re.finditer("-", stem) if normalize(stem[: m.start()]) == project), None)
        if dash is None:
            return None
        text = stem[dash + 1 :]
    else:
        return None
    try:
        version_key(text)
    except ComparisonError:
        return None
    return text


def is_prerelease(version: str) -> bool:
    """Whether a version is a pre-release or development release."""
    return re.search(r"(a|b|rc|dev)\d", version) is not None


def select(project: str, page: dict, wanted: set[str], newest: int) -> dict[str, dict]:
    """The files to keep, by name: the one that an installer would take, for each version that is kept."""
    versions: dict[str, list[dict]] = {}
    for entry in page["files"]:
        version = version_of(entry["filename"], project)
        if version is not None:
            versions.setdefault(version, []).append(entry)
    kept: dict[str, dict] = {}
    usable_seen = passed_over = 0
    for version in sorted(versions, key=version_key, reverse=True):
        fitting = [
            entry
            for entry in versions[version]
            if entry["filename"].endswith(".whl")
            and wheel_rank(entry["filename"])
            and python_fits(entry.get("requires-python"))
        ]
        by_hand = version in wanted or version in ALWAYS.get(project, ())
        if fitting:
            stable = not is_prerelease(version) and not any(entry.get("yanked") for entry in fitting)
            usable_seen += stable
            if by_hand or (stable and usable_seen <= newest):
                best = min(fitting, key=lambda entry: wheel_rank(entry["filename"]))
                kept[best["filename"]] = best
        elif usable_seen == 0 and passed_over < 2:
            # The newest versions are there although nothing of them fits: a solver meets that every day.
            passed_over += 1
            others = sorted(
                versions[version], key=lambda entry: (not entry["filename"].endswith(".whl"), entry["filename"])
            )
            sdists = [entry for entry in others if not entry["filename"].endswith(".whl")]
            chosen = (sdists or others)[0]
            kept[chosen["filename"]] = chosen
    return kept


def header(metadata: bytes) -> bytes:
    """The fields of a metadata file that decide about installation, folded lines with them, and a blank line."""
    lines: list[bytes] = []
    keep = False
    for line in metadata.replace(b"\r\n", b"\n").split(b"\n"):
        if not line:
            break
        if line[:1] not in (b" ", b"\t"):
            keep = line.split(b":", 1)[0].strip().lower().decode("ascii", "replace") in KEPT_FIELDS
        if keep:
            lines.append(line)
    return b"\n".join(lines) + b"\n\n"


def wheel_metadata(entry: dict, base_url: str) -> bytes:
    """The metadata of a wheel: beside it where the index offers that, else out of the wheel."""
    url = urljoin(base_url, entry["url"])
    if entry.get("core-metadata") or entry.get("data-dist-info-metadata"):
        return fetch(url.split("#")[0] + ".metadata")
    wheel_file = RemoteFile(url, entry["size"]) if "size" in entry else io.BytesIO(fetch(url))
    with zipfile.ZipFile(wheel_file) as wheel:
        name = next(name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        return wheel.read(name)


def requirements(metadata: bytes, extras: set[str]) -> list[tuple[str, set[str]]]:
    """What a distribution requires on the base's interpreter: projects and the extras of them."""
    found = []
    for line in metadata.decode().split("\n"):
        if line.lower().startswith("requires-dist:"):
            requirement, _, marker = line.split(":", 1)[1].partition(";")
            if marker.strip() and not evaluate(marker, extras):
                continue
            bracket = re.match(r"\s*[\w.-]+\s*\[([^\]]*)\]", requirement)
            asked = {normalize(extra.strip()) for extra in bracket[1].split(",")} if bracket else set()
            found.append((project_of(requirement.strip()), asked))
    return found


def record(options: argparse.Namespace) -> dict[str, Recording]:
    """Everything that goes into the fixtures."""
    index = index_url(options.index_url)
    pins = read_pins(options.pins.read_text())
    base = Base("1.16.0", "3.10.13", OTHER_PLATFORM, pins, options.pins)
    uv = Uv(options.uv, options.cache, refresh=False)
    uv.examine(base)
    chosen: dict[str, set[str]] = {}
    for request in REQUESTS:
        answer = uv.ask(base, request)
        for name, version in answer.added.items():
            chosen.setdefault(name, set()).add(version)
    queue: list[tuple[str, set[str]]] = [(project_of(request), set()) for request in REQUESTS]
    asked: dict[str, set[str]] = {}
    recordings: dict[str, Recording] = {}
    while queue:
        name, extras = queue.pop(0)
        if name in pins or (name in recordings and extras <= asked[name]):
            continue
        asked[name] = asked.get(name, set()) | extras
        if name not in recordings:
            url = f"{index}{name}/"
            page = json.loads(fetch(url, "application/vnd.pypi.simple.v1+json"))
            recordings[name] = Recording(page, url)
            newest = options.versions if name in chosen else options.others
            recordings[name].files = select(name, page, chosen.get(name, set()), newest)
            print(f"{name}: {len(recordings[name].files)} versions", file=sys.stderr)
            for filename, entry in recordings[name].files.items():
                if filename.endswith(".whl") and wheel_rank(filename) and python_fits(entry.get("requires-python")):
                    recordings[name].metadata[filename] = header(wheel_metadata(entry, url))
        for metadata in recordings[name].metadata.values():
            queue.extend(requirements(metadata, asked[name]))
    return recordings


def write(recordings: dict[str, Recording], folder: Path) -> int:
    """Write the index anew; the number of bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files").mkdir(parents=True)
    size = 0
    for name, recording in sorted(recordings.items()):
        files = []
        for filename, entry in sorted(recording.files.items()):
            kept = {
                key: entry[key]
                for key in ("filename", "requires-python", "size", "upload-time", "yanked")
                if key in entry
            }
            kept["hashes"] = {"sha256": entry["hashes"]["sha256"]}
            kept["url"] = f"../../files/{filename}"
            if filename in recording.metadata:
                metadata = recording.metadata[filename]
                kept["core-metadata"] = {"sha256": hashlib.sha256(metadata).hexdigest()}
                size += (folder / "files" / f"{filename}.metadata").write_bytes(metadata)
            files.append(kept)
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": files}
        page["versions"] = sorted({version_of(entry["filename"], name) for entry in files}, key=version_key)
        size += (folder / f"{name}.json").write_text(json.dumps(page, indent=1, sort_keys=True) + "\n")
    return size


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pins", type=Path, required=True, help="the pin list of TFX 1.16.0")
    parser.add_argument("--output", type=Path, default=HERE.parent / "fixtures/index", help="folder that is replaced")
    parser.add_argument("--index-url", help="index to record (default: pip's)")
    parser.add_argument("--uv", default="uv", help="uv's executable")
    parser.add_argument("--cache", type=Path, default=Path("target/oracle"), help="where uv's answers are kept")
    parser.add_argument("--versions", type=int, default=6, help="newest versions of a project that uv chooses")
    parser.add_argument("--others", type=int, default=2, help="newest versions of every other project")
    return parser.parse_args()


def main() -> int:
    """Entry point."""
    options = arguments()
    try:
        recordings = record(options)
        size = write(recordings, options.output)
    except (RecordError, ComparisonError, OSError) as error:
        print(f"record_fixtures.py: {error}", file=sys.stderr)
        return 2
    print(f"{len(recordings)} projects, {size / 1024:.0f} KiB in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
