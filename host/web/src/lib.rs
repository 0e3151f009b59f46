//! The API under /api/v1 and the overview page.
