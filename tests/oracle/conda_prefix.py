#!/usr/bin/env python3
"""Make a conda prefix offline: conda packages made from wheels and from a CPython, linked by rattler.

Run it with a Python that has py-rattler. The packages are made here, in both forms of the conda package format; rattler
reads, extracts and links them, so that conda-meta, entry points, replaced prefixes and the package cache below `pkgs`
are what a conda user has. One package is built for one Python (a wheel with an extension module), one is in the old
`.tar.bz2` form and has egg-info, one has no Python at all, one has no files.
"""

from __future__ import annotations

import argparse
import asyncio
import configparser
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

from image_parts import ImageFailure, copy_python, sorted_tree, step

PLACEHOLDER = "/" + "_".join(["placehold"] * 24)
TIMESTAMP = 1735689600000


def write_package(folder: Path, index: dict, link: dict | None, output: Path, old_form: bool) -> Path:
    """Pack a folder as a conda package."""
    info = folder / "info"
    info.mkdir()
    paths = []
    for path in sorted_tree(folder):
        if path.is_relative_to(info) or (path.is_dir() and not path.is_symlink()):
            continue
        entry: dict = {"_path": str(path.relative_to(folder)), "path_type": "hardlink"}
        if path.is_symlink():
            target = path.resolve()
            content = target.read_bytes() if target.is_file() else b""
            entry["path_type"] = "softlink"
        else:
            content = path.read_bytes()
            if PLACEHOLDER.encode() in content:
                mode = "binary" if b"\0" in content else "text"
                entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": mode}
        entry |= {"sha256": hashlib.sha256(content).hexdigest(), "size_in_bytes": len(content)}
        paths.append(entry)
    (info / "index.json").write_text(json.dumps(index))
    (info / "paths.json").write_text(json.dumps({"paths": paths, "paths_version": 1}))
    (info / "files").write_text("".join(f"{entry['_path']}\n" for entry in paths))
    (info / "about.json").write_text("{}")
    if link:
        (info / "link.json").write_text(json.dumps(link))
    stem = f"{index['name']}-{index['version']}-{index['build']}"
    if old_form:
        package = output / f"{stem}.tar.bz2"
        with tarfile.open(package, "w:bz2") as tar:
            tar.add(info, "info")
            for path in sorted(folder.iterdir()):
                if path != info:
                    tar.add(path, path.name)
        return package
    package = output / f"{stem}.conda"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        for kind in ("pkg", "info"):
            with tempfile.TemporaryDirectory() as scratch:
                plain = Path(scratch) / "plain.tar"
                with tarfile.open(plain, "w") as tar:
                    for path in sorted(folder.iterdir()):
                        if (path == info) == (kind == "info"):
                            tar.add(path, path.name)
                subprocess.run(["zstd", "-q", "-3", "--rm", str(plain)], check=True)
                archive.write(f"{plain}.zst", f"{kind}-{stem}.tar.zst")
    return package


def index_json(name: str, version: str, build: str, depends: list[str], noarch: bool) -> dict:
    """The content of info/index.json."""
    index = {
        "arch": None if noarch else "x86_64",
        "build": build,
        "build_number": 0,
        "depends": depends,
        "license": "",
        "name": name,
        "platform": None if noarch else "linux",
        "subdir": "noarch" if noarch else "linux-64",
        "timestamp": TIMESTAMP,
        "version": version,
    }
    return index | ({"noarch": "python"} if noarch else {})


def from_wheel(wheel: Path, scratch: Path, output: Path, series: str, old_form: bool, egg_info: bool) -> Path:
    """A conda package of a wheel: for any Python when the wheel is, else for one."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    pure = wheel.name.endswith("-none-any.whl")
    noarch = pure and not egg_info
    site = folder / ("site-packages" if noarch else f"lib/python{series}/site-packages")
    site.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (found,) = site.glob("*.dist-info")
    metadata = Parser().parsestr((found / "METADATA").read_text(errors="replace"))
    entry_points = []
    if (found / "entry_points.txt").is_file():
        parser = configparser.ConfigParser(delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(found / "entry_points.txt")
        if parser.has_section("console_scripts"):
            entry_points = [f"{name} = {target}" for name, target in parser.items("console_scripts")]
    if egg_info:
        # What `setup.py install --single-version-externally-managed` left in packages built so.
        legacy = site / f"{metadata['Name']}-{metadata['Version']}-py{series}.egg-info"
        legacy.mkdir()
        (found / "METADATA").rename(legacy / "PKG-INFO")
        (legacy / "SOURCES.txt").write_text("")
        (legacy / "dependency_links.txt").write_text("\n")
        (legacy / "top_level.txt").write_text(f"{metadata['Name'].lower()}\n")
        shutil.rmtree(found)
    else:
        (found / "INSTALLER").write_text("conda\n")
        with (found / "RECORD").open("a") as record:
            record.write(f"{found.name}/INSTALLER,,\n")
    index = index_json(
        metadata["Name"].lower(),
        metadata["Version"],
        "pyhd8ed1ab_0" if noarch else f"py{series.replace('.', '')}h0000000_0",
        ["python >=3.7"] if noarch else [f"python >={series},<{series}.99"],
        noarch,
    )
    link = {"noarch": {"type": "python", "entry_points": entry_points}, "package_metadata_version": 1}
    return write_package(folder, index, link if noarch else None, output, old_form)


def make_packages(options: argparse.Namespace, scratch: Path, output: Path) -> list[Path]:
    """All packages of the prefix."""
    python = scratch / "python"
    python.mkdir()
    copy_python(options.python, python, PLACEHOLDER, pip=False, tests=False)
    version = subprocess.run(
        [str(options.python), "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    series = ".".join(version.split(".")[:2])
    (python / "bin/python").unlink(missing_ok=True)
    (python / "bin/python").symlink_to(f"python{series}")
    index = index_json("python", version, "h0000000_0_cpython", ["libexample"], noarch=False)
    packages = [write_package(python, index, None, output, old_form=False)]

    library = scratch / "libexample"
    (library / "lib").mkdir(parents=True)
    (library / "lib/libexample.so.1.2.3").write_bytes(b"\x7fELF not really\0" + PLACEHOLDER.encode() + b"/lib\0")
    (library / "lib/libexample.so.1").symlink_to("libexample.so.1.2.3")
    packages.append(
        write_package(library, index_json("libexample", "1.2.3", "h0000000_1", [], False), None, output, False)
    )
    mutex = scratch / "mutex"
    mutex.mkdir()
    packages.append(
        write_package(mutex, index_json("_example_mutex", "0.1", "main", [], False), None, output, old_form=True)
    )
    for wheel in sorted(options.wheels.glob("*.whl")):
        legacy = wheel.name.lower().split("-")[0] in options.egg_info
        packages.append(from_wheel(wheel, scratch, output, series, old_form=legacy, egg_info=legacy))
    return packages


async def link(packages: list[Path], prefix: Path, shown: str) -> None:
    """Install the packages with rattler."""
    import rattler

    records = [await rattler.RepoDataRecord.from_package_archive(package) for package in packages]
    await rattler.install(
        records,
        target_prefix=prefix,
        alternative_target_prefix=shown,
        cache_dir=prefix / "pkgs",
        platform=rattler.Subdir("linux-64") if hasattr(rattler, "Subdir") else None,
        show_progress=False,
    )


def make(options: argparse.Namespace) -> None:
    """Make the prefix."""
    with tempfile.TemporaryDirectory(prefix="conda-", dir=options.scratch) as folder:
        scratch = Path(folder)
        output = scratch / "packages"
        output.mkdir()
        packages = make_packages(options, scratch, output)
        asyncio.run(link(packages, options.prefix, options.shown))
    records = sorted(path.stem for path in (options.prefix / "conda-meta").glob("*.json"))
    if len(records) != len(packages):
        raise ImageFailure(f"rattler linked {records}, of {len(packages)} packages")
    step(f"rattler linked {len(records)} conda packages into {options.shown}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--python", type=Path, required=True, help="the CPython that becomes the package `python`")
    parser.add_argument("--wheels", type=Path, required=True, help="folder of wheels that become packages")
    parser.add_argument(
        "--egg-info", action="append", default=[], help="this wheel becomes an old package (repeatable)"
    )
    parser.add_argument("--prefix", type=Path, required=True, help="the prefix to make")
    parser.add_argument("--shown", default="/opt/conda", help="the prefix's path in the image")
    parser.add_argument("--scratch", type=Path, help="folder for what is temporary")
    return parser.parse_args()


def main() -> int:
    """Entry point."""
    try:
        make(arguments())
    except (ImageFailure, OSError, subprocess.CalledProcessError) as error:
        print(f"conda_prefix.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
