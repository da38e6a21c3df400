//! `imgtool inspect`: what a base holds, in every form.

use insta::assert_snapshot;

use super::{SITE, lay_base};
use crate::support::program::Desk;

/// A base with what bases have: a dependency, one that only an extra wants, a local version, and one that is missing.
fn desk() -> Desk {
    let mut desk = Desk::without_index();
    desk.set("SOURCE_DATE_EPOCH", "86400");
    let root = lay_base(
        &desk,
        &[
            (
                "alpha",
                "1.0",
                "Requires-Python: >=3.8\nRequires-Dist: beta[fast]>=1\nRequires-Dist: absent\n\
                 Requires-Dist: gamma; python_version < '3.9'",
            ),
            (
                "beta",
                "1.2.0+cu121",
                "Provides-Extra: fast\nRequires-Dist: gamma; extra == 'fast'",
            ),
            ("gamma", "2.0a1.zest", ""),
        ],
    );
    for (name, installer) in [("alpha-1.0", "pip\n"), ("beta-1.2.0+cu121", "uv")] {
        root.write(&format!("{SITE}/{name}.dist-info/INSTALLER"), installer);
    }
    desk
}

/// A bill of materials without what changes with each release of imgtool: its version, and the UUID that follows.
fn steady(document: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let of_tool = [
        format!("imgtool-{version}"),
        format!("\"imgtool\",\n          \"version\": \"{version}\""),
    ];
    let document = document.replace(&of_tool[0], "imgtool-[VERSION]").replace(
        &of_tool[1],
        "\"imgtool\",\n          \"version\": \"[VERSION]\"",
    );
    let mut lines: Vec<String> = Vec::new();
    for line in document.lines() {
        let names = ["\"serialNumber\": \"", "\"documentNamespace\": \""];
        // Both end in a UUID of 36 characters, a quote and a comma.
        let end = line.len().saturating_sub(38);
        if names.iter().any(|name| line.trim().starts_with(name)) {
            lines.push(format!("{}[UUID]{}", &line[..end], &line[line.len() - 2..]));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

#[test]
fn a_folder_is_a_table() {
    assert_snapshot!(desk().run(&["inspect", "dir:base"]), @"
    status: 0
    ----- stdout
    dir:base: 3 distributions

      platform   x86_64, glibc 2.31
      python     3.10.13, cp310, /opt/conda/bin/python3
      prefix     /opt/conda

    name   version      installer
    alpha  1.0          pip
    beta   1.2.0+cu121  uv
    gamma  2.0a1.zest   -

    notes
    - gamma has the version `2.0a1.zest`, which PEP 440 does not know: it counts as 2.0a1
    ");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a whole document")]
fn a_folder_is_json() {
    let run = desk()
        .run(&["inspect", "dir:base", "--format", "json"])
        .expect(0);
    assert_eq!(run.stderr, "");
    assert_snapshot!(run.stdout, @r#"
    {
      "schema": "imgtool.inspect/v1",
      "base": {
        "reference": "dir:base",
        "asked": "dir:base",
        "provenance": {
          "source": "directory",
          "name": "base",
          "made_from": null,
          "note": null
        }
      },
      "image": null,
      "interpreter": {
        "implementation": "CPython",
        "version": "3.10.13",
        "abi": "cp310",
        "executable": "/opt/conda/bin/python3",
        "prefix": "/opt/conda",
        "site_directories": [
          "/opt/conda/lib/python3.10/site-packages"
        ],
        "externally_managed": false,
        "platform": {
          "architecture": "x86_64",
          "libc": {
            "name": "glibc",
            "version": "2.31"
          }
        }
      },
      "interpreters": [
        {
          "implementation": "CPython",
          "version": "3.10.13",
          "abi": "cp310",
          "executable": "/opt/conda/bin/python3",
          "prefix": "/opt/conda",
          "kind": "installation",
          "base": null,
          "system_site_packages": false,
          "default": true,
          "inspected": true
        }
      ],
      "distributions": [
        {
          "name": "alpha",
          "version": "1.0",
          "location": "/opt/conda/lib/python3.10/site-packages/alpha-1.0.dist-info",
          "record": "dist-info",
          "installer": "pip",
          "editable": null,
          "requires_python": ">=3.8",
          "requires_dist": [
            "beta[fast]>=1",
            "absent",
            "gamma; python_version < '3.9'"
          ],
          "provides_extra": [],
          "layer": null,
          "layers": null,
          "size": null,
          "files": null,
          "missing_files": null,
          "shadows": [],
          "purl": "pkg:pypi/alpha@1.0"
        },
        {
          "name": "beta",
          "version": "1.2.0+cu121",
          "location": "/opt/conda/lib/python3.10/site-packages/beta-1.2.0+cu121.dist-info",
          "record": "dist-info",
          "installer": "uv",
          "editable": null,
          "requires_python": null,
          "requires_dist": [
            "gamma; extra == 'fast'"
          ],
          "provides_extra": [
            "fast"
          ],
          "layer": null,
          "layers": null,
          "size": null,
          "files": null,
          "missing_files": null,
          "shadows": [],
          "purl": "pkg:pypi/beta@1.2.0%2Bcu121"
        },
        {
          "name": "gamma",
          "version": "2.0a1.zest",
          "location": "/opt/conda/lib/python3.10/site-packages/gamma-2.0a1.zest.dist-info",
          "record": "dist-info",
          "installer": null,
          "editable": null,
          "requires_python": null,
          "requires_dist": [],
          "provides_extra": [],
          "layer": null,
          "layers": null,
          "size": null,
          "files": null,
          "missing_files": null,
          "shadows": [],
          "purl": "pkg:pypi/gamma@2.0a1.zest"
        }
      ],
      "shadowed": [],
      "conda_packages": [],
      "layers": [],
      "attached": null,
      "total": null,
      "notes": [
        "gamma has the version `2.0a1.zest`, which PEP 440 does not know: it counts as 2.0a1"
      ]
    }
    "#);
}

#[test]
fn versions_are_frozen_as_an_installer_takes_them() {
    let run = desk().run(&["inspect", "dir:base", "--format", "requirements"]);
    assert_snapshot!(run, @"
    status: 0
    ----- stdout
    # What is installed in dir:base, Python 3.10.13.
    alpha==1.0
    beta==1.2.0+cu121
    # gamma 2.0a1.zest has a version that no installer takes
    ----- stderr
    note: gamma has the version `2.0a1.zest`, which PEP 440 does not know: it counts as 2.0a1
    ");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a whole document")]
fn a_bill_of_materials_is_the_same_every_time() {
    let desk = desk();
    for format in ["cyclonedx", "spdx"] {
        let run = |desk: &Desk| {
            desk.run(&["inspect", "dir:base", "--format", format])
                .expect(0)
        };
        assert_eq!(run(&desk).bytes, run(&desk).bytes);
    }
    let stdout = desk
        .run(&["inspect", "dir:base", "--format", "cyclonedx"])
        .stdout;
    assert_snapshot!(steady(&stdout), @r#"
    {
      "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
      "bomFormat": "CycloneDX",
      "specVersion": "1.6",
      "serialNumber": "urn:uuid:[UUID]",
      "version": 1,
      "metadata": {
        "timestamp": "1970-01-02T00:00:00Z",
        "lifecycles": [
          {
            "phase": "post-build"
          }
        ],
        "tools": {
          "components": [
            {
              "type": "application",
              "name": "imgtool",
              "version": "[VERSION]"
            }
          ]
        },
        "component": {
          "type": "file",
          "bom-ref": "base",
          "name": "dir:base",
          "properties": [
            {
              "name": "imgtool:python:version",
              "value": "3.10.13"
            },
            {
              "name": "imgtool:python:prefix",
              "value": "/opt/conda"
            },
            {
              "name": "imgtool:python:executable",
              "value": "/opt/conda/bin/python3"
            },
            {
              "name": "imgtool:libc",
              "value": "glibc 2.31"
            }
          ]
        }
      },
      "components": [
        {
          "type": "library",
          "bom-ref": "pkg:pypi/alpha@1.0",
          "name": "alpha",
          "version": "1.0",
          "purl": "pkg:pypi/alpha@1.0",
          "evidence": {
            "occurrences": [
              {
                "location": "/opt/conda/lib/python3.10/site-packages/alpha-1.0.dist-info"
              }
            ]
          },
          "properties": [
            {
              "name": "imgtool:installer",
              "value": "pip"
            }
          ]
        },
        {
          "type": "library",
          "bom-ref": "pkg:pypi/beta@1.2.0%2Bcu121",
          "name": "beta",
          "version": "1.2.0+cu121",
          "purl": "pkg:pypi/beta@1.2.0%2Bcu121",
          "evidence": {
            "occurrences": [
              {
                "location": "/opt/conda/lib/python3.10/site-packages/beta-1.2.0+cu121.dist-info"
              }
            ]
          },
          "properties": [
            {
              "name": "imgtool:installer",
              "value": "uv"
            }
          ]
        },
        {
          "type": "library",
          "bom-ref": "pkg:pypi/gamma@2.0a1.zest",
          "name": "gamma",
          "version": "2.0a1.zest",
          "purl": "pkg:pypi/gamma@2.0a1.zest",
          "evidence": {
            "occurrences": [
              {
                "location": "/opt/conda/lib/python3.10/site-packages/gamma-2.0a1.zest.dist-info"
              }
            ]
          }
        }
      ],
      "dependencies": [
        {
          "ref": "base",
          "dependsOn": [
            "pkg:pypi/alpha@1.0",
            "pkg:pypi/beta@1.2.0%2Bcu121",
            "pkg:pypi/gamma@2.0a1.zest"
          ]
        },
        {
          "ref": "pkg:pypi/alpha@1.0",
          "dependsOn": [
            "pkg:pypi/beta@1.2.0%2Bcu121"
          ]
        },
        {
          "ref": "pkg:pypi/beta@1.2.0%2Bcu121",
          "dependsOn": [
            "pkg:pypi/gamma@2.0a1.zest"
          ]
        },
        {
          "ref": "pkg:pypi/gamma@2.0a1.zest"
        }
      ]
    }
    "#);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a whole document")]
fn an_spdx_document_says_what_it_knows() {
    let stdout = desk()
        .run(&["inspect", "dir:base", "--format", "spdx"])
        .stdout;
    assert_snapshot!(steady(&stdout), @r#"
    {
      "spdxVersion": "SPDX-2.3",
      "dataLicense": "CC0-1.0",
      "SPDXID": "SPDXRef-DOCUMENT",
      "name": "dir:base",
      "documentNamespace": "https://spdx.org/spdxdocs/imgtool-dir-base-[UUID]",
      "creationInfo": {
        "created": "1970-01-02T00:00:00Z",
        "creators": [
          "Tool: imgtool-[VERSION]"
        ]
      },
      "packages": [
        {
          "SPDXID": "SPDXRef-Base",
          "name": "dir:base",
          "supplier": "NOASSERTION",
          "downloadLocation": "NOASSERTION",
          "filesAnalyzed": false,
          "licenseConcluded": "NOASSERTION",
          "licenseDeclared": "NOASSERTION",
          "copyrightText": "NOASSERTION",
          "comment": "Python 3.10.13 at /opt/conda, glibc 2.31",
          "primaryPackagePurpose": "INSTALL"
        },
        {
          "SPDXID": "SPDXRef-Python-alpha",
          "name": "alpha",
          "versionInfo": "1.0",
          "supplier": "NOASSERTION",
          "downloadLocation": "NOASSERTION",
          "filesAnalyzed": false,
          "sourceInfo": "read from /opt/conda/lib/python3.10/site-packages/alpha-1.0.dist-info",
          "licenseConcluded": "NOASSERTION",
          "licenseDeclared": "NOASSERTION",
          "copyrightText": "NOASSERTION",
          "externalRefs": [
            {
              "referenceCategory": "PACKAGE-MANAGER",
              "referenceType": "purl",
              "referenceLocator": "pkg:pypi/alpha@1.0"
            }
          ],
          "primaryPackagePurpose": "LIBRARY"
        },
        {
          "SPDXID": "SPDXRef-Python-beta",
          "name": "beta",
          "versionInfo": "1.2.0+cu121",
          "supplier": "NOASSERTION",
          "downloadLocation": "NOASSERTION",
          "filesAnalyzed": false,
          "sourceInfo": "read from /opt/conda/lib/python3.10/site-packages/beta-1.2.0+cu121.dist-info",
          "licenseConcluded": "NOASSERTION",
          "licenseDeclared": "NOASSERTION",
          "copyrightText": "NOASSERTION",
          "externalRefs": [
            {
              "referenceCategory": "PACKAGE-MANAGER",
              "referenceType": "purl",
              "referenceLocator": "pkg:pypi/beta@1.2.0%2Bcu121"
            }
          ],
          "primaryPackagePurpose": "LIBRARY"
        },
        {
          "SPDXID": "SPDXRef-Python-gamma",
          "name": "gamma",
          "versionInfo": "2.0a1.zest",
          "supplier": "NOASSERTION",
          "downloadLocation": "NOASSERTION",
          "filesAnalyzed": false,
          "sourceInfo": "read from /opt/conda/lib/python3.10/site-packages/gamma-2.0a1.zest.dist-info",
          "licenseConcluded": "NOASSERTION",
          "licenseDeclared": "NOASSERTION",
          "copyrightText": "NOASSERTION",
          "externalRefs": [
            {
              "referenceCategory": "PACKAGE-MANAGER",
              "referenceType": "purl",
              "referenceLocator": "pkg:pypi/gamma@2.0a1.zest"
            }
          ],
          "primaryPackagePurpose": "LIBRARY"
        }
      ],
      "relationships": [
        {
          "spdxElementId": "SPDXRef-DOCUMENT",
          "relationshipType": "DESCRIBES",
          "relatedSpdxElement": "SPDXRef-Base"
        },
        {
          "spdxElementId": "SPDXRef-Base",
          "relationshipType": "CONTAINS",
          "relatedSpdxElement": "SPDXRef-Python-alpha"
        },
        {
          "spdxElementId": "SPDXRef-Base",
          "relationshipType": "CONTAINS",
          "relatedSpdxElement": "SPDXRef-Python-beta"
        },
        {
          "spdxElementId": "SPDXRef-Base",
          "relationshipType": "CONTAINS",
          "relatedSpdxElement": "SPDXRef-Python-gamma"
        },
        {
          "spdxElementId": "SPDXRef-Python-alpha",
          "relationshipType": "DEPENDS_ON",
          "relatedSpdxElement": "SPDXRef-Python-beta"
        },
        {
          "spdxElementId": "SPDXRef-Python-beta",
          "relationshipType": "DEPENDS_ON",
          "relatedSpdxElement": "SPDXRef-Python-gamma"
        }
      ]
    }
    "#);
}

#[test]
fn a_file_receives_the_form_that_its_name_asks_for() {
    let desk = desk();
    for (name, begins) in [
        (
            "base.cdx.json",
            "{\n  \"$schema\": \"http://cyclonedx.org/schema/bom-1.6",
        ),
        ("base.spdx.json", "{\n  \"spdxVersion\": \"SPDX-2.3\""),
        ("base.json", "{\n  \"schema\": \"imgtool.inspect/v1\""),
        ("base.txt", "dir:base: 3 distributions\n"),
    ] {
        let run = desk.run(&["inspect", "dir:base", "--color", "always", "-o", name]);
        assert_eq!(run.expect(0).stdout, "", "{name}");
        assert!(desk.read(name).starts_with(begins), "{}", desk.read(name));
    }
    desk.run(&[
        "inspect",
        "dir:base",
        "-o",
        "base.json",
        "--format",
        "requirements",
    ])
    .expect(0);
    assert!(desk.read("base.json").contains("\nalpha==1.0\n"));
    assert_snapshot!(desk.run(&["inspect", "dir:base", "-o", "absent/x.json"]).one_error(2), @"
    error: cannot write `absent/x.json`: No such file or directory (os error 2)
    hint: the folder of the file must exist
    ");
}

#[test]
fn a_base_of_the_catalog_says_that_it_is_a_snapshot() {
    let desk = Desk::without_index();
    let run = desk
        .run(&["inspect", "tfx:1.16.x", "--layers", "--size"])
        .expect(0);
    let first: Vec<&str> = run.stdout.lines().take(10).collect();
    assert_snapshot!(first.join("\n"), @"
    tfx:1.16.0: 246 distributions

      known      from the embedded snapshot of tfx 1.16.0, made from the pin list pins-1.16.0-py310.txt (246 distributions) and the package index on 2026-11-24, with Python 3.10.13 and glibc 2.35 assumed, not read from the image
      platform   x86_64, glibc 2.35
      python     3.10.13, cp310
      prefix     /opt/conda

    name                                version
    absl-py                             1.4.0
    annotated-types                     0.7.0
    ");
    assert_snapshot!(run.stderr, @"
    note: `--layers` adds nothing: this base has no layers
    note: `--size` adds nothing: a snapshot does not know sizes
    ");
    let json = desk
        .run(&["inspect", "tfx:1.16.0", "--format", "json"])
        .json();
    assert_eq!(json["base"]["provenance"]["source"], "snapshot");
    assert_eq!(json["distributions"].as_array().map(Vec::len), Some(246));
    assert_eq!(json["total"], serde_json::Value::Null);
    let run = desk
        .run(&["inspect", "tfx:1.16.0", "--format", "requirements"])
        .expect(0);
    run.says("\nprotobuf==3.20.3\n")
        .tells("note: this is from the embedded snapshot of tfx 1.16.0");
}

#[test]
fn what_cannot_be_inspected_is_an_error() {
    let desk = desk();
    assert_snapshot!(desk.run(&["inspect", "dir:absent"]).one_error(2), @"
    error: the folder `absent` does not exist
    hint: `dir:` takes the root of an unpacked image, a conda prefix or a virtual environment
    ");
    assert_snapshot!(desk.run(&["inspect", "dir:base", "--python", "3.12"]).one_error(2), @"
    error: `base` holds no Python `3.12`: found Python 3.10 at /opt/conda/bin/python3
    hint: `--python` takes a version, such as 3.10, or a path inside the root
    ");
    assert_snapshot!(desk.run(&["inspect", "dir:base", "--platform", "linux/"]).expect(2).stderr, @"
    error: invalid value 'linux/' for '--platform <OS/ARCH[/VARIANT]>': `linux/` is not a platform: write it as `linux/amd64`, `linux/arm/v7` or `arm64`

    For more information, try '--help'.
    ");
    desk.run(&["inspect", "dir:base", "--platform", "linux/arm64"])
        .expect(0)
        .tells("`--platform` chooses among the images of an index");
    desk.run(&["inspect"]).expect(2);
}

#[test]
fn the_help_shows_how() {
    assert_snapshot!(Desk::without_index().run(&["inspect", "--help"]).expect(0).stdout, @"
    Show the Python environment of a base: its interpreter, and what is installed

    Usage: imgtool inspect [OPTIONS] <REFERENCE>

    Arguments:
      <REFERENCE>
              The base: tfx:1.16.0, docker://HOST/NAME:TAG, oci:DIR, oci-archive:FILE,
              docker-archive:FILE, docker-daemon:NAME, containers-storage:NAME, dir:PATH

    Options:
          --format <FORMAT>
              The form of the answer [default: text, or what the name of FILE asks for: .cdx.json,
              .spdx.json, .json]

              Possible values:
              - text:         A table
              - json:         JSON, version 1
              - requirements: A requirements file that holds every version
              - cyclonedx:    A CycloneDX 1.6 bill of materials, JSON
              - spdx:         An SPDX 2.3 document, JSON

          --layers
              Show the layers, and which of them brought each distribution

          --size
              Show sizes of distributions

          --attached <KIND>
              Print a document that is attached to the image, as it is, instead of inspecting it

              Possible values:
              - sbom:       The bill of materials, CycloneDX
              - provenance: How the image was made, an in-toto statement
              - lock:       The lock that the image was made from

      -o, --output <FILE>
              Write the answer to a file instead of stdout

          --python <PYTHON>
              The interpreter, by version or path, where the base has several

      -h, --help
              Print help (see a summary with '-h')

    Images:
          --platform <OS/ARCH[/VARIANT]>
              Which image of an index is meant, such as linux/arm64; `build` takes several [default:
              linux and this machine's architecture]

          --snapshot
              For a name of the catalog, take its snapshot and do not ask the registry [from:
              IMGTOOL_SNAPSHOT]

          --registry-mirror <REGISTRY=LOCATION>
              Ask another registry in place of one; may be given several times [from:
              IMGTOOL_REGISTRY_MIRRORS]

          --insecure-registry <HOST[:PORT]>
              Speak to a registry without TLS; may be given several times

    Cache:
          --offline
              Use only what is cached or lies on this machine

          --cache-dir <DIR>
              Where inventories of layers are cached [from: IMGTOOL_CACHE_DIR, XDG_CACHE_HOME]

          --no-cache
              Keep no cache

    Global options:
      -q, --quiet
              Say nothing on stderr but errors

      -v, --verbose
              Say more on stderr

          --color <COLOR>
              When to use colours

              Possible values:
              - auto:   On a terminal, unless NO_COLOR is set
              - always: Always
              - never:  Never
              
              [default: auto]

    Examples:
      imgtool inspect docker://registry.example/team/train:2.1        an image of a registry
      imgtool inspect oci:layout --layers --size                      which layer brought what
      imgtool inspect dir:/srv/root --python 3.10                     one of several interpreters
      imgtool inspect oci-archive:image.tar -o image.cdx.json         a CycloneDX bill of materials
      imgtool inspect oci:layout --attached sbom                      the one that was attached when it
      was built
      imgtool inspect tfx:1.16.0 --format requirements -o held.txt    for `pip install -c held.txt`
    ");
}
