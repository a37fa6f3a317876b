//! How much a call may cost at most, before it is sent.
//!
//! A rule and not a count, made to be documented: a token has at least one byte, so a body has at most as many tokens as
//! bytes. What a body only points to (images by
//! their address, files by id, what a provider's own tools read) is not seen here.

use crate::{catalogue::KnownModel, provider::LimitField};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Output tokens of an answer where the call sets no bound that the provider keeps, and no more is known of the model.
pub const DEFAULT_OUTPUT: u64 = 32_768;
/// Answers that a call may ask for at once and that are counted; no provider gives more.
const MOST_CHOICES: u64 = 1024;
/// The most tokens that a call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Read by the model.
    pub input: u64,
    /// Written by it, in all answers together.
    pub output: u64,
}

/// Output tokens of an answer of this model where the call sets no bound that the provider keeps: as many as its target
/// declares; else as many as it is known to write, and never less than [`DEFAULT_OUTPUT`].
pub fn longest(declared: Option<u64>, known: Option<&KnownModel>) -> u64 {
    let known =
        || known.and_then(|known| known.max_output).map_or(DEFAULT_OUTPUT, |most| DEFAULT_OUTPUT.max(most.into()));
    declared.unwrap_or_else(known)
}

/// Whether anything in the body of a conversation may be sound, which videos have too: where one of the words stands in
/// it, or could, written with escapes.
pub fn may_have_sound(body: &[u8]) -> bool {
    let stands = |word: &[u8]| {
        let (small, large) = (word[0], word[0].to_ascii_uppercase());
        memchr::memchr2_iter(small, large, body)
            .any(|at| body.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)))
    };
    // Latin letters are \u0041 to \u007a.
    let mut escapes = memchr::memmem::find_iter(body, b"\\u00");
    escapes.any(|at| matches!(body.get(at + 4), Some(b'4'..=b'7'))) || stands(b"audio") || stands(b"video")
}

/// The fields for the length of an answer that a provider certainly keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// `max_tokens`.
    MaxTokens,
    /// `max_tokens` and `max_completion_tokens`, of OpenAI's Chat Completions.
    MaxCompletionTokens,
    /// `max_output_tokens`, of OpenAI's Responses.
    MaxOutputTokens,
    /// None that is known.
    Nothing,
    /// `maxOutputTokens` in `generationConfig`, of Gemini.
    GenerationConfig,
    /// `maxTokens` in `inferenceConfig`, of Bedrock.
    InferenceConfig,
}

impl From<LimitField> for Keeps {
    fn from(field: LimitField) -> Self {
        match field {
            LimitField::MaxTokens => Self::MaxTokens,
            LimitField::MaxCompletionTokens => Self::MaxCompletionTokens,
        }
    }
}

impl Bound {
    /// Of a body as the provider gets it, in any dialect: as many input tokens as it has bytes, and for each of `n`
    /// answers the longest that the provider may write.
    ///
    /// Only a field that the provider keeps makes that less than `longest`, which an answer has that nobody limits
    /// ([`longest`]). Every other name that some server reads as the limit can only make it more, since bytes pass
    /// unchanged and a server drops what it does not know. What is no number from 1 on, as the -1 that many servers take
    /// for no limit, counts as `longest`; of several numbers the largest counts.
    pub fn of(body: &[u8], keeps: Keeps, longest: u64) -> Self {
        let asked: Asked = serde_json::from_slice(body).unwrap_or_default();
        let all = [asked.plain, asked.newer, asked.responses, asked.configured, asked.inference, asked.others]
            .map(|limit| limit.tokens(longest));
        let [plain, newer, responses, configured, inference, _] = all;
        let kept = match keeps {
            Keeps::MaxTokens => plain,
            Keeps::MaxCompletionTokens => plain.max(newer),
            Keeps::MaxOutputTokens => responses,
            Keeps::Nothing => None,
            Keeps::GenerationConfig => configured,
            Keeps::InferenceConfig => inference,
        };
        let output = all.into_iter().flatten().fold(kept.unwrap_or(longest), u64::max);
        let choices = asked.choices.unwrap_or(1).clamp(1, MOST_CHOICES);
        Self { input: body.len() as u64, output: output.saturating_mul(choices) }
    }
}

/// What a body says about the length of its answers. Where a field stands twice, providers differ in which they take:
/// the larger counts.
#[derive(Default)]
struct Asked {
    /// `max_tokens`.
    plain: Limit,
    /// `max_completion_tokens`.
    newer: Limit,
    /// `max_output_tokens`.
    responses: Limit,
    /// `maxOutputTokens` in `generationConfig`.
    configured: Limit,
    has_config: bool,
    /// `maxTokens` in `inferenceConfig`, which we write ourselves.
    inference: Limit,
    /// What only some servers know.
    others: Limit,
    choices: Option<u64>,
}

impl Asked {
    fn configured(&mut self, config: &Config) {
        let is_second = std::mem::replace(&mut self.has_config, true);
        let (before, now) = (self.configured, config.limit);
        // Of two, a provider may take the one that says nothing.
        let silent = is_second && (before.tokens.is_none() || now.tokens.is_none());
        let doubtful = before.doubtful || now.doubtful || silent;
        self.configured = Limit { tokens: before.tokens.max(now.tokens), doubtful };
        self.choices = self.choices.max(config.choices);
    }
}

/// What stands under one name.
#[derive(Clone, Copy, Default)]
struct Limit {
    tokens: Option<u64>,
    /// Whether it may be taken for no limit: what stands there is no number from 1 on, or it is taken back.
    doubtful: bool,
}

impl Limit {
    fn add(&mut self, raw: &RawValue) {
        let value = scalar(raw);
        let tokens = match &value {
            serde_json::Value::Null => {
                self.doubtful = true;
                return;
            }
            value => count(value).unwrap_or(0),
        };
        // Whether a number in quotes is read as one is the server's choice.
        self.doubtful |= !value.as_f64().is_some_and(|n| n >= 1.0);
        self.tokens = self.tokens.max(Some(tokens));
    }

    /// Nothing where it is not set. Set and taken back, it may be either.
    fn tokens(self, longest: u64) -> Option<u64> {
        self.tokens.map(|n| if self.doubtful { n.max(longest) } else { n })
    }
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Asked;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Asked, A::Error> {
                let mut asked = Asked::default();
                while let Some(field) = map.next_key::<Field>()? {
                    match field {
                        Field::Plain => asked.plain.add(map.next_value()?),
                        Field::Newer => asked.newer.add(map.next_value()?),
                        Field::Responses => asked.responses.add(map.next_value()?),
                        Field::Others => asked.others.add(map.next_value()?),
                        Field::Config => asked.configured(&Config::of(map.next_value()?)),
                        Field::Inference => {
                            let Limit { tokens, doubtful } = Config::of(map.next_value()?).inference;
                            asked.inference.tokens = asked.inference.tokens.max(tokens);
                            asked.inference.doubtful |= doubtful;
                        }
                        Field::Input => {
                            // What its model reads of it is not certain, so it only makes the bound more.
                            let Config { limit, plain, .. } = Config::of(map.next_value()?);
                            for of in [limit, plain] {
                                asked.others.tokens = asked.others.tokens.max(of.tokens);
                                asked.others.doubtful |= of.doubtful;
                            }
                        }
                        Field::Choices => {
                            asked.choices = asked.choices.max(count(&scalar(map.next_value()?)));
                        }
                        Field::Unknown => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(asked)
            }
        }
        d.deserialize_map(Fields)
    }
}

enum Field {
    Plain,
    Newer,
    Responses,
    Others,
    Choices,
    /// `generationConfig`, an object that says more of it.
    Config,
    /// `inferenceConfig`, another.
    Inference,
    /// `input` of a prediction, another; a text or a list in Responses.
    Input,
    Unknown,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Field;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Field, E> {
                Ok(match name {
                    "max_tokens" => Field::Plain,
                    "max_completion_tokens" => Field::Newer,
                    "max_output_tokens" => Field::Responses,
                    "max_new_tokens" | "n_predict" | "num_predict" => Field::Others,
                    "n" | "best_of" => Field::Choices,
                    "generationConfig" | "generation_config" => Field::Config,
                    "input" => Field::Input,
                    "inferenceConfig" => Field::Inference,
                    _ => Field::Unknown,
                })
            }
        }
        d.deserialize_str(Name)
    }
}

/// What `generationConfig` says, or `inferenceConfig`, or `input` of a prediction. Google's servers read names in camel case and in snake case.
#[derive(Default)]
struct Config {
    limit: Limit,
    /// `maxTokens`, in `inferenceConfig`.
    inference: Limit,
    /// `max_tokens` and its like, in `input`.
    plain: Limit,
    choices: Option<u64>,
}

impl Config {
    /// Nothing where something else stands.
    fn of(raw: &RawValue) -> Self {
        serde_json::from_str(raw.get()).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Config;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Config, A::Error> {
                let mut config = Config::default();
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    match &*name {
                        "maxOutputTokens" | "max_output_tokens" => config.limit.add(map.next_value()?),
                        "max_tokens" | "max_completion_tokens" | "max_new_tokens" => {
                            config.plain.add(map.next_value()?)
                        }
                        "maxTokens" => config.inference.add(map.next_value()?),
                        "candidateCount" | "candidate_count" => {
                            config.choices = config.choices.max(count(&scalar(map.next_value()?)));
                        }
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(config)
            }
        }
        d.deserialize_map(Fields)
    }
}

/// A value that is no list and no object, whose tree would be many times as large as what came; `true` for those.
fn scalar(raw: &RawValue) -> serde_json::Value {
    let other = serde_json::Value::Bool(true);
    if raw.get().starts_with(['[', '{']) { other } else { serde_json::from_str(raw.get()).unwrap_or(other) }
}

/// A count as the most generous provider reads it: a fraction is the next whole number, and a number in quotes is one.
/// Nothing where something else stands, or less than nothing.
pub(crate) fn count(value: &serde_json::Value) -> Option<u64> {
    match value {
        // Casting saturates.
        serde_json::Value::Number(n) => n.as_u64().or_else(|| n.as_f64().filter(|n| *n > 0.0).map(|n| n.ceil() as u64)),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::{
        resource::{PriceEntry, Target},
        usage::{Cost, TokenUsage},
    };
    use proptest::prelude::*;

    fn output(body: &str, keeps: Keeps) -> u64 {
        let bound = Bound::of(body.as_bytes(), keeps, DEFAULT_OUTPUT);
        assert_eq!(bound.input, body.len() as u64);
        bound.output
    }

    #[test]
    fn sound_is_seen_however_it_is_written() {
        for (body, may) in [
            (r#"{"type":"input_audio"}"#, true),
            (r#"{"responseModalities":["AUDIO"]}"#, true),
            (r#"{"mimeType":"Video/mp4"}"#, true),
            (r#"{"mimeType":"\u0061udio/wav"}"#, true),
            (r#"{"mimeType":"A\u0055DIO/wav"}"#, true),
            (r#"{"text":"a caf\u00e9 \u4e2d, auburn, \u00"}"#, false),
            ("", false),
        ] {
            assert_eq!(may_have_sound(body.as_bytes()), may, "{body}");
        }
    }

    #[test]
    fn the_bound_is_what_the_call_says_or_the_default() {
        for (body, expect) in [
            (r#"{"model":"m"}"#, DEFAULT_OUTPUT),
            (r#"{"max_tokens":100}"#, 100),
            (r#"{"max_tokens":100,"max_completion_tokens":200}"#, 200),
            (r#"{"max_completion_tokens":200,"max_tokens":100,"n":4}"#, 800),
            (r#"{"max_tokens":100,"max_completion_tokens":null,"n":2,"best_of":5}"#, 500),
            (r#"{"max_tokens":1,"max_tokens":1000}"#, 1000),
            (r#"{"max_tokens":1e3}"#, 1000),
            (r#"{"max_tokens":1.5}"#, 2),
            (r#"{"max_tokens":null,"n":null}"#, DEFAULT_OUTPUT),
            (r#"{"max_tokens":[],"n":{"n":9}}"#, DEFAULT_OUTPUT),
            (r#"{"max_tokens":18446744073709551615,"n":99999999}"#, u64::MAX),
            (r#"{"messages":[{"max_tokens":5}]}"#, DEFAULT_OUTPUT),
            (r#"{"max_tok\u0065ns":70}"#, 70),
            ("no json", DEFAULT_OUTPUT),
        ] {
            for keeps in [Keeps::MaxTokens, Keeps::MaxCompletionTokens] {
                assert_eq!(output(body, keeps), expect, "{body}");
            }
        }
    }

    #[test]
    fn what_a_server_may_take_for_no_limit_is_none() {
        for limit in ["-1", "0", "-0.5", "0.5", "\"5\"", "\"-1\"", "true", "{}"] {
            for body in [
                format!(r#"{{"max_tokens":{limit}}}"#),
                format!(r#"{{"max_tokens":7,"max_tokens":{limit}}}"#),
                format!(r#"{{"max_tokens":{limit},"max_completion_tokens":7}}"#),
                format!(r#"{{"n_predict":{limit},"max_tokens":7}}"#),
            ] {
                for keeps in [Keeps::MaxTokens, Keeps::MaxCompletionTokens] {
                    assert_eq!(output(&body, keeps), DEFAULT_OUTPUT, "{body}");
                }
            }
        }
        assert_eq!(output(r#"{"max_tokens":1,"max_tokens":null}"#, Keeps::MaxTokens), DEFAULT_OUTPUT);
        assert_eq!(output(r#"{"max_tokens":"90000"}"#, Keeps::MaxTokens), 90_000);
    }

    #[test]
    fn an_answer_without_a_limit_is_as_long_as_the_model_is_known_to_write() {
        let known = crate::catalogue::find("gemini", "gemini-3.8-flash");
        assert_eq!(longest(None, known), 65_536);
        assert_eq!(longest(None, None), DEFAULT_OUTPUT);
        let short = KnownModel { max_output: Some(100), ..*known.unwrap() };
        assert_eq!(longest(None, Some(&short)), DEFAULT_OUTPUT, "a figure that is not kept up makes it no less");
        assert_eq!((longest(Some(9), known), longest(Some(200_000), None)), (9, 200_000), "its owner knows");
        let limit = |body: &str| Bound::of(body.as_bytes(), Keeps::GenerationConfig, 65_536).output;
        for (body, expect) in [
            (r#"{"contents":[]}"#, 65_536),
            (r#"{"generationConfig":{"candidateCount":2}}"#, 131_072),
            (r#"{"generationConfig":{"maxOutputTokens":70}}"#, 70),
            (r#"{"generationConfig":{"maxOutputTokens":70000}}"#, 70_000),
            (r#"{"generationConfig":{"maxOutputTokens":"70"}}"#, 65_536),
            (r#"{"generationConfig":{"maxOutputTokens":-1}}"#, 65_536),
            (r#"{"generationConfig":{"maxOutputTokens":7,"maxOutputTokens":null}}"#, 65_536),
            (r#"{"generationConfig":{"maxOutputTokens":7},"generationConfig":{}}"#, 65_536),
            (r#"{"generationConfig":{"maxOutputTokens":7},"max_tokens":true}"#, 65_536),
        ] {
            assert_eq!(limit(body), expect, "{body}");
        }
        for (body, expect) in [
            (r#"{"inferenceConfig":{"maxTokens":70}}"#, 70),
            (r#"{"inferenceConfig":{}}"#, DEFAULT_OUTPUT),
            (r#"{"inferenceConfig":[1]}"#, DEFAULT_OUTPUT),
            (r#"{"inferenceConfig":{"stop":[1,{"maxTokens":1}],"maxTokens":7,"maxTokens":8}}"#, 8),
            (r#"{"inferenceConfig":{"maxTokens":[7]}}"#, DEFAULT_OUTPUT),
        ] {
            assert_eq!(output(body, Keeps::InferenceConfig), expect, "{body}");
        }
    }

    #[test]
    fn a_field_that_the_provider_drops_limits_nothing() {
        use Keeps::{MaxCompletionTokens as Both, MaxOutputTokens as Responses, MaxTokens as Plain};
        assert_eq!(output(r#"{"max_completion_tokens":1}"#, Plain), DEFAULT_OUTPUT);
        assert_eq!(output(r#"{"max_completion_tokens":1}"#, Both), 1);
        for name in ["max_output_tokens", "max_new_tokens", "n_predict", "num_predict"] {
            for keeps in [Plain, Both] {
                assert_eq!(output(&format!(r#"{{"{name}":1}}"#), keeps), DEFAULT_OUTPUT, "{name}");
                assert_eq!(output(&format!(r#"{{"{name}":50000,"max_tokens":1}}"#), keeps), 50_000, "{name}");
            }
        }
        assert_eq!(output(r#"{"max_completion_tokens":50000}"#, Plain), 50_000);
        assert_eq!(output(r#"{"max_output_tokens":9}"#, Responses), 9);
        assert_eq!(output(r#"{"max_tokens":9}"#, Responses), DEFAULT_OUTPUT);
        for name in ["max_tokens", "max_completion_tokens", "max_output_tokens"] {
            assert_eq!(output(&format!(r#"{{"{name}":9}}"#), Keeps::Nothing), DEFAULT_OUTPUT, "{name}");
            assert_eq!(output(&format!(r#"{{"{name}":50000}}"#), Keeps::Nothing), 50_000, "{name}");
        }
    }

    #[test]
    fn a_limit_of_googles_stands_within() {
        let limit = |body: &str| output(body, Keeps::GenerationConfig);
        for (body, expect) in [
            (r#"{"generationConfig":{"maxOutputTokens":70,"candidateCount":3}}"#, 210),
            (r#"{"generation_config":{"max_output_tokens":70}}"#, 70),
            (r#"{"generation_config":{"max_output_tokens":70},"generationConfig":{"maxOutputTokens":9}}"#, 70),
            (r#"{"generationConfig":{"maxOutputTokens":9,"max_output_tokens":8,"candidate_count":2}}"#, 18),
            (r#"{"generationConfig":{"maxOutputT\u006fkens":9}}"#, 9),
            // What may not be read as it stands here, or is taken back.
            (r#"{"generationConfig":{"maxOutputTokens":"9"}}"#, DEFAULT_OUTPUT),
            (r#"{"generationConfig":{"maxOutputTokens":-1}}"#, DEFAULT_OUTPUT),
            (r#"{"generationConfig":{"maxOutputTokens":9},"generationConfig":{}}"#, DEFAULT_OUTPUT),
            (r#"{"generationConfig":{},"generation_config":{"maxOutputTokens":9}}"#, DEFAULT_OUTPUT),
            (r#"{"generationConfig":{"maxOutputTokens":9},"generationConfig":null}"#, DEFAULT_OUTPUT),
            (r#"{"generationConfig":{"maxOutputTokens":9,"maxOutputTokens":null}}"#, DEFAULT_OUTPUT),
            (r#"{"generationConfig":{"maxOutputTokens":50000},"generationConfig":{}}"#, 50_000),
            (r#"{"generationConfig":{"generationConfig":{"maxOutputTokens":5}}}"#, DEFAULT_OUTPUT),
            (r#"{"generationConfig":[{"maxOutputTokens":5}],"max_tokens":5}"#, DEFAULT_OUTPUT),
            (r#"{"maxOutputTokens":5,"max_output_tokens":5}"#, DEFAULT_OUTPUT),
        ] {
            assert_eq!(limit(body), expect, "{body}");
        }
        assert_eq!(output(r#"{"generationConfig":{"maxOutputTokens":5},"max_tokens":7}"#, Keeps::MaxTokens), 7);
        let body = r#"{"generationConfig":{"maxOutputTokens":50000,"candidateCount":2},"max_tokens":7}"#;
        assert_eq!(output(body, Keeps::MaxTokens), 100_000);
        assert_eq!(output(r#"{"generationConfig":{"maxOutputTokens":5}}"#, Keeps::MaxTokens), DEFAULT_OUTPUT);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Bound::of(&bytes, Keeps::MaxTokens, DEFAULT_OUTPUT);
        }

        #[test]
        fn no_server_bills_more_than_was_reserved(
            fields in proptest::collection::vec((0..NAMES_READ.len(), value()), 0..6),
            server in server(),
            filler in ".{0,40}",
        ) {
            let written = fields.iter().map(|(name, value)| format!(r#"{}:{value}"#, NAMES_READ[*name]));
            let filler = format!(r#""messages":{}"#, serde_json::Value::from(filler));
            let body = format!("{{{}}}", written.chain([filler]).collect::<Vec<_>>().join(","));
            let billed = server.bills(&fields);
            let keeps = if server.newer { Keeps::MaxCompletionTokens } else { Keeps::MaxTokens };
            let bound = Bound::of(body.as_bytes(), keeps, server.longest);
            prop_assert!(billed <= bound.output, "{billed} of {} for {body} by {server:?}", bound.output);
            // What it may read: a token for each byte at most, whatever the prices of its kinds are.
            let price = |n: u32| serde_json::json!({ "from": "2020-01-01T00:00:00Z", "input": n.to_string(),
                "output": "3", "cached_input": (n % 7).to_string(), "cache_write": (2 * n).to_string(),
                "cache_write_1h": (n + 3).to_string() });
            let entry: PriceEntry = serde_json::from_value(price(server.seed % 997)).unwrap();
            let mut target: Target = serde_json::from_value(serde_json::json!({ "provider": "p", "model": "m" })).unwrap();
            target.prices.push(entry);
            let handle = crate::PriceTable::default().resolve(&target, None);
            let at = credentialflow_model::Timestamp::from_secs(1_795_000_000);
            let part = |n: u32| bound.input * u64::from(n % 101) / 100;
            let usage = TokenUsage {
                input: bound.input,
                cached_input: part(server.seed),
                cache_write: part(server.seed / 101),
                cache_write_1h: part(server.seed / 10_201),
                output: billed,
                ..TokenUsage::default()
            };
            let (Cost::Known(cost), Some(most)) = (handle.cost(at, &usage), handle.most(at, bound.input, bound.output))
            else {
                return Err(TestCaseError::fail("no price"));
            };
            prop_assert!(cost <= most, "{cost} of {most} for {usage:?}");
        }
    }

    /// Names as they may be written, and what they are.
    const NAMES_READ: [&str; 8] = [
        r#""max_tokens""#,
        r#""max_t\u006fkens""#,
        r#""max_completion_tokens""#,
        r#""max_output_tokens""#,
        r#""n_predict""#,
        r#""n""#,
        r#""best_of""#,
        r#""user""#,
    ];

    fn value() -> impl Strategy<Value = serde_json::Value> {
        prop_oneof![
            8 => (0u64..100_000).prop_map(serde_json::Value::from),
            2 => (-3i64..=0).prop_map(serde_json::Value::from),
            2 => (0u64..50_000).prop_map(|n| serde_json::Value::from(n.to_string())),
            1 => (0.01f64..9000.0).prop_map(serde_json::Value::from),
            1 => Just(serde_json::Value::Null),
            1 => Just(serde_json::json!(true)),
        ]
    }

    /// A server as there are some: which names it reads, in which order, and how.
    #[derive(Debug)]
    struct Server {
        /// Keeps `max_completion_tokens`, which then rules.
        newer: bool,
        /// Where it does not promise to, it may do so all the same; and rank `n_predict` above all.
        knows: bool,
        foreign: bool,
        first_wins: bool,
        quotes: bool,
        /// What it writes where nothing limits it.
        longest: u64,
        seed: u32,
    }

    fn server() -> impl Strategy<Value = Server> {
        let longest = prop_oneof![Just(DEFAULT_OUTPUT), DEFAULT_OUTPUT..200_000];
        (any::<[bool; 5]>(), longest, 0u32..1_000_000).prop_map(
            |([newer, knows, foreign, first_wins, quotes], longest, seed)| Server {
                newer,
                knows,
                foreign,
                first_wins,
                quotes,
                longest,
                seed,
            },
        )
    }

    impl Server {
        fn field(&self, fields: &[(usize, serde_json::Value)], names: &[usize]) -> Option<serde_json::Value> {
            let mut found = fields.iter().filter(|(name, _)| names.contains(name)).map(|(_, value)| value.clone());
            let found = if self.first_wins { found.next() } else { found.next_back() };
            found.filter(|value| !value.is_null())
        }

        fn read(&self, value: &serde_json::Value) -> Option<u64> {
            match value {
                serde_json::Value::String(text) if self.quotes => text.parse().ok(),
                serde_json::Value::Number(n) => {
                    n.as_u64().or_else(|| n.as_f64().filter(|n| *n >= 1.0).map(|n| n.ceil() as u64))
                }
                _ => None,
            }
        }

        /// Writes as much as it may: an answer without a limit has as many tokens as the model ever writes.
        fn bills(&self, fields: &[(usize, serde_json::Value)]) -> u64 {
            let foreign = || self.field(fields, &[4]).filter(|_| self.foreign);
            let newer = || self.field(fields, &[2]).filter(|_| self.newer || self.knows);
            let limit = foreign().or_else(newer).or_else(|| self.field(fields, &[0, 1]));
            let limit = limit.and_then(|value| self.read(&value)).filter(|n| *n >= 1).unwrap_or(self.longest);
            let several = |name| self.field(fields, &[name]).and_then(|value| self.read(&value)).unwrap_or(1);
            limit * several(5).max(several(6)).clamp(1, MOST_CHOICES)
        }
    }
}
