#!/usr/bin/env python3
"""Build a trainer image on the full-size base, carry it everywhere, and run it: TFX with an MLflow client.

One `imgtool build` pushes to a docker-registry on loopback and writes a layout and archives; another hands the image to
podman. Of each copy every digest, size and diff_id is computed anew here, skopeo and umoci read it, and podman runs it:
`pip check`, the imports of MLflow and TFX in both orders, a metric that arrives in an `mlflow server` (the newest of the
index, SQLite, loopback) and is read back over its API. Then the same image is built again and again, under other
circumstances: one digest. Of layouts the documents are held against the schemas of OCI, bills of materials against that of
CycloneDX.

Needs root, uv, the network, and the base of `make tfx-base`. Exit status: 0 all holds, 1 something does not.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from image_parts import (
    CHUNK,
    ImageFailure,
    Podman,
    Registry,
    clean_up_when_ended,
    install_commands,
    need_root,
    run,
    step,
)

HERE = Path(__file__).resolve().parent
TAG = "1.16.0"
BASE = f"base/tfx:{TAG}"
REQUEST = "mlflow-skinny"
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
IMPORTS = ("import mlflow, tensorflow, tfx.v1", "import tfx.v1, tensorflow, mlflow")
PYTHON = "/opt/conda/bin/python"
LOGGING = """
import mlflow, sys
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("trainer")
with mlflow.start_run(run_name=sys.argv[2]) as run:
    mlflow.log_param("base", "tfx")
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
print(run.info.run_id)
"""
# Whatever a new layer may bring beside its own bytes: configuration, what is attached.
DOCUMENTS_BYTES = 4 << 20

Open = Callable[[str], contextlib.AbstractContextManager[BinaryIO]]


def loopback() -> urllib.request.OpenerDirector:
    """Requests that go to no proxy."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Blobs:
    """The blobs of one copy of an image, each read to its end and compared with its descriptor."""

    def __init__(self, open_blob: Open) -> None:
        self.open_blob = open_blob
        self.read = 0

    def document(self, descriptor: dict) -> dict:
        """A small blob, as JSON."""
        with self.open_blob(descriptor["digest"]) as blob:
            content = blob.read()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if digest != descriptor["digest"] or len(content) != descriptor.get("size", len(content)):
            raise ImageFailure(f"{descriptor['digest']} is {digest} with {len(content)} bytes")
        self.read += 1
        return json.loads(content)

    def diff_id(self, layer: dict) -> str:
        """The digest of a layer's archive; that of its blob is compared."""
        stored, plain = hashlib.sha256(), hashlib.sha256()
        size = 0
        is_gzip = layer["mediaType"].endswith("gzip")
        inflate = zlib.decompressobj(31)
        with self.open_blob(layer["digest"]) as blob:
            while content := blob.read(CHUNK):
                stored.update(content)
                size += len(content)
                plain.update(inflate.decompress(content) if is_gzip else content)
        if is_gzip and (not inflate.eof or inflate.unused_data):
            raise ImageFailure(f"{layer['digest']} is not one gzip member")
        if f"sha256:{stored.hexdigest()}" != layer["digest"] or size != layer["size"]:
            raise ImageFailure(f"{layer['digest']} is sha256:{stored.hexdigest()} with {size} bytes")
        self.read += 1
        return f"sha256:{plain.hexdigest()}"

    def check(self, root: dict) -> tuple[dict, dict]:
        """A whole image from the descriptor of its manifest; manifest and configuration."""
        manifest = self.document(root)
        config = self.document(manifest["config"])
        diff_ids = [self.diff_id(layer) for layer in manifest["layers"]]
        if diff_ids != config["rootfs"]["diff_ids"]:
            raise ImageFailure(f"{root['digest']} has the diff_ids {diff_ids}, not {config['rootfs']['diff_ids']}")
        layered = [one for one in config["history"] if not one.get("empty_layer")]
        if len(layered) != len(diff_ids):
            raise ImageFailure(f"{root['digest']} has {len(diff_ids)} layers and a history of {len(layered)}")
        return manifest, config


def registry_blobs(host: str, repository: str, tag: str) -> tuple[Blobs, dict]:
    """The blobs of an image in a registry, and what its tag leads to."""

    @contextlib.contextmanager
    def open_blob(digest: str) -> Iterator[BinaryIO]:
        kind = "manifests" if digest == root["digest"] else "blobs"
        request = urllib.request.Request(f"http://{host}/v2/{repository}/{kind}/{digest}")
        request.add_header("Accept", ", ".join(MANIFESTS))
        with loopback().open(request, timeout=60) as answer:
            yield answer

    request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{tag}", method="HEAD")
    request.add_header("Accept", ", ".join(MANIFESTS))
    with loopback().open(request, timeout=60) as answer:
        root = {"digest": answer.headers["Docker-Content-Digest"], "size": int(answer.headers["Content-Length"])}
    return Blobs(open_blob), root


def root_of(index: dict, tag: str) -> dict:
    """What a name of a layout leads to."""
    named = [one for one in index["manifests"] if one.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag]
    if len(named) != 1:
        raise ImageFailure(f"{len(named)} images of a layout have the name {tag}")
    return named[0]


def check_archives(oci: Path, docker: Path, tag: str, digest: str, name: str) -> None:
    """Every blob of both archives."""
    with tarfile.open(oci) as archive:

        @contextlib.contextmanager
        def open_blob(wanted: str) -> Iterator[BinaryIO]:
            file = archive.extractfile(f"blobs/{wanted.replace(':', '/')}")
            assert file is not None
            yield file

        index_file = archive.extractfile("index.json")
        assert index_file is not None
        root = root_of(json.load(index_file), tag)
        if root["digest"] != digest:
            raise ImageFailure(f"{oci} has {root['digest']}, not {digest}")
        Blobs(open_blob).check(root)
    with tarfile.open(docker) as archive:

        def content(member: str) -> BinaryIO:
            file = archive.extractfile(member)
            assert file is not None
            return file

        (image,) = json.load(content("manifest.json"))
        if image["RepoTags"] != [name]:
            raise ImageFailure(f"{docker} names {image['RepoTags']}, not {name}")
        config = json.load(content(image["Config"]))
        diff_ids = []
        for member in image["Layers"]:
            plain = hashlib.sha256()
            file = content(member)
            # Archives of `docker save` have layers as plain archives; engines take compressed ones, too.
            inflate = zlib.decompressobj(31) if file.read(2) == b"\x1f\x8b" else None
            file.seek(0)
            while part := file.read(CHUNK):
                plain.update(inflate.decompress(part) if inflate else part)
            diff_ids.append(f"sha256:{plain.hexdigest()}")
        if diff_ids != config["rootfs"]["diff_ids"]:
            raise ImageFailure(f"the layers of {docker} have not the diff_ids of its configuration")


@contextlib.contextmanager
def mlflow_server(work: Path, python: Path) -> Iterator[str]:
    """The newest MLflow's server with a store of its own; its address."""
    environment = work / "mlflow-venv"
    if not (environment / "bin/mlflow").exists():
        run(["uv", "venv", "-q", "--python", python, environment])
        run(["uv", "pip", "install", "-q", "--python", environment / "bin/python", "mlflow"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = Path(tempfile.mkdtemp(prefix="mlflow-", dir=work))
    command = [environment / "bin/mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store}/store.db", "--default-artifact-root", str(store / "artifacts")]
    with (store / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=store, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if server.poll() is not None:
                break
            with contextlib.suppress(OSError):
                loopback().open(f"{address}/health", timeout=5).read()
                break
            time.sleep(0.2)
        else:
            raise ImageFailure(f"the MLflow server does not answer:\n{(store / 'log').read_text()[-2000:]}")
        if server.poll() is not None:
            raise ImageFailure(f"the MLflow server ended:\n{(store / 'log').read_text()[-2000:]}")
        yield address
    finally:
        # Its workers are processes of their own, in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        server.wait(30)
        shutil.rmtree(store, ignore_errors=True)


def ask_mlflow(address: str, path: str) -> dict:
    """One answer of the server's REST API."""
    with loopback().open(f"{address}/api/2.0/mlflow/{path}", timeout=30) as answer:
        return json.load(answer)


class Trainer:
    """One base, one image, many copies."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.options = options
        self.work = work
        self.cache = options.work / "cache" if options.work else work / "cache"

    def build(self, base: str, *words: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> dict:
        """One `imgtool build`; its answer."""
        command = [self.options.imgtool, "build", base, REQUEST, "--cache-dir", self.cache, "--format", "json"]
        return json.loads(run([*command, *words], env=env, cwd=cwd).stdout)

    def copies(self, host: str, base: str) -> tuple[dict, dict[str, str]]:
        """Build once, for every kind of place; the answer and how podman calls each."""
        name = f"{host}/team/trainer:1"
        layout, oci, docker = (self.work / part for part in ("layout", "trainer.tar", "trainer-docker.tar"))
        began = time.monotonic()
        identity, metadata = self.work / "iid", self.work / "metadata.json"
        answer = self.build(
            base, "--tag", name, "--push", "--output", f"oci:{layout}:1", "--output", f"oci-archive:{oci}:1",
            "--output", f"docker-archive:{docker}", "--iidfile", identity, "--metadata-file", metadata,
        )  # fmt: skip
        digest = answer["digest"]
        step(f"one build, four places, {time.monotonic() - began:.1f} s: {digest}")
        if identity.read_text().strip() != digest or json.loads(metadata.read_text())["digest"] != digest:
            raise ImageFailure("--iidfile and --metadata-file do not say the digest of the answer")
        sent = [target["sent"] for target in answer["targets"] if target["target"].startswith("docker://")]
        new = sum(layer["size"] for layer in answer["images"][0]["layers"])
        if sent[0] > new + DOCUMENTS_BYTES:
            raise ImageFailure(f"{sent[0]} bytes were pushed for {new} bytes of new layers")
        step(f"pushed: {sent[0]:,} bytes, {new:,} of them the new layer, none of the base's layers")
        return answer, {
            "registry": f"docker://{name}",
            "layout": f"oci:{layout}:1",
            "OCI archive": f"oci-archive:{oci}:1",
            "Docker archive": f"docker-archive:{docker}",
        }

    def verify(self, host: str, answer: dict) -> None:
        """Every digest of every copy."""
        digest = answer["digest"]
        blobs, root = registry_blobs(host, "team/trainer", "1")
        if root["digest"] != digest:
            raise ImageFailure(f"the tag leads to {root['digest']}, not to {digest}")
        manifest, config = blobs.check(root)
        _, base_root = registry_blobs(host, "base/tfx", TAG)
        annotations = manifest.get("annotations", {})
        for key, wanted in (("name", f"{host}/base/tfx:{TAG}"), ("digest", base_root["digest"])):
            if annotations.get(f"org.opencontainers.image.base.{key}") != wanted:
                raise ImageFailure(f"the manifest's base.{key} is {annotations.get(f'org.opencontainers.image.base.{key}')}")
        step(f"registry: {blobs.read} blobs and their {len(manifest['layers'])} diff_ids are what they are called")
        fallback, attached = registry_blobs(host, "team/trainer", digest.replace(":", "-"))
        referrers = fallback.document(attached)["manifests"]
        kinds = sorted(one["artifactType"] for one in referrers)
        if len(kinds) != len(answer["images"][0]["attached"]):
            raise ImageFailure(f"what is attached: {kinds}")
        step(f"attached under the fallback tag: {', '.join(kinds)}")
        check_archives(self.work / "trainer.tar", self.work / "trainer-docker.tar", "1", digest, f"{host}/team/trainer:1")
        step("both archives: every blob and diff_id")
        inspected = json.loads(run(["skopeo", "inspect", "--tls-verify=false", f"docker://{host}/team/trainer:1"]).stdout)
        if inspected["Digest"] != digest or len(inspected["Layers"]) != len(manifest["layers"]):
            raise ImageFailure(f"skopeo inspect: {inspected}")
        if config["config"].get("Env") != json.loads(run(["skopeo", "inspect", "--config", f"oci:{self.options.layout}:{TAG}"]).stdout)["config"].get("Env"):
            raise ImageFailure("the environment of the image is not the base's")
        stat = json.loads(run(["umoci", "stat", "--json", "--image", f"{self.work / 'layout'}:1"]).stdout)
        if len([one for one in stat["history"] if not one.get("empty_layer")]) != len(manifest["layers"]):
            raise ImageFailure(f"umoci stat: {stat}")
        bundle = self.work / "bundle"
        run(["umoci", "unpack", "--image", f"{self.work / 'layout'}:1", bundle])
        site = bundle / "rootfs/opt/conda/lib/python3.10/site-packages"
        unpacked = {path.name.lower() for path in site.glob("*.dist-info")}
        for added in answer["images"][0]["added"]:
            expected = f"{added['name'].replace('-', '_')}-{added['version']}.dist-info"
            if expected not in unpacked:
                raise ImageFailure(f"umoci unpacked no {expected}")
        shutil.rmtree(bundle, ignore_errors=True)
        step("skopeo inspect, umoci stat and umoci unpack agree")

    def validate(self) -> None:
        """The documents of the layout under the schemas of OCI and CycloneDX."""
        uv = ["uv", "run", "-q", "--no-project", "--with"]
        script: list[str | Path] = [*uv, "jsonschema", HERE / "oci_layout.py", "--schemas", self.options.schemas]
        step(run([*script, self.work / "layout"]).stdout.strip().replace(str(self.work), "…"))
        bill = self.work / "sbom.cdx.json"
        bill.write_bytes(self.attached("application/vnd.cyclonedx+json"))
        packages = ["cyclonedx-python-lib[json-validation]", "--with", "spdx-tools", "--with", "packageurl-python"]
        step(run([*uv, *packages, HERE / "sbom.py", "--imgtool", self.options.imgtool, bill]).stdout.strip())

    def attached(self, kind: str) -> bytes:
        """What of a kind is attached to the image in the layout."""
        blobs = self.work / "layout/blobs/sha256"
        for path in blobs.iterdir():
            if path.stat().st_size > 1 << 16:
                continue
            with contextlib.suppress(ValueError):
                document = json.loads(path.read_text(errors="replace"))
                if isinstance(document, dict) and "subject" in document and document.get("artifactType") == kind:
                    return (blobs / document["layers"][0]["digest"].split(":")[1]).read_bytes()
        raise ImageFailure(f"nothing of the type {kind} is attached")

    def engines(self, answer: dict, copies: dict[str, str], base: str) -> None:
        """Each copy under podman."""
        with Podman(self.work / "podman") as engine, mlflow_server(self.options.work or self.work, self.options.python) as address:
            loaded = self.build(base, "--tag", "localhost/trainer:loaded", "--load=podman", env=engine.env)
            if loaded["digest"] != answer["digest"]:
                raise ImageFailure("--load has another digest")
            copies = {"--load": "localhost/trainer:loaded", **copies}
            known: dict[str, str] = {}
            for name, place in copies.items():
                if name == "--load":
                    identity = engine.podman("image", "inspect", "--format", "{{.Id}}", place).stdout.strip()
                else:
                    tls = ["--tls-verify=false"] if name == "registry" else []
                    identity = engine.podman("pull", "-q", *tls, place).stdout.split()[-1]
                if identity != answer["images"][0]["config"].split(":")[1]:
                    raise ImageFailure(f"{name}: podman calls the image {identity}, its configuration is another")
                if identity in known:
                    step(f"{name}: podman has it, the same image as that of {known[identity]}")
                    continue
                known[identity] = name
                self.use(engine, identity, name, address)

    def use(self, engine: Podman, image: str, name: str, address: str) -> None:
        """What a trainer does."""
        entry = ("--entrypoint", PYTHON)
        checked = engine.run(image, "-m", "pip", "check", options=entry).strip()
        for code in IMPORTS:
            engine.run(image, "-c", code, options=entry)
        step(f"{name}: {checked}; imports in both orders")
        script = self.work / "log.py"
        script.write_text(LOGGING)
        # A later --network takes the place of the one before.
        options = (*entry, "--network=host", "-v", f"{script}:/log.py:ro")
        run_id = engine.run(image, "/log.py", address, name.strip("-"), options=options).split()[-1]
        history = ask_mlflow(address, f"metrics/get-history?run_id={run_id}&metric_key=loss")["metrics"]
        values = [(int(metric.get("step", 0)), metric["value"]) for metric in history]
        if values != [(at, 1 / (at + 1)) for at in range(3)]:
            raise ImageFailure(f"the server has the metrics {values}")
        run_info = ask_mlflow(address, f"runs/get?run_id={run_id}")["run"]
        if run_info["info"]["status"] != "FINISHED" or run_info["data"]["params"] != [{"key": "base", "value": "tfx"}]:
            raise ImageFailure(f"the server has the run {run_info}")
        step(f"{name}: three metrics and a parameter arrived in the MLflow server")

    def same_bytes(self, base: str, digest: str) -> None:
        """The same image under other circumstances."""
        elsewhere = self.work / "some where/else"
        elsewhere.mkdir(parents=True)
        cold = self.work / "cold"
        program = [self.options.imgtool, "build", base, REQUEST, "--output", f"oci:{self.work / 'layout'}:again"]
        warm = ["--cache-dir", str(self.cache)]
        masked = ["sh", "-c", 'umask 077; exec "$@"', "sh"]
        zone = {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "HOME": str(elsewhere)}
        for what, before, after, env, cwd in (
            ("again", [], warm, {}, None),
            ("on one core", ["taskset", "-c", "0"], warm, {}, None),
            ("umask 077", masked, warm, {}, None),
            ("time zone, locale, home, folder", [], warm, zone, elsewhere),
            ("cold cache, one core", ["taskset", "-c", "0"], ["--cache-dir", str(cold)], {}, None),
            ("no cache", [], ["--no-cache"], {}, None),
        ):
            identity = self.work / "iid-again"
            run([*before, *program, *after, "--iidfile", identity], env=env, cwd=cwd)
            if identity.read_text().strip() != digest:
                raise ImageFailure(f"{what}: {identity.read_text().strip()}, not {digest}")
            step(f"the same digest: {what}")
        shutil.rmtree(cold, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imgtool", required=True, type=Path)
    parser.add_argument("--layout", required=True, type=Path, help="the base, by tfx_base.py")
    parser.add_argument("--schemas", required=True, type=Path, help="folder with the schemas of the image specification")
    parser.add_argument("--python", required=True, type=Path, help="a Python for the MLflow server")
    parser.add_argument("--work", type=Path, help="a folder whose cache and server are kept [default: a temporary one]; 10 GB")
    options = parser.parse_args()
    for name in ("imgtool", "layout", "schemas"):
        setattr(options, name, getattr(options, name).resolve())
    if options.work is not None:
        options.work = options.work.resolve()
        options.work.mkdir(parents=True, exist_ok=True)
    clean_up_when_ended()
    try:
        need_root()
        install_commands(["docker-registry", "podman", "runc", "skopeo", "umoci"])
        with contextlib.ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trainer-", dir=options.work)))
            registry = stack.enter_context(Registry(work / "registry", authenticated=False))
            registry.push(f"oci:{options.layout}:{TAG}", BASE)
            base = f"docker://{registry.host}/{BASE}"
            trainer = Trainer(options, work)
            answer, copies = trainer.copies(registry.host, base)
            trainer.verify(registry.host, answer)
            trainer.validate()
            trainer.engines(answer, copies, base)
            trainer.same_bytes(base, answer["digest"])
    except (ImageFailure, urllib.error.URLError, KeyError) as failure:
        print(f"trainer image: {failure!r}" if isinstance(failure, KeyError) else f"trainer image: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
