//! Upstreams: where requests go.

plain_resource!(
    Upstream,
    "upstreams",
    "upstream",
    "/api/v1/upstreams",
    "/api/v1/upstreams/{name}",
    list_upstreams,
    create_upstream,
    get_upstream,
    replace_upstream,
    delete_upstream
);
