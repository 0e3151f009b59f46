//! The lessons: each failure of the system before this one, provoked through the real host, and what holds here.

mod budgets;
mod checks;
mod circuits;
mod costs;
mod duplicates;
mod endpoints;
mod engine;
mod guarded;
mod ideas;
mod integrity;
mod ledger;
mod logged;
mod logins;
mod money;
mod network;
mod pipelines;
mod policies;
mod reloading;
mod sites;
mod sweep;
mod tooled;
mod youtube;
