//! Models: public names and what serves them.

plain_resource!(
    Model,
    "models",
    "model",
    "/api/v1/models",
    "/api/v1/models/{name}",
    list_models,
    create_model,
    get_model,
    replace_model,
    delete_model
);
