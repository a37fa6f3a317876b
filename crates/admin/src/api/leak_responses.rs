//! Leak responses: how leaks are answered. There is at most one, named `default`; `/api/v1/leaks/response` is another
//! way to it, which also tells what holds where none is stored.

plain_resource!(
    LeakResponse,
    "leak responses",
    "leak response",
    "/api/v1/leak_responses",
    "/api/v1/leak_responses/{name}",
    list_leak_responses,
    create_leak_response,
    get_leak_response,
    replace_leak_response,
    delete_leak_response
);
