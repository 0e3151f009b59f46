//! The interface as wit-bindgen makes it; used by the macros and by the guest's side of the backend.

wit_bindgen::generate!({
    path: "../../wit/0.1.0",
    world: "handler",
    pub_export_macro: true,
    default_bindings_module: "tollgate_sdk::bindings",
    runtime_path: "::tollgate_sdk::wit_bindgen::rt",
});
