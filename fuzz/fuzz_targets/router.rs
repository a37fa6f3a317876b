//! The router: no path, host or set of routes makes it panic; what a path is brought to stays as it is,
//! and a found route really matches.
#![no_main]

use credentialflow_gateway::route::{Found, Lookup, Router, path::normalise};
use credentialflow_model::resource::Match;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|input: (Vec<(String, Vec<String>, u8)>, String, String)| {
    let (routes, host, path) = input;
    if let Some(normal) = normalise(&path) {
        assert_eq!(normalise(&normal).as_deref(), Some(&*normal), "normal form is stable");
        let climbs = normal.split('/').any(|s| matches!(s, "." | ".."));
        assert!(!climbs, "{path} climbs");
    }
    let matches: Vec<Match> = routes
        .into_iter()
        .take(16)
        .map(|(path, hosts, methods)| Match {
            hosts: hosts.into_iter().take(3).collect(),
            path: format!("/{}", path.trim_start_matches('/')),
            methods: ["GET", "POST"].iter().take(usize::from(methods % 3)).map(|m| (*m).to_owned()).collect(),
            headers: BTreeMap::new(),
        })
        .collect();
    let router = Router::compile(matches.iter().enumerate().map(|(i, m)| (i as u32, m)));
    for method in ["GET", "POST", "PUT"] {
        let found = router.find(&Lookup { host: &host, path: &path, method, header: &|_| None });
        if let Found::Route(index) = found {
            let found = &matches[index as usize];
            assert!(found.methods.is_empty() || found.methods.iter().any(|m| m == method));
            assert!(fits(&found.path, &path), "{} does not take {path}", found.path);
        }
    }
});

/// Whether a route's path takes this one, the slow and obvious way.
fn fits(route: &str, path: &str) -> bool {
    let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
    for (i, segment) in route.iter().enumerate() {
        if *segment == "*" && i + 1 == route.len() {
            return true;
        }
        match path.get(i) {
            Some(p) if p == segment || (segment.starts_with('{') && !p.is_empty()) => {}
            _ => return false,
        }
    }
    route.len() == path.len()
}
