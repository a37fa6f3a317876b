//! Which members of calls and answers are content, by their names.

/// What is no content at the top of a call.
pub(in crate::guardrail) const NO_CONTENT_OF_CALLS: &[&str] = &[
    "model",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "response_format",
    "text",
    "mcp_servers",
    "container",
    "include",
    "stop",
    "stop_sequences",
    "generationConfig",
    "generation_config",
    "safetySettings",
    "safety_settings",
    "toolConfig",
    "tool_config",
    "cachedContent",
    "cached_content",
    "previous_response_id",
    "conversation",
    "prompt_cache_key",
    "service_tier",
    "modalities",
    "audio",
    "stream_options",
    "reasoning",
    "thinking",
    "output_config",
    "output_format",
    "context_management",
];
/// Fields at the top of a call that define tools or the form of the answer: what they describe is content.
pub(super) const DEFINITIONS: &[&str] = &[
    "tools",
    "functions",
    "response_format",
    "text",
    "output_format",
    "output_config",
    "generationConfig",
    "generation_config",
];
/// What is described in definitions: texts of these names, and lists of them.
pub(super) const DESCRIBES: &[&str] =
    &["description", "title", "enum", "const", "default", "example", "examples", "$comment"];
/// Of these, those whose value may be anything.
pub(super) const VALUES: &[&str] = &["const", "default", "example", "examples"];
/// Fields of messages and their parts that are no content.
pub(super) const NO_CONTENT: &[&str] = &[
    "role",
    "type",
    "id",
    "tool_call_id",
    "call_id",
    "tool_use_id",
    "name",
    "media_type",
    "mime_type",
    "mimeType",
    "signature",
    "thoughtSignature",
    "thought_signature",
    "encrypted_content",
    "encrypted_index",
    "file_id",
    "status",
    "detail",
    "format",
    "ttl",
    "finish_reason",
    "finishReason",
    "cache_control",
];
/// Fields of answers, and of the events of a streamed one, that are no content beside those: names and numbers of the
/// answer, what it repeats of the call, and what is told of each token (which is taken out).
pub(super) const NO_CONTENT_OF_ANSWERS: &[&str] = &[
    "object",
    "model",
    "modelVersion",
    "system_fingerprint",
    "service_tier",
    "usage",
    "usageMetadata",
    "x_groq",
    "responseId",
    "response_id",
    "item_id",
    "previous_response_id",
    "conversation",
    "createTime",
    "event_id",
    "obfuscation",
    "stop_reason",
    "stop_sequence",
    "native_finish_reason",
    "instructions",
    "tools",
    "tool_choice",
    "metadata",
    "prompt",
    "prompt_cache_key",
    "user",
    "safety_identifier",
    "truncation",
    "include",
    "safetyRatings",
    "content_filter_results",
    "partial_image_b64",
    "logprobs",
    "logprobsResult",
];
/// Fields that tell of each token what it is, in place of its text.
pub(super) const TOKENS: &[&str] = &["logprobs", "logprobsResult"];
/// Numbers by which the parts of a stream are told apart; the first two say which choice or block it is.
pub(super) const INDEXES: &[&str] = &["index", "output_index", "content_index", "summary_index"];
/// Fields that hold what the model and its tools say to each other, in a form of their own.
pub(super) const FREE: &[&str] = &["input", "args", "arguments", "response", "output"];
/// Fields of a call in which the application tells the model what to be.
pub(super) const APPLICATION: &[&str] = &["system", "systemInstruction", "system_instruction", "instructions"];
/// Fields that hold media.
pub(super) const MEDIA: &[&str] = &["data", "file_data", "url", "image_url", "result", "b64_json"];
/// Fields of a call that hold what is said in it.
pub(super) const CONVERSATION: &[&str] = &["messages", "input", "contents", "prompt"];
