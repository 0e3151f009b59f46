//! R10: sessions, over a site that wants them and the stores of browsers.

mod answers;
mod chain;
mod shown;
mod stores;
mod world;
