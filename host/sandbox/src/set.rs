//! The set of handlers: complete and immutable, replaced whole (I01, I02).

use std::{collections::BTreeMap, path::Path, sync::Arc};

use tollgate_core::ids::HandlerName;

use crate::{Handler, LoadError, Sandbox};

/// Every handler that jobs name: those that work, and those that don't with the reason (S13).
#[derive(Debug, Default)]
pub struct HandlerSet {
    handlers: BTreeMap<HandlerName, Arc<Handler>>,
    broken: BTreeMap<HandlerName, LoadError>,
}

impl HandlerSet {
    /// Loads the handlers of those names from a folder. One that can't be loaded harms no other; one whose file isn't
    /// there is in neither list.
    pub async fn load(sandbox: &Arc<Sandbox>, folder: &Path, names: Vec<HandlerName>) -> Self {
        let mut set = Self::default();
        for name in names {
            if set.handlers.contains_key(&name) || set.broken.contains_key(&name) {
                continue;
            }
            let file = folder.join(format!("{name}.wasm"));
            if !file.exists() {
                continue;
            }
            match sandbox.load(&name, &file).await {
                Ok(handler) => {
                    set.handlers.insert(name, handler);
                }
                Err(error) => {
                    tracing::error!(handler = %name, %error, "a handler can't be loaded");
                    set.broken.insert(name, error);
                }
            }
        }
        set
    }

    /// The handler of that name, if it works.
    #[must_use]
    pub fn get(&self, name: &HandlerName) -> Option<&Arc<Handler>> {
        self.handlers.get(name)
    }

    /// Handlers that can't be used, each with the reason.
    #[must_use]
    pub fn broken(&self) -> &BTreeMap<HandlerName, LoadError> {
        &self.broken
    }

    /// Handlers that work.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Handler>> {
        self.handlers.values()
    }
}
