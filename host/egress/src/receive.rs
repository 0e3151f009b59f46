//! Who takes an answer's body: all of it into the scratch folder, or a part of a file as its receiver needs it.

use std::path::Path;

use reqwest::header::HeaderMap;

use crate::{
    exchange::ExchangeError,
    spool::{Held, Spooled, Spooling},
};

/// Takes the body of an answer. Each hop of a redirect begins anew.
pub(crate) trait Receive: Send {
    /// Looks at status and headers before any of the body is read; `body_max` is what the answering site's policy
    /// allows, in bytes. False: the body isn't wanted, and an exchange that ends there is complete.
    ///
    /// # Errors
    /// The body would be more than is allowed.
    fn begin(&mut self, status: u16, headers: &HeaderMap, body_max: u64) -> Result<bool, ExchangeError>;

    /// Takes the next bytes.
    ///
    /// # Errors
    /// A limit, the scratch folder, or the bytes themselves end the exchange.
    fn take(&mut self, bytes: &[u8]) -> Result<(), ExchangeError>;

    /// The body, at its end, if all of it was kept: guards look at it, and the caller is given it.
    fn whole(&mut self) -> Option<Spooled> {
        None
    }
}

/// Takes a body as it comes, whole.
pub(crate) struct Whole<'a> {
    spool: &'a Path,
    held: &'a Held,
    spooling: Spooling<'a>,
    body_max: u64,
}

impl<'a> Whole<'a> {
    pub(crate) fn new(spool: &'a Path, held: &'a Held) -> Self {
        Self { spool, held, spooling: Spooling::new(spool, held), body_max: 0 }
    }
}

impl Receive for Whole<'_> {
    fn begin(&mut self, _status: u16, _headers: &HeaderMap, body_max: u64) -> Result<bool, ExchangeError> {
        self.spooling = Spooling::new(self.spool, self.held);
        self.body_max = body_max;
        Ok(true)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        keep(&mut self.spooling, bytes, self.body_max)
    }

    fn whole(&mut self) -> Option<Spooled> {
        let another = Spooling::new(self.spool, self.held);
        Some(std::mem::replace(&mut self.spooling, another).end())
    }
}

/// Spools bytes within what the site's policy allows for one body, and the attempt may still hold.
pub(crate) fn keep(spooling: &mut Spooling<'_>, bytes: &[u8], body_max: u64) -> Result<(), ExchangeError> {
    let more = bytes.len() as u64;
    if spooling.size().saturating_add(more) > body_max {
        return Err(ExchangeError::TooLarge);
    }
    spooling.reserve(more, body_max).map_err(ExchangeError::HeldTooLarge)?;
    spooling.take(bytes).map_err(ExchangeError::Spool)
}
