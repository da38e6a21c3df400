//! The same question has the same answer, byte for byte, whatever the machine is like.

use crate::support::program::{Desk, recorded_index};

#[test]
fn answers_are_the_same_bytes_cold_and_warm_and_anywhere() {
    for format in ["json", "requirements", "text"] {
        let arguments = ["tfx:1.16.0", "mlflow-skinny", "fastapi", "--format", format];
        let desk = Desk::recorded();
        let cold = desk.resolve(&arguments).expect(0);
        let warm = desk.resolve(&arguments).expect(0);
        assert_eq!(cold.bytes, warm.bytes, "{format}: a warm cache");
        assert_eq!(cold.stderr, warm.stderr);

        let mut elsewhere = Desk::recorded();
        elsewhere.set("TZ", "Pacific/Kiritimati");
        elsewhere.set("LANG", "tr_TR.UTF-8");
        elsewhere.set("LC_ALL", "tr_TR.UTF-8");
        elsewhere.set("COLUMNS", "40");
        elsewhere.set_umask("077");
        let again = elsewhere.resolve(&arguments).expect(0);
        assert_eq!(cold.bytes, again.bytes, "{format}: elsewhere");

        let no_cache = elsewhere.resolve(&[&arguments[..], &["--no-cache"]].concat());
        assert_eq!(cold.bytes, no_cache.bytes, "{format}: no cache");
    }
}

#[test]
fn an_explanation_is_the_same_bytes_too() {
    let arguments = ["tfx:1.16.0", "mlflow==2.1.0", "fastapi>=9"];
    let first = Desk::recorded().resolve(&arguments).expect(1);
    let second = Desk::recorded().resolve(&arguments).expect(1);
    assert_eq!(first.bytes, second.bytes);
}

#[test]
fn nothing_is_asked_of_the_index_about_what_the_base_holds() {
    let desk = Desk::recorded();
    desk.resolve(&["tfx:1.16.0", "mlflow-skinny"]).expect(0);
    let server = recorded_index();
    for held in ["protobuf", "pydantic", "tensorflow", "google-auth"] {
        assert_eq!(server.count(&format!("/simple/{held}/")), 0, "{held}");
    }
}
