//! Any bytes as a call's body: what it needs and what it has in common with others is read without a panic, its media are
//! never more than the body, and white space behind it changes nothing.
#![no_main]

use credentialflow_llm::{affinity, needs::Needs};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let needs = Needs::of(bytes);
    assert!(needs.text <= bytes.len() as u64);
    let mut longer = bytes.to_vec();
    longer.extend_from_slice(b" \n");
    assert_eq!(Needs::of(&longer), Needs { text: needs.text + 2, ..needs });
    assert_eq!(affinity::user(&longer), affinity::user(bytes));
    assert_eq!(affinity::conversation(&longer), affinity::conversation(bytes));
});
