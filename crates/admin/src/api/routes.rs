//! Routes: what callers see.

plain_resource!(
    Route,
    "routes",
    "route",
    "/api/v1/routes",
    "/api/v1/routes/{name}",
    list_routes,
    create_route,
    get_route,
    replace_route,
    delete_route
);
