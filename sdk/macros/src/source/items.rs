//! Reads a crate's module tree into its items: names, the names they mention, and their tokens without comments.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Item, ItemMod, Meta, Type};

/// An item of a crate.
pub(super) struct SourceItem {
    /// Its name, if others can name it. An `impl` block has the name of its type.
    pub(super) name: Option<String>,
    /// Every identifier in it.
    pub(super) mentions: BTreeSet<String>,
    /// Its tokens, documentation left out.
    pub(super) tokens: String,
}

/// What stands in a crate's sources.
#[derive(Default)]
pub(super) struct Sources {
    /// In the order of the files.
    pub(super) items: Vec<SourceItem>,
    /// Files that the sources include, by the name used there.
    pub(super) included: Vec<(String, Vec<u8>)>,
    /// All files read.
    pub(super) files: Vec<PathBuf>,
}

/// Reads a crate from its root file.
pub(super) fn read(root: &Path) -> Result<Sources, String> {
    let mut sources = Sources::default();
    let folder = root.parent().ok_or("the crate's root has no folder")?.to_owned();
    file(&mut sources, root, &folder)?;
    Ok(sources)
}

/// Reads a file whose child modules are in `children`.
fn file(sources: &mut Sources, path: &Path, children: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let parsed = syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    sources.files.push(path.to_owned());
    let here = path.parent().ok_or("a source file has no folder")?.to_owned();
    for item in parsed.items {
        take(sources, item, &here, children)?;
    }
    Ok(())
}

fn take(sources: &mut Sources, item: Item, here: &Path, children: &Path) -> Result<(), String> {
    match item {
        Item::Mod(module) => take_module(sources, module, here, children),
        // It names every stage, so it can't count as one of their readers; its name and list are in `describe`.
        Item::Macro(call) if call.mac.path.segments.last().is_some_and(|last| last.ident == "handler") => Ok(()),
        item if is_test(attributes(&item)) => Ok(()),
        item => {
            let tokens = without_docs(item.to_token_stream());
            let mut mentions = BTreeSet::new();
            let mut includes = Vec::new();
            walk(tokens.clone(), &mut mentions, &mut includes);
            for name in includes {
                let path = here.join(&name);
                let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                sources.files.push(path);
                sources.included.push((name, bytes));
            }
            sources.items.push(SourceItem { name: name(&item), mentions, tokens: tokens.to_string() });
            Ok(())
        }
    }
}

fn take_module(sources: &mut Sources, module: ItemMod, here: &Path, children: &Path) -> Result<(), String> {
    if is_test(&module.attrs) {
        return Ok(());
    }
    let name = module.ident.to_string();
    if let Some((_, items)) = module.content {
        let children = children.join(&name);
        return items.into_iter().try_for_each(|item| take(sources, item, here, &children));
    }
    let named = module.attrs.iter().find_map(path_attribute);
    let (beside, within) = (children.join(format!("{name}.rs")), children.join(&name).join("mod.rs"));
    let path = match named {
        Some(path) => here.join(path),
        None if beside.is_file() => beside,
        None => within,
    };
    file(sources, &path, &children.join(&name))
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

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name by which other items reach it. What has none counts for every stage.
fn name(item: &Item) -> Option<String> {
    match item {
        Item::Const(item) => Some(item.ident.to_string()).filter(|name| name != "_"),
        Item::Enum(item) => Some(item.ident.to_string()),
        Item::Fn(item) => Some(item.sig.ident.to_string()),
        Item::Impl(item) => match &*item.self_ty {
            Type::Path(path) if path.qself.is_none() => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        },
        Item::Static(item) => Some(item.ident.to_string()),
        Item::Struct(item) => Some(item.ident.to_string()),
        Item::Type(item) => Some(item.ident.to_string()),
        Item::Union(item) => Some(item.ident.to_string()),
        _ => None,
    }
}

/// The tokens without `#[doc = "…"]`, which is what comments on items become.
pub(super) fn without_docs(tokens: TokenStream) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let of_attribute = matches!(kept.last(), Some(TokenTree::Punct(punct)) if matches!(punct.as_char(), '#' | '!'));
                let is_doc = matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(ident)) if ident == "doc");
                if of_attribute && is_doc {
                    while matches!(kept.last(), Some(TokenTree::Punct(punct)) if matches!(punct.as_char(), '#' | '!')) {
                        kept.pop();
                    }
                } else {
                    let inner = proc_macro2::Group::new(group.delimiter(), without_docs(group.stream()));
                    kept.push(TokenTree::Group(inner));
                }
            }
            other => kept.push(other),
        }
    }
    kept.into_iter().collect()
}

/// Collects identifiers, and the names of included files.
fn walk(tokens: TokenStream, mentions: &mut BTreeSet<String>, includes: &mut Vec<String>) {
    let mut last_ident = String::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                last_ident = ident.to_string();
                mentions.insert(last_ident.clone());
            }
            TokenTree::Group(group) => {
                if matches!(last_ident.as_str(), "include_str" | "include_bytes" | "include")
                    && let Ok(text) = syn::parse2::<syn::LitStr>(group.stream())
                {
                    includes.push(text.value());
                }
                walk(group.stream(), mentions, includes);
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}
