//! Several services under one host name, told apart by their paths: chat and speech of one provider.

use crate::site::{Answering, Request, Site};
use crate::sites::bill::Billed;
use std::sync::Arc;

/// Sites under one name.
pub struct Joined {
    usual: Arc<dyn Site>,
    others: Vec<(String, Arc<dyn Site>)>,
}

impl Joined {
    /// The site that answers whatever no other does.
    pub fn new(usual: Arc<dyn Site>) -> Self {
        Self { usual, others: Vec::new() }
    }

    /// The same, and another site for paths that contain this.
    #[must_use]
    pub fn with(mut self, part: &str, site: Arc<dyn Site>) -> Self {
        self.others.push((part.to_owned(), site));
        self
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn Site>> {
        self.others.iter().map(|(_, site)| site).chain([&self.usual])
    }
}

impl Site for Joined {
    fn answer(&self, request: Request) -> Answering<'_> {
        let other = self.others.iter().find(|(part, _)| request.path().contains(part.as_str()));
        other.map_or(&self.usual, |(_, site)| site).answer(request)
    }

    fn reset(&self) {
        self.all().for_each(|site| site.reset());
    }

    fn bill(&self) -> Vec<Billed> {
        self.all().flat_map(|site| site.bill()).collect()
    }
}
