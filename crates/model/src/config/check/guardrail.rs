//! Checks of guardrails: each rule has what its detector needs and nothing else, and can be built.

use super::Checker;
use crate::{
    config::source::ItemId,
    resource::{Detect, Guardrail, GuardrailAction, GuardrailSet, Kind, Model},
};
use std::collections::HashSet;

/// Rules of a model, or of a route.
pub(super) const MOST_RULES: usize = 32;
/// Words of a rule, and bytes of a word.
const MOST_WORDS: usize = 1000;
const LONGEST_WORD: usize = 200;
/// Categories of a rule.
const MOST_CATEGORIES: usize = 64;
/// Topics of a rule, its examples together, and bytes of an example.
const MOST_TOPICS: usize = 32;
const MOST_EXAMPLES: usize = 128;
const LONGEST_EXAMPLE: usize = 600;
/// Lists of words and patterns of all models that differ: each is kept built, and a large one takes megabytes.
const MOST_EXPRESSIONS: usize = 256;

/// What of a rule is built as an expression of its own: its words and its pattern.
pub(super) type Expression<'a> = (&'a [String], Option<&'a str>);

impl Checker<'_> {
    pub(super) fn guardrail_set(&mut self, id: ItemId, set: &GuardrailSet) {
        self.description(id, set.description.as_deref());
        if set.rules.is_empty() {
            let hint = "write at least one `- { detect: …, action: … }`";
            self.problem(id, "rules", "empty", "a set of guardrails has a rule", hint);
        } else if set.rules.len() > MOST_RULES {
            let detail = format!("a set has at most {MOST_RULES} rules");
            self.problem(id, "rules", "out_of_bounds", detail, "a list of words counts as one");
        }
        for (index, rule) in set.rules.iter().enumerate() {
            self.guardrail(id, &format!("rules[{index}]"), rule);
        }
    }

    /// The guardrails of a model: those of the sets that it uses, and its own.
    pub(super) fn guardrails(&mut self, id: ItemId, model: &Model) {
        for (index, name) in model.use_guardrails.iter().enumerate() {
            let path = format!("use_guardrails[{index}]");
            self.refers(id, &path, Kind::Guardrails, name);
            if model.use_guardrails[..index].contains(name) {
                self.problem(id, &path, "duplicate", format!("{name} stands here twice"), "keep it once");
            }
        }
        for (index, rule) in model.guardrails.iter().enumerate() {
            self.guardrail(id, &format!("guardrails[{index}]"), rule);
        }
        let sets = self.guardrails.clone();
        let all: Vec<_> = model.rules(|name| sets.get(name.as_str()).copied()).collect();
        // Where a rule is told of: its own place, or that of the name of its set.
        let place = |at: usize| match all[at].0 {
            Some(set) => {
                let index = model.use_guardrails.iter().position(|name| name == set).unwrap_or_default();
                format!("use_guardrails[{index}]")
            }
            None => format!("guardrails[{}].action", at - (all.len() - model.guardrails.len())),
        };
        if all.len() > MOST_RULES {
            let field = if model.guardrails.is_empty() { "use_guardrails" } else { "guardrails" };
            let detail = format!("a model has at most {MOST_RULES} guardrails, those of the sets it uses among them");
            self.problem(id, field, "out_of_bounds", detail, "a list of words counts as one");
        }
        let masks = |(_, rule): &(_, &Guardrail)| rule.action == GuardrailAction::Mask;
        if let Some(at) = all.iter().position(|(_, rule)| rule.detect.is_remote() && rule.on.answers())
            && all.iter().any(masks)
        {
            let detail = "others would be shown in answers what is masked in calls";
            let hint = "write `on: prompt`, or take the rule with `action: mask` away";
            self.problem(id, &place(at).replace(".action", ".on"), "contradiction", detail, hint);
        }
        if let Some(at) = all.iter().position(|(_, rule)| rule.action == GuardrailAction::Route)
            && !model.targets.iter().any(|target| target.internal)
        {
            let detail =
                "no target of this model is internal, so every call in which something is found would be refused";
            let hint = "write `internal: true` at the targets that may have it, or the action block";
            self.problem(id, &place(at), "missing", detail, hint);
        }
    }

    /// Counts what the rules of one more model or set, in this field, add to those before.
    pub(super) fn expressions<'r>(
        &mut self,
        (id, field): (ItemId, &str),
        rules: &'r [Guardrail],
        seen: &mut HashSet<Expression<'r>>,
    ) {
        for (index, rule) in rules.iter().enumerate() {
            let expression: Expression<'r> = (&rule.words, rule.pattern.as_deref());
            let is_one = !rule.words.is_empty() || rule.pattern.is_some();
            // The first that is too much says it for all.
            if is_one && seen.insert(expression) && seen.len() == MOST_EXPRESSIONS + 1 {
                let detail = format!(
                    "all models together have at most {MOST_EXPRESSIONS} different lists of words and patterns"
                );
                let hint = "models may have the same rules; a pattern may have several branches: a|b";
                self.problem(id, &format!("{field}[{index}]"), "out_of_bounds", detail, hint);
            }
        }
    }

    /// Whether what is done about a finding, and where, fit what is looked for.
    fn guardrail_fits(&mut self, id: ItemId, path: &str, rule: &Guardrail) {
        use GuardrailAction as Action;
        let Guardrail { detect, action, on, hold, .. } = rule;
        let mut wrong = |field: &str, detail: String, hint: &str| {
            self.problem(id, &format!("{path}.{field}"), "invalid_value", detail, hint);
        };
        if matches!(action, Action::Redact | Action::Mask) && !detect.finds_places() {
            let detail = format!("`{}` tells that something is there, not where", detect.as_str());
            wrong("action", detail, "write block or flag");
        } else if matches!(action, Action::Mask | Action::Route) && on.answers() {
            let detail = format!("`action: {}` is for prompts", action.as_str());
            let hint = "remove `on`; what was masked is put back into the answer by itself";
            wrong("on", detail, if *action == Action::Mask { hint } else { "remove `on`" });
        }
        match detect {
            Detect::JsonSchema if on.prompts() => {
                wrong("on", "`detect: json_schema` looks at answers".into(), "write on: answer");
            }
            Detect::Jailbreak if on.answers() => {
                wrong("on", "`detect: jailbreak` looks at what users and tools say".into(), "remove `on`");
            }
            _ => {}
        }
        if *hold && detect.is_remote() {
            wrong("hold", "a streamed answer waits for it in any case".into(), "remove it");
        } else if *hold && !(on.answers() && matches!(action, Action::Block | Action::Redact)) {
            let detail = "`hold` is for answers that are blocked or redacted".into();
            wrong("hold", detail, "remove it, or write on: answer");
        }
    }

    /// What is said about asking others.
    fn guardrail_asks(&mut self, id: ItemId, path: &str, rule: &Guardrail) {
        if !rule.detect.is_remote() {
            for (field, given) in [("timeout", rule.timeout.is_some()), ("on_error", rule.on_error.is_some())] {
                if given {
                    let detail =
                        format!("`{field}` belongs to `detect: moderation`, `detect: topics` and `detect: webhook`");
                    self.problem(id, &format!("{path}.{field}"), "invalid_value", detail, "remove it");
                }
            }
            return;
        }
        if let Some(timeout) = rule.timeout
            && !(100..=60_000).contains(&timeout.as_millis())
        {
            let hint = "every call waits for it";
            self.problem(id, &format!("{path}.timeout"), "out_of_bounds", "the time is 100 ms to 60 s", hint);
        }
        if let Some(upstream) = &rule.upstream {
            self.refers(id, &format!("{path}.upstream"), Kind::Upstreams, upstream);
        }
        let plain =
            |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'{' | b'}' | b'"' | b'\\' | b'<' | b'>');
        if let Some(at) = &rule.path
            && !(at.starts_with('/') && at.len() <= 1024 && at.bytes().all(plain) && !at.contains("/../"))
        {
            let detail = "a path begins with / and has no query";
            self.problem(id, &format!("{path}.path"), "invalid_path", detail, "as in /v1/judge");
        }
        if rule.categories.len() > MOST_CATEGORIES {
            let detail = format!("there are at most {MOST_CATEGORIES} categories");
            self.problem(id, &format!("{path}.categories"), "out_of_bounds", detail, "leave some out");
        }
        for (name, score) in &rule.categories {
            let at = format!("{path}.categories.{name}");
            if name.is_empty() || name.len() > 100 {
                self.problem(id, &at, "invalid_value", "a name has 1 to 100 bytes", "as the provider writes it");
            } else if !(0.0..=1.0).contains(score) {
                self.problem(id, &at, "out_of_bounds", "a score is 0 to 1", "0.5 is a usual beginning");
            }
        }
        for (field, model, what) in
            [("model", &rule.model, "moderated"), ("embedding_model", &rule.embedding_model, "compared with topics")]
        {
            let Some(model) = model else { continue };
            let at = format!("{path}.{field}");
            self.refers(id, &at, Kind::Models, model);
            if self.guarded.contains(model.as_str()) {
                let detail = format!("{model} has guardrails itself, which do not hold for what is {what}");
                self.problem(id, &at, "contradiction", detail, "declare a model without guardrails for this");
            }
        }
        self.topics(id, path, rule);
    }

    /// What is talked about, and how near it is.
    fn topics(&mut self, id: ItemId, path: &str, rule: &Guardrail) {
        if let Some(threshold) = rule.threshold
            && !(0.1..=1.0).contains(&threshold)
        {
            let hint = "0.5 is a usual beginning; it depends on the model";
            self.problem(id, &format!("{path}.threshold"), "out_of_bounds", "a threshold is 0.1 to 1", hint);
        }
        let examples: usize = rule.topics.iter().map(|topic| topic.examples.len()).sum();
        if rule.topics.len() > MOST_TOPICS || examples > MOST_EXAMPLES {
            let detail =
                format!("a rule has at most {MOST_TOPICS} topics and {MOST_EXAMPLES} examples of all together");
            self.problem(id, &format!("{path}.topics"), "out_of_bounds", detail, "make it two rules");
        }
        for (index, topic) in rule.topics.iter().enumerate() {
            let at = format!("{path}.topics[{index}]");
            if rule.topics[..index].iter().any(|other| other.name == topic.name) {
                let detail = format!("{} stands here twice", topic.name);
                self.problem(id, &format!("{at}.name"), "duplicate", detail, "put their examples together");
            }
            if topic.examples.is_empty() {
                let hint =
                    "write what somebody who talks about it would say, as in examples: [\"Whom should I vote for?\"]";
                self.problem(id, &format!("{at}.examples"), "empty", "a topic has an example", hint);
            }
            for (index, example) in topic.examples.iter().enumerate() {
                if example.len() > LONGEST_EXAMPLE || !example.chars().any(char::is_alphabetic) {
                    let detail = format!("an example has words, and at most {LONGEST_EXAMPLE} bytes");
                    let path = format!("{at}.examples[{index}]");
                    self.problem(id, &path, "invalid_value", detail, "a sentence or a few");
                }
            }
        }
    }

    pub(super) fn guardrail(&mut self, id: ItemId, path: &str, rule: &Guardrail) {
        self.guardrail_fits(id, path, rule);
        self.guardrail_asks(id, path, rule);
        let settings = [
            ("kinds", !rule.kinds.is_empty(), Detect::PersonalData, false),
            ("sensitivity", rule.sensitivity.is_some(), Detect::Jailbreak, false),
            ("words", !rule.words.is_empty(), Detect::Words, true),
            ("pattern", rule.pattern.is_some(), Detect::Pattern, true),
            ("most_characters", rule.most_characters.is_some(), Detect::Size, true),
            ("schema", rule.schema.is_some(), Detect::JsonSchema, true),
            ("model", rule.model.is_some(), Detect::Moderation, true),
            ("categories", !rule.categories.is_empty(), Detect::Moderation, false),
            ("topics", !rule.topics.is_empty(), Detect::Topics, true),
            ("embedding_model", rule.embedding_model.is_some(), Detect::Topics, true),
            ("threshold", rule.threshold.is_some(), Detect::Topics, false),
            ("only", rule.only, Detect::Topics, false),
            ("upstream", rule.upstream.is_some(), Detect::Webhook, true),
            ("path", rule.path.is_some(), Detect::Webhook, false),
        ];
        let mut complete = true;
        for (field, given, detect, needed) in settings {
            if given && rule.detect != detect {
                let detail = format!("`{field}` belongs to `detect: {}`", detect.as_str());
                self.problem(
                    id,
                    &format!("{path}.{field}"),
                    "invalid_value",
                    detail,
                    "remove it, or make it another rule",
                );
            } else if needed && !given && rule.detect == detect {
                complete = false;
                let detail = format!("`detect: {}` needs `{field}`", detect.as_str());
                self.problem(id, path, "missing_field", detail, &format!("add `{field}`"));
            }
        }
        let words = rule.words.iter().all(|word| !word.trim().is_empty() && word.len() <= LONGEST_WORD);
        if rule.words.len() > MOST_WORDS || !words {
            let detail = format!("a list has at most {MOST_WORDS} words, each of 1 to {LONGEST_WORD} bytes");
            self.problem(id, &format!("{path}.words"), "out_of_bounds", detail, "make it two rules");
        } else if rule.most_characters == Some(0) {
            let hint = "to refuse all calls, take the model away";
            self.problem(id, &format!("{path}.most_characters"), "out_of_bounds", "this is at least 1", hint);
        } else if complete && let Some(Err(why)) = self.context.guardrail.map(|build| build(rule)) {
            let (field, hint) = match rule.detect {
                Detect::Pattern => (".pattern", "see the syntax of Rust's `regex`; it looks neither ahead nor back"),
                Detect::JsonSchema => (".schema", "a schema stands for itself: nothing is fetched for it"),
                _ => ("", "see the guide on guardrails"),
            };
            self.problem(id, &format!("{path}{field}"), "invalid_value", why, hint);
        }
    }
}
