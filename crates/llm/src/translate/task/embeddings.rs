//! Embeddings in OpenAI's form: reads its calls, writes its answers.

use super::{
    super::{
        Why,
        read::{Text, list, members, present, read},
    },
    MOST_CALLS, MOST_FIELDS, Told,
};
use crate::openai::request::write_json_string;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use std::io::Write as _;

/// Texts of a call at the most, as many as OpenAI takes.
pub(super) const MOST_TEXTS: usize = 2048;

/// What a caller asks for, beside the texts.
#[derive(Default)]
pub(super) struct Asked<'a> {
    /// The length of the vectors, where it is asked for.
    pub dimensions: Option<u32>,
    /// What Cohere calls the use that they are for.
    pub input_type: Option<Text<'a>>,
    /// What Google calls it.
    pub task_type: Option<Text<'a>>,
}

/// How a provider is asked for embeddings, and how it answers.
pub(super) trait Embeds: Sync {
    /// How many texts one call may have, and how many bytes they may be, where they are several.
    fn most(&self, model: &str) -> (usize, usize);

    /// Writes a call of texts.
    fn write(&self, asked: &Asked<'_>, texts: &[Text<'_>], model: &str, out: &mut Vec<u8>) -> Result<(), Why>;

    /// Reads an answer. `None` when it is none.
    fn read(&self, answer: &[u8]) -> Option<Vectors>;
}

/// The vectors of an answer.
pub(super) struct Vectors {
    /// One for each text.
    pub each: Vec<Vec<f32>>,
    /// Tokens of all of them, where the body tells.
    pub tokens: Option<u64>,
}

/// The calls that become of one, one on each line.
pub(super) fn calls(body: &[u8], embeds: &dyn Embeds, model: &str) -> Result<(Vec<u8>, Told), Why> {
    let (mut texts, mut asked, mut base64) = (None, Asked::default(), false);
    for (name, raw) in members(body, MOST_FIELDS)? {
        let Some(raw) = present(Some(raw)) else { continue };
        match &*name {
            // Who asks decides nothing there.
            "model" | "user" => {}
            "input" if raw.get().starts_with('"') => texts = Some(vec![read::<Text<'_>>(raw, "`input`")?]),
            "input" if is_of_tokens(raw.get()) => return Err(Why::NoCounterpart("`input` in tokens".to_owned())),
            "input" => texts = Some(list(raw, "`input`", MOST_TEXTS, "texts")?),
            "dimensions" => asked.dimensions = Some(read(raw, "`dimensions`")?),
            "input_type" => asked.input_type = Some(read(raw, "`input_type`")?),
            "task_type" => asked.task_type = Some(read(raw, "`task_type`")?),
            "encoding_format" => match &*read::<Text<'_>>(raw, "`encoding_format`")? {
                "base64" => base64 = true,
                "float" => {}
                _ => return Err(Why::Form("`encoding_format`".to_owned())),
            },
            _ => return Err(Why::NoCounterpart("a field of the call".to_owned())),
        }
    }
    let texts: Vec<Text<'_>> =
        texts.filter(|texts| !texts.is_empty()).ok_or_else(|| Why::Form("`input`".to_owned()))?;
    let mut out = Vec::with_capacity(body.len() + texts.len() * (model.len() + 64) + 64);
    let mut calls = Vec::new();
    let mut rest = &texts[..];
    while !rest.is_empty() {
        if calls.len() == MOST_CALLS {
            return Err(Why::TooMany("texts for a model that takes few at once"));
        }
        let (now, later) = rest.split_at(taken(rest, embeds.most(model)));
        if !calls.is_empty() {
            out.push(b'\n');
        }
        embeds.write(&asked, now, model, &mut out)?;
        calls.push(now.len());
        rest = later;
    }
    Ok((out, Told::Vectors { base64, calls: calls.into() }))
}

/// How many of these texts go into one call: one in any case.
fn taken(texts: &[Text<'_>], (count, bytes): (usize, usize)) -> usize {
    let mut all = 0usize;
    let fit = texts.iter().take(count).take_while(|text| {
        all = all.saturating_add(text.len());
        all <= bytes
    });
    fit.count().max(1)
}

/// Whether an array holds numbers, or arrays of them.
fn is_of_tokens(array: &str) -> bool {
    let first = array.trim_start_matches(|c: char| c == '[' || c.is_ascii_whitespace());
    array.starts_with('[') && first.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// Refuses what a form has no place for.
pub(super) fn none_of(fields: &[(&str, bool)]) -> Result<(), Why> {
    match fields.iter().find(|(_, present)| *present) {
        Some((name, _)) => Err(Why::NoCounterpart(format!("`{name}`"))),
        None => Ok(()),
    }
}

/// The answer. `None` when there are no vectors, or what is no number.
pub(super) fn answer<'v>(vectors: impl IntoIterator<Item = &'v Vectors>, model: &str, base64: bool) -> Option<Vec<u8>> {
    let (mut out, mut tokens, mut index) = (Vec::new(), 0u64, 0);
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    for all in vectors {
        tokens = tokens.saturating_add(all.tokens.unwrap_or(0));
        for vector in &all.each {
            if !vector.iter().all(|value| value.is_finite()) {
                return None;
            }
            if index > 0 {
                out.push(b',');
            }
            let _ = write!(out, "{{\"object\":\"embedding\",\"index\":{index},\"embedding\":");
            index += 1;
            if base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                write_json_string(&mut out, &BASE64_STANDARD.encode(bytes));
            } else {
                serde_json::to_writer(&mut out, vector).ok()?;
            }
            out.push(b'}');
        }
    }
    if index == 0 || index > MOST_TEXTS {
        return None;
    }
    out.extend_from_slice(b"],\"model\":");
    write_json_string(&mut out, model);
    let _ = write!(out, ",\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}");
    Some(out)
}
