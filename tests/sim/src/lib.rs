//! A small internet on loopback: a proxy with its own certificate authority, and the sites behind it.
