//! The rows of the provider list: base URLs as each provider documents them.
//!
//! `asks` is chosen by what recorded streams show and the providers document: most follow OpenAI and report
//! usage only when asked; where usage comes unasked, requests stay untouched.

use super::{Base, DefaultInjector, Dialect, Provider};

const fn compatible(name: &'static str, url: &'static str, ask_usage: bool) -> Provider {
    Provider { name, base: Base::Url(url), dialect: Dialect::OpenAi, injector: DefaultInjector::Bearer, ask_usage }
}

const ASKS: bool = true;
const UNASKED: bool = false;

pub(super) const PROVIDERS: &[Provider] = &[
    compatible("openai", "https://api.openai.com/v1", ASKS),
    Provider {
        name: "sandbox",
        base: Base::Sandbox,
        dialect: Dialect::OpenAi,
        injector: DefaultInjector::Bearer,
        ask_usage: ASKS,
    },
    compatible("cerebras", "https://api.cerebras.ai/v1", ASKS),
    compatible("deepinfra", "https://api.deepinfra.com/v1/openai", ASKS),
    compatible("deepseek", "https://api.deepseek.com/v1", ASKS),
    compatible("fireworks", "https://api.fireworks.ai/inference/v1", ASKS),
    compatible("gemini-openai", "https://generativelanguage.googleapis.com/v1beta/openai", ASKS),
    compatible("groq", "https://api.groq.com/openai/v1", ASKS), // newer models report in x_groq unasked, not all do
    compatible("huggingface", "https://router.huggingface.co/v1", ASKS),
    compatible("lmstudio", "http://127.0.0.1:1234/v1", ASKS),
    compatible("mistral", "https://api.mistral.ai/v1", UNASKED), // in the last event
    compatible("moonshot", "https://api.moonshot.ai/v1", ASKS),
    compatible("nvidia", "https://integrate.api.nvidia.com/v1", ASKS),
    compatible("ollama", "http://127.0.0.1:11434/v1", ASKS),
    compatible("openrouter", "https://openrouter.ai/api/v1", ASKS),
    compatible("perplexity", "https://api.perplexity.ai", UNASKED), // in every event
    compatible("sambanova", "https://api.sambanova.ai/v1", ASKS),
    compatible("together", "https://api.together.xyz/v1", ASKS),
    compatible("vllm", "http://127.0.0.1:8000/v1", ASKS),
    compatible("xai", "https://api.x.ai/v1", ASKS),
    compatible("zai", "https://api.z.ai/api/paas/v4", ASKS),
];
