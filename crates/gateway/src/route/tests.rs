use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn m(path: &str) -> Match {
    Match { hosts: vec![], path: path.into(), methods: vec![], headers: BTreeMap::new() }
}

fn ask(routes: &[Match], host: &str, method: &str, path: &str) -> Found {
    let router = Router::compile(routes.iter().enumerate().map(|(i, m)| (i as u32, m)));
    router.find(&Lookup { host, path, method, header: &|_| None })
}

#[test]
fn literal_before_parameter_before_below() {
    let routes = [m("/*"), m("/a/*"), m("/a/{id}"), m("/a/b"), m("/a/{id}/c"), m("/a/b/{x}/d")];
    for (path, expect) in [
        ("/", 0),
        ("/x", 0),
        ("/a", 1),
        ("/a/", 1),
        ("/a/x", 2),
        ("/a/b", 3),
        ("/a/x/c", 4),
        ("/a/b/c", 4),
        ("/a/b/x/d", 5),
        ("/a/b/x/e", 1),
        ("/ab", 0),
    ] {
        assert_eq!(ask(&routes, "h", "GET", path), Found::Route(expect), "{path}");
    }
    assert_eq!(ask(&routes[1..], "h", "GET", "/ab"), Found::Nothing);
}

#[test]
fn host_before_path_and_method_last() {
    let mut exact = m("/*");
    exact.hosts = vec!["api.example.com".into()];
    let mut wild = m("/*");
    wild.hosts = vec!["*.example.com".into()];
    wild.methods = vec!["POST".into()];
    let routes = [exact, wild, m("/deep/path")];
    assert_eq!(ask(&routes, "API.example.com", "GET", "/deep/path"), Found::Route(0));
    assert_eq!(ask(&routes, "x.y.example.com", "POST", "/deep/path"), Found::Route(1));
    assert_eq!(ask(&routes, "x.example.com", "GET", "/deep/path"), Found::Route(2));
    assert_eq!(ask(&routes, "x.example.com", "GET", "/other"), Found::OtherMethod);
    assert_eq!(ask(&routes, "example.com", "POST", "/other"), Found::Nothing);
}

#[test]
fn more_header_conditions_win() {
    let mut beta = m("/a");
    beta.headers.insert("X-Stage".into(), "beta".into());
    let routes = [m("/a"), beta];
    let router = Router::compile(routes.iter().enumerate().map(|(i, m)| (i as u32, m)));
    let find = |value: Option<&'static [u8]>| {
        router.find(&Lookup {
            host: "h",
            path: "/a",
            method: "GET",
            header: &move |n| if n == "x-stage" { value } else { None },
        })
    };
    assert_eq!(find(Some(b"beta")), Found::Route(1));
    assert_eq!(find(Some(b"other")), Found::Route(0));
    assert_eq!(find(None), Found::Route(0));
}

/// The precedence rule, written the slow and obvious way.
fn oracle(routes: &[Match], path: &str) -> Option<u32> {
    let want: Vec<&str> = path[1..].split('/').collect();
    let mut best: Option<(Vec<u8>, u32)> = None;
    for (i, r) in routes.iter().enumerate() {
        let have: Vec<&str> = r.path[1..].split('/').collect();
        let mut rank = Vec::new();
        let mut ok = true;
        for (k, segment) in have.iter().enumerate() {
            if *segment == "*" && k + 1 == have.len() {
                rank.push(2);
                break;
            }
            match want.get(k) {
                Some(w) if w == segment => rank.push(0),
                Some(w) if segment.starts_with('{') && !w.is_empty() => rank.push(1),
                _ => {
                    ok = false;
                    break;
                }
            }
        }
        let open = have.last() == Some(&"*");
        // "/a/*" also takes "/a" itself, so nothing has to stand where the star is.
        if !ok || (!open && have.len() != want.len()) {
            continue;
        }
        let key = (rank, i as u32);
        if best.as_ref().is_none_or(|b| key < *b) {
            best = Some(key);
        }
    }
    best.map(|b| b.1)
}

proptest! {
    #[test]
    fn agrees_with_the_rule(
        paths in prop::collection::vec("(/(a|b|\\{x\\})){1,3}(/\\*)?", 1..8),
        path in "(/(a|b|c)){1,4}/?",
    ) {
        let routes: Vec<Match> = paths.iter().map(|p| m(p)).collect();
        let expect = oracle(&routes, &path).map_or(Found::Nothing, Found::Route);
        prop_assert_eq!(ask(&routes, "h", "GET", &path), expect);
    }

    #[test]
    fn any_path_never_panics(path in ".{0,60}", paths in prop::collection::vec("(/(a|b|\\{x\\})){1,3}(/\\*)?", 1..8)) {
        let routes: Vec<Match> = paths.iter().map(|p| m(p)).collect();
        let _ = path::normalise(&path);
        let _ = ask(&routes, &path, &path, &path);
    }
}
