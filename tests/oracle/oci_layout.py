"""Every document of OCI layouts under the JSON schemas of the OCI image specification, every blob under its digest.

From `index.json` down, each index, manifest and configuration must be valid for its schema, each blob must have the size and
the digest of its descriptor, each layer the diff_id that the configuration says (gzip and plain tar), and the history as many
steps with a layer as there are layers. What is attached must name a manifest of the layout as its subject. Needs the package
`jsonschema`, so it is run as

    uv run --no-project --with 'jsonschema' tests/oracle/oci_layout.py --schemas ../shared/data/oci/schemas LAYOUT...
"""

import argparse
import gzip
import hashlib
import json
import os
import sys
import warnings

# The schemas are of draft 4, whose references need the resolver that newer drafts have replaced.
warnings.filterwarnings("ignore", category=DeprecationWarning)
from jsonschema import Draft4Validator, RefResolver  # noqa: E402

SCHEMA_OF = {
    "application/vnd.oci.image.index.v1+json": "image-index-schema.json",
    "application/vnd.oci.image.manifest.v1+json": "image-manifest-schema.json",
    "application/vnd.oci.image.config.v1+json": "config-schema.json",
}


# Where the schemas are thought to lie; nothing is fetched from there.
PLACE = "https://schemas.invalid/"


def without_ids(schema: object) -> object:
    """A schema without the addresses that it gives to its parts: files refer to each other by their names."""
    if isinstance(schema, dict):
        kept = {key: value for key, value in schema.items() if not (key == "id" and isinstance(value, str))}
        return {key: without_ids(value) for key, value in kept.items()}
    return [without_ids(part) for part in schema] if isinstance(schema, list) else schema


class Schemas:
    """The schemas of a folder."""

    def __init__(self, folder: str) -> None:
        self.by_name = {}
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                self.by_name[name] = without_ids(json.load(file))

    def faults(self, name: str, document: object) -> list[str]:
        """What the schema says against a document."""
        schema = self.by_name[name]
        store = {PLACE + other: contents for other, contents in self.by_name.items()}
        resolver = RefResolver(PLACE + name, schema, store=store)
        validator = Draft4Validator(schema, resolver=resolver)
        return [f"{list(error.path)}: {error.message[:200]}" for error in validator.iter_errors(document)]


class Layout:
    """One layout and what is wrong with it."""

    def __init__(self, folder: str, schemas: Schemas) -> None:
        self.folder = folder
        self.schemas = schemas
        self.faults: list[str] = []
        self.documents = 0
        self.seen: set[str] = set()
        self.subjects: list[str] = []

    def blob(self, descriptor: dict) -> bytes:
        """The bytes that a descriptor names."""
        algorithm, value = descriptor["digest"].split(":")
        with open(os.path.join(self.folder, "blobs", algorithm, value), "rb") as file:
            contents = file.read()
        if len(contents) != descriptor["size"] or hashlib.new(algorithm, contents).hexdigest() != value:
            self.faults.append(f"{descriptor['digest']} is not what its descriptor promises")
        return contents

    def validate(self, name: str, where: str, document: object) -> None:
        """Checks a document against its schema."""
        self.documents += 1
        self.faults += [f"{where}: {fault}" for fault in self.schemas.faults(name, document)]

    def visit(self, descriptor: dict) -> None:
        """Checks an index or a manifest and all that it names."""
        digest, kind = descriptor["digest"], descriptor["mediaType"]
        if digest in self.seen:
            return
        self.seen.add(digest)
        document = json.loads(self.blob(descriptor))
        if kind not in SCHEMA_OF:
            self.faults.append(f"{digest} is of the type {kind}, which does not belong into a layout")
            return
        self.validate(SCHEMA_OF[kind], digest, document)
        if document.get("mediaType") != kind:
            self.faults.append(f"{digest} calls itself {document.get('mediaType')}")
        for entry in document.get("manifests", []):
            self.visit(entry)
        if "config" not in document:
            return
        config = self.blob(document["config"])
        layers = [(layer, self.blob(layer)) for layer in document["layers"]]
        if "subject" in document:
            self.subjects.append(document["subject"]["digest"])
        if document["config"]["mediaType"] in SCHEMA_OF:
            self.visit_config(digest, json.loads(config), layers)

    def visit_config(self, digest: str, config: dict, layers: list) -> None:
        """Checks a configuration beside the layers of its image."""
        self.validate("config-schema.json", f"the configuration of {digest}", config)
        diff_ids = config["rootfs"]["diff_ids"]
        if len(diff_ids) != len(layers):
            self.faults.append(f"{digest} has {len(layers)} layers and {len(diff_ids)} diff_ids")
        for (layer, contents), diff_id in zip(layers, diff_ids):
            if layer["mediaType"].endswith("+zstd"):
                continue
            plain = gzip.decompress(contents) if layer["mediaType"].endswith("gzip") else contents
            if f"sha256:{hashlib.sha256(plain).hexdigest()}" != diff_id:
                self.faults.append(f"{layer['digest']} has not the diff_id {diff_id}")
        steps = [step for step in config.get("history", []) if not step.get("empty_layer")]
        if steps and len(steps) != len(layers):
            self.faults.append(f"the history of {digest} tells of {len(steps)} layers, and there are {len(layers)}")

    def check(self) -> None:
        """Checks the layout from its index down."""
        with open(os.path.join(self.folder, "index.json"), encoding="utf-8") as file:
            index = json.load(file)
        self.validate("image-index-schema.json", "index.json", index)
        for entry in index["manifests"]:
            self.visit(entry)
        for subject in self.subjects:
            if subject not in self.seen:
                self.faults.append(f"something is attached to {subject}, which is not there")


def main() -> int:
    """Checks all layouts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemas", required=True, help="folder with the schemas of the image specification")
    parser.add_argument("layouts", nargs="+")
    arguments = parser.parse_args()
    schemas = Schemas(arguments.schemas)
    failed = False
    for folder in arguments.layouts:
        layout = Layout(folder, schemas)
        layout.check()
        print(f"{folder}: {layout.documents} documents, {len(layout.faults)} faults")
        for fault in layout.faults:
            print(f"{folder}: {fault}", file=sys.stderr)
        failed = failed or bool(layout.faults)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
