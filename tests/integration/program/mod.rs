//! The program from its arguments to its output, offline, against an index in this process.

mod attached;
mod bases;
mod cache;
mod catalog;
mod excluded;
mod explain;
mod failing_index;
mod fidelity;
mod files;
mod image_rules;
mod images;
mod inspect;
mod lock;
mod outputs;
mod outside;
mod recorded;
mod sameness;
mod universe;

use crate::support::program::Desk;
use crate::support::root::Root;

/// Where the made-up base has its packages.
const SITE: &str = "/opt/conda/lib/python3.10/site-packages";

/// Makes the base `dir:base` on `desk`: CPython 3.10.13 and glibc 2.31 on x86_64, with these distributions: name,
/// version, further lines of metadata.
fn lay_base(desk: &Desk, installed: &[(&str, &str, &str)]) -> Root {
    let root = Root::debian_at(desk.path("base"));
    root.python("/opt/conda", "3.10.13");
    for (name, version, headers) in installed {
        root.installed(SITE, name, version, headers);
        // Without it no installer could change anything.
        let info = format!("{}-{version}.dist-info", name.replace('-', "_"));
        root.write(
            &format!("{SITE}/{info}/RECORD"),
            format!("{info}/METADATA,,\n"),
        );
    }
    root
}
