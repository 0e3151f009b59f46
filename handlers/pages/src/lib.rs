//! A generic crawler: keeps each raw page, finds links, takes fields by CSS selectors from params.
