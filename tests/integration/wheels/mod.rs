//! Wheels and the files that an installer makes of them.

mod archives;
mod bytecode;
mod hostile;
mod installed;
mod record;

use std::io::Read as _;

use imgtool::environment::InstallationScheme;
use imgtool::image_path::ImagePath;
use imgtool::layer::{FileSource, InstallableWheel, InstalledWheel, LayerFile, WheelError};
use imgtool::rootfs::Attributes;

use crate::support::wheel::Wheel;

/// What new files get.
pub const PLAIN: Attributes = Attributes {
    mode: 0o644,
    uid: 1000,
    gid: 100,
};

/// A scheme in which every part has its own folder.
pub fn scheme() -> InstallationScheme {
    let path = ImagePath::new;
    InstallationScheme {
        purelib: path("/opt/env/lib/python3.12/site-packages"),
        platlib: path("/opt/env/lib64/python3.12/site-packages"),
        scripts: path("/opt/env/bin"),
        headers: path("/opt/env/include/python3.12"),
        data: path("/opt/env"),
        executable: path("/opt/env/bin/python3.12"),
    }
}

/// Opens a wheel that was made up.
pub fn open(wheel: &Wheel) -> Result<InstallableWheel, WheelError> {
    InstallableWheel::from_bytes(wheel.build(), &wheel.file_name())
}

/// Installs a wheel that was made up.
pub fn install(wheel: &Wheel) -> Result<(InstallableWheel, InstalledWheel), WheelError> {
    let opened = open(wheel)?;
    let installed = opened.install(0, &scheme(), &PLAIN, false)?;
    Ok((opened, installed))
}

/// What keeps a wheel from being installed, without the sentence about which one it is.
pub fn refusal(wheel: &Wheel) -> String {
    let error = install(wheel).expect_err("a refusal").to_string();
    let start = format!("cannot install the wheel `{}`: ", wheel.file_name());
    error
        .strip_prefix(&start)
        .unwrap_or_else(|| panic!("{error}"))
        .to_owned()
}

/// The contents of an installed file.
pub fn contents(wheel: &InstallableWheel, file: &LayerFile) -> Vec<u8> {
    match &file.source {
        FileSource::Bytes(bytes) => bytes.to_vec(),
        FileSource::Wheel { wheel: _, member } => {
            let mut bytes = Vec::new();
            wheel
                .open_member(*member)
                .expect("a member")
                .read_to_end(&mut bytes)
                .expect("its contents");
            bytes
        }
        FileSource::Compiled { .. } => panic!("byte code lies in a file of its own"),
    }
}
