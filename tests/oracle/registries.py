#!/usr/bin/env python3
"""Push to real registries: the tests of `tests/integration/registry/push_places.rs`, run against servers started here.

docker-registry (Debian's package) is started three times, each with a configuration of its own: for everybody, with a
password (htpasswd, bcrypt), and with tokens of a small token server in this process, whose certificate the registry has
as its `rootcertbundle`. ferro-oci-server is started where its executable is given. All listen on 127.0.0.1 alone, keep
what they get in a temporary folder, and end with this script.

Exit status: that of the tests.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.server
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

USER = "user"
PASSWORD = "pa:ss-hunter2"
SERVICE = "test registry"
ISSUER = "test issuer"
# How long a token is good: pushes of the tests take longer than that in all, so that tokens run out.
TOKEN_SECONDS = 5


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer:
    """Docker's token authentication: JSON web tokens (RS256) for whoever has the password, with what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.key = folder / "token.key"
        self.certificate = folder / "token.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tokens",
             "-keyout", str(self.key), "-out", str(self.certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        der = subprocess.run(
            ["openssl", "x509", "-in", str(self.certificate), "-outform", "DER"], check=True, capture_output=True
        ).stdout
        self.chain = [base64.b64encode(der).decode()]
        self.issued = 0
        self.scopes: set[str] = set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                if self.headers.get("Authorization") != f"Basic {expected}":
                    self.send_error(401)
                    return
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                body = json.dumps({"token": outer.token(query.get("scope", []))}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.realm = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, scopes: list[str]) -> str:
        self.issued += 1
        access = []
        for scope in " ".join(scopes).split():
            self.scopes.add(scope.rsplit(":", 1)[1])
            kind, name, actions = scope.split(":", 2)
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": self.chain}
        claims = {
            "iss": ISSUER, "sub": USER, "aud": SERVICE, "exp": now + TOKEN_SECONDS, "nbf": now - 10, "iat": now,
            "jti": secrets.token_hex(8), "access": access,
        }  # fmt: skip
        signed = ".".join(unpadded(json.dumps(part).encode()) for part in (header, claims))
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(self.key)],
            input=signed.encode(), check=True, capture_output=True,
        ).stdout  # fmt: skip
        return f"{signed}.{unpadded(signature)}"


def wait_for(host: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://{host}/v2/", timeout=5).read()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"the registry at {host} does not answer:\n{log.read_text(errors='replace')[-2000:]}")


@contextlib.contextmanager
def running(command: list[str], host: str, log: Path, variables: dict[str, str] | None = None) -> Iterator[None]:
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(variables or {})}
        )
    try:
        wait_for(host, server, log)
        yield
    finally:
        server.terminate()
        server.wait(timeout=20)


@contextlib.contextmanager
def docker_registry(executable: str, folder: Path, name: str, auth: str) -> Iterator[str]:
    host = f"127.0.0.1:{free_port()}"
    storage = folder / name
    storage.mkdir()
    config = folder / f"{name}.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {storage}}}\n"
        f"  delete: {{enabled: true}}\nhttp: {{addr: '{host}', secret: {secrets.token_hex(16)}}}\n{auth}"
    )
    with running([executable, "serve", str(config)], host, folder / f"{name}.log"):
        yield host


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docker-registry", default="docker-registry", help="executable of Debian's docker-registry")
    parser.add_argument("--ferro", help="executable of ferro-oci-server; without it that one is left out")
    parser.add_argument("--cargo", default="cargo")
    arguments = parser.parse_args()
    executable = shutil.which(arguments.docker_registry)
    if executable is None:
        sys.exit(f"there is no {arguments.docker_registry}: apt-get install docker-registry apache2-utils")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="registries-")))
        tokens = TokenServer(folder)
        passwords = folder / "htpasswd"
        hashed = subprocess.run(
            ["htpasswd", "-nbB", USER, PASSWORD], check=True, capture_output=True, text=True
        ).stdout
        passwords.write_text(hashed)
        kinds = {
            "anonymous": "",
            "password": f"auth:\n  htpasswd: {{realm: test, path: {passwords}}}\n",
            "token": (
                f"auth:\n  token:\n    realm: {tokens.realm}\n    service: {SERVICE}\n    issuer: {ISSUER}\n"
                f"    rootcertbundle: {tokens.certificate}\n"
            ),
        }
        hosts = [
            stack.enter_context(docker_registry(executable, folder, name, auth)) for name, auth in kinds.items()
        ]
        if arguments.ferro:
            host = f"127.0.0.1:{free_port()}"
            storage = folder / "ferro"
            storage.mkdir()
            # Its default is every interface of the machine.
            variables = {"FERRO_OCI_LISTEN": host, "FERRO_OCI_STORAGE_DIR": str(storage)}
            stack.enter_context(running([arguments.ferro], host, folder / "ferro.log", variables))
            hosts.append(host)
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        auth = folder / "config.json"
        auth.write_text(json.dumps({"auths": {host: {"auth": login} for host in hosts}}))
        began = time.monotonic()
        status = subprocess.run(
            [arguments.cargo, "test", "--locked", "--test", "integration", "registry::push_places"],
            env={**os.environ, "IMGTOOL_REGISTRIES": ",".join(hosts), "IMGTOOL_REGISTRIES_AUTH": str(auth)},
        ).returncode
        seconds = time.monotonic() - began
        print(f"{len(hosts)} registries in {seconds:.0f} s; {tokens.issued} tokens, for {sorted(tokens.scopes)}")
        damaged = [
            str(path)
            for path in folder.glob("*/docker/registry/v2/blobs/sha256/*/*/data")
            if hashlib.sha256(path.read_bytes()).hexdigest() != path.parent.name
        ]
        if damaged:
            print(f"damaged blobs were accepted: {damaged}")
        return status or int(bool(damaged))


if __name__ == "__main__":
    sys.exit(main())
