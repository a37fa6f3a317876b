//! Checks of guardrails: each rule has what its detector needs and nothing else, and can be built.

use super::Checker;
use crate::{
    config::source::ItemId,
    resource::{Detect, Guardrail, GuardrailAction},
};
use std::collections::HashSet;

/// Rules of a model.
const MOST_RULES: usize = 32;
/// Words of a rule, and bytes of a word.
const MOST_WORDS: usize = 1000;
const LONGEST_WORD: usize = 200;
/// Lists of words and patterns of all models that differ: each is kept built, and a large one takes megabytes.
const MOST_EXPRESSIONS: usize = 256;

/// What of a rule is built as an expression of its own: its words and its pattern.
pub(super) type Expression<'a> = (&'a [String], Option<&'a str>);

impl Checker<'_> {
    pub(super) fn guardrails(&mut self, id: ItemId, rules: &[Guardrail]) {
        if rules.len() > MOST_RULES {
            let detail = format!("a model has at most {MOST_RULES} guardrails");
            self.problem(id, "guardrails", "out_of_bounds", detail, "a list of words counts as one");
        }
        for (index, rule) in rules.iter().enumerate() {
            self.guardrail(id, &format!("guardrails[{index}]"), rule);
        }
    }

    /// Counts what the rules of one more model add to those before.
    pub(super) fn expressions<'r>(&mut self, id: ItemId, rules: &'r [Guardrail], seen: &mut HashSet<Expression<'r>>) {
        for (index, rule) in rules.iter().enumerate() {
            let expression: Expression<'r> = (&rule.words, rule.pattern.as_deref());
            let is_one = !rule.words.is_empty() || rule.pattern.is_some();
            // The first that is too much says it for all.
            if is_one && seen.insert(expression) && seen.len() == MOST_EXPRESSIONS + 1 {
                let detail = format!(
                    "all models together have at most {MOST_EXPRESSIONS} different lists of words and patterns"
                );
                let hint = "models may have the same rules; a pattern may have several branches: a|b";
                self.problem(id, &format!("guardrails[{index}]"), "out_of_bounds", detail, hint);
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
        if *hold && !(on.answers() && matches!(action, Action::Block | Action::Redact)) {
            let detail = "`hold` is for answers that are blocked or redacted".into();
            wrong("hold", detail, "remove it, or write on: answer");
        }
    }

    fn guardrail(&mut self, id: ItemId, path: &str, rule: &Guardrail) {
        self.guardrail_fits(id, path, rule);
        let settings = [
            ("kinds", !rule.kinds.is_empty(), Detect::PersonalData, false),
            ("sensitivity", rule.sensitivity.is_some(), Detect::Jailbreak, false),
            ("words", !rule.words.is_empty(), Detect::Words, true),
            ("pattern", rule.pattern.is_some(), Detect::Pattern, true),
            ("most_characters", rule.most_characters.is_some(), Detect::Size, true),
            ("schema", rule.schema.is_some(), Detect::JsonSchema, true),
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
