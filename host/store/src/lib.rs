//! The durable queue: items, tasks, outputs, artifacts and counters in redb, behind the Store trait.
