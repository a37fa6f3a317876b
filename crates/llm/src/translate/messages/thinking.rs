//! How a model of Anthropic's is asked to think, and what stands beside it: the one rule by which calls are written for
//! Messages and for Bedrock.

use super::super::{
    Why,
    call::{Block, Call, Choice, Effort, Role, Thinks, Turns},
    write::Object,
};
use crate::anthropic::generation::{Generation, Off};

/// What `max_tokens` is where the caller sets no limit and no more is known of the model: each can write that much.
const DEFAULT_MAX_TOKENS: u64 = 4096;
/// And at the most, whatever the model can write: budgets hold it back.
const MOST_UNASKED: u64 = crate::bound::DEFAULT_OUTPUT;
/// The least that can be set aside for thinking.
const MIN_BUDGET: u64 = 1024;

/// What is written of thinking.
#[derive(Debug)]
pub(in crate::translate) struct Plan<'a> {
    thinking: Option<Thinking<'a>>,
    /// How hard the model is to try.
    pub effort: Option<&'static str>,
    /// The limit of all that is written.
    pub max_tokens: u64,
    /// Whether it thinks because it was asked to: then a temperature cannot stand beside it.
    pub thinks: bool,
    /// Whether the model takes `temperature`, `top_p` and `top_k` at all.
    pub samples: bool,
}

#[derive(Debug)]
enum Thinking<'a> {
    /// So many tokens are set aside for it.
    Budget(u64),
    /// As much as the model likes; whether it is shown.
    Adaptive(Option<&'a str>),
    /// Not at all, in the model's word.
    Off(&'static str),
}

/// Plans a call of this model. `longest`: as many tokens the model can write, where that is known.
pub(in crate::translate) fn plan<'a>(call: &'a Call<'_>, model: &str, longest: Option<u64>) -> Result<Plan<'a>, Why> {
    let generation = Generation::of(model);
    // A tool that must be called leaves no room for thinking.
    let forced = matches!(call.choice, Some(Choice::Any | Choice::One(_)));
    if let Some(generation) = generation {
        if forced && !generation.calls_when_told() {
            return Err(Why::NoCounterpart("that a tool must be called, which this model does not take,".to_owned()));
        }
        if !call.counts && !generation.goes_on() && call.turns.0.last().is_some_and(|turn| turn.role == Role::Assistant)
        {
            let what = "a last message of the assistant's, which this model does not go on with,";
            return Err(Why::NoCounterpart(what.to_owned()));
        }
    }
    let unasked = longest.map_or(DEFAULT_MAX_TOKENS, |longest| longest.min(MOST_UNASKED));
    let samples = generation.is_none_or(Generation::samples);
    let nothing =
        Plan { thinking: None, effort: None, max_tokens: call.limit.unwrap_or(unasked), thinks: false, samples };
    if call.has_other("thinking") {
        // The caller says it in the provider's own words.
        return Ok(nothing);
    }
    Ok(match generation.filter(|generation| generation.adapts()) {
        Some(generation) => adaptive(call, generation, forced, nothing),
        None => {
            let Some(budget) = budget(call, forced) else { return Ok(nothing) };
            let all = unasked + budget;
            let max_tokens = call.limit.unwrap_or_else(|| longest.map_or(all, |longest| longest.min(all)));
            // Of a limit that the caller or the model sets, at least half is for the answer.
            let most = if call.limit.is_none() && longest.is_none() { budget } else { max_tokens / 2 };
            let budget = budget.min(most);
            if budget < MIN_BUDGET {
                return Ok(nothing);
            }
            Plan { thinking: Some(Thinking::Budget(budget)), max_tokens, thinks: true, ..nothing }
        }
    })
}

/// For a model that decides itself how much to think.
fn adaptive<'a>(call: &'a Call<'_>, generation: Generation, forced: bool, nothing: Plan<'a>) -> Plan<'a> {
    let off = matches!(call.effort, Some(Effort::None)) || matches!(call.thinks, Some(Thinks::Not));
    if off || forced {
        return match generation.off() {
            Off::Unasked => nothing,
            Off::Of(word) => Plan { thinking: Some(Thinking::Off(word)), ..nothing },
            Off::Never if off => Plan { effort: Some("low"), ..nothing },
            Off::Never => nothing,
        };
    }
    let effort = match call.effort {
        None | Some(Effort::None) => None,
        Some(Effort::Minimal | Effort::Low) => Some("low"),
        Some(Effort::Medium) => Some("medium"),
        Some(Effort::High) => Some("high"),
        Some(Effort::XHigh) => Some(generation.second_effort()),
        Some(Effort::Max) => Some("max"),
    };
    let shown = match &call.thinks {
        Some(Thinks::Adaptive { shown: Some(shown) }) => Some(&**shown),
        // Other callers cannot ask for what they think is there.
        Some(Thinks::Adaptive { shown: None }) => None,
        _ => generation.hides().then_some("summarized"),
    };
    match (effort, &call.thinks) {
        (None, None) => nothing,
        _ => Plan { thinking: Some(Thinking::Adaptive(shown)), effort, thinks: true, ..nothing },
    }
}

/// How many tokens may go into thinking, before the limit of the answer is looked at; `None` for none.
fn budget(call: &Call<'_>, forced: bool) -> Option<u64> {
    let told = match &call.thinks {
        Some(Thinks::Budget(tokens)) => Some(*tokens),
        Some(Thinks::Not) => return None,
        Some(Thinks::Adaptive { .. }) | None => None,
    };
    let tokens = told.or_else(|| {
        Some(match call.effort? {
            Effort::None => return None,
            Effort::Minimal => 1024,
            Effort::Low => 2048,
            Effort::Medium => 8192,
            Effort::High => 16_384,
            Effort::XHigh | Effort::Max => 32_768,
        })
    });
    tokens.filter(|_| may_think(&call.turns) && !forced)
}

/// Whether thinking can begin here. Not where a turn of the assistant's is gone on with that would have to begin with its
/// thinking, unless that is there: after a tool it called, and where it spoke last.
fn may_think(turns: &Turns<'_>) -> bool {
    let last = turns.0.iter().rev().find(|turn| turn.role == Role::Assistant);
    let called = last.is_some_and(|turn| {
        turn.content.iter().any(|block| matches!(block, Block::ToolUse { .. }))
            && !matches!(turn.content.first(), Some(Block::Thinking { .. } | Block::Redacted(_)))
    });
    turns.0.last().is_none_or(|turn| turn.role != Role::Assistant) && !called
}

impl Plan<'_> {
    /// The same for a call that says itself how to think.
    pub fn without_thinking(self) -> Self {
        Self { thinking: None, effort: None, thinks: false, ..self }
    }

    /// Writes the member `thinking`, where there is something to say of it.
    pub fn write(&self, body: &mut Object<'_>) {
        let Some(thinking) = &self.thinking else { return };
        let mut to = body.object("thinking");
        match thinking {
            Thinking::Budget(tokens) => {
                to.json("type", "\"enabled\"");
                to.number("budget_tokens", *tokens);
            }
            Thinking::Adaptive(shown) => {
                to.json("type", "\"adaptive\"");
                if let Some(shown) = shown {
                    to.text("display", shown);
                }
            }
            Thinking::Off(word) => to.text("type", word),
        }
        to.end();
    }

    /// Whether anything is said of thinking.
    pub const fn is_said(&self) -> bool {
        self.thinking.is_some()
    }

    /// Whether the limit of the answer must be said, as part of it is set aside.
    pub const fn needs_limit(&self) -> bool {
        matches!(self.thinking, Some(Thinking::Budget(_)))
    }
}
