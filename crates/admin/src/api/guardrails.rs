//! Guardrails: sets of rules for what is said to models and what they answer, which models share.

plain_resource!(
    GuardrailSet,
    "guardrails",
    "guardrail set",
    "/api/v1/guardrails",
    "/api/v1/guardrails/{name}",
    list_guardrails,
    create_guardrail_set,
    get_guardrail_set,
    replace_guardrail_set,
    delete_guardrail_set
);
