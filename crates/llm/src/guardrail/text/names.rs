//! Names of one object that become others, and stay apart.

use super::{Form, Text};
use std::collections::HashMap;

/// The names of the objects of a body. Made when the first of them is to be another.
#[derive(Default)]
pub(super) struct Names {
    /// By object and name, how many had it.
    taken: Option<HashMap<(usize, String), usize>>,
}

impl Names {
    /// A name of this object that none of its others has: `new`, or with the first number behind it that makes it one.
    /// Of two with the same name readers keep one, and its value.
    pub fn apart(&mut self, texts: &[Text<'_>], object: usize, new: String) -> String {
        let taken = self.taken.get_or_insert_with(|| {
            let name = |text: &Text<'_>| match text.form {
                Form::Name(object) => Some(((object, text.text.to_string()), 1)),
                _ => None,
            };
            texts.iter().filter_map(name).collect()
        });
        let mut name = (object, new.clone());
        // Each number is tried once, however many have the same name.
        while let Some(count) = taken.get_mut(&name) {
            *count += 1;
            let numbered = (object, format!("{new} {count}"));
            if !taken.contains_key(&numbered) {
                name = numbered;
                break;
            }
        }
        taken.insert(name.clone(), 1);
        name.1
    }
}
