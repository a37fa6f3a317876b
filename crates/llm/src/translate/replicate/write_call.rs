//! A call as the input of a prediction.
//!
//! Every model at Replicate says itself what its input is; the names here are those that its language models share, and
//! whoever's models have others for the same are listed.

use super::super::{
    Why,
    call::{Block, Call, Choice, Effort, Role, Source},
    write::Object,
};
use crate::{openai::request::write_json_string, replicate::version};

/// Fields that are written here, or that models read as one of these, and so cannot be passed by a caller of another
/// dialect.
const WRITTEN: &[&str] = &[
    "image",
    "image_input",
    "images",
    "input",
    "max_completion_tokens",
    "max_length",
    "max_new_tokens",
    "max_output_tokens",
    "max_tokens",
    "messages",
    "model",
    "prompt",
    "stop_sequences",
    "stream",
    "system_instruction",
    "system_prompt",
    "tools",
    "tool_choice",
    "version",
];

/// Models that read no system prompt, by the beginning of their name: it stands before the prompt.
const WITHOUT_SYSTEM: &[&str] = &[
    "deepseek-ai/",
    "meta/llama-2-7b",
    "meta/llama-2-13b",
    "meta/llama-2-70b",
    "meta/meta-llama-3-8b",
    "meta/meta-llama-3-70b",
    "openai/gpt-oss-",
    "openai/o1-mini",
    "xai/grok-4",
];
/// Those of them that do all the same.
const WITH_SYSTEM: &[&str] = &["-chat", "-instruct"];

/// What the fields of a maker's models are called.
struct Names {
    system: &'static str,
    limit: &'static str,
    images: Images,
    /// Whether they have a word for how much to think.
    effort: bool,
}

#[derive(Clone, Copy)]
enum Images {
    /// One, under this name.
    One(&'static str),
    /// As many as there are, under this name.
    All(&'static str),
}

impl Names {
    fn of(model: &str) -> Self {
        let maker = model.split('/').next().unwrap_or_default();
        match maker {
            "openai" => Self {
                system: "system_prompt",
                limit: "max_completion_tokens",
                images: Images::All("image_input"),
                effort: true,
            },
            "google" => Self {
                system: "system_instruction",
                limit: "max_output_tokens",
                images: Images::All("images"),
                effort: false,
            },
            _ => Self { system: "system_prompt", limit: "max_tokens", images: Images::One("image"), effort: false },
        }
    }
}

/// The body for a prediction of this model.
pub(in crate::translate) fn call(call: &Call<'_>, model: &str, out: &mut Vec<u8>) -> Result<(), Why> {
    if let Some(written) = WRITTEN.iter().find(|name| call.has_other(name)) {
        return Err(Why::Form(format!("`{written}`")));
    }
    let no_counterpart = |what: &str| Err(Why::NoCounterpart(what.to_owned()));
    if !call.tools.is_empty() && !matches!(call.choice, Some(Choice::Never)) {
        return no_counterpart("a call with `tools`");
    }
    if call.format.is_some() {
        return no_counterpart("a form of the answer (JSON)");
    }
    if call.stop.iter().any(|text| text.contains(',')) {
        return no_counterpart("a text to stop at with a comma in it");
    }
    let names = Names::of(model);
    let said = Said::of(call)?;
    let (apart, prompt) = match said.system {
        Some(system) if !reads_system(model) => (None, format!("{system}\n\n{}", said.prompt)),
        system => (system, said.prompt),
    };
    let mut body = Object::new(out);
    if let Some(version) = version(model) {
        body.text("version", version);
    }
    let mut input = body.object("input");
    input.text("prompt", &prompt);
    if let Some(system) = &apart {
        input.text(names.system, system);
    }
    images(&said.images, names.images, &mut input)?;
    if let Some(limit) = call.limit {
        input.number(names.limit, limit);
    }
    let sampling = &call.sampling;
    for (name, raw) in [
        ("temperature", call.temperature),
        ("top_p", call.top_p),
        ("top_k", sampling.top_k),
        ("seed", sampling.seed),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ] {
        if let Some(raw) = raw.filter(|_| !call.has_other(name)) {
            input.json(name, raw.get());
        }
    }
    if !call.stop.is_empty() {
        // One text, parted by commas.
        let stops: Vec<&str> = call.stop.iter().map(|text| &**text).collect();
        input.text("stop_sequences", &stops.join(","));
    }
    let effort = call.effort.filter(|_| names.effort && !call.has_other("reasoning_effort"));
    if let Some(word) = effort.map(word) {
        input.text("reasoning_effort", word);
    }
    for (name, raw) in &call.others {
        input.other(name, raw.get());
    }
    input.end();
    body.end();
    Ok(())
}

/// How much to think, in the words of OpenAI's models there.
const fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh | Effort::Max => "high",
    }
}

fn reads_system(model: &str) -> bool {
    let without = WITHOUT_SYSTEM.iter().any(|start| model.starts_with(start));
    let name = model.split(':').next().unwrap_or_default();
    !without || WITH_SYSTEM.iter().any(|end| name.ends_with(end))
}

/// A conversation as texts.
struct Said<'c, 'a> {
    system: Option<String>,
    prompt: String,
    images: Vec<&'c Source<'a>>,
}

impl<'c, 'a> Said<'c, 'a> {
    /// One question is the prompt as it is. Several turns are a transcript, in which each begins with `User: ` or
    /// `Assistant: ` and which ends where the assistant goes on.
    fn of(call: &'c Call<'a>) -> Result<Self, Why> {
        let mut images = Vec::new();
        let mut texts = Vec::with_capacity(call.turns.0.len());
        for turn in &call.turns.0 {
            texts.push((turn.role, text(&turn.content, &mut images)?));
        }
        let mut none = Vec::new();
        let system = text(&call.system, &mut none)?;
        if !none.is_empty() {
            return Err(Why::NoCounterpart("a system prompt that is no text".to_owned()));
        }
        let prompt = match texts.as_slice() {
            [(Role::User, one)] => one.clone(),
            turns => {
                let mut lines: Vec<String> = turns
                    .iter()
                    .map(|(role, text)| format!("{}: {text}", if *role == Role::User { "User" } else { "Assistant" }))
                    .collect();
                if turns.last().is_none_or(|(role, _)| *role == Role::User) {
                    lines.push("Assistant:".to_owned());
                }
                lines.join("\n\n")
            }
        };
        Ok(Self { system: Some(system).filter(|text| !text.is_empty()), prompt, images })
    }
}

/// The texts of some blocks, with an empty line between them; images are told apart.
fn text<'c, 'a>(blocks: &'c [Block<'a>], images: &mut Vec<&'c Source<'a>>) -> Result<String, Why> {
    let mut texts: Vec<&str> = Vec::with_capacity(blocks.len());
    for block in blocks {
        match block {
            Block::Text { text, .. } => texts.push(text),
            Block::Image { source, .. } => images.push(source),
            Block::Document { .. } | Block::Cited(_) => return Err(Why::NoCounterpart("a document".to_owned())),
            Block::Audio { .. } => return Err(Why::NoCounterpart("sound in a message".to_owned())),
            // Nothing of it is sent back.
            Block::Thinking { .. } | Block::Redacted(_) => {}
            Block::ToolUse { .. } | Block::ToolResult { .. } => {
                return Err(Why::NoCounterpart("a conversation with calls of tools".to_owned()));
            }
        }
    }
    Ok(texts.join("\n\n"))
}

fn images(all: &[&Source<'_>], how: Images, input: &mut Object<'_>) -> Result<(), Why> {
    match (how, all) {
        (_, []) => {}
        (Images::One(name), [one]) => image(input.member(name), one),
        (Images::One(_), _) => {
            return Err(Why::NoCounterpart("more than one image".to_owned()));
        }
        (Images::All(name), all) => input.array(name, all, |out, one| image(out, one)),
    }
    Ok(())
}

/// An address, or the image itself as one.
fn image(out: &mut Vec<u8>, source: &Source<'_>) {
    match source {
        Source::Url(url) => write_json_string(out, url),
        Source::Base64 { media_type, data } => write_json_string(out, &format!("data:{media_type};base64,{data}")),
    }
}
