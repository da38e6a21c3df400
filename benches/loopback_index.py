"""A package index on the loopback, for measurements: PEP 691 pages and metadata files, made up once, served from memory.

Universes come from resolver scenarios (the files' README beside them says what the fields mean) or are made up here.
Nothing can be downloaded: resolvers that are asked for a plan read pages and metadata only. The server is a process of
its own, so that it does not share an interpreter with what is measured.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import multiprocessing
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = "application/vnd.pypi.simple.v1+json"


@dataclass
class Release:
    """One version of a project."""

    version: str
    requires: list[str] = field(default_factory=list)
    extras: list[str] = field(default_factory=list)
    requires_python: str | None = None
    yanked: bool = False
    tags: list[str] = field(default_factory=lambda: ["py3-none-any"])

    def metadata(self, name: str) -> str:
        """METADATA of every wheel of it."""
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {self.version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        lines += [f"Provides-Extra: {extra}" for extra in self.extras]
        if self.requires_python:
            lines.append(f"Requires-Python: {self.requires_python}")
        return "\n".join(lines) + "\n"


Universe = dict[str, list[Release]]


@dataclass
class Scenario:
    """A request and a universe of a collection."""

    name: str
    requires: list[str]
    python: str
    universe: Universe
    solvable: bool


def normalize(name: str) -> str:
    """Normalize a project name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def scenarios(path: Path) -> Iterator[Scenario]:
    """The scenarios of one collection of which it is known whether they can be solved."""
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    with opened as file:
        collection = json.load(file)
    for scenario in collection["scenarios"]:
        expected = scenario.get("single_env_expected")
        if not expected or scenario["single_env_class"] != "strict":
            continue
        options = scenario.get("resolver_options") or {}
        yield Scenario(
            name=scenario["id"],
            requires=scenario["root"]["requires"],
            python=options.get("python") or scenario["environment"]["python"],
            universe={name: list(releases(versions)) for name, versions in scenario["packages"].items()},
            solvable=expected["satisfiable"],
        )


def releases(versions: dict[str, dict]) -> Iterator[Release]:
    """The releases of one project that have a wheel."""
    for version, offered in versions.items():
        if not offered["wheel"]:
            continue
        requires = list(offered.get("requires", []))
        extras = offered.get("extras", {})
        for extra, of_extra in extras.items():
            for requirement in of_extra:
                name, _, marker = requirement.partition(";")
                condition = f"({marker.strip()}) and extra == '{extra}'" if marker else f"extra == '{extra}'"
                requires.append(f"{name.strip()} ; {condition}")
        yield Release(
            version,
            requires,
            list(extras),
            offered.get("requires_python"),
            offered["yanked"],
            offered.get("wheel_tags") or ["py3-none-any"],
        )


def pages(universe: Universe, prefix: str) -> dict[str, tuple[str, bytes]]:
    """Every path below `prefix` that is served, with its type and bytes."""
    served = {}
    for name, offered in universe.items():
        files = []
        for release in offered:
            content = release.metadata(name).encode()
            for tags in release.tags:
                filename = f"{name.replace('-', '_')}-{release.version}-{tags}.whl"
                served[f"{prefix}/files/{filename}.metadata"] = ("text/plain", content)
                file = {
                    "filename": filename,
                    "url": f"../../files/{filename}",
                    "hashes": {"sha256": hashlib.sha256(filename.encode()).hexdigest()},
                    "core-metadata": {"sha256": hashlib.sha256(content).hexdigest()},
                    "yanked": release.yanked,
                }
                if release.requires_python:
                    file["requires-python"] = release.requires_python
                files.append(file)
        page = {"meta": {"api-version": "1.1"}, "name": normalize(name), "files": files, "versions": []}
        served[f"{prefix}/simple/{normalize(name)}/"] = (PAGE, json.dumps(page).encode())
    return served


def serve(served: dict[str, tuple[str, bytes]], port: multiprocessing.connection.Connection) -> None:
    """The process of the server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            kind, content = served.get(self.path, (None, b"not found"))
            self.send_response(404 if kind is None else 200)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "max-age=600, public")
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()[:16]}"')
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 512
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is none: both tools end without closing their connections."""

    server = Server(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.serve_forever()


class LoopbackIndex:
    """A server for several universes, each under a path of its own."""

    def __init__(self, universes: dict[str, Universe]) -> None:
        served: dict[str, tuple[str, bytes]] = {}
        self.paths = {name: f"/{position}" for position, name in enumerate(universes)}
        for name, universe in universes.items():
            served |= pages(universe, self.paths[name])
        ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(served, theirs), daemon=True)
        self.process.start()
        self.port = ours.recv()

    def url(self, name: str) -> str:
        """The index of one universe."""
        return f"http://127.0.0.1:{self.port}{self.paths[name]}/simple/"

    def __enter__(self) -> LoopbackIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.join()
