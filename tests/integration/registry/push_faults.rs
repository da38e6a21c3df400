//! A fault at a random step of a push, many times over: the tag leads to the old image or to the whole new one, nothing
//! damaged is stored, and a second run sends what is missing and no more.

use std::time::Duration;

use imgtool::transport::registry::{RegistryClient, RegistrySettings, Silent};
use oci_distribution::Reference;

use super::login::{PASSWORD, bearer, password};
use super::{read, reference, settings};
use crate::support::outgoing::Example;
use crate::support::registry::{Access, Fault, RegistryServer, Uploads, digest};

/// How many runs each test makes; `IMGTOOL_FAULT_RUNS` says otherwise.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever wants more than a test run has time for says so"
)]
fn runs() -> u64 {
    let asked = std::env::var("IMGTOOL_FAULT_RUNS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(150)
}

/// A stream of numbers that a seed decides.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x0123_4567_89ab_cdef)
    }

    /// A number below `end`.
    pub(super) fn roll(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(super) fn size(&mut self, end: u64) -> usize {
        usize::try_from(self.roll(end)).expect("a size")
    }
}

/// One run: a registry, the image that is there, the one that is pushed.
struct Run {
    server: RegistryServer,
    old: Example,
    new: Example,
    target: Reference,
    settings: RegistrySettings,
    _folder: tempfile::TempDir,
}

impl Run {
    fn new(seed: u64, dice: &mut Dice) -> Self {
        let server = RegistryServer::start();
        match dice.roll(4) {
            0 => bearer(&server, false),
            1 => server.change(|behaviour| {
                behaviour.access = Access::Basic("user".to_owned(), PASSWORD.to_owned());
            }),
            _ => {}
        }
        let mut uploads = match dice.roll(3) {
            0 => Uploads::docker_registry(),
            1 => Uploads::ferro(),
            _ => Uploads::default(),
        };
        uploads.heeds_conditions = dice.roll(2) == 0;
        server.change(|behaviour| behaviour.uploads = uploads);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        crate::support::tls::write(
            &path,
            &format!(
                r#"{{"auths": {{"{}": {}}}}}"#,
                server.host(),
                password(PASSWORD)
            ),
        );
        let mut settings = settings();
        settings.http.read_timeout = Duration::from_millis(600);
        settings.credentials.files = vec![path];
        let base = reference(&server, "base/image:1");
        // Now and then a layer that goes in parts.
        let large = if dice.roll(12) == 0 { 4_300_000 } else { 0 };
        let sizes = [dice.size(300), dice.size(100_000)];
        let mut new = Example::new(seed, &sizes, large + dice.size(90_000), Some(&base));
        if dice.roll(2) == 0 {
            new = new.indexed();
        }
        new = new.with_referrer("sbom").with_referrer("lock");
        if dice.roll(3) > 0 {
            server.push("base/image", "1", &new.base_image);
        }
        let old = Example::new(seed + 10_000, &[50], 60, None);
        let run = Self {
            target: reference(&server, "team/app:1.0"),
            server,
            old,
            new,
            settings,
            _folder: folder,
        };
        run.client()
            .push(&run.target, &run.old.outgoing, &Silent)
            .expect("nothing is wrong yet");
        run
    }

    fn client(&self) -> RegistryClient {
        RegistryClient::new(self.settings.clone())
    }

    /// The blobs of the new image that the repository does not have: how many, and how many bytes.
    fn missing(&self) -> (usize, u64) {
        let blobs = self.new.outgoing.blobs.iter();
        let missing = blobs.filter(|blob| {
            let digest = blob.descriptor.digest().to_string();
            self.server.blob("team/app", &digest).is_none()
        });
        missing.fold((0, 0), |(count, bytes), blob| {
            (count + 1, bytes + blob.descriptor.size())
        })
    }

    /// The tag leads to a whole image; `true` for the new one.
    fn check(&self, seed: u64) -> bool {
        for (name, bytes) in self.server.blobs() {
            assert_eq!(digest(&bytes), name, "seed {seed}: a damaged blob");
        }
        let (_, bytes) = self.server.manifest("team/app", "1.0").expect("a tag");
        let is_new = bytes == self.new.root().bytes;
        assert!(
            is_new || bytes == self.old.root().bytes,
            "seed {seed}: the tag leads to another image"
        );
        let image = self.client().open(&self.target).expect("an image");
        for index in 0..image.layers.len() {
            read(&image, index).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        is_new
    }

    /// Everything that is attached is there and listed.
    fn check_attached(&self, seed: u64, knows_referrers: bool) {
        let tag = self.new.digest().replace(':', "-");
        let list = self.server.manifest("team/app", &tag);
        assert_eq!(list.is_none(), knows_referrers, "seed {seed}");
        for referrer in &self.new.outgoing.referrers {
            let digest = referrer.descriptor.digest().to_string();
            assert!(
                self.server.manifest("team/app", &digest).is_some(),
                "seed {seed}"
            );
            if let Some((_, bytes)) = &list {
                let text = String::from_utf8_lossy(bytes);
                assert_eq!(text.matches(&digest).count(), 1, "seed {seed}: {text}");
            }
        }
    }
}

fn fault(dice: &mut Dice) -> Fault {
    match dice.roll(7) {
        0 | 1 => Fault::Cut(dice.size(100_000)),
        2 => Fault::LoseAnswer,
        3 => Fault::Status([500, 502, 503, 429, 404, 400][dice.size(6)]),
        4 => Fault::StatusAfter(503),
        _ => Fault::Corrupt(dice.size(100_000)),
    }
}

fn run(seed: u64) -> bool {
    let mut dice = Dice::new(seed);
    let run = Run::new(seed, &mut dice);
    let mut knows_referrers = false;
    run.server.change(|behaviour| {
        knows_referrers = behaviour.uploads.referrers;
        // One fault, several in a row, or a registry that goes away in the middle and stays away.
        let step = dice.size(30);
        match dice.roll(4) {
            0 => {
                let methods = ["POST", "PUT", "PATCH", "HEAD", "GET"];
                let method = methods[dice.size(5)];
                let some = 1 + dice.size(6);
                behaviour.uploads.faults_of =
                    (0..some).map(|_| (method, fault(&mut dice))).collect();
            }
            1 if dice.roll(4) == 0 => {
                behaviour.uploads.faults_of =
                    vec![(["POST", "PATCH", "HEAD"][dice.size(3)], Fault::Hang)];
            }
            1 => {
                behaviour.uploads.gone_after = Some(step);
            }
            _ => behaviour.uploads.fault = Some((step, fault(&mut dice))),
        }
    });
    let first = run.client().push(&run.target, &run.new.outgoing, &Silent);
    run.server.change(|behaviour| {
        behaviour.uploads.fault = None;
        behaviour.uploads.faults_of.clear();
        behaviour.uploads.gone_after = None;
    });
    let is_new = run.check(seed);
    if first.is_ok() {
        assert!(is_new, "seed {seed}: it said that all went well");
        run.check_attached(seed, knows_referrers);
    }
    let (count, bytes) = run.missing();
    let second = run
        .client()
        .push(&run.target, &run.new.outgoing, &Silent)
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(
        second.blobs_uploaded <= count,
        "seed {seed}: {second:?}, {count} were missing"
    );
    // Small ones may go in vain once with the request that begins their upload.
    let in_vain = if count == 0 { 0 } else { 4 * 65_536 };
    assert!(
        second.uploaded <= bytes + in_vain,
        "seed {seed}: {second:?}, {bytes} were missing"
    );
    assert!(run.check(seed), "seed {seed}: the second run does it");
    run.check_attached(seed, knows_referrers);
    first.is_ok()
}

#[test]
fn whatever_goes_wrong_the_tag_is_right_and_a_second_run_finishes() {
    let runs = runs();
    let well = (0..runs).filter(|seed| run(*seed)).count() as u64;
    assert!(
        well > runs / 3,
        "most single faults are survived: {well} of {runs}"
    );
    assert!(well < runs, "some faults are too much");
}

#[test]
fn whatever_goes_wrong_holds_for_other_seeds_too() {
    let runs = runs();
    let well = (runs..2 * runs).filter(|seed| run(*seed)).count() as u64;
    assert!(well > runs / 3, "{well} of {runs}");
}
