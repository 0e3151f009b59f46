//! Host bindings of the interface, one module a version.

/// Version 0.1 of `tollgate:handler`.
pub(crate) mod v0_1 {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "handler",
        imports: { default: async | trappable },
        exports: { default: async },
        with: { "tollgate:handler/http.response": crate::host::GuestResponse },
    });
}
