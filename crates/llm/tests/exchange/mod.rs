//! Recorded exchanges with providers, for the tests that read them.
//!
//! They are found through `CREDENTIALFLOW_SUITES` or at `../shared/suites` beside the workspace, as
//! `llm/PROVIDER/API/ID.{meta.json,request,response}`. Where they are absent, the small fixtures of this folder are read
//! instead, as those of the provider `own`, and that is said.
#![allow(dead_code, reason = "each test reads what it needs")]

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// One call and its answer.
pub struct Exchange {
    /// `/PROVIDER/API/ID`.
    pub name: String,
    /// Where it was sent, when that was recorded.
    pub path: Option<String>,
    pub request: Option<Vec<u8>>,
    pub response: Vec<u8>,
    /// Whether the answer is a stream of events.
    pub sse: bool,
    pub status: u16,
}

impl Exchange {
    /// Whether it was with this provider, or is a fixture of our own.
    pub fn is_with(&self, provider: &str) -> bool {
        [provider, "own"].iter().any(|p| self.name.strip_prefix('/').unwrap().split('/').next() == Some(p))
    }
}

/// The folder of the providers, and whether it is that of the public recordings.
fn root() -> (PathBuf, bool) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let suites = std::env::var_os("CREDENTIALFLOW_SUITES").map(PathBuf::from);
    let suites = suites.unwrap_or_else(|| here.join("../../../shared/suites")).join("llm");
    if suites.is_dir() {
        return (suites, true);
    }
    println!("no {} here; reading the fixtures in crates/llm/tests/fixtures only", suites.display());
    (here.join("tests/fixtures"), false)
}

/// The folders and the paths of all public recordings, as `PROVIDER/API` and where each was sent; none where they are absent.
pub fn public() -> Vec<(String, String)> {
    let (root, true) = root() else { return Vec::new() };
    let below = |folder: &Path| -> Vec<PathBuf> { fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect() };
    let folders = below(&root).into_iter().flat_map(|provider| below(&provider));
    let metas = folders.flat_map(|folder| below(&folder)).filter(|path| path.to_str().unwrap().ends_with(".meta.json"));
    metas
        .map(|path| {
            let meta: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let folder = path.parent().unwrap().strip_prefix(&root).unwrap();
            (folder.to_str().unwrap().to_owned(), meta["path"].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

/// The exchanges by one API of every provider that speaks it, by name: at least two. `cohere/chat` and `openai/messages`
/// are other APIs of those names.
pub fn exchanges(api: &str) -> Vec<Exchange> {
    at_least(api, "", 2)
}

/// As [`exchanges`], of those that were sent to a path that ends so, as far as that was recorded.
pub fn exchanges_at(api: &str, path_ends: &str) -> Vec<Exchange> {
    at_least(api, path_ends, 2)
}

/// As [`exchanges_at`], where so many of the public recordings are expected.
pub fn at_least(api: &str, path_ends: &str, least: usize) -> Vec<Exchange> {
    let (root, public) = root();
    let mut found = Vec::new();
    for provider in fs::read_dir(&root).unwrap().map(Result::unwrap) {
        let folder = provider.path().join(api);
        if !folder.is_dir() || folder.ends_with("cohere/chat") || folder.ends_with("openai/messages") {
            continue;
        }
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let Some(stem) = path.to_str().unwrap().strip_suffix(".meta.json") else { continue };
            let meta: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            if !meta["path"].as_str().is_none_or(|path| path.ends_with(path_ends)) {
                continue;
            }
            found.push(Exchange {
                name: stem.strip_prefix(root.to_str().unwrap()).unwrap().to_owned(),
                path: meta["path"].as_str().map(str::to_owned),
                request: fs::read(format!("{stem}.request")).ok(),
                response: fs::read(format!("{stem}.response")).unwrap(),
                sse: meta["kind"] == "sse",
                status: meta["status"].as_u64().unwrap_or(200) as u16,
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    println!("{} exchanges of {api} from {}", found.len(), root.display());
    assert!(found.len() >= if public { least } else { 2 }, "only {} exchanges of {api}", found.len());
    found
}
