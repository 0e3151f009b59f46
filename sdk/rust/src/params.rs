//! Texts of params whose kind the host knows: what can't be used is refused with its place in jobs.toml before anything
//! runs.
//!
//! ```
//! # fn main() {}
//! # use tollgate_sdk::prelude::*;
//! #[params]
//! struct Shop {
//!     /// The list of books.
//!     list: Address,
//!     /// What a book's title is in.
//!     title: Selector,
//! }
//! ```
//!
//! Both are texts to a handler: they are lent as `&str`. Where a unit test gives one that is none, whatever uses it
//! says so.

use std::{borrow::Cow, fmt, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<&$name> for String {
            fn from(text: &$name) -> Self {
                text.0.clone()
            }
        }
    };
}

text! {
    /// A whole http or https address, as [`links::absolute`](crate::links::absolute) takes it without a base.
    Address, "web-address"
}
text! {
    /// A CSS selector, as [`html`](crate::html) takes it.
    Selector, "css-selector"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stage::schema_of;

    #[test]
    fn a_schema_says_what_kind_of_text_it_is() {
        assert_eq!(schema_of::<Vec<Address>>()["items"], json!({"type": "string", "format": "web-address"}));
        assert_eq!(schema_of::<Option<Selector>>()["format"], "css-selector");
        assert_eq!(serde_json::from_str::<Selector>("\"h1[\"").unwrap(), Selector::from("h1["), "looked at when used");
    }
}
