//! `handler!`: the handler as a value, its wasm exports, its source hashes and the custom section that repeats them.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{
    Error, Ident, LitStr, Path, Result, Token, bracketed,
    parse::{Parse, ParseStream},
    parse2,
    punctuated::Punctuated,
};

use crate::source;

/// What stands between the parentheses.
struct Handler {
    name: LitStr,
    discover: Option<Path>,
    stages: Vec<Path>,
}

impl Parse for Handler {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = if input.peek(LitStr) {
            let name: LitStr = input.parse()?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
            name
        } else {
            LitStr::new(&std::env::var("CARGO_PKG_NAME").unwrap_or_default(), Span::call_site())
        };
        let (mut discover, mut stages) = (None, None);
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![:]>()?;
            if key == "discover" {
                discover = Some(input.parse()?);
            } else if key == "stages" {
                let list;
                bracketed!(list in input);
                let paths = Punctuated::<Path, Token![,]>::parse_terminated(&list)?;
                stages = Some(paths.into_iter().collect::<Vec<_>>());
            } else {
                return Err(Error::new(key.span(), "a handler has `discover: …` and `stages: […]`"));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        match stages {
            Some(stages) if !stages.is_empty() => Ok(Self { name, discover, stages }),
            _ => Err(Error::new(name.span(), "a handler has at least one stage: `stages: [fetch]`")),
        }
    }
}

/// The function's name: the last part of its path.
fn name_of(path: &Path) -> Result<String> {
    let last = path.segments.last().ok_or_else(|| Error::new(Span::call_site(), "a function's name is missing"))?;
    Ok(last.ident.to_string())
}

pub(crate) fn handler(input: TokenStream) -> Result<TokenStream> {
    let Handler { name, discover, stages } = parse2(input)?;
    let functions = stages.iter().map(name_of).collect::<Result<Vec<_>>>()?;
    let discovery = discover.as_ref().map(name_of).transpose()?;
    let hashes = source::hashes(&functions, discovery.as_deref(), Span::call_site().local_file())
        .map_err(|error| Error::new(name.span(), format!("the source hashes can't be computed: {error}")))?;
    let hash_texts = &hashes.stages;
    let tracked = hashes.files.iter().map(|file| quote! { const _: &[u8] = include_bytes!(#file); });
    let discover = match &discover {
        Some(path) => quote!(::std::option::Option::Some(::tollgate_sdk::handler::DiscoverDef::of::<#path>())),
        None => quote!(::std::option::Option::None),
    };
    let section = section(&name.value(), &functions, hash_texts);
    let section_length = section.len();
    let section = proc_macro2::Literal::byte_string(section.as_bytes());
    let handler = format_ident!("handler");
    Ok(quote! {
        /// The handler of this crate.
        #[must_use]
        pub fn #handler() -> ::tollgate_sdk::handler::Handler {
            ::tollgate_sdk::handler::Handler {
                name: #name,
                version: env!("CARGO_PKG_VERSION"),
                summary: env!("CARGO_PKG_DESCRIPTION"),
                discover: #discover,
                stages: ::std::vec![#(::tollgate_sdk::handler::StageDef::of::<#stages>(#hash_texts)),*],
            }
        }

        #(#tracked)*

        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, clippy::all, reason = "made by wit-bindgen, and a section is unsafe")]
        const _: () = {
            use ::tollgate_sdk::bindings::{exports::tollgate::handler::stages as exports, tollgate::handler::types};

            struct Component;

            impl exports::Guest for Component {
                fn describe() -> exports::HandlerInfo {
                    ::tollgate_sdk::export::describe(&#handler())
                }

                fn discover(context: exports::DiscoverContext) -> ::std::result::Result<exports::Discovery, types::StageError> {
                    ::tollgate_sdk::export::discover(&#handler(), context)
                }

                fn process_stage(task: types::Task) -> ::std::result::Result<types::Output, types::StageError> {
                    ::tollgate_sdk::export::process(&#handler(), task)
                }
            }

            ::tollgate_sdk::bindings::export!(Component with_types_in ::tollgate_sdk::bindings);

            #[used]
            #[unsafe(link_section = "tollgate:handler")]
            static SECTION: [u8; #section_length] = *#section;
        };
    })
}

/// The custom section: what `describe` says of name, version and hashes, readable without running anything.
fn section(name: &str, stages: &[String], hashes: &[String]) -> String {
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let stages: Vec<_> =
        stages.iter().zip(hashes).map(|(name, hash)| serde_json::json!({"name": name, "source-hash": hash})).collect();
    let sdk = env!("CARGO_PKG_VERSION");
    serde_json::json!({"sdk": sdk, "name": name, "version": version, "stages": stages}).to_string()
}
