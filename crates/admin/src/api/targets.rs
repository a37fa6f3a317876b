//! Targets: systems in which credentials live.

plain_resource!(
    System,
    "targets",
    "target",
    "/api/v1/targets",
    "/api/v1/targets/{name}",
    list_targets,
    create_target,
    get_target,
    replace_target,
    delete_target
);
