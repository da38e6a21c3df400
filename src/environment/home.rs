//! The home of the user that an image runs as.

use crate::image_path::ImagePath;
use crate::rootfs::{RootFs, resolve};

/// Largest `/etc/passwd` that is read, in bytes: images have some dozens of users.
const MAX_PASSWD: u64 = 1 << 20;

/// The home of `user`, as the image's config names it (`name`, `uid`, `name:group`; empty for root), as `/etc/passwd`
/// says it (`passwd(5)`). A user that is not there has none, except root, whose home everybody knows.
#[must_use]
pub fn home_of(root: &dyn RootFs, user: &str) -> Option<String> {
    let user = user.split(':').next().unwrap_or_default();
    let user = if user.is_empty() { "root" } else { user };
    let path = ImagePath::new("/etc/passwd");
    let bytes = resolve::read_file(root, &path, MAX_PASSWD)
        .ok()
        .flatten()
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let found = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let &[name, _, uid, _, _, home, ..] = &fields[..] else {
            return None;
        };
        ((name == user || uid == user) && home.starts_with('/')).then(|| home.to_owned())
    });
    let is_root = matches!(user, "root" | "0");
    found.or_else(|| is_root.then(|| super::places::HOME.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Root;
    use super::*;

    #[test]
    fn a_user_is_known_by_name_or_number() {
        let root = Root::new();
        let home = |user| home_of(&root.view(), user);
        assert_eq!(home("").as_deref(), Some("/root"));
        assert_eq!(home("app"), None);
        root.write(
            "/etc/passwd",
            b"root:x:0:0:root:/somewhere:/bin/sh\nbroken:1\napp:x:1000:1000::/home/app:/bin/sh\n",
        );
        assert_eq!(home("").as_deref(), Some("/somewhere"));
        assert_eq!(home("app:staff").as_deref(), Some("/home/app"));
        assert_eq!(home("1000").as_deref(), Some("/home/app"));
        assert_eq!(home("1001"), None);
    }
}
