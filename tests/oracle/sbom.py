"""Bills of materials of imgtool under the validators of their own projects.

For each reference, `imgtool inspect` writes CycloneDX and SPDX twice. Both must be the same bytes, valid for the
project's own schema or validator (cyclonedx-python-lib, spdx-tools), name every distribution that the JSON form names
with a package URL that packageurl-python writes the same way, and agree on what depends on what. Documents that lie on disk
are validated alone. Needs the three packages, so it is run as

    uv run --no-project --with 'cyclonedx-python-lib[json-validation]' --with spdx-tools --with packageurl-python \
        tests/oracle/sbom.py --imgtool target/release/imgtool tfx:1.16.0 dir:/opt/venv oci:layout
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document


def inspect(imgtool: str, reference: str, form: str) -> str:
    """What `imgtool inspect` prints of a reference, with the clock prescribed."""
    command = [imgtool, "inspect", reference, "--format", form]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def faults_of_cyclonedx(text: str) -> list[str]:
    """What the schema of CycloneDX 1.6 says against a document."""
    faults = []
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error:
        faults.append(f"CycloneDX: {str(error).splitlines()[0]}")
    document = json.loads(text)
    references = [document["metadata"]["component"]["bom-ref"]]
    references += [component["bom-ref"] for component in document["components"]]
    if len(references) != len(set(references)):
        faults.append("CycloneDX: a bom-ref stands for two components")
    for edge in document["dependencies"]:
        for reference in [edge["ref"], *edge.get("dependsOn", [])]:
            if reference not in references:
                faults.append(f"CycloneDX: {reference} is no component")
    for component in [document["metadata"]["component"], *document["components"]]:
        faults += faults_of_purl(component.get("purl"))
    return faults


def faults_of_spdx(text: str) -> list[str]:
    """What spdx-tools says against a document."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "document.spdx.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        messages = validate_full_spdx_document(parse_file(path))
    faults = [f"SPDX: {message.validation_message}" for message in messages]
    for package in json.loads(text)["packages"]:
        for reference in package.get("externalRefs", []):
            faults += faults_of_purl(reference["referenceLocator"])
    return faults


def faults_of_purl(purl: str | None) -> list[str]:
    """Whether packageurl-python writes a package URL the same way."""
    if purl is None:
        return []
    again = PackageURL.from_string(purl).to_string()
    return [] if again == purl else [f"{purl} is canonically {again}"]


def purls_of_spdx(document: dict) -> dict[str, str]:
    """The package URL of each element."""
    return {
        package["SPDXID"]: package["externalRefs"][0]["referenceLocator"]
        for package in document["packages"]
        if package.get("externalRefs")
    }


def edges_of_spdx(document: dict) -> set[tuple[str, str]]:
    """What depends on what, by package URL."""
    purls = purls_of_spdx(document)
    return {
        (purls[edge["spdxElementId"]], purls[edge["relatedSpdxElement"]])
        for edge in document["relationships"]
        if edge["relationshipType"] == "DEPENDS_ON"
    }


def edges_of_cyclonedx(document: dict) -> set[tuple[str, str]]:
    """What depends on what, by package URL."""
    base = document["metadata"]["component"]["bom-ref"]
    return {
        (edge["ref"], to)
        for edge in document["dependencies"]
        if edge["ref"] != base
        for to in edge.get("dependsOn", [])
    }


def faults_of_reference(imgtool: str, reference: str) -> list[str]:
    """All that is wrong with the documents of one reference."""
    faults = []
    texts = {}
    for form in ["cyclonedx", "spdx"]:
        texts[form] = inspect(imgtool, reference, form)
        if inspect(imgtool, reference, form) != texts[form]:
            faults.append(f"{form}: two runs write different bytes")
    faults += faults_of_cyclonedx(texts["cyclonedx"])
    faults += faults_of_spdx(texts["spdx"])
    cyclonedx, spdx = json.loads(texts["cyclonedx"]), json.loads(texts["spdx"])
    told = json.loads(inspect(imgtool, reference, "json"))
    installed = {distribution["purl"] for distribution in told["distributions"]}
    for form, purls in [
        ("CycloneDX", {component["purl"] for component in cyclonedx["components"]}),
        ("SPDX", set(purls_of_spdx(spdx).values())),
    ]:
        for missing in sorted(installed - purls):
            faults.append(f"{form}: {missing} is missing")
    if edges_of_cyclonedx(cyclonedx) != edges_of_spdx(spdx):
        faults.append("CycloneDX and SPDX differ about what depends on what")
    edges = len(edges_of_cyclonedx(cyclonedx))
    print(f"{reference}: {len(installed)} distributions, {edges} dependencies, {len(faults)} faults")
    return faults


def main() -> int:
    """Checks all references and documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imgtool", default="target/release/imgtool")
    parser.add_argument("what", nargs="+", help="a base, or a document that ends in .cdx.json or .spdx.json")
    arguments = parser.parse_args()
    faults = []
    for what in arguments.what:
        if what.endswith((".cdx.json", ".spdx.json")):
            with open(what, encoding="utf-8") as file:
                text = file.read()
            found = faults_of_cyclonedx(text) if what.endswith(".cdx.json") else faults_of_spdx(text)
            print(f"{what}: {len(found)} faults")
        else:
            found = faults_of_reference(arguments.imgtool, what)
        faults += [f"{what}: {fault}" for fault in found]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
