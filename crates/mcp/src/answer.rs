//! A server's messages: lists show what the caller may use and nothing else, everything else passes as it is.
//!
//! Which list it is shows in its form, not in the request that it answers: a stream that is taken up again repeats answers
//! to requests that were made elsewhere.

use crate::{
    Rights,
    json::{Edits, Members, array, elements, string},
};
use credentialflow_model::resource::Offered;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The lists that a result may hold, what they are of, and what names their elements.
pub(crate) const LISTS: [(&str, Offered, &str); 4] = [
    ("tools", Offered::Tool, "name"),
    ("prompts", Offered::Prompt, "name"),
    ("resources", Offered::Resource, "uri"),
    ("resourceTemplates", Offered::Resource, "uriTemplate"),
];

/// What a message told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The code of an error that it answers with.
    pub error: Option<i64>,
    /// A tool was called, and says that it failed.
    pub tool_failed: bool,
}

/// A server's message cannot be read, so nobody can tell what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's message cannot be read")]
pub struct Unreadable;

/// A server's message, or a batch of them, as the caller may see it; what it told is added to `seen`. Borrowed where
/// nothing is taken out.
///
/// # Errors
/// [`Unreadable`].
pub fn clean<'a>(text: &'a [u8], rights: &impl Rights, seen: &mut Seen) -> Result<Cow<'a, [u8]>, Unreadable> {
    let text = std::str::from_utf8(text).map_err(|_| Unreadable)?;
    let mut lists = Edits::of(text);
    match elements(text) {
        Some(batch) => batch.iter().try_for_each(|message| look(message.get(), rights, seen, &mut lists))?,
        None => look(text, rights, seen, &mut lists)?,
    }
    Ok(rights.judged(lists.apply()))
}

fn look<'a>(message: &'a str, rights: &impl Rights, seen: &mut Seen, lists: &mut Edits<'a>) -> Result<(), Unreadable> {
    let members = Members::of(message, &["result", "error", "method"]).map_err(|_| Unreadable)?;
    if let Some(error) = members.get("error") {
        let code = Members::of(error, &["code"]).ok().and_then(|error| error.get("code")?.parse().ok());
        seen.error = Some(code.unwrap_or_default());
    }
    let Some(result) = members.get("result").filter(|result| result.starts_with('{')) else { return Ok(()) };
    let names = &["tools", "prompts", "resources", "resourceTemplates", "isError"];
    let result = Members::of(result, names).map_err(|_| Unreadable)?;
    seen.tool_failed |= result.get("isError") == Some("true");
    for (list, kind, name) in LISTS {
        let Some(list) = result.get(list).filter(|_| rights.governs(kind)) else { continue };
        let Some(all) = elements(list) else { continue };
        let may = |element: &&RawValue| {
            let named = Members::of(element.get(), &["name", "uri", "uriTemplate"]).ok();
            let named = named.and_then(|element| string(element.get(name)?));
            named.is_some_and(|name| rights.allows(kind, &name))
        };
        let kept: Vec<_> = all.iter().copied().filter(may).collect();
        if kept.len() < all.len() {
            lists.replace(list, array(kept.into_iter().map(RawValue::get)));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Allows what begins with `a`, of all kinds.
    pub(crate) struct OnlyA;

    impl Rights for OnlyA {
        fn governs(&self, _: Offered) -> bool {
            true
        }
        fn allows(&self, _: Offered, name: &str) -> bool {
            name.starts_with('a')
        }
    }

    struct Anything;

    impl Rights for Anything {
        fn governs(&self, _: Offered) -> bool {
            false
        }
        fn allows(&self, _: Offered, _: &str) -> bool {
            unreachable!("nothing is kept from the caller")
        }
    }

    fn check(text: &str, expect: &str) -> Seen {
        let mut seen = Seen::default();
        let shown = clean(text.as_bytes(), &OnlyA, &mut seen).unwrap();
        assert_eq!(std::str::from_utf8(&shown).unwrap(), expect);
        assert_eq!(matches!(shown, Cow::Borrowed(_)), text == expect);
        let mut again = Seen::default();
        assert_eq!(clean(text.as_bytes(), &Anything, &mut again).unwrap(), text.as_bytes(), "nothing is kept");
        assert_eq!(seen, again);
        seen
    }

    #[test]
    fn lists_show_what_may_be_used() {
        check(
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add", "inputSchema":{}},{"name":"drop"}, {"name":"alter"}],"nextCursor":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add", "inputSchema":{}},{"name":"alter"}],"nextCursor":"b"}}"#,
        );
        check(r#"{"id":1,"result":{"tools":[{"name":"b"}]}}"#, r#"{"id":1,"result":{"tools":[]}}"#);
        check(r#"{"id":1,"result":{"tools":[{"name":"a"}]}}"#, r#"{"id":1,"result":{"tools":[{"name":"a"}]}}"#);
        // One without a name that can be read is not shown.
        check(r#"{"result":{"tools":[{"name":1},{},"a",{"name":"a","Name":"b"}]}}"#, r#"{"result":{"tools":[]}}"#);
        check(r#"{"result":{"prompts":[{"name":"b"}]}}"#, r#"{"result":{"prompts":[]}}"#);
        check(
            r#"{"result":{"resources":[{"name":"b","uri":"a:1"},{"name":"a","uri":"b:1"}]}}"#,
            r#"{"result":{"resources":[{"name":"b","uri":"a:1"}]}}"#,
        );
        check(
            r#"{"result":{"resourceTemplates":[{"uriTemplate":"b:{x}"}]}}"#,
            r#"{"result":{"resourceTemplates":[]}}"#,
        );
        check(
            r#" [{"result":{"tools":[{"name":"b"}]}}, {"method":"x"},{"result":{"tools":[{"name":"a"},{"name":"c"}]}}]"#,
            r#" [{"result":{"tools":[]}}, {"method":"x"},{"result":{"tools":[{"name":"a"}]}}]"#,
        );
    }

    #[test]
    fn everything_else_passes_and_tells_how_it_went() {
        let ask = r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{"tools":[{"name":"x"}]}}"#;
        assert_eq!(check(ask, ask), Seen::default());
        let called = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"no"}],"isError":true}}"#;
        assert_eq!(check(called, called), Seen { tool_failed: true, error: None });
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"x"}}"#;
        assert_eq!(check(error, error).error, Some(-32602));
        let odd = r#"{"jsonrpc":"2.0","id":1,"error":"x"}"#;
        assert_eq!(check(odd, odd).error, Some(0));
    }

    #[test]
    fn what_cannot_be_read_does_not_pass() {
        for text in [
            "",
            "x",
            "{",
            r#"{"result":{"tools":[],"tools":[]}}"#,
            r#"{"result":{},"Result":{}}"#,
            r#"{"result":{"Tools":[{"name":"b"}]}}"#,
            "[1]",
            "[[]]",
        ] {
            assert_eq!(clean(text.as_bytes(), &OnlyA, &mut Seen::default()), Err(Unreadable), "{text}");
        }
        assert_eq!(clean(b"{\"a\":\"\xff\"}", &OnlyA, &mut Seen::default()), Err(Unreadable));
    }
}
