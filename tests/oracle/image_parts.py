"""Parts that the image oracles share: Debian roots, a Python that can be moved, OCI layouts, podman, a registry.

Only the standard library of Python; the tools (mmdebstrap, podman, skopeo, ...) are Debian's.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
CHUNK = 1 << 20
# Who may read from a registry with a password. A colon in it is allowed, and tells a careless reader.
USER, PASSWORD = "reader", "pass:word with spaces"
# Debian package of each command that may be missing.
PACKAGES = {
    "buildah": "buildah",
    "docker-registry": "docker-registry",
    "gzip": "gzip",
    "htpasswd": "apache2-utils",
    "igzip": "isal",
    "mmdebstrap": "mmdebstrap",
    "patchelf": "patchelf",
    "podman": "podman",
    "runc": "runc",
    "skopeo": "skopeo",
    "umoci": "umoci",
    "zstd": "zstd",
}
# Shared libraries that a CPython with its usual extension modules needs of a minimal Debian bookworm.
PYTHON_LIBRARIES = (
    "ca-certificates",
    "libbz2-1.0",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "libgomp1",
    "liblzma5",
    "libncursesw6",
    "libnsl2",
    "libreadline8",
    "libsnappy1v5",
    "libsqlite3-0",
    "libssl3",
    "libtirpc3",
    "libuuid1",
    "zlib1g",
)


class ImageFailure(Exception):
    """A step that must hold does not."""


def clean_up_when_ended() -> None:
    """Let a polite end by signal unwind the stack, so that servers are stopped and storage is removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def step(text: str) -> None:
    """Say what is known."""
    print(f"- {text}", flush=True)


def run(
    command: list[str | Path],
    *,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command and give what it printed; `env` is added to the process environment."""
    words = [str(part) for part in command]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise ImageFailure(f"there is no command `{words[0]}`") from error
    except subprocess.TimeoutExpired as error:
        raise ImageFailure(f"`{' '.join(words)}` did not end within {timeout:.0f} s") from error
    if check and done.returncode != 0:
        raise ImageFailure(f"`{' '.join(words)}` exited {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def superuser() -> list[str]:
    """The words that make a command run as root."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        return ["sudo", "-n"]
    raise ImageFailure("images are made and run by root: run this as root, or install sudo")


def need_root() -> None:
    """Images with foreign owners are made, mounted and run by root alone."""
    if os.geteuid() != 0:
        raise ImageFailure("images with foreign owners are made and run by root: run this task as root")


def install_commands(commands: list[str], libraries: list[str] | None = None) -> None:
    """Install the Debian packages of the commands that are missing, and fail if one is missing still."""
    missing = [PACKAGES[command] for command in commands if shutil.which(command) is None]
    for library in libraries or []:
        asked = run(["dpkg-query", "-W", "-f", "${Status}", library], check=False)
        if "install ok installed" not in asked.stdout:
            missing.append(library)
    if missing:
        step(f"installing {' '.join(sorted(missing))}")
        apt = [*superuser(), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
        run([*apt, "update"])
        run([*apt, "install", "--no-install-recommends", *sorted(missing)])
    lacking = [command for command in commands if shutil.which(command) is None]
    if lacking:
        raise ImageFailure(f"cannot go on without {', '.join(lacking)}: apt-get did not bring it")


def debian_root(suite: str, packages: list[str] | tuple[str, ...], archive: Path) -> None:
    """Make a minimal Debian root as a tar archive, complete or not at all."""
    partial = archive.with_name(f"{archive.name}.partial")
    words: list[str | Path] = ["mmdebstrap", "--variant=minbase", "--format=tar"]
    if packages:
        words.append(f"--include={','.join(packages)}")
    mirror = os.environ.get("DEBIAN_MIRROR")
    run([*words, suite, partial, *([mirror] if mirror else [])], env={"SOURCE_DATE_EPOCH": "1735689600"})
    partial.replace(archive)


def run_inside(root: Path, environment: Mapping[str, str], *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a root folder, with /proc (`$ORIGIN` of a shared library needs it) and a clean environment."""
    mounting = 'mount -t proc proc "$1/proc" && exec chroot "$@"'
    settings = [f"{key}={value}" for key, value in environment.items()]
    return run(["unshare", "--mount", "sh", "-c", mounting, "sh", root, "env", "-i", *settings, *words])


def write_anew(path: Path, content: bytes) -> None:
    """Replace a file. Its content may be shared with an installer's cache by hard link, so it is never written into."""
    mode = path.stat().st_mode
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.chmod(mode & 0o7777)
    partial.replace(path)


def copy_python(python: Path, prefix: Path, shown: str, *, pip: bool = True, tests: bool = True) -> None:
    """Copy an installed CPython into a folder that an image will show as `shown`; its packages stay behind.

    `tests` also copies CPython's own tests, a third of its files.
    """
    said = run([python, "-c", "import sys; print(sys.base_prefix, '%d.%d' % sys.version_info[:2])"]).stdout.split()
    source, version = Path(said[0]), said[1]
    if source in (Path("/"), Path("/usr")):
        raise ImageFailure(f"{python} belongs to the system, not to a prefix of its own, and cannot be moved")
    library = f"python{version}"
    left = {source / "lib" / library / "site-packages"} | (set() if tests else {source / "lib" / library / "test"})

    def skipped(folder: str, names: list[str]) -> list[str]:
        here = Path(folder)
        return [
            name
            for name in names
            if here / name in left or (here == source / "bin" and not keeps(here / name, version))
        ]

    for name in ("bin", "include", "lib", "share"):
        if (source / name).is_dir():
            shutil.copytree(source / name, prefix / name, symlinks=True, dirs_exist_ok=True, ignore=skipped)
    (prefix / "lib" / library / "site-packages").mkdir(exist_ok=True)
    executable = prefix / "bin" / library
    # A shared libpython is looked for where it was built.
    if b"libpython" in run(["ldd", executable]).stdout.encode():
        run(["patchelf", "--set-rpath", "$ORIGIN/../lib", executable])
    for path in [
        *(prefix / "bin").iterdir(),
        *(prefix / "lib" / library).glob("_sysconfigdata*.py"),
        *(prefix / "lib" / library).glob("config-*/*"),
        *(prefix / "lib/pkgconfig").glob("*.pc"),
    ]:
        move_text(path, str(source), shown)
    for stale in (prefix / "lib" / library / "__pycache__").glob("_sysconfigdata*"):
        stale.unlink()
    if pip:
        run([executable, "-m", "ensurepip", "--upgrade", "--default-pip"], env=clean_python())
        move_scripts(prefix, shown)


def keeps(path: Path, version: str) -> bool:
    """Whether a command of a prefix belongs to Python itself and not to a package installed there."""
    name = path.name
    return bool(re.fullmatch(rf"(python|2to3|idle|pydoc)(3|-?{re.escape(version)})?(-config|-gdb\.py)?", name))


def clean_python() -> dict[str, str]:
    """What keeps a staged Python from the user's own settings."""
    return {"PYTHONNOUSERSITE": "1", "PYTHONPATH": "", "PYTHONHOME": "", "PIP_NO_WARN_SCRIPT_LOCATION": "1"}


def move_text(path: Path, old: str, new: str) -> bool:
    """Replace a prefix in a text file; whether something was replaced."""
    if path.is_symlink() or not path.is_file():
        return False
    content = path.read_bytes()
    if b"\0" in content or old.encode() not in content:
        return False
    write_anew(path, content.replace(old.encode(), new.encode()))
    return True


def move_scripts(prefix: Path, shown: str) -> None:
    """Make the scripts of a prefix start the Python that the image will have, and RECORD say so."""
    changed = {path for path in (prefix / "bin").iterdir() if move_text(path, str(prefix), shown)}
    if not changed:
        return
    for record in prefix.glob("lib/python3*/site-packages/*.dist-info/RECORD"):
        rows = list(csv.reader(io.StringIO(record.read_text(), newline="")))
        touched = False
        for row in rows:
            path = Path(os.path.normpath(record.parent.parent / row[0]))
            if path in changed and row[1]:
                content = path.read_bytes()
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                row[1:] = [f"sha256={digest}", str(len(content))]
                touched = True
        if touched:
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\n").writerows(rows)
            write_anew(record, text.getvalue().encode())


class _Blob(io.RawIOBase):
    """A file below `blobs` that is named by its digest when it is complete."""

    def __init__(self, layout: Path, level: int | None) -> None:
        self.folder = layout / "blobs/sha256"
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".partial-")
        self.path = Path(name)
        self.file = os.fdopen(handle, "wb")
        self.plain = hashlib.sha256()
        self.stored = hashlib.sha256()
        self.plain_size = 0
        self.size = 0
        # 31: the gzip container, whose header then has neither a name nor a time.
        self.deflate = zlib.compressobj(level, zlib.DEFLATED, 31) if level is not None else None

    def writable(self) -> bool:
        return True

    def write(self, content) -> int:
        self.plain.update(content)
        self.plain_size += len(content)
        self._store(self.deflate.compress(content) if self.deflate else content)
        return len(content)

    def _store(self, content) -> None:
        self.stored.update(content)
        self.size += len(content)
        self.file.write(content)

    def name(self) -> str:
        """Finish the blob; its digest."""
        if self.deflate:
            self._store(self.deflate.flush())
        self.file.close()
        self.path.chmod(0o644)
        self.path.replace(self.folder / self.stored.hexdigest())
        return f"sha256:{self.stored.hexdigest()}"


class Layout:
    """An OCI layout folder that is being written, for one image."""

    def __init__(self, folder: Path, level: int = 6) -> None:
        self.folder = folder
        self.level = level
        self.layers: list[dict] = []
        self.diff_ids: list[str] = []
        self.history: list[dict] = []
        folder.mkdir(parents=True)

    def add_archive(self, archive: Path, created_by: str) -> dict:
        """Add a tar archive as a layer, byte for byte."""
        blob = _Blob(self.folder, self.level)
        with archive.open("rb") as file:
            while content := file.read(CHUNK):
                blob.write(content)
        return self._layer(blob, created_by)

    def add_folder(self, folder: Path, created_by: str) -> dict:
        """Add a folder's content as a layer, owned by root, in the order of its names."""
        blob = _Blob(self.folder, self.level)
        buffered = io.BufferedWriter(blob, CHUNK)
        with tarfile.open(fileobj=buffered, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as tar:
            for path in sorted_tree(folder):
                entry = tar.gettarinfo(path, arcname=str(path.relative_to(folder)))
                entry.mtime = int(entry.mtime)
                entry.uid = entry.gid = 0
                entry.uname = entry.gname = ""
                if entry.isreg():
                    with path.open("rb") as file:
                        tar.addfile(entry, file)
                else:
                    tar.addfile(entry)
        buffered.flush()
        return self._layer(blob, created_by)

    def _layer(self, blob: _Blob, created_by: str) -> dict:
        descriptor = {"mediaType": LAYER_GZIP, "digest": blob.name(), "size": blob.size}
        self.layers.append(descriptor)
        self.diff_ids.append(f"sha256:{blob.plain.hexdigest()}")
        self.history.append({"created": created(), "created_by": created_by})
        return descriptor | {"plain_size": blob.plain_size}

    def _json(self, media_type: str, content: dict) -> dict:
        blob = _Blob(self.folder, None)
        blob.write(json.dumps(content, separators=(",", ":")).encode())
        return {"mediaType": media_type, "digest": blob.name(), "size": blob.size}

    def finish(self, tag: str, config: dict) -> str:
        """Write config, manifest and index; the manifest's digest."""
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        described = {
            "created": created(),
            "architecture": machine,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
            "history": self.history,
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._json(CONFIG, described),
            "layers": self.layers,
        }
        descriptor = self._json(MANIFEST, manifest) | {
            "annotations": {REF_NAME: tag},
            "platform": {"architecture": machine, "os": "linux"},
        }
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor]}
        (self.folder / "index.json").write_text(json.dumps(index, separators=(",", ":")))
        return descriptor["digest"]


def created() -> str:
    """The time that images are said to be made at."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "1735689600"))))


def sorted_tree(folder: Path) -> Iterator[Path]:
    """Everything below a folder, a folder before what is in it."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        yield path
        if entry.is_dir(follow_symlinks=False):
            yield from sorted_tree(path)


def layer_blobs(layout: Path, tag: str) -> list[tuple[Path, int]]:
    """The layer blobs of an image in a layout and their sizes, lowest first."""

    def document(descriptor: dict) -> dict:
        return json.loads((layout / "blobs" / descriptor["digest"].replace(":", "/")).read_text())

    manifests = json.loads((layout / "index.json").read_text())["manifests"]
    chosen = [one for one in manifests if one.get("annotations", {}).get(REF_NAME) == tag]
    if len(chosen) != 1:
        raise ImageFailure(f"{layout} has {len(chosen)} images with the tag {tag}")
    return [
        (layout / "blobs" / layer["digest"].replace(":", "/"), layer["size"]) for layer in document(chosen[0])["layers"]
    ]


class Podman:
    """podman, skopeo and buildah with a storage of their own below a folder, which is removed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # podman's runtime folder has a socket below it, whose path must be short.
        self.short = Path(tempfile.mkdtemp(prefix="img-"))
        storage = folder / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder / "graph"}"\nrunroot = "{self.short / "run"}"\n'
        )
        # The packaged limits may be above what this process may set.
        containers = folder / "containers.conf"
        containers.write_text(
            '[containers]\ndefault_ulimits = []\n[engine]\nevents_logger = "none"\ncgroup_manager = "cgroupfs"\n'
        )
        policy = folder / "policy.json"
        policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
        self.env = {
            "CONTAINERS_STORAGE_CONF": str(storage),
            "CONTAINERS_CONF": str(containers),
            "TMPDIR": str(folder),
        }

    def __enter__(self) -> Podman:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def podman(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One podman command."""
        return run(["podman", "--runtime", "runc", *words], check=check, env=self.env)

    def run(self, image: str, *words: str, options: tuple[str, ...] = ()) -> str:
        """Run a command in a fresh container without network; what it printed."""
        limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
        done = self.podman("run", "--rm", "--network=none", "--pull=never", *limits, *options, image, *words)
        return done.stdout

    def remove(self) -> None:
        """Give the disk back."""
        with contextlib.suppress(ImageFailure):
            self.podman("system", "reset", "--force", check=False)
        for mounted in sorted(mounts_below(self.folder) + mounts_below(self.short), reverse=True):
            run(["umount", "-l", mounted], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.short, ignore_errors=True)


class Registry:
    """docker-registry on loopback, with or without a password."""

    def __init__(self, folder: Path, authenticated: bool, copy_of: Path | None = None) -> None:
        """`copy_of` is the folder of another registry, which is not running: what that has this one has, too."""
        self.folder = folder
        folder.mkdir(parents=True)
        if copy_of is not None:
            # By hard links: a registry writes files anew and never into them.
            shutil.copytree(copy_of / "blobs", folder / "blobs", copy_function=os.link)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        config = f"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {folder}/blobs\n"
        config += f"http:\n  addr: {self.host}\n"
        self.credentials: tuple[str, ...] = ()
        if authenticated:
            passwords = run(["htpasswd", "-Bbn", USER, PASSWORD]).stdout
            (folder / "htpasswd").write_text(passwords)
            config += f"auth:\n  htpasswd:\n    realm: images\n    path: {folder}/htpasswd\n"
            self.credentials = ("--dest-creds", f"{USER}:{PASSWORD}")
        (folder / "config.yml").write_text(config)
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=self.log, stderr=subprocess.STDOUT
        )
        self._wait()

    def _wait(self) -> None:
        for _ in range(100):
            if self.process.poll() is not None:
                break
            try:
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{self.host}/v2/", timeout=2)
                return
            except urllib.error.HTTPError as answer:
                if answer.code == 401:
                    return
            except OSError:
                time.sleep(0.1)
        self.close()
        raise ImageFailure(f"docker-registry does not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def push(self, reference: str, repository: str, *words: str) -> str:
        """Push an image; what it is called here."""
        target = f"docker://{self.host}/{repository}"
        run(["skopeo", "copy", "-q", "--dest-tls-verify=false", *self.credentials, *words, reference, target])
        return target

    def close(self) -> None:
        """Stop the server that this started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def mounts_below(folder: Path) -> list[str]:
    """Mount points below a folder."""
    inside = f"{folder.resolve()}/"
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [point for point in (line.split()[4] for line in lines) if point.startswith(inside)]
