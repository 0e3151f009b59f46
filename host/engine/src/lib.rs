//! The dispatcher: lanes, discovery, retries, pauses, graceful stop.
