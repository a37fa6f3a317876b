//! The rows of the provider list: base URLs as each provider documents them, looked up in November 2026.
//!
//! | Provider | Where the base URL is written |
//! | --- | --- |
//! | anthropic | <https://platform.claude.com/docs/en/api/overview> |
//! | azure-openai | <https://learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle>: `/openai/v1` below each resource's own address |
//! | bedrock | <https://docs.aws.amazon.com/general/latest/gr/bedrock.html>: `bedrock-runtime` at each region's own address |
//! | cohere | <https://docs.cohere.com/docs/compatibility-api> |
//! | deepinfra | <https://deepinfra.com/docs/advanced/openai_api> |
//! | deepseek | <https://api-docs.deepseek.com/>; `/v1` behind it is an older form that is still taken |
//! | perplexity | <https://docs.perplexity.ai/docs/sonar/openai-compatibility>: no `/v1` for chat completions |
//! | together | <https://docs.together.ai/docs/inference/openai-compatibility>; `api.together.xyz` is the older host |
//! | zai | <https://ai-sdk.dev/v5/providers/ai-sdk-providers/zai>; coding plans have a base URL of their own |
//! | moonshot | <https://www.promptfoo.dev/docs/providers/moonshot/>; keys from China need `api.moonshot.cn` |
//! | cerebras, fireworks, sambanova | <https://docs.pipecat.ai/api-reference/server/services/llm/cerebras> and its neighbours |
//! | huggingface | <https://pkg.go.dev/github.com/Tangerg/scope/models/huggingface> |
//! | gemini | <https://ai.google.dev/api> |
//! | cohere-rerank | <https://docs.cohere.com/reference/rerank> |
//! | jina | <https://jina.ai/embeddings/>, <https://jina.ai/reranker/> |
//! | voyage | <https://docs.voyageai.com/reference/embeddings-api>, <https://docs.voyageai.com/reference/reranker-api> |
//! | openai-chat, openai-responses | as openai: for servers that speak only the one or the other |
//! | gemini-openai, groq, lmstudio, mistral, nvidia, ollama, xai | <https://developer.4d.com/docs/21-R3/aikit/compatible-openai> |
//! | openai, openrouter | <https://www.mintlify.com/BoundaryML/baml/reference/providers/openai-compatible> |
//! | vertex | <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference>: below each project and location, at the location's own address |
//! | vertex-anthropic | <https://platform.claude.com/docs/en/api/claude-on-vertex-ai>: `publishers/anthropic` below each project and location |
//! | vertex-ranking | <https://docs.cloud.google.com/generative-ai-app-builder/docs/ranking>: `rankingConfigs` below each project and location of Discovery Engine |
//! | replicate | <https://replicate.com/docs/reference/http>: predictions, below each model or by its version |
//! | vllm | the port its server listens on unless told otherwise |
//!
//! Where only another project's documentation could be read, it stands in for the provider's own.
//!
//! `asks` is chosen by what recorded streams show and the providers document: most follow OpenAI and report
//! usage only when asked; where usage comes unasked, requests stay untouched. Cohere refuses to be asked
//! (<https://strandsagents.com/docs/user-guide/concepts/model-providers/cohere/>). `also_responses` are those of which
//! exchanges at `/responses` below the same base are recorded. What can be asked of a provider beside that is what its
//! documentation describes below the same base, in OpenAI's form (ranking in Cohere's). Who counts tokens beforehand, and
//! how, is written at [`crate::translate::count`]. Batches are those of OpenAI's form, with its paths and its files:
//! <https://docs.deepinfra.com/batch/introduction>, <https://platform.kimi.ai/docs/guide/use-batch-api>,
//! <https://learn.microsoft.com/en-us/azure/foundry/openai/how-to/batch>. Together, Fireworks, Mistral and xAI have forms of
//! their own.

use super::{Base, CallIds, Counting, DefaultInjector, Dialect, LimitField, Provider, Thoughts};
use crate::task::{
    Task::{
        self, Batches, Embeddings, Files, ImageEdits, ImageGenerations, Moderations, Realtime, Rerank, Speech,
        Transcriptions, Translations,
    },
    Tasks,
};

const fn compatible(name: &'static str, url: &'static str, ask_usage: bool) -> Provider {
    Provider {
        name,
        base: Base::Url(url),
        dialect: Dialect::OpenAi,
        responses: false,
        tasks: Tasks::CHAT,
        counts: None,
        injector: DefaultInjector::Bearer,
        ask_usage,
        limit: LimitField::MaxTokens,
        keeps_thinking: None,
        call_ids: CallIds::Usual,
    }
}

/// One that calls `max_tokens` deprecated.
const fn newer(provider: Provider) -> Provider {
    Provider { limit: LimitField::MaxCompletionTokens, ..provider }
}

/// One that speaks Responses beside Chat Completions.
const fn also_responses(provider: Provider) -> Provider {
    Provider { responses: true, ..provider }
}

/// One that refuses a conversation in which tools were called without what was thought before
/// (<https://api-docs.deepseek.com/guides/thinking_mode>,
/// <https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model#multi-step-tool-call>).
const fn keeps_thinking(provider: Provider) -> Provider {
    takes_back(Thoughts::Text, provider)
}

/// One that is sent back what its models thought. Google's wants the signatures before calls of tools
/// (<https://ai.google.dev/gemini-api/docs/thought-signatures>), OpenRouter what it told of each
/// (<https://openrouter.ai/docs/use-cases/reasoning-tokens>).
const fn takes_back(thoughts: Thoughts, provider: Provider) -> Provider {
    Provider { keeps_thinking: Some(thoughts), ..provider }
}

/// One that counts tokens beforehand.
const fn counts(by: Counting, provider: Provider) -> Provider {
    Provider { counts: Some(by), ..provider }
}

/// One that offers what OpenAI does.
const fn as_openai(provider: Provider) -> Provider {
    Provider { tasks: Tasks::OPENAI, ..provider }
}

/// One of which this can be asked as well.
const fn also(tasks: &[Task], provider: Provider) -> Provider {
    Provider { tasks: provider.tasks.and(tasks), ..provider }
}

/// One of which this can be asked, and no conversation.
const fn only(tasks: &[Task], provider: Provider) -> Provider {
    Provider { tasks: Tasks::of(tasks), ..provider }
}

const ASKS: bool = true;
const UNASKED: bool = false;

pub(super) const PROVIDERS: &[Provider] = &[
    counts(
        Counting::Responses,
        as_openai(also_responses(newer(compatible("openai", "https://api.openai.com/v1", ASKS)))),
    ),
    as_openai(compatible("openai-chat", "https://api.openai.com/v1", ASKS)),
    as_openai(Provider {
        dialect: Dialect::Responses,
        counts: Some(Counting::Responses),
        ..compatible("openai-responses", "https://api.openai.com/v1", UNASKED) // always
    }),
    Provider {
        name: "sandbox",
        base: Base::Sandbox,
        dialect: Dialect::OpenAi,
        responses: true,
        tasks: Tasks::CHAT.and(&[Embeddings]),
        counts: Some(Counting::Responses),
        injector: DefaultInjector::Bearer,
        ask_usage: ASKS,
        limit: LimitField::MaxCompletionTokens,
        keeps_thinking: None,
        call_ids: CallIds::Usual,
    },
    Provider {
        name: "anthropic",
        base: Base::Url("https://api.anthropic.com/v1"),
        dialect: Dialect::Anthropic,
        responses: false,
        tasks: Tasks::CHAT.and(&[Batches, Files]),
        counts: Some(Counting::Messages),
        injector: DefaultInjector::Header("x-api-key"),
        ask_usage: UNASKED, // always in streams
        limit: LimitField::MaxTokens,
        keeps_thinking: None,
        call_ids: CallIds::Usual,
    },
    also(
        &[Embeddings, ImageGenerations, ImageEdits, Speech, Transcriptions, Translations, Realtime, Batches, Files],
        also_responses(Provider {
            base: Base::Own,
            counts: Some(Counting::Responses),
            injector: DefaultInjector::Header("api-key"),
            ..newer(compatible("azure-openai", "", ASKS))
        }),
    ),
    also(
        &[Embeddings, Rerank],
        Provider {
            dialect: Dialect::Bedrock,
            base: Base::Own,
            counts: Some(Counting::Converse),
            ..compatible("bedrock", "", UNASKED) // at the end of streams
        },
    ),
    newer(compatible("cerebras", "https://api.cerebras.ai/v1", ASKS)),
    also(&[Embeddings], compatible("cohere", "https://api.cohere.ai/compatibility/v1", UNASKED)), // `stream_options` is refused
    only(&[Rerank], compatible("cohere-rerank", "https://api.cohere.com/v2", UNASKED)), // not a part of the other
    also(
        &[Embeddings, ImageGenerations, Speech, Transcriptions, Translations, Batches],
        compatible("deepinfra", "https://api.deepinfra.com/v1/openai", ASKS),
    ),
    keeps_thinking(also_responses(compatible("deepseek", "https://api.deepseek.com", ASKS))),
    also(&[Embeddings, Rerank], compatible("fireworks", "https://api.fireworks.ai/inference/v1", ASKS)),
    Provider {
        name: "gemini",
        base: Base::Url("https://generativelanguage.googleapis.com/v1beta"),
        dialect: Dialect::Gemini,
        responses: false,
        tasks: Tasks::CHAT.and(&[Embeddings, Realtime, Batches, Files]),
        counts: Some(Counting::Gemini),
        injector: DefaultInjector::Header(crate::gemini::KEY_HEADER),
        ask_usage: UNASKED, // in every event
        limit: LimitField::MaxTokens,
        keeps_thinking: None,
        call_ids: CallIds::Usual,
    },
    also(
        &[Embeddings, ImageGenerations],
        takes_back(
            Thoughts::ExtraContent,
            compatible("gemini-openai", "https://generativelanguage.googleapis.com/v1beta/openai", ASKS),
        ),
    ),
    also(
        &[Speech, Transcriptions, Translations, Batches],
        newer(compatible("groq", "https://api.groq.com/openai/v1", ASKS)),
    ), // newer models report in x_groq unasked, not all do
    compatible("huggingface", "https://router.huggingface.co/v1", ASKS),
    only(&[Embeddings, Rerank], compatible("jina", "https://api.jina.ai/v1", UNASKED)),
    also(&[Embeddings], compatible("lmstudio", "http://127.0.0.1:1234/v1", ASKS)),
    also(
        &[Embeddings, Moderations, Transcriptions],
        Provider {
            call_ids: CallIds::NineCharacters,
            ..compatible("mistral", "https://api.mistral.ai/v1", UNASKED) // in the last event
        },
    ),
    also(&[Batches], keeps_thinking(compatible("moonshot", "https://api.moonshot.ai/v1", ASKS))),
    also(&[Embeddings], compatible("nvidia", "https://integrate.api.nvidia.com/v1", ASKS)),
    also(&[Embeddings], compatible("ollama", "http://127.0.0.1:11434/v1", ASKS)),
    also(
        &[Embeddings],
        takes_back(Thoughts::Details, also_responses(compatible("openrouter", "https://openrouter.ai/api/v1", ASKS))),
    ),
    compatible("perplexity", "https://api.perplexity.ai", UNASKED), // in every event
    Provider {
        dialect: Dialect::Replicate,
        ..compatible("replicate", "https://api.replicate.com/v1", UNASKED) // when it is over
    },
    also(&[Embeddings, Transcriptions], compatible("sambanova", "https://api.sambanova.ai/v1", ASKS)),
    also(
        &[Embeddings, ImageGenerations, Speech, Transcriptions, Translations, Rerank],
        compatible("together", "https://api.together.ai/v1", ASKS),
    ),
    also(
        &[Embeddings],
        Provider {
            dialect: Dialect::Gemini,
            base: Base::Own,
            counts: Some(Counting::Vertex),
            ..compatible("vertex", "", UNASKED) // in every event
        },
    ),
    Provider {
        dialect: Dialect::Anthropic,
        base: Base::Own,
        counts: Some(Counting::Messages),
        ..compatible("vertex-anthropic", "", UNASKED) // always in streams
    },
    only(
        &[Rerank],
        Provider { dialect: Dialect::Gemini, base: Base::Own, ..compatible("vertex-ranking", "", UNASKED) },
    ), // another API than the rest
    also(&[Embeddings, Transcriptions, Translations, Rerank], compatible("vllm", "http://127.0.0.1:8000/v1", ASKS)),
    only(&[Embeddings, Rerank], compatible("voyage", "https://api.voyageai.com/v1", UNASKED)),
    also(&[ImageGenerations], also_responses(newer(compatible("xai", "https://api.x.ai/v1", ASKS)))),
    also(&[ImageGenerations], compatible("zai", "https://api.z.ai/api/paas/v4", ASKS)),
];
