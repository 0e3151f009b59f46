//! Schemas of answers, compiled and fitted once: a stage asks with the same one call after call, and to compile it
//! takes longer than all else that is done to a request.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tollgate_core::contract::{Contract, SchemaError};

use crate::wire::Fitted;

/// Most schemas that are kept: some of each stage that asks models, on a host with many jobs.
const KEPT_MAX: usize = 64;

/// A schema that was asked with.
#[derive(Debug)]
pub(super) struct Known {
    /// It, compiled: what answers are held against.
    pub(super) contract: Contract,
    /// It, as providers are given it.
    pub(super) fitted: Fitted,
}

/// Those that were asked with of late; the newest is the last.
#[derive(Debug, Default)]
pub(super) struct Contracts(Mutex<VecDeque<Arc<Known>>>);

impl Contracts {
    /// That schema, compiled where it isn't known yet.
    pub(super) fn of(&self, schema: &Value) -> Result<Arc<Known>, SchemaError> {
        if let Some(known) = self.known(schema) {
            return Ok(known);
        }
        // Not under the lock: a schema may take its time.
        let new = Arc::new(Known { contract: Contract::new(schema.clone())?, fitted: Fitted::default() });
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(new.clone());
        Ok(new)
    }

    fn known(&self, schema: &Value) -> Option<Arc<Known>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().rposition(|known| known.contract.schema() == schema)?;
        let known = kept.remove(place)?;
        kept.push_back(known.clone());
        Some(known)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(number: usize) -> Value {
        json!({"type": "object", "properties": {"a": {"const": number}}})
    }

    #[test]
    fn a_schema_is_compiled_once_while_it_is_among_the_last_that_were_asked_with() {
        let contracts = Contracts::default();
        let first = contracts.of(&schema(0)).unwrap();
        for number in 1..KEPT_MAX {
            contracts.of(&schema(number)).unwrap();
        }
        assert!(Arc::ptr_eq(&first, &contracts.of(&schema(0)).unwrap()), "asked with again, it is the newest");
        contracts.of(&schema(KEPT_MAX)).unwrap();
        assert_eq!(contracts.0.lock().unwrap().len(), KEPT_MAX);
        assert!(Arc::ptr_eq(&first, &contracts.of(&schema(0)).unwrap()), "another one had to go");
        assert!(contracts.known(&schema(1)).is_none());
        assert!(contracts.of(&json!(1)).is_err());
    }

    #[test]
    fn each_schema_holds_its_own_answers() {
        let contracts = Contracts::default();
        for number in [1, 2, 1] {
            let contract = &contracts.of(&schema(number)).unwrap().contract;
            assert!(contract.check_schema(&json!({"a": number})).is_ok());
            assert!(contract.check_schema(&json!({"a": 3})).is_err());
        }
    }
}
