//! A fault at a random step of a whole build, many times over: the tag leads to the old image or to the whole new one,
//! nothing damaged is stored, and a second run finishes.

use super::Shop;
use crate::support::registry::{Fault, RegistryServer, Uploads, digest};

/// How many runs the test makes; `IMGTOOL_FAULT_RUNS` says otherwise.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever wants more than a test run has time for says so"
)]
fn runs() -> u64 {
    let asked = std::env::var("IMGTOOL_FAULT_RUNS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(24)
}

/// A number below `end` that a seed and a step decide.
fn roll(seed: u64, step: u64, end: usize) -> usize {
    let bytes = imgtool::digest::sha256(format!("{seed} {step}").as_bytes());
    let number = u64::from_str_radix(&bytes.digest()[..8], 16).expect("hexadecimal");
    usize::try_from(number).expect("a number") % end
}

fn check(registry: &RegistryServer, repository: &str, seed: u64) -> Vec<u8> {
    for (name, bytes) in registry.blobs() {
        assert_eq!(digest(&bytes), name, "seed {seed}: a damaged blob");
    }
    let (_, bytes) = registry.manifest(repository, "1.0").expect("a tag");
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers");
    for named in layers.iter().chain([&manifest["config"]]) {
        let name = named["digest"].as_str().expect("a digest");
        assert!(
            registry.blob(repository, name).is_some(),
            "seed {seed}: {name}"
        );
    }
    bytes
}

/// How many runs wait for one another at once: most of the time is waiting before another attempt.
const WORKERS: u64 = 4;

#[test]
fn whatever_goes_wrong_the_tag_is_right_and_a_second_run_finishes() {
    let runs = runs();
    let well: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| scope.spawn(move || run((worker..runs).step_by(4))))
            .collect();
        let joined = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|well| well.expect("no seed fails")).sum()
    });
    assert!(well > 0 && well < runs, "{well} of {runs}");
}

/// Makes a run with each of the seeds; how many of the builds went well in spite of the fault.
fn run(seeds: impl Iterator<Item = u64>) -> u64 {
    let mut shop = Shop::new();
    let registry = shop.registry();
    let base = format!("docker://{}/team/base:1.0", registry.host());
    let expected = {
        let tag = format!("{}/team/expected:1.0", registry.host());
        shop.desk
            .build(&[&base, "alpha", "-t", &tag, "--push"])
            .expect(0);
        check(&registry, "team/expected", 0)
    };
    let mut well = 0;
    for seed in seeds {
        let repository = format!("team/r{seed}");
        let tag = format!("{}/{repository}:1.0", registry.host());
        registry.change(|behaviour| {
            behaviour.uploads = match roll(seed, 0, 3) {
                0 => Uploads::docker_registry(),
                1 => Uploads {
                    mounts: crate::support::registry::Mounts::Never,
                    ..Uploads::default()
                },
                _ => Uploads::default(),
            };
        });
        shop.desk
            .build(&[&base, "beta", "-t", &tag, "--push"])
            .expect(0);
        let old = check(&registry, &repository, seed);
        registry.change(|behaviour| {
            let fault = match roll(seed, 1, 6) {
                0 => Fault::Cut(roll(seed, 2, 3000)),
                1 => Fault::LoseAnswer,
                2 => Fault::Status([500, 502, 503, 429, 404, 400][roll(seed, 2, 6)]),
                3 => Fault::StatusAfter(503),
                _ => Fault::Corrupt(roll(seed, 2, 3000)),
            };
            let step = roll(seed, 3, 25);
            match roll(seed, 4, 4) {
                0 => behaviour.uploads.gone_after = Some(step),
                _ => behaviour.uploads.fault = Some((step, fault)),
            }
        });
        shop.index.change(|behaviour| match roll(seed, 5, 4) {
            0 => behaviour.fail_first = 1,
            1 => (behaviour.fail_first, behaviour.fail_status) = (1, Some(503)),
            2 => behaviour.wrong_file_hash = true,
            _ => {}
        });
        // Each run reads base and wheels anew.
        let words = [base.as_str(), "alpha", "-t", &tag, "--push", "--no-cache"];
        let first = shop.desk.build(&words);
        registry.change(|behaviour| {
            behaviour.uploads.fault = None;
            behaviour.uploads.gone_after = None;
        });
        shop.index.change(|behaviour| {
            (behaviour.fail_first, behaviour.wrong_file_hash) = (0, false);
        });
        let now = check(&registry, &repository, seed);
        assert!(
            now == old || now == expected,
            "seed {seed}: another image\n{first}"
        );
        if first.status == 0 {
            assert!(now == expected, "seed {seed}: it said that all went well");
            well += 1;
        } else {
            let errors = first
                .stderr
                .lines()
                .filter(|line| line.starts_with("error: "));
            assert_eq!(errors.count(), 1, "seed {seed}\n{first}");
        }
        let second = shop.desk.build(&words);
        assert_eq!(second.status, 0, "seed {seed}\n{second}");
        assert!(
            check(&registry, &repository, seed) == expected,
            "seed {seed}"
        );
    }
    well
}
