//! What people ask of sessions: how they stand, whether their sites take them, new ones.
//!
//! A running host's own gate answers. A stopped one has none, so one is set up as the host would: what it sends goes
//! through the same proxies, rates, cool-downs and budgets, and what it learns is there at the next start.

use std::sync::Arc;

use tollgate_egress::{Gate, SessionStatus, SessionTest};

use super::Operations;
use crate::{EngineError, gate_options};

impl Operations {
    /// How each session stands, by name. Nothing is sent.
    ///
    /// # Errors
    /// The host is stopped, and jobs.toml can't be read or no gate set up.
    pub async fn sessions(&self) -> Result<Vec<SessionStatus>, EngineError> {
        Ok(self.some_gate().await?.sessions())
    }

    /// Asks the site of a session whether it takes it.
    ///
    /// # Errors
    /// No session of that name, nothing says what to ask, or something stands in the way of an answer; of a stopped
    /// host as [`Operations::sessions`].
    pub async fn test_session(&self, name: &str) -> Result<SessionTest, EngineError> {
        let gate = self.some_gate().await?;
        let tested = gate.test_session(name).await;
        self.keep_spending().await;
        Ok(tested?)
    }

    /// Makes a session anew, whatever there was before.
    ///
    /// # Errors
    /// No session of that name, no step of its chain gives one, or something stands in the way; of a stopped host as
    /// [`Operations::sessions`].
    pub async fn renew_session(&self, name: &str) -> Result<SessionStatus, EngineError> {
        let gate = self.some_gate().await?;
        let renewed = gate.renew_session(name).await;
        self.keep_spending().await;
        Ok(renewed?)
    }

    /// The gate of the running host, or one as it would have.
    async fn some_gate(&self) -> Result<&Gate, EngineError> {
        if let Some(gate) = &self.gate {
            return Ok(gate);
        }
        let (deployment, base) = self.deployment.as_ref().map_err(|error| {
            EngineError::Invalid(format!("sessions stand in jobs.toml, which can't be read: {error}"))
        })?;
        let make = async || {
            let options = gate_options(&self.store, &self.clock, &self.data, base).await?;
            Ok::<Arc<Gate>, EngineError>(Gate::new(deployment, options)?)
        };
        Ok(self.own_gate.get_or_try_init(make).await?)
    }

    /// A running host keeps it from time to time, and at its end.
    async fn keep_spending(&self) {
        if let Some(gate) = self.own_gate.get() {
            gate.keep_spending().await;
        }
    }
}
