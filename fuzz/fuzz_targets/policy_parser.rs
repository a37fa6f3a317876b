//! Any bytes as a policy: no panic, no deep recursion, and what is read decides without one.
#![no_main]

use credentialflow_identity::{
    Operation,
    acl::{Acl, Policy},
};
use serde_json::{Map, Value};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(policy) = Policy::parse(text) else { return };
    let acl = Acl::new([&policy]);
    let data = Map::from_iter([("name".to_owned(), Value::from("value"))]);
    for rule in &policy.rules {
        let path = rule.path.replace('+', "x");
        for operation in [Operation::Read, Operation::List, Operation::Create, Operation::Delete] {
            let decision = acl.decide(operation, &path, &data);
            // What may be done is among what is told; with a slash at the end, that is told as for a list.
            let words = acl.capabilities(&path);
            assert!(!decision.allowed || path.ends_with('/') || words != ["deny"]);
        }
    }
    assert!(!acl.is_root() && !Acl::default().decide(Operation::Read, text, &data).allowed);
});
