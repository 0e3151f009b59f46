//! The sites of the small internet, one file each.

pub mod archive;
pub mod bill;
pub mod catalogue;
pub mod desk;
pub mod folder;
pub mod ideas;
pub mod joined;
pub mod models;
pub mod scripted;
pub mod search;
pub mod services;
pub mod slow;
pub mod transcription;
pub mod video;
