//! The five operations of a plain resource (no secret, no life of its own), made by one macro so
//! that teams, applications, upstreams, routes and models behave alike.

/// Makes list, create, read, replace and delete of one kind, with their OpenAPI entries.
macro_rules! plain_resource {
    ($type:ident, $tag:literal, $one:literal, $list_path:literal, $item_path:literal,
     $list:ident, $create:ident, $get:ident, $replace:ident, $delete:ident) => {
        use crate::{
            AdminState,
            api::{
                answer::{Item, Page, Tagged, stored},
                request::{Document, ListQuery, Query},
            },
            auth::Administrator,
            error::ApiError,
            resources,
        };
        use axum::{
            Json,
            extract::{Path, State},
            response::Response,
        };
        use credentialflow_model::resource::$type;
        use http::{HeaderMap, StatusCode};
        use utoipa_axum::{router::OpenApiRouter, routes};

        #[doc = concat!("List ", $tag)]
        #[utoipa::path(get, path = $list_path, tag = $tag, params(ListQuery),
            responses((status = 200, description = "In the order of their names", body = Page<Item<$type>>)))]
        async fn $list(
            State(state): State<AdminState>,
            _: Administrator,
            Query(query): Query<ListQuery>,
        ) -> Result<Json<Page<Item<$type>>>, ApiError> {
            resources::list(&state, &query).await.map(Json)
        }

        #[doc = concat!("Create one of the ", $tag)]
        #[utoipa::path(post, path = $list_path, tag = $tag,
            request_body(content(($type = "application/json"), (String = "application/yaml"))),
            params(("Idempotency-Key" = Option<String>, Header, description = "Makes the same answer available again for 24 hours")),
            responses((status = 201, description = "Stored and enforced by every worker", body = Item<$type>,
                headers(("ETag" = String, description = "The revision, in quotes")))))]
        async fn $create(
            State(state): State<AdminState>,
            Administrator(actor): Administrator,
            headers: HeaderMap,
            body: Document,
        ) -> Result<Response, ApiError> {
            resources::create::<$type>(&state, &actor, &headers, &body).await
        }

        #[doc = concat!("Read one of the ", $tag)]
        #[utoipa::path(get, path = $item_path, tag = $tag, params(("name" = String, Path, description = "Its name")),
            responses((status = 200, description = "As stored; as YAML only what was declared",
                content((Item<$type> = "application/json"), (String = "application/yaml")),
                headers(("ETag" = String, description = "The revision, in quotes")))))]
        async fn $get(
            State(state): State<AdminState>,
            _: Administrator,
            Path(name): Path<String>,
            headers: HeaderMap,
        ) -> Result<Response, ApiError> {
            let item = resources::get::<$type>(&state, &name).await?;
            Ok(stored(&headers, item.revision, &item.spec, &item))
        }

        #[doc = concat!("Create or replace one of the ", $tag)]
        #[utoipa::path(put, path = $item_path, tag = $tag,
            request_body(content(($type = "application/json"), (String = "application/yaml"))),
            params(("name" = String, Path, description = "Its name; the body must have the same"),
                ("If-Match" = Option<String>, Header, description = "Refuse if it is not at this revision any more")),
            responses((status = 200, description = "Stored and enforced by every worker", body = Item<$type>,
                headers(("ETag" = String, description = "The revision, in quotes"))),
                (status = 201, description = "Created, and enforced by every worker", body = Item<$type>)))]
        async fn $replace(
            State(state): State<AdminState>,
            Administrator(actor): Administrator,
            Path(name): Path<String>,
            headers: HeaderMap,
            body: Document,
        ) -> Result<Tagged<Item<$type>>, ApiError> {
            let (status, item) = resources::replace::<$type>(&state, &actor, &name, &headers, &body).await?;
            Ok(Tagged(status, item.revision, item))
        }

        #[doc = concat!("Delete one of the ", $tag)]
        #[utoipa::path(delete, path = $item_path, tag = $tag,
            params(("name" = String, Path, description = "Its name"),
                ("If-Match" = Option<String>, Header, description = "Refuse if it is not at this revision any more")),
            responses((status = 204, description = "Gone from the store and from every worker")))]
        async fn $delete(
            State(state): State<AdminState>,
            Administrator(actor): Administrator,
            Path(name): Path<String>,
            headers: HeaderMap,
        ) -> Result<StatusCode, ApiError> {
            resources::delete::<$type>(&state, &actor, &name, &headers).await
        }

        pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
            OpenApiRouter::new().routes(routes!($list, $create)).routes(routes!($get, $replace, $delete))
        }
    };
}
