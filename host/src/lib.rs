//! The embeddable host, and the program tollgate.
