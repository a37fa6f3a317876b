//! The promises hold with and without a built console; which of the two is embedded depends on
//! whether `web/dist` was built before this test.
#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn any_page_address_answers_with_html() {
    for path in ["", "/", "/calls", "credentials/orders.token", "/keys"] {
        let page = resolve(path).unwrap();
        assert_eq!(page.content_type, "text/html; charset=utf-8", "{path}");
        assert_eq!(page.cache_control(), "no-cache");
        assert!(!page.bytes.is_empty());
    }
}

#[test]
fn a_missing_build_product_is_not_answered_with_html() {
    assert_eq!(resolve("/assets/index-00000000.js"), None);
    assert_eq!(file("../Cargo.toml"), None);
    assert_eq!(file("/../../Cargo.toml"), None);
}

#[test]
fn without_a_build_the_page_says_what_to_run() {
    assert!(String::from_utf8_lossy(&not_built().bytes).contains("cargo xtask web"));
}

#[test]
fn a_built_console_is_whole_and_fits_its_policy() {
    let Some(index) = file(INDEX) else {
        assert!(!is_built());
        return;
    };
    let html = String::from_utf8(index.bytes.into_owned()).unwrap();
    let linked: Vec<&str> = html.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(!linked.is_empty());
    for path in linked {
        let asset = file(path).unwrap();
        assert!(asset.immutable && asset.etag.len() == 34, "{path}");
        assert_ne!(asset.content_type, "application/octet-stream", "{path}");
    }
    for tag in html.split("<script").skip(1) {
        assert!(tag.split('>').next().unwrap().contains("src="), "an inline script would break the policy");
    }
}

#[test]
fn compressed_copies_are_no_files_of_their_own() {
    for path in Dist::iter().filter(|path| path.ends_with(".gz")) {
        assert_eq!(file(&path), None);
        assert!(file(path.trim_end_matches(".gz")).unwrap().gzip.is_some());
    }
}

#[test]
fn content_types() {
    for (path, expected) in [
        ("index.html", "text/html; charset=utf-8"),
        ("assets/a.js", "text/javascript; charset=utf-8"),
        ("assets/a.css", "text/css; charset=utf-8"),
        ("favicon.svg", "image/svg+xml"),
        ("unknown", "application/octet-stream"),
    ] {
        assert_eq!(content_type(path), expected);
    }
}
