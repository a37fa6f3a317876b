//! Applications: the parties that call.

plain_resource!(
    Application,
    "applications",
    "application",
    "/api/v1/applications",
    "/api/v1/applications/{name}",
    list_applications,
    create_application,
    get_application,
    replace_application,
    delete_application
);
