//! The committed references are what the binary says.

use crate::binary::run;
use std::path::Path;

/// Set to write the references anew instead of comparing.
const UPDATE: &str = "UPDATE_REFERENCE";

#[track_caller]
fn check(which: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/reference/{which}.md"));
    let text = run(Path::new("/"), &["reference", which]).expect(0).out;
    if std::env::var_os(UPDATE).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/reference/{which}.md is not what the binary says; look at the difference after\n  {UPDATE}=1 cargo test -p credentialflow --test cli reference"
    );
}

#[test]
fn the_command_lines_reference_is_current() {
    check("cli");
}

#[test]
fn the_settings_reference_is_current() {
    check("settings");
}
