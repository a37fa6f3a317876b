//! What a model of Anthropic's takes, as far as its generations differ: how it is asked to think, and whether it may be
//! told how to choose its tokens, which tool to call and what to begin with. Told by its id, so that models that come
//! after the catalogue are asked as those of their generation.
//!
//! Sources, read on 2026-11-23: <https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking>,
//! <https://platform.claude.com/docs/en/build-with-claude/effort>, the migration guides of Opus 5.5, Sonnet 5.5 and
//! Haiku 5.5 below <https://platform.claude.com/docs/en/models>, and
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html>.

/// What the generations differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    family: Family,
    version: (u16, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Opus,
    Sonnet,
    Haiku,
    /// Fable, Mythos, and what there may be one day.
    Other,
}

/// How a model is asked not to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Off {
    /// It thinks only when it is asked to.
    Unasked,
    /// `thinking` of this type, and an effort of `high` at most.
    Of(&'static str),
    /// It cannot be: the least effort is the nearest.
    Never,
}

impl Generation {
    /// Of a model's id, as Anthropic, AWS, Google and others write it: `claude-opus-4-7`, `claude-3-7-sonnet-20250219`,
    /// `eu.anthropic.claude-sonnet-4-5-20250929-v1:0`, `claude-haiku-4-5@20251001`, `claude-opus-4.7`. `None` where it is none
    /// of Claude's: what its server takes is not known.
    pub fn of(model: &str) -> Option<Self> {
        let id = &model[model.rfind("claude")?..];
        let words = || id.split(['-', '.', '@', '_', ':', '/']).skip(1);
        let family = words().find_map(|word| match word {
            "opus" => Some(Family::Opus),
            "sonnet" => Some(Family::Sonnet),
            "haiku" => Some(Family::Haiku),
            _ => None,
        });
        // Dates have more digits.
        let number = |word: &str| word.parse::<u16>().ok().filter(|_| word.len() <= 2);
        let mut rest = words().skip_while(|word| number(word).is_none());
        let version = match rest.next().and_then(number) {
            Some(major) => (major, rest.next().and_then(number).unwrap_or(0)),
            // Previews are told by a name alone.
            None if words().any(|word| word == "mythos") => (5, 0),
            None => return None,
        };
        Some(Self { family: family.unwrap_or(Family::Other), version })
    }

    /// Whether it decides itself how much to think (`adaptive`), by an effort; else it is given a budget of tokens.
    pub fn adapts(self) -> bool {
        self.version >= (4, 6)
    }

    /// Whether it takes `temperature`, `top_p` and `top_k`.
    pub fn samples(self) -> bool {
        self.version < (4, 7)
    }

    /// Whether it goes on with a last turn of the assistant's.
    pub fn goes_on(self) -> bool {
        self.version < (4, 6)
    }

    /// Whether it can be made to call a tool.
    pub fn calls_when_told(self) -> bool {
        match self.family {
            Family::Opus | Family::Sonnet => self.version < (5, 5),
            Family::Haiku => true,
            Family::Other => self.version < (5, 1),
        }
    }

    /// Whether what it thinks is shown only when that is asked for (`display`).
    pub fn hides(self) -> bool {
        self.version >= (4, 7)
    }

    /// Its word for the second highest effort, which came after the highest.
    pub fn second_effort(self) -> &'static str {
        if self.version >= (4, 7) { "xhigh" } else { "max" }
    }

    /// How it is asked not to think.
    pub fn off(self) -> Off {
        match self.family {
            _ if self.version < (5, 0) => Off::Unasked,
            Family::Haiku => Off::Of("disabled"),
            Family::Opus | Family::Sonnet if self.version < (5, 5) => Off::Of("disabled"),
            Family::Sonnet => Off::Of("between_tools"),
            Family::Opus | Family::Other => Off::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_what_a_model_takes() {
        // Model; whether it adapts, samples, goes on and calls when told; how it is asked not to think.
        let (always, disabled, between) = (Off::Never, Off::Of("disabled"), Off::Of("between_tools"));
        for (model, takes, off) in [
            ("claude-3-haiku-20240307", [false, true, true, true], Off::Unasked),
            ("claude-3-7-sonnet-20250219", [false, true, true, true], Off::Unasked),
            ("claude-3-7-sonnet-latest", [false, true, true, true], Off::Unasked),
            ("claude-sonnet-4-20250514", [false, true, true, true], Off::Unasked),
            ("claude-opus-4-1-20250805", [false, true, true, true], Off::Unasked),
            ("claude-haiku-4-5@20251001", [false, true, true, true], Off::Unasked),
            ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", [false, true, true, true], Off::Unasked),
            ("claude-opus-4-6", [true, true, false, true], Off::Unasked),
            ("us.anthropic.claude-opus-4-6-v1", [true, true, false, true], Off::Unasked),
            ("anthropic.claude-sonnet-4-6", [true, true, false, true], Off::Unasked),
            ("claude-opus-4-7", [true, false, false, true], Off::Unasked),
            ("anthropic/claude-opus-4.8", [true, false, false, true], Off::Unasked),
            ("claude-opus-5", [true, false, false, true], disabled),
            ("claude-sonnet-5", [true, false, false, true], disabled),
            ("claude-haiku-5-5", [true, false, false, true], disabled),
            ("claude-fable-5", [true, false, false, true], always),
            ("global.anthropic.claude-fable-5-1", [true, false, false, false], always),
            ("claude-mythos-preview", [true, false, false, true], always),
            ("claude-opus-5-5", [true, false, false, false], always),
            ("claude-sonnet-5-5@20260928", [true, false, false, false], between),
            ("claude-opus-6", [true, false, false, false], always),
            (
                "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-opus-4-7",
                [true, false, false, true],
                Off::Unasked,
            ),
        ] {
            let of = Generation::of(model).unwrap_or_else(|| panic!("{model}"));
            assert_eq!([of.adapts(), of.samples(), of.goes_on(), of.calls_when_told()], takes, "{model}");
            assert_eq!(of.off(), off, "{model}");
        }
        for unknown in
            ["", "claude", "claude-x", "glm-4.7", "arn:aws:bedrock:eu-central-1:1:application-inference-profile/x1"]
        {
            assert_eq!(Generation::of(unknown), None, "{unknown}");
        }
    }
}
