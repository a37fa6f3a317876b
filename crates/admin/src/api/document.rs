//! The OpenAPI document: what all operations share, and the operation that serves it.

use super::PUBLIC;
use crate::{
    AdminState,
    error::{Code, ProblemDetails},
};
use axum::response::{IntoResponse, Response};
use utoipa::{
    OpenApi, PartialSchema, ToSchema,
    openapi::{
        self, ContentBuilder, Ref, RefOr, ResponseBuilder,
        path::{HttpMethod, Operation},
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Credentialflow admin API",
        description = "The control plane of Credentialflow: declare who may call what, keep the credentials, see every use.\n\n\
            Every answer to a change is given after every gateway worker enforces it. Refusals are problem details \
            (RFC 9457) with a stable `code`. Lists are paged with opaque cursors. `ETag` and `If-Match` guard concurrent \
            edits. `Idempotency-Key` on a creation makes the same answer available again for 24 hours.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "session", description = "Sign in for the console"),
        (name = "seal", description = "Open and close the vault"),
        (name = "run-time", description = "The way into the API that Vault's clients speak"),
        (name = "status", description = "How the installation is doing"),
        (name = "teams", description = "Who owns applications and credentials"),
        (name = "applications", description = "Parties that call"),
        (name = "keys", description = "Keys issued to applications; shown once"),
        (name = "credentials", description = "Credentials held for upstreams; never shown"),
        (name = "certificates", description = "Certificates that pass through, and when each one ends"),
        (name = "targets", description = "Systems in which credentials live"),
        (name = "stores", description = "External stores of secrets"),
        (name = "upstreams", description = "Where requests go"),
        (name = "routes", description = "What callers see"),
        (name = "guardrails", description = "Rules for what is said to models and what they answer, which models share"),
        (name = "models", description = "Public model names and what serves them"),
        (name = "prompts", description = "What is said to models, in versions"),
        (name = "leak responses", description = "How leaks are answered"),
        (name = "config", description = "Check, plan, apply and export everything at once"),
        (name = "calls", description = "The call log and what it adds up to"),
        (name = "budgets", description = "What may be spent on models, and what is"),
        (name = "spend", description = "What model calls cost"),
        (name = "audit", description = "Who changed what"),
        (name = "inventory", description = "Every credential, what is wrong with it, and what hangs on it"),
        (name = "leaks", description = "Secrets of ours that were found where they must not be"),
        (name = "leases", description = "Logins and certificates that the run-time API handed out"),
        (name = "health", description = "For probes and scrapers; no sign-in"),
        (name = "document", description = "This document")
    )
)]
struct Document;

/// The document without any operation.
pub(super) fn empty() -> OpenApiRouter<AdminState> {
    OpenApiRouter::with_openapi(Document::openapi())
}

/// Adds to every operation what they share: how to authenticate, and how a refusal looks.
pub(super) fn finish(mut document: openapi::OpenApi) -> openapi::OpenApi {
    let components = document.components.get_or_insert_default();
    let mut schemas = vec![(ProblemDetails::name().into_owned(), ProblemDetails::schema())];
    ProblemDetails::schemas(&mut schemas);
    components.schemas.extend(schemas);
    components.responses.insert(
        "Problem".to_owned(),
        ResponseBuilder::new()
            .description("A refusal, as problem details (RFC 9457)")
            .content(
                "application/problem+json",
                ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDetails"))).build(),
            )
            .build()
            .into(),
    );
    components.security_schemes.insert(
        "token".to_owned(),
        SecurityScheme::Http(
            Http::builder().scheme(HttpAuthScheme::Bearer).description(Some("The administrator's token")).build(),
        )
        .into(),
    );
    components.security_schemes.insert(
        "session".to_owned(),
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            crate::auth::COOKIE,
            "The console's session; changes also need the header x-credentialflow-csrf: 1. Named __Host-credentialflow over TLS.",
        )))
        .into(),
    );
    for (path, item) in &mut document.paths.paths {
        let operations = [
            (HttpMethod::Get, &mut item.get),
            (HttpMethod::Put, &mut item.put),
            (HttpMethod::Post, &mut item.post),
            (HttpMethod::Delete, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                share(path, &method, operation);
            }
        }
    }
    document
}

fn share(path: &str, method: &HttpMethod, operation: &mut Operation) {
    let method = match method {
        HttpMethod::Get => "get",
        HttpMethod::Put => "put",
        HttpMethod::Post => "post",
        _ => "delete",
    };
    let problem = || RefOr::Ref(Ref::from_response_name("Problem"));
    operation.responses.responses.insert("default".to_owned(), problem());
    if PUBLIC.contains(&(method, path)) {
        operation.security = Some(vec![SecurityRequirement::default()]);
    } else {
        operation.responses.responses.insert(Code::Unauthenticated.status().as_str().to_owned(), problem());
        operation.security = Some(vec![
            SecurityRequirement::new::<_, [&str; 0], &str>("token", []),
            SecurityRequirement::new::<_, [&str; 0], &str>("session", []),
        ]);
    }
}

/// This document
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "document",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
async fn get_openapi() -> Response {
    axum::Json(super::openapi()).into_response()
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(get_openapi))
}
