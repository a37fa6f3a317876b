//! Any bytes as the form that is posted to the token endpoint: what is read says just what the `url` crate's own reader
//! says, and what that one would guess at is refused.
#![no_main]

use credentialflow_model::form::{Form, FormError, MOST_PARAMETERS};
use std::collections::BTreeMap;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut form = match Form::read(bytes) {
        Ok(form) => form,
        Err(error) => return why(bytes, error),
    };
    assert!(form.len() <= MOST_PARAMETERS);
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        others.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    assert_eq!(form.len(), others.values().map(Vec::len).sum::<usize>());
    for (name, values) in &others {
        assert_eq!(form.has(name), values.iter().any(|value| !value.is_empty()));
        let taken = form.take(name).map(|value| value.map(|value| value.expose().to_vec()));
        match &values[..] {
            [one] => assert_eq!(taken, Ok((!one.is_empty()).then(|| one.clone().into_bytes()))),
            _ => assert_eq!(taken, Err(FormError::Repeated)),
        }
        assert!(!form.has(name));
    }
    assert!(form.is_empty());
});

/// There is a reason for each refusal.
fn why(bytes: &[u8], error: FormError) {
    let count = bytes.split(|b| *b == b'&').filter(|piece| !piece.is_empty()).count();
    match error {
        FormError::TooMany => assert!(count > MOST_PARAMETERS),
        FormError::Escape => assert!(bytes.contains(&b'%')),
        FormError::Text => {
            assert!(form_urlencoded::parse(bytes).any(|(name, value)| format!("{name}{value}").contains('\u{fffd}')));
        }
        FormError::Repeated => panic!("nothing was taken yet"),
    }
}
