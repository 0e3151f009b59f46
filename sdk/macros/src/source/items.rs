//! Reads a crate's module tree into its items: their names, the names they mention, and their text without comments.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, Item, ItemMod, Meta, Type};

use super::{includes, tokens, uses};

/// An item of a crate.
pub(super) struct SourceItem {
    /// Its name, by which others reach it; an `impl` block has its type's. Without one it counts for every stage.
    pub(super) name: Option<String>,
    /// Names in it that may mean an item of the crate.
    pub(super) mentions: BTreeSet<String>,
    /// The module, and the item's tokens in one form.
    pub(super) text: String,
    /// Whether its place among the others of its kind matters, as it does for macros.
    pub(super) is_ordered: bool,
}

/// What stands in a crate's sources.
pub(super) struct Sources {
    /// Its items.
    pub(super) items: Vec<SourceItem>,
    /// All files read.
    pub(super) files: Vec<PathBuf>,
}

/// What the files hold, before it is known which names are the crate's own.
#[derive(Default)]
struct Raw {
    /// The module's path, the item, and the folder of its file.
    items: Vec<(String, Item, PathBuf)>,
    modules: BTreeSet<String>,
    /// Attributes of the crate and its modules, which count for all.
    attributes: Vec<(String, TokenStream)>,
    files: Vec<PathBuf>,
}

/// Reads a crate from its root file.
pub(super) fn read(root: &Path, package: &Path) -> Result<Sources, String> {
    let mut raw = Raw::default();
    let folder = root.parent().ok_or("the crate's root has no folder")?.to_owned();
    file(&mut raw, root, &folder, "crate")?;
    convert(raw, package)
}

/// Reads a file whose child modules are in `children`.
fn file(raw: &mut Raw, path: &Path, children: &Path, module: &str) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let parsed = syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    raw.files.push(path.to_owned());
    let attributes = parsed.attrs;
    raw.attributes.push((module.to_owned(), quote!(#(#attributes)*)));
    let here = path.parent().ok_or("a source file has no folder")?.to_owned();
    parsed.items.into_iter().try_for_each(|item| take(raw, item, &here, children, module))
}

fn take(raw: &mut Raw, item: Item, here: &Path, children: &Path, module: &str) -> Result<(), String> {
    match item {
        Item::Mod(child) => take_module(raw, child, here, children, module),
        // It names every stage, so it can't count as one of their readers; what it says is in `describe`.
        Item::Macro(call) if call.mac.path.segments.last().is_some_and(|last| last.ident == "handler") => Ok(()),
        item if is_test(attributes(&item)) => Ok(()),
        item => {
            raw.items.push((module.to_owned(), item, here.to_owned()));
            Ok(())
        }
    }
}

fn take_module(raw: &mut Raw, child: ItemMod, here: &Path, children: &Path, module: &str) -> Result<(), String> {
    if is_test(&child.attrs) {
        return Ok(());
    }
    let name = child.ident.to_string();
    let module = format!("{module}::{name}");
    raw.modules.insert(name.clone());
    let attributes = &child.attrs;
    raw.attributes.push((module.clone(), quote!(#(#attributes)*)));
    let grandchildren = children.join(&name);
    if let Some((_, items)) = child.content {
        return items.into_iter().try_for_each(|item| take(raw, item, here, &grandchildren, &module));
    }
    let (beside, within) = (children.join(format!("{name}.rs")), grandchildren.join("mod.rs"));
    let path = match child.attrs.iter().find_map(path_attribute) {
        Some(path) => here.join(path),
        None if beside.is_file() => beside,
        None => within,
    };
    file(raw, &path, &grandchildren, &module)
}

fn convert(raw: Raw, package: &Path) -> Result<Sources, String> {
    let Raw { items, modules, attributes: attributes_of_modules, mut files } = raw;
    let leaves: Vec<uses::Leaf> = items
        .iter()
        .filter_map(|(module, item, _)| match item {
            Item::Use(item) => Some(uses::leaves(item, module)),
            _ => None,
        })
        .flatten()
        .collect();
    let own: BTreeSet<String> = items.iter().filter_map(|(_, item, _)| own_name(item)).collect();
    let is_ours = |leaf: &uses::Leaf| own.contains(&leaf.original);
    let foreign: BTreeSet<&str> = leaves.iter().filter(|leaf| !is_ours(leaf)).map(|leaf| leaf.name.as_str()).collect();
    let renamed: BTreeSet<&str> =
        leaves.iter().filter(|leaf| leaf.is_local_path(&modules)).map(|leaf| leaf.name.as_str()).collect();
    let types: BTreeSet<String> = items.iter().filter_map(|(_, item, _)| type_name(item)).collect();
    let is_local = |first: &str| {
        matches!(first, "crate" | "self" | "super" | "Self")
            || modules.contains(first)
            || own.contains(first)
            || renamed.contains(first)
    };
    // A model is sent the comments on what it is asked for: there they are more than comments.
    let asks_models =
        items.iter().any(|(_, item, _)| tokens::named(item.to_token_stream(), &is_local).names.contains("llm"));

    let mut found = Vec::new();
    for (module, inner) in attributes_of_modules {
        let text = tokens::text(inner, false);
        if !text.is_empty() {
            let text = format!("{module} {text}");
            found.push(SourceItem { name: None, mentions: BTreeSet::new(), text, is_ordered: false });
        }
    }
    for leaf in &leaves {
        let (name, mentions) = if is_ours(leaf) {
            (Some(leaf.name.clone()), BTreeSet::from([leaf.original.clone()]))
        } else {
            (None, BTreeSet::new())
        };
        found.push(SourceItem { name, mentions, text: leaf.text.clone(), is_ordered: false });
    }
    for (module, item, here) in items {
        if matches!(item, Item::Use(_)) {
            continue;
        }
        let stream = item.to_token_stream();
        let tokens::Named { mut names, includes } = tokens::named(stream.clone(), &is_local);
        let mut text = format!("{module} {}", tokens::text(stream, asks_models && is_schema(attributes(&item))));
        for include in includes {
            let Some(included) = includes::read(&include, &here, package)? else { continue };
            text.push_str(&included.digest);
            names.extend(included.names);
            files.push(included.path);
        }
        let name = match &item {
            Item::Impl(item) => {
                self_type(&item.self_ty).filter(|name| types.contains(name) && !foreign.contains(name.as_str()))
            }
            item => own_name(item),
        };
        found.push(SourceItem { name, mentions: names, text, is_ordered: matches!(item, Item::Macro(_)) });
    }
    Ok(Sources { items: found, files })
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.meta.to_token_stream().to_string().replace(' ', "") == "cfg(test)"
    })
}

/// Whether the item's schema may be sent to a model.
fn is_schema(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        ["output", "part", "data", "params", "derive"]
            .iter()
            .any(|name| path.segments.last().is_some_and(|last| last.ident == name))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name by which other items reach it. A trait has none here: its methods are reached without it.
fn own_name(item: &Item) -> Option<String> {
    match item {
        Item::Const(item) => Some(item.ident.to_string()).filter(|name| name != "_"),
        Item::Fn(item) => Some(item.sig.ident.to_string()),
        Item::Static(item) => Some(item.ident.to_string()),
        Item::Type(item) => Some(item.ident.to_string()),
        item => type_name(item),
    }
}

/// The name of a type that the crate defines. What is implemented for it can't be used without a value of it.
fn type_name(item: &Item) -> Option<String> {
    match item {
        Item::Enum(item) => Some(item.ident.to_string()),
        Item::Struct(item) => Some(item.ident.to_string()),
        Item::Union(item) => Some(item.ident.to_string()),
        _ => None,
    }
}

fn self_type(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    }
}
