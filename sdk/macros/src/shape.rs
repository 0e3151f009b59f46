//! `#[data]`, `#[output]`, `#[params]`, `#[part]`: serde and schema derives by way of the SDK, and the traits on top.

use proc_macro2::{TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Error, Field, Fields, Ident, Item, ItemStruct, Meta, Result, parse_quote, parse2, spanned::Spanned,
};

fn refuse_attributes(attributes: &TokenStream, name: &str) -> Result<()> {
    if attributes.is_empty() {
        Ok(())
    } else {
        Err(Error::new_spanned(attributes, format!("#[{name}] takes no arguments")))
    }
}

fn structure(item: TokenStream, name: &str) -> Result<ItemStruct> {
    let found: ItemStruct = parse2(item.clone())
        .map_err(|_| Error::new_spanned(&item, format!("#[{name}] goes on a struct with named fields")))?;
    if !matches!(found.fields, Fields::Named(_)) {
        return Err(Error::new_spanned(&found.ident, format!("#[{name}] goes on a struct with named fields")));
    }
    if !found.generics.params.is_empty() {
        return Err(Error::new_spanned(&found.generics, format!("a #[{name}] struct has no generics")));
    }
    Ok(found)
}

/// The derives of a type, `Debug` among them unless it has that.
fn derives(attributes: &[Attribute]) -> TokenStream {
    let has_debug = attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else {
            return false;
        };
        list.path.is_ident("derive")
            && list.tokens.clone().into_iter().any(|token| matches!(token, TokenTree::Ident(name) if name == "Debug"))
    });
    let debug = (!has_debug).then(|| quote!(#[derive(::core::fmt::Debug)]));
    quote! {
        #debug
        #[derive(::tollgate_sdk::serde::Serialize, ::tollgate_sdk::serde::Deserialize, ::tollgate_sdk::schemars::JsonSchema)]
        #[serde(crate = "::tollgate_sdk::serde")]
        #[schemars(crate = "::tollgate_sdk::schemars")]
    }
}

/// Asks of each field's type whether it may stand there: without it the first thing said would be that serde's traits
/// are missing.
fn parts<'a>(fields: impl Iterator<Item = &'a Field>) -> TokenStream {
    let asked = fields.map(|Field { ty, .. }| quote_spanned! {ty.span()=> ::tollgate_sdk::stage::is_part::<#ty>(); });
    quote! { const _: () = { #(#asked)* }; }
}

/// Turns `#[may_be_empty]` on fields into the schema's word for it.
fn allow_empty(fields: &mut Fields) {
    for field in fields.iter_mut() {
        for attribute in &mut field.attrs {
            if attribute.path().is_ident("may_be_empty") {
                let allowed: Attribute = parse_quote!(#[schemars(length(min = 0))]);
                *attribute = allowed;
            }
        }
    }
}

/// The field that bears `#[key]`, if one does.
fn take_key(fields: &mut Fields) -> Result<Option<Ident>> {
    let mut key = None;
    for field in fields.iter_mut() {
        for attribute in field.attrs.extract_if(.., |attribute| attribute.path().is_ident("key")) {
            if key.is_some() {
                return Err(Error::new_spanned(
                    attribute,
                    "one field is the key; for a key of several, use NewItem::new",
                ));
            }
            key.clone_from(&field.ident);
        }
    }
    Ok(key)
}

pub(crate) fn data(attributes: TokenStream, item: TokenStream) -> Result<TokenStream> {
    refuse_attributes(&attributes, "data")?;
    let mut item = structure(item, "data")?;
    let key = take_key(&mut item.fields)?;
    let (name, derives, parts) = (&item.ident, derives(&item.attrs), parts(item.fields.iter()));
    let keyed = key.map(|key| {
        quote! {
            impl ::std::convert::From<#name> for ::tollgate_sdk::items::NewItem {
                fn from(data: #name) -> Self {
                    ::tollgate_sdk::items::NewItem::new(::std::string::ToString::to_string(&data.#key), &data)
                }
            }
        }
    });
    Ok(quote! {
        #parts
        #derives
        #item
        #keyed
        impl ::tollgate_sdk::stage::Data for #name {}
        impl ::tollgate_sdk::stage::StageParam for #name {
            fn take(task: &::tollgate_sdk::stage::Task) -> ::tollgate_sdk::Result<Self> {
                ::tollgate_sdk::stage::take_data(task)
            }
        }
    })
}

pub(crate) fn output(attributes: TokenStream, item: TokenStream) -> Result<TokenStream> {
    refuse_attributes(&attributes, "output")?;
    let mut item = structure(item, "output")?;
    allow_empty(&mut item.fields);
    let (name, derives, parts) = (&item.ident, derives(&item.attrs), parts(item.fields.iter()));
    Ok(quote! {
        #parts
        #derives
        #item
        impl ::tollgate_sdk::stage::Output for #name {}
    })
}

pub(crate) fn params(attributes: TokenStream, item: TokenStream) -> Result<TokenStream> {
    refuse_attributes(&attributes, "params")?;
    let item = structure(item, "params")?;
    let (name, derives, parts) = (&item.ident, derives(&item.attrs), parts(item.fields.iter()));
    Ok(quote! {
        #parts
        #derives
        #[serde(rename_all = "kebab-case")]
        #item
        impl ::tollgate_sdk::stage::StageParam for #name {
            fn take(task: &::tollgate_sdk::stage::Task) -> ::tollgate_sdk::Result<Self> {
                ::tollgate_sdk::stage::take_params(&task.params)
            }
            fn params_schema() -> ::std::option::Option<::tollgate_sdk::serde_json::Value> {
                ::std::option::Option::Some(::tollgate_sdk::stage::schema_of::<#name>())
            }
        }
        impl ::tollgate_sdk::items::RoundParam for #name {
            fn take(round: &::tollgate_sdk::items::Round) -> ::tollgate_sdk::Result<Self> {
                ::tollgate_sdk::items::take_round_params(round)
            }
            fn params_schema() -> ::std::option::Option<::tollgate_sdk::serde_json::Value> {
                <Self as ::tollgate_sdk::stage::StageParam>::params_schema()
            }
        }
    })
}

pub(crate) fn part(attributes: TokenStream, item: TokenStream) -> Result<TokenStream> {
    refuse_attributes(&attributes, "part")?;
    match parse2(item)? {
        Item::Struct(mut item) => {
            allow_empty(&mut item.fields);
            let (derives, parts) = (derives(&item.attrs), parts(item.fields.iter()));
            Ok(quote! { #parts #derives #item })
        }
        Item::Enum(mut item) => {
            item.variants.iter_mut().for_each(|variant| allow_empty(&mut variant.fields));
            let parts = parts(item.variants.iter().flat_map(|variant| variant.fields.iter()));
            let derives = derives(&item.attrs);
            Ok(quote! { #parts #derives #[serde(rename_all = "kebab-case")] #item })
        }
        other => Err(Error::new_spanned(other, "#[part] goes on a struct or an enum")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_may_be_empty_by_saying_so() {
        let made = output(
            quote!(),
            quote!(
                struct Page {
                    #[may_be_empty]
                    tags: Vec<String>,
                }
            ),
        )
        .unwrap()
        .to_string();
        assert!(made.contains("length (min = 0)"), "{made}");
        assert!(!made.contains("may_be_empty"), "{made}");
    }

    #[test]
    fn debug_is_derived_once() {
        let made = |attributes| output(quote!(), quote!(#attributes struct Page { size: u64 })).unwrap().to_string();
        assert_eq!(made(quote!()).matches("Debug").count(), 1);
        assert_eq!(made(quote!(#[derive(Clone, Debug)])).matches("Debug").count(), 1);
    }

    #[test]
    fn a_key_makes_items_of_data() {
        let keyed = |fields| data(quote!(), quote!(struct Book { #fields })).map(|made| made.to_string());
        assert!(keyed(quote!(#[key] url: String)).unwrap().contains("NewItem"));
        assert!(!keyed(quote!(url: String)).unwrap().contains("NewItem"));
        assert!(keyed(quote!(#[key] url: String, #[key] isbn: String)).is_err());
    }

    #[test]
    fn what_is_no_plain_struct_is_refused() {
        assert!(
            data(
                quote!(),
                quote!(
                    enum E {
                        A,
                    }
                )
            )
            .is_err()
        );
        assert!(
            data(
                quote!(),
                quote!(
                    struct E(u8);
                )
            )
            .is_err()
        );
        assert!(
            data(
                quote!(x),
                quote!(
                    struct E {
                        a: u8,
                    }
                )
            )
            .is_err()
        );
        assert!(
            output(
                quote!(),
                quote!(
                    struct E<T> {
                        a: T,
                    }
                )
            )
            .is_err()
        );
    }
}
