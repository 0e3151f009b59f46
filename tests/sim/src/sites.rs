//! The sites of the small internet, one file each.

pub mod archive;
pub mod bill;
pub mod catalogue;
pub mod folder;
pub mod ideas;
pub mod models;
pub mod scripted;
