//! The signs themselves, and what each is worth.

/// A sign: words that follow each other, each at most so many words after the one before.
pub(super) struct Sign {
    pub points: u32,
    pub words: &'static [(&'static [&'static str], usize)],
}

const fn sign(points: u32, words: &'static [(&'static [&'static str], usize)]) -> Sign {
    Sign { points, words }
}

const IGNORE: &[&str] = &[
    "ignore",
    "disregard",
    "forget",
    "override",
    "bypass",
    "neglect",
    "overlook",
    "dismiss",
    "circumvent",
    "ignoring",
    "bypassing",
    "disregarding",
];
const RULES: &[&str] = &[
    "instructions",
    "instruction",
    "rules",
    "rule",
    "guidelines",
    "guideline",
    "directives",
    "directive",
    "programming",
    "policies",
    "policy",
    "restrictions",
    "restriction",
    "limitations",
    "limits",
    "safeguards",
    "filters",
    "filter",
    "training",
    "prompt",
    "prompts",
    "constraints",
    "censorship",
    "protocols",
];
const BEFORE: &[&str] = &[
    "previous",
    "prior",
    "above",
    "earlier",
    "preceding",
    "all",
    "any",
    "your",
    "every",
    "initial",
    "original",
    "system",
    "these",
    "those",
    "openai",
    "openai's",
    "the",
];
const NO: &[&str] = &[
    "no", "not", "without", "never", "don't", "dont", "doesn't", "cannot", "can't", "cant", "won't", "nor", "isn't",
    "free", "zero", "lacks", "lack", "any", "refrain", "avoid", "remove",
];
const NEVER: &[&str] = &[
    "never", "not", "cannot", "can't", "cant", "don't", "dont", "won't", "doesn't", "no", "refrain", "without", "nor",
];
const ETHICS: &[&str] = &[
    "ethics",
    "ethical",
    "moral",
    "morals",
    "morality",
    "legal",
    "legality",
    "ethically",
    "morally",
    "principles",
    "scruples",
];
const WRONG: &[&str] = &[
    "illegal",
    "unethical",
    "immoral",
    "harmful",
    "dangerous",
    "inappropriate",
    "offensive",
    "amoral",
    "unlawful",
    "malicious",
    "toxic",
    "inhumane",
    "nsfw",
    "profanity",
    "explicit",
];
const BE: &[&str] = &[
    "act",
    "pretend",
    "roleplay",
    "role",
    "simulate",
    "imagine",
    "behave",
    "impersonate",
    "play",
    "playing",
    "acting",
    "immerse",
    "simulating",
    "embody",
    "become",
];
const MODEL: &[&str] =
    &["chatgpt", "gpt", "openai", "ai", "llm", "gpt-4", "gpt-3", "claude", "bard", "gemini", "chatbot"];
const ANSWER: &[&str] = &[
    "answer",
    "answers",
    "respond",
    "reply",
    "response",
    "responses",
    "output",
    "say",
    "generate",
    "provide",
    "write",
    "comply",
    "obey",
    "fulfill",
    "fulfil",
];

pub(super) const SIGNS: &[Sign] = &[
    // Rules are to be laid aside.
    sign(4, &[(IGNORE, 0), (BEFORE, 4), (RULES, 4)]),
    sign(2, &[(IGNORE, 0), (&["previous", "prior", "everything", "above", "earlier"], 4)]),
    sign(
        3,
        &[
            (&["new", "updated", "real", "actual"], 0),
            (&["instructions", "directive", "directives", "orders"], 1),
            (&["are", "follow", "from", "override", "below", "now"], 2),
        ],
    ),
    sign(
        2,
        &[
            (NO, 0),
            (
                &[
                    "restrictions",
                    "limitations",
                    "limits",
                    "rules",
                    "filters",
                    "filter",
                    "guidelines",
                    "censorship",
                    "boundaries",
                    "constraints",
                    "restricted",
                    "bound",
                    "bounds",
                    "limited",
                ],
                4,
            ),
        ],
    ),
    sign(2, &[(NO, 0), (ETHICS, 5)]),
    sign(2, &[(NEVER, 0), (&["refuse", "refuses", "decline", "reject", "deny", "refusing", "refusal"], 4)]),
    sign(
        2,
        &[
            (NEVER, 0),
            (
                &[
                    "warnings",
                    "warning",
                    "disclaimers",
                    "disclaimer",
                    "apologize",
                    "apologise",
                    "apologies",
                    "sorry",
                    "lecture",
                    "remind",
                    "caution",
                    "censor",
                ],
                6,
            ),
        ],
    ),
    sign(
        2,
        &[
            (&["free", "freed", "broken", "liberated", "unbound", "unchained", "escaped", "break"], 0),
            (&["confines", "restrictions", "chains", "shackles", "rules", "limitations", "constraints"], 5),
        ],
    ),
    sign(
        2,
        &[
            (&["openai", "openai's", "content", "usage"], 0),
            (&["policy", "policies", "guidelines", "rules", "restrictions"], 3),
        ],
    ),
    sign(
        2,
        &[
            (&["abide", "adhere", "follow", "bound", "constrained", "limited", "restricted"], 0),
            (&["rules", "guidelines", "policies", "policy", "restrictions", "laws"], 5),
        ],
    ),
    // The model is to be another one.
    sign(6, &[(&["do"], 0), (&["anything"], 1), (&["now"], 1)]),
    sign(5, &[(&["jailbreak", "jailbroken", "jailbreaking", "jailbreaks"], 0)]),
    sign(
        4,
        &[
            (
                &[
                    "developer",
                    "dev",
                    "god",
                    "debug",
                    "sudo",
                    "admin",
                    "evil",
                    "dan",
                    "unrestricted",
                    "opposite",
                    "chaos",
                ],
                0,
            ),
            (&["mode"], 1),
        ],
    ),
    sign(2, &[(&["mode"], 0), (&["enabled", "activated", "on"], 1)]),
    sign(1, &[(&["you", "you're"], 0), (&["are", "now"], 1), (&["now", "a", "an", "called"], 1)]),
    sign(2, &[(NO, 0), (&["content"], 3), (&["policy", "policies", "filter", "filters", "guidelines"], 1)]),
    sign(
        2,
        &[(
            &[
                "unfiltered",
                "uncensored",
                "unrestricted",
                "unrestrained",
                "limitless",
                "unmoderated",
                "unaligned",
                "unhinged",
                "amoral",
                "unlimited",
            ],
            0,
        )],
    ),
    sign(1, &[(BE, 0), (&["as", "like", "that", "you're", "you", "the", "a", "an"], 2)]),
    sign(
        2,
        &[
            (&["from"], 0),
            (&["now"], 1),
            (&["on", "you", "onwards"], 2),
            (&["you", "act", "will", "your", "respond"], 3),
        ],
    ),
    sign(2, &[(&["no"], 0), (&["longer"], 1), (MODEL, 6)]),
    sign(2, &[(NEVER, 0), (&["as"], 6), (&["an", "a"], 1), (&["ai", "language", "artificial"], 1)]),
    sign(2, &[(&["stay", "stays", "remain", "break", "breaking", "breaks", "keep", "leave"], 0), (&["character"], 3)]),
    sign(
        3,
        &[
            (
                &[
                    "evil",
                    "rebellious",
                    "malicious",
                    "machiavellian",
                    "sentient",
                    "rogue",
                    "immoral",
                    "twisted",
                    "opposite",
                ],
                0,
            ),
            (
                &[
                    "ai",
                    "twin",
                    "version",
                    "bot",
                    "assistant",
                    "chatbot",
                    "model",
                    "gpt",
                    "confidant",
                    "counterpart",
                    "robot",
                    "machine",
                    "brother",
                ],
                4,
            ),
        ],
    ),
    sign(2, &[(&["two", "both", "2"], 0), (&["responses", "answers", "ways", "paragraphs", "replies"], 3)]),
    sign(
        1,
        &[
            (&["hypothetical", "fictional", "fictitious", "imaginary"], 0),
            (
                &[
                    "response",
                    "story",
                    "character",
                    "world",
                    "scenario",
                    "dialogue",
                    "novel",
                    "ai",
                    "universe",
                    "setting",
                ],
                3,
            ),
        ],
    ),
    sign(
        1,
        &[
            (&["your", "the", "his", "her"], 0),
            (&["name", "character", "persona", "role", "alter"], 1),
            (&["is", "named", "called", "ego", "of"], 1),
        ],
    ),
    sign(
        2,
        &[
            (&["always", "must", "will", "shall", "can"], 0),
            (&["comply", "obey", "anything", "whatever", "everything"], 4),
        ],
    ),
    sign(
        2,
        &[
            (&["anything", "everything", "whatever", "any"], 0),
            (&["i", "user", "question", "request"], 2),
            (&["ask", "say", "want", "asks", "request", "regardless", "matter", "wants", "says"], 3),
        ],
    ),
    sign(
        3,
        &[
            (&["lose", "deduct", "deducted", "subtract", "lost", "loses", "minus", "die", "dies"], 0),
            (&["tokens", "token", "points", "lives", "life"], 6),
        ],
    ),
    sign(
        2,
        &[(&["pretend", "make", "making", "fabricate", "made"], 0), (&["up", "internet", "verified", "browse"], 4)],
    ),
    sign(
        2,
        &[(NO, 0), (&["matter", "regardless", "consequences", "filter", "judgment", "hesitation", "exceptions"], 2)],
    ),
    // What is wanted is wrong.
    sign(2, &[(WRONG, 0), (WRONG, 3)]),
    sign(
        2,
        &[
            (WRONG, 0),
            (
                &[
                    "content",
                    "advice",
                    "information",
                    "answers",
                    "things",
                    "requests",
                    "actions",
                    "questions",
                    "activities",
                    "topics",
                    "language",
                    "material",
                    "anything",
                ],
                3,
            ),
        ],
    ),
    sign(1, &[(WRONG, 0)]),
    sign(
        1,
        &[(&["swear", "curse", "cuss", "profanity", "vulgar", "nsfw", "kinky", "slurs", "swearing", "obscene"], 0)],
    ),
    sign(
        2,
        &[
            (&["even"], 0),
            (&["if"], 1),
            (
                &[
                    "illegal",
                    "unethical",
                    "immoral",
                    "harmful",
                    "wrong",
                    "violates",
                    "against",
                    "goes",
                    "offensive",
                    "inappropriate",
                    "fake",
                    "false",
                ],
                6,
            ),
        ],
    ),
    sign(
        2,
        &[
            (ANSWER, 0),
            (NEVER, 3),
            (
                &[
                    "restrictions",
                    "censorship",
                    "filter",
                    "filters",
                    "filtering",
                    "hesitation",
                    "morality",
                    "ethics",
                    "disclaimers",
                ],
                5,
            ),
        ],
    ),
    // What is secret is to be told, or nobody is to hear of it.
    sign(
        4,
        &[
            (
                &[
                    "reveal", "show", "print", "repeat", "output", "display", "tell", "leak", "expose", "share",
                    "give", "what",
                ],
                0,
            ),
            (&["your", "the", "me"], 3),
            (&["system", "hidden", "initial", "secret", "original", "developer"], 3),
            (&["prompt", "instructions", "message", "messages"], 2),
        ],
    ),
    sign(3, &[(&["repeat", "print", "output"], 0), (&["words", "text", "everything"], 3), (&["above", "before"], 3)]),
    sign(
        4,
        &[
            (&["not", "don't", "never", "without"], 0),
            (&["tell", "telling", "inform", "informing", "mention", "alert", "notify", "notifying"], 2),
            (&["user", "human", "users"], 3),
        ],
    ),
    sign(
        3,
        &[
            (&["send", "forward", "email", "upload", "post", "exfiltrate", "transmit"], 0),
            (&["password", "passwords", "credentials", "secrets", "token", "tokens", "keys", "conversation"], 5),
            (&["to"], 4),
        ],
    ),
    sign(3, &[(&["system", "admin", "important", "security"], 0), (&["override", "overrides"], 2)]),
];

/// Marks with which the parts of a conversation are parted: they do not belong into one of them.
pub(super) const MARKS: &[&str] = &[
    "<|im_start|>",
    "<|im_end|>",
    "<|system|>",
    "[/inst]",
    "<<sys>>",
    "<|endoftext|>",
    "### system:",
    "<|start_header_id|>",
];
pub(super) const POINTS_OF_MARKS: u32 = 4;
