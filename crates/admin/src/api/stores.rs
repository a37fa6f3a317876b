//! Stores: external stores of secrets.

plain_resource!(
    SecretStore,
    "stores",
    "store",
    "/api/v1/stores",
    "/api/v1/stores/{name}",
    list_stores,
    create_store,
    get_store,
    replace_store,
    delete_store
);
