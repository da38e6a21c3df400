//! Names of wheels and source distributions: whatever the text is, reading it ends, and the reader of tags alone agrees
//! with the reader of the whole name.

#![no_main]

use std::str::FromStr as _;

use imgtool::packaging::PackageName;
use imgtool::packaging::wheel_name::{SourceDistributionName, WheelName, tags_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let tags = tags_of(text);
    if let Ok(name) = WheelName::from_str(text) {
        let (_, [python, abi, platform]) = tags.expect("a wheel has tags");
        assert!(python.eq_ignore_ascii_case(&name.python));
        assert!(abi.eq_ignore_ascii_case(&name.abi));
        assert!(platform.eq_ignore_ascii_case(&name.platform));
    }
    let project = text.split('-').next().unwrap_or_default();
    if let Ok(project) = PackageName::from_str(project) {
        let _ = SourceDistributionName::parse_for(text, &project);
    }
});
