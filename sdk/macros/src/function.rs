//! `#[stage]` and `#[discover]`: a plain function, and a type beside it that tells the host what it takes and makes.
//!
//! The type bears the function's own name: functions and braced structs live in different namespaces, so one `use`
//! brings both to where `handler!` stands.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, GenericArgument, ItemFn, Lit, LitStr, Meta, PathArguments, Result,
    ReturnType, Stmt, Type, parse::Parser, parse2, punctuated::Punctuated, spanned::Spanned, token::Comma,
};

/// A parameter: its type without the reference, and whether there was one.
struct Param {
    ty: Type,
    by_reference: bool,
    /// `stage/name` of `#[reads("stage/name")]`: the parameter is that artifact.
    reads: Option<LitStr>,
}

/// Reads the parameters, and takes the macro's own attributes off them.
fn params(function: &mut ItemFn, what: &str) -> Result<Vec<Param>> {
    let signature = &mut function.sig;
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new_spanned(asyncness, format!("a {what} is a plain function: host calls just wait")));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(&signature.generics, format!("a {what} has no generics")));
    }
    let params = signature.inputs.iter_mut().map(|input| match input {
        FnArg::Typed(typed) => {
            let mut reads = None;
            for attribute in typed.attrs.extract_if(.., |attribute| attribute.path().is_ident("reads")) {
                reads = Some(checked_read(attribute.parse_args()?)?);
            }
            let (ty, by_reference) = match &*typed.ty {
                Type::Reference(reference) => ((*reference.elem).clone(), true),
                other => (other.clone(), false),
            };
            Ok(Param { ty, by_reference, reads })
        }
        FnArg::Receiver(receiver) => Err(Error::new_spanned(receiver, format!("a {what} is a free function"))),
    });
    params.collect()
}

/// The type within the `Result` that a function returns.
fn returned(function: &ItemFn, what: &str) -> Result<Type> {
    let refuse = |at: &dyn quote::ToTokens| Err(Error::new_spanned(at, format!("a {what} returns `Result<…>`")));
    let ReturnType::Type(_, ty) = &function.sig.output else {
        return refuse(&function.sig);
    };
    first_argument(ty, "Result").map_or_else(|| refuse(ty), Ok)
}

/// `T` of `Name<T, …>`.
fn first_argument(ty: &Type, name: &str) -> Option<Type> {
    let Type::Path(path) = ty else {
        return None;
    };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    })
}

/// The first paragraph of the documentation, in one line.
fn summary(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The strings of `reads("fetch/page.html", …)`.
fn reads(attributes: TokenStream) -> Result<Vec<LitStr>> {
    let metas = Punctuated::<Meta, Comma>::parse_terminated.parse2(attributes)?;
    let mut reads = Vec::new();
    for meta in metas {
        match meta {
            Meta::List(list) if list.path.is_ident("reads") => {
                reads.extend(Punctuated::<LitStr, Comma>::parse_terminated.parse2(list.tokens)?);
            }
            other => return Err(Error::new_spanned(other, "a stage knows `reads(\"stage/artifact\", …)` alone")),
        }
    }
    reads.into_iter().map(checked_read).collect()
}

fn checked_read(read: LitStr) -> Result<LitStr> {
    if read.value().split_once('/').is_some_and(|(stage, name)| !stage.is_empty() && !name.is_empty()) {
        Ok(read)
    } else {
        Err(Error::new(read.span(), "write it as \"stage/artifact\", such as \"fetch/page.html\""))
    }
}

pub(crate) fn stage(attributes: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut function: ItemFn = parse2(item)?;
    let params = params(&mut function, "stage")?;
    let (name, returned) = (&function.sig.ident, returned(&function, "stage")?);
    let mut reads = reads(attributes)?;
    reads.extend(params.iter().filter_map(|param| param.reads.clone()));
    let made = first_argument(&returned, "With").unwrap_or_else(|| returned.clone());
    let (text, summary) = (name.to_string(), summary(&function.attrs));
    let types: Vec<&Type> = params.iter().filter(|param| param.reads.is_none()).map(|param| &param.ty).collect();
    let (takes, passes) = calls(&params, &quote!(::tollgate_sdk::stage::StageParam), &quote!(task));
    let visibility = &function.vis;
    // Natively, the mock host finds what the function puts under its name.
    let running: Stmt = syn::parse_quote! {
        #[cfg(not(target_family = "wasm"))]
        let _running = ::tollgate_sdk::mock::running(#text);
    };
    let mut function = function.clone();
    function.block.stmts.insert(0, running);
    // The constant is there for the compiler to refuse a second one, in words that say why.
    let made_by = quote_spanned! {made.span()=>
        impl #made {
            #[doc(hidden)]
            const _EACH_STAGE_RETURNS_A_TYPE_OF_ITS_OWN: () = ();
        }
        impl ::tollgate_sdk::stage::MadeBy for #made {
            const STAGE: &'static str = #text;
        }
        impl ::tollgate_sdk::stage::StageParam for #made {
            fn take(task: &::tollgate_sdk::stage::Task) -> ::tollgate_sdk::Result<Self> {
                ::tollgate_sdk::stage::take_input(task)
            }
            fn need() -> ::std::option::Option<::std::string::String> {
                ::std::option::Option::Some(#text.into())
            }
        }
    };
    Ok(quote! {
        #function

        #made_by

        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "it has its function's name")]
        #visibility struct #name {}

        impl ::tollgate_sdk::handler::Stage for #name {
            const NAME: &'static str = #text;
            const SUMMARY: &'static str = #summary;
            const READS: &'static [&'static str] = &[#(#reads),*];

            fn needs() -> ::std::vec::Vec<::std::string::String> {
                let needs: [::std::option::Option<::std::string::String>; _] =
                    [#(<#types as ::tollgate_sdk::stage::StageParam>::need()),*];
                let needs = ::std::iter::IntoIterator::into_iter(needs).flatten().collect();
                ::tollgate_sdk::stage::needs_of(#text, needs, &[#(#reads),*])
            }

            fn produces() -> ::tollgate_sdk::serde_json::Value {
                ::tollgate_sdk::stage::schema_of::<#made>()
            }

            fn params() -> ::std::vec::Vec<::tollgate_sdk::serde_json::Value> {
                let schemas: [::std::option::Option<::tollgate_sdk::serde_json::Value>; _] =
                    [#(<#types as ::tollgate_sdk::stage::StageParam>::params_schema()),*];
                ::std::iter::IntoIterator::into_iter(schemas).flatten().collect()
            }

            fn run(task: &::tollgate_sdk::stage::Task) -> ::tollgate_sdk::Result<::tollgate_sdk::stage::Made> {
                #takes
                ::tollgate_sdk::stage::Made::of(#name(#passes)?)
            }
        }
    })
}

pub(crate) fn discover(attributes: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !attributes.is_empty() {
        return Err(Error::new_spanned(attributes, "#[discover] takes no arguments"));
    }
    let mut function: ItemFn = parse2(item)?;
    let params = params(&mut function, "discovery")?;
    if let Some(read) = params.iter().find_map(|param| param.reads.as_ref()) {
        return Err(Error::new(read.span(), "a discovery has no item, so it has no artifacts to read"));
    }
    let name = &function.sig.ident;
    returned(&function, "discovery")?;
    let types: Vec<&Type> = params.iter().map(|param| &param.ty).collect();
    let (takes, passes) = calls(&params, &quote!(::tollgate_sdk::items::RoundParam), &quote!(round));
    let visibility = &function.vis;
    Ok(quote! {
        #function

        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "it has its function's name")]
        #visibility struct #name {}

        impl ::tollgate_sdk::handler::Discover for #name {
            fn params() -> ::std::vec::Vec<::tollgate_sdk::serde_json::Value> {
                let schemas: [::std::option::Option<::tollgate_sdk::serde_json::Value>; _] =
                    [#(<#types as ::tollgate_sdk::items::RoundParam>::params_schema()),*];
                ::std::iter::IntoIterator::into_iter(schemas).flatten().collect()
            }

            fn run(round: &::tollgate_sdk::items::Round) -> ::tollgate_sdk::Result<::tollgate_sdk::items::Found> {
                #takes
                #name(#passes)
            }
        }
    })
}

/// Takes each parameter out of `from`, and passes it on as the function wants it.
fn calls(params: &[Param], by: &TokenStream, from: &TokenStream) -> (TokenStream, TokenStream) {
    let mut takes = TokenStream::new();
    let mut passes = TokenStream::new();
    for (place, Param { ty, by_reference, reads }) in params.iter().enumerate() {
        let taken = format_ident!("taken_{place}");
        takes.extend(match reads.as_ref().map(LitStr::value) {
            Some(read) => {
                let (stage, name) = read.split_once('/').unwrap_or_default();
                quote_spanned! {ty.span()=> let #taken: #ty = ::tollgate_sdk::Artifact::of(#stage, #name); }
            }
            None => quote_spanned! {ty.span()=> let #taken = <#ty as #by>::take(#from)?; },
        });
        passes.extend(if *by_reference { quote!(&#taken,) } else { quote!(#taken,) });
    }
    (takes, passes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_stage_is_refused_with_a_reason() {
        let refused = |item| stage(quote!(), item).unwrap_err().to_string();
        assert!(
            refused(quote!(
                async fn f() -> Result<Page> {}
            ))
            .contains("plain function")
        );
        assert!(
            refused(quote!(
                fn f() -> Page {}
            ))
            .contains("Result")
        );
        assert!(
            refused(quote!(
                fn f<T>() -> Result<Page> {}
            ))
            .contains("generics")
        );
        assert!(
            stage(
                quote!(reads("page.html")),
                quote!(
                    fn f() -> Result<Page> {}
                )
            )
            .is_err()
        );
        assert!(
            stage(
                quote!(needs("x")),
                quote!(
                    fn f() -> Result<Page> {}
                )
            )
            .is_err()
        );
    }

    #[test]
    fn the_summary_is_the_first_paragraph() {
        let function: ItemFn = syn::parse_quote! {
            /// Keeps the raw page;
            /// parses nothing.
            ///
            /// More.
            fn f() {}
        };
        assert_eq!(summary(&function.attrs), "Keeps the raw page; parses nothing.");
    }
}
