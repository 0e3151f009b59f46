//! The gate: the only way to the network, by site policy, through the proxy.
