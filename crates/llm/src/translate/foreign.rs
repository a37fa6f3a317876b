//! What models of other makers signed or cited, in a call that goes to its provider as it came: there it would be refused.
//!
//! Who served a conversation may change from turn to turn. What is translated loses what its provider cannot read
//! ([`super::call::Turns::keep_thinking`]); this takes the same out of calls that are not. Callers tell it by the marks of
//! [`Signer`], without which a body is not read at all.

use super::{
    call::{MAX_FIELDS, MAX_MESSAGES, MAX_PARTS},
    messages::cite::NOT_SEARCHED,
    read::{Text, list, members},
    responses::REDACTED,
    signature::{NOT_GOOGLES, Signer},
};
use crate::provider::Dialect;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// What others signed, by its marks.
const NOT_ANTHROPICS: &[&str] =
    &[Signer::Google.mark(), Signer::GoogleCall.mark(), Signer::OpenAi.mark(), NOT_SEARCHED];
/// OpenAI's own has no mark where a caller got it from there.
const NOT_OPENAIS: &[&str] =
    &[Signer::Google.mark(), Signer::GoogleCall.mark(), Signer::Anthropic.mark(), Signer::OpenAi.mark(), REDACTED];

/// An item of a Responses call, a block of a message of a Messages call, or a part of the contents of a Gemini call.
#[derive(Deserialize)]
struct Signed<'a> {
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    encrypted_content: Option<Text<'a>>,
    #[serde(default)]
    thought: Option<bool>,
    #[serde(borrow, default, alias = "thought_signature", rename = "thoughtSignature")]
    of_part: Option<Text<'a>>,
}

/// A block of text of a Messages call.
#[derive(Deserialize)]
struct Cites<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    citations: Option<&'a RawValue>,
}

/// What it cites.
#[derive(Deserialize)]
struct Cited<'a> {
    #[serde(borrow, default)]
    encrypted_index: Option<Text<'a>>,
}

/// Takes thinking out of a body that was signed by models which the dialect's provider does not serve, and citations of
/// the web that they made. A body that is not
/// of the form that the dialect describes is left as it is, which is for the provider to say.
pub fn without_foreign(body: &mut Vec<u8>, dialect: Dialect) {
    let (marks, place) = match dialect {
        Dialect::Anthropic => (NOT_ANTHROPICS, "messages"),
        Dialect::Responses => (NOT_OPENAIS, "input"),
        Dialect::Gemini => (NOT_GOOGLES, "contents"),
        _ => return,
    };
    if marks.iter().all(|mark| memmem::find(body, mark.as_bytes()).is_none()) {
        return;
    }
    let mut cuts = cuts(body, marks, place).unwrap_or_default().into_iter().peekable();
    let mut at = 0;
    body.retain(|_| {
        while cuts.next_if(|cut| cut.end <= at).is_some() {}
        let is_cut = cuts.peek().is_some_and(|cut| cut.contains(&at));
        at += 1;
        !is_cut
    });
}

/// What is to be cut out of a body, in order.
fn cuts(body: &[u8], marks: &[&str], place: &str) -> Option<Vec<Range<usize>>> {
    let within = |raw: &RawValue| {
        let start = raw.get().as_ptr() as usize - body.as_ptr() as usize;
        start..start + raw.get().len()
    };
    let (_, turns) = members(body, MAX_FIELDS).ok()?.into_iter().find(|(name, _)| &**name == place)?;
    let turns: Vec<&RawValue> = list(turns, "", MAX_MESSAGES, "").ok()?;
    // A turn of which nothing is left is none.
    let (mut cuts, mut empty) = (Vec::new(), vec![false; turns.len()]);
    for (turn, empty) in turns.iter().zip(&mut empty) {
        *empty = is_foreign(turn, marks);
        let Some(blocks) = blocks(turn).filter(|_| !*empty) else { continue };
        let foreign: Vec<bool> = blocks.iter().map(|block| is_foreign(block, marks)).collect();
        *empty = !foreign.is_empty() && foreign.iter().all(|foreign| *foreign);
        if !*empty {
            cut(&blocks, &foreign, within, &mut cuts);
            for (block, _) in blocks.iter().zip(&foreign).filter(|(_, foreign)| !**foreign) {
                let Some(citations) = citations(block) else { continue };
                let foreign: Vec<bool> = citations.iter().map(|one| is_not_searched(one)).collect();
                cut(&citations, &foreign, within, &mut cuts);
            }
        }
    }
    cut(&turns, &empty, within, &mut cuts);
    cuts.sort_unstable_by_key(|cut| cut.start);
    Some(cuts)
}

/// The blocks of a message that has such.
fn blocks(message: &RawValue) -> Option<Vec<&RawValue>> {
    let fields = members(message.get().as_bytes(), MAX_FIELDS).ok()?;
    let (_, content) = fields.into_iter().find(|(name, _)| matches!(&**name, "content" | "parts"))?;
    list(content, "", MAX_PARTS, "").ok()
}

/// What a block of text cites, where some of it may be foreign.
fn citations(block: &RawValue) -> Option<Vec<&RawValue>> {
    memmem::find(block.get().as_bytes(), NOT_SEARCHED.as_bytes())?;
    let Cites { r#type, citations } = serde_json::from_str(block.get()).ok()?;
    list(citations.filter(|_| &*r#type == "text")?, "", MAX_PARTS, "").ok()
}

/// Cuts elements out of a list, each with the comma before it, or behind it where none is left before it.
fn cut(list: &[&RawValue], out: &[bool], within: impl Fn(&RawValue) -> Range<usize>, cuts: &mut Vec<Range<usize>>) {
    let first = out.iter().position(|out| !out).unwrap_or(list.len());
    if let (Some(begin), Some(last)) = (list.first(), first.checked_sub(1)) {
        let end = list.get(first).map_or_else(|| within(list[last]).end, |kept| within(kept).start);
        cuts.push(within(begin).start..end);
    }
    let rest = (first + 1..list.len()).filter(|at| out[*at]);
    cuts.extend(rest.map(|at| within(list[at - 1]).end..within(list[at]).end));
}

fn is_not_searched(citation: &RawValue) -> bool {
    let told = serde_json::from_str::<Cited<'_>>(citation.get()).ok().and_then(|cited| cited.encrypted_index);
    told.as_deref() == Some(NOT_SEARCHED)
}

fn is_foreign(block: &RawValue, marks: &[&str]) -> bool {
    let Ok(signed) = serde_json::from_str::<Signed<'_>>(block.get()) else { return false };
    let told = match signed.r#type.as_deref() {
        Some("thinking") => signed.signature,
        Some("reasoning") => signed.encrypted_content,
        _ => signed.of_part.filter(|_| signed.thought == Some(true)),
    };
    told.is_some_and(|told| marks.iter().any(|mark| told.starts_with(mark)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn cleaned(body: &Value, dialect: Dialect) -> Value {
        let mut bytes = body.to_string().into_bytes();
        without_foreign(&mut bytes, dialect);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn anthropic_is_not_sent_what_google_signed() {
        let thinking = |signature: &str| json!({"type": "thinking", "thinking": "é", "signature": signature});
        let call = |blocks: Value| {
            json!({"model": "m", "messages": [{"role": "user", "content": "google-signature:x"},
                {"role": "assistant", "content": blocks, "x": 1}, {"role": "user", "content": [{"type": "text", "text": "a"}]}],
                "max_tokens": 9})
        };
        let text = json!({"type": "text", "text": "google-signature:x"});
        let own = json!([thinking("EqQB"), text]);
        assert_eq!(cleaned(&call(own.clone()), Dialect::Anthropic), call(own.clone()));
        let (of_text, of_call) = (thinking("google-signature:abc"), thinking("google-signature-of-call:abc"));
        for mixed in [
            json!([of_text, of_call, thinking("EqQB"), of_call, text, of_text, of_text]),
            json!([thinking("EqQB"), of_text, text]),
            json!([thinking("EqQB"), text, of_call]),
            json!([of_text, thinking("EqQB"), text]),
        ] {
            assert_eq!(cleaned(&call(mixed), Dialect::Anthropic), call(own.clone()));
        }
        // A message of which nothing is left is none.
        let got = cleaned(&call(json!([of_text, of_call])), Dialect::Anthropic);
        assert_eq!(got["messages"].as_array().unwrap().len(), 2);
        // What is no call is not touched, and no other a byte.
        for same in [
            r#"{"messages": "google-signature:"}"#,
            r#"{"messages":["google-signature:"#,
            r#"{ "messages" : [ {"role":"user", "content":"google-signature:"} , 7 ] }"#,
            r#"{"messages":[{"role":"user","content":[]}],"x":"google-signature:"}"#,
        ] {
            let mut body = same.as_bytes().to_vec();
            without_foreign(&mut body, Dialect::Anthropic);
            assert_eq!(body, same.as_bytes());
        }
    }

    #[test]
    fn anthropic_is_not_sent_what_others_cited_of_the_web() {
        let cites = |index: &str| json!({"type": "web_search_result_location", "url": "https://é", "title": null, "cited_text": "", "encrypted_index": index});
        let text =
            |citations: Value| json!({"type": "text", "text": "not-searched-by-anthropic", "citations": citations});
        let call = |citations: Value| {
            json!({"model": "m", "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": [
                {"type": "text", "text": "a"}, text(citations.clone()), {"type": "thinking", "thinking": "", "signature": "google-signature:x"}, text(citations)]}],
                "max_tokens": 9})
        };
        let kept = |citations: Value| {
            let mut call = call(citations);
            call["messages"][1]["content"].as_array_mut().unwrap().remove(2);
            call
        };
        let (own, other) = (cites("Eo8B"), cites(NOT_SEARCHED));
        let place = json!({"type": "char_location", "document_index": 0, "cited_text": NOT_SEARCHED});
        assert_eq!(cleaned(&call(json!([own, other, place, other])), Dialect::Anthropic), kept(json!([own, place])));
        assert_eq!(cleaned(&call(json!([other, other, own])), Dialect::Anthropic), kept(json!([own])));
        assert_eq!(cleaned(&call(json!([other])), Dialect::Anthropic), kept(json!([])));
        assert_eq!(cleaned(&call(json!([own])), Dialect::Anthropic), kept(json!([own])));
        assert_eq!(cleaned(&call(Value::Null), Dialect::Anthropic), kept(Value::Null));
    }

    #[test]
    fn openai_is_not_sent_what_others_signed() {
        let item = |told: &str| json!({"type": "reasoning", "id": "rs_1", "summary": [], "content": [], "encrypted_content": told});
        let call = |items: Value| json!({"model": "m", "input": items, "store": false});
        let said = json!({"role": "user", "content": "hi"});
        let mixed = json!([
            item("anthropic-redacted:a"),
            said,
            item("gAAAA"),
            item("google-signature:a"),
            item("google-signature-of-call:a"),
            item("anthropic-signature:a"),
        ]);
        assert_eq!(cleaned(&call(mixed), Dialect::Responses), call(json!([said, item("gAAAA")])));
        let text = call(json!("google-signature:a"));
        assert_eq!(cleaned(&text, Dialect::Responses), text);
    }
}
