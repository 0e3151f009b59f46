//! `state`: key-value state of the job.

use std::sync::Arc;

use crate::{
    bindings::v0_1::tollgate::handler::state,
    gates::{StateError, StateGate, StateWrite},
    guest::Guest,
};

type Answer<T> = wasmtime::Result<Result<T, state::StateError>>;

impl Guest {
    fn state_gate(&self) -> Result<Arc<dyn StateGate>, state::StateError> {
        let gate = self.gates.state.clone();
        gate.ok_or_else(|| state::StateError::Storage(format!("state is {}", self.not_granted("state"))))
    }
}

impl state::Host for Guest {
    async fn get(&mut self, key: String) -> Answer<Option<state::Entry>> {
        let gate = match self.state_gate() {
            Ok(gate) => gate,
            Err(error) => return Ok(Err(error)),
        };
        match gate.get(key).await {
            Ok(Some((value, version))) => {
                self.transfer(value.len())?;
                Ok(Ok(Some(state::Entry { value, version })))
            }
            Ok(None) => Ok(Ok(None)),
            Err(error) => Ok(Err(state_error(error))),
        }
    }

    async fn apply(&mut self, changes: Vec<state::Change>) -> Answer<()> {
        self.transfer(changes.iter().map(|change| change.key.len() + change.value.as_ref().map_or(0, Vec::len)).sum())?;
        let writes = changes.into_iter().map(|change| StateWrite {
            key: change.key,
            value: change.value,
            expect: change.expect,
        });
        match self.state_gate() {
            Ok(gate) => Ok(gate.apply(writes.collect()).await.map_err(state_error)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn list_keys(&mut self, prefix: String, cursor: Option<String>) -> Answer<state::Page> {
        match self.state_gate() {
            Ok(gate) => {
                let page = gate.keys(prefix, cursor).await;
                if let Ok((keys, _)) = &page {
                    self.transfer(keys.iter().map(String::len).sum())?;
                }
                Ok(page.map(|(keys, cursor)| state::Page { keys, cursor }).map_err(state_error))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}

fn state_error(error: StateError) -> state::StateError {
    match error {
        StateError::Conflict(key) => state::StateError::Conflict(key),
        StateError::TooLarge(bytes) => state::StateError::TooLarge(bytes),
        StateError::Storage(text) => state::StateError::Storage(text),
    }
}
