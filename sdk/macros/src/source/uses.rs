//! `use` declarations, leaf by leaf: how they are grouped and ordered doesn't count.

use std::collections::BTreeSet;

use quote::ToTokens;
use syn::{ItemUse, UseTree};

use super::tokens;

/// One name that a `use` brings in.
pub(super) struct Leaf {
    /// The name in this module; `*` for a glob.
    pub(super) name: String,
    /// The last part of its path.
    pub(super) original: String,
    /// The first part of its path.
    first: String,
    /// Module, attributes and the whole path.
    pub(super) text: String,
}

impl Leaf {
    /// Whether its path leads through the crate.
    pub(super) fn is_local_path(&self, modules: &BTreeSet<String>) -> bool {
        matches!(self.first.as_str(), "crate" | "self" | "super") || modules.contains(&self.first)
    }
}

/// The leaves of a declaration.
pub(super) fn leaves(item: &ItemUse, module: &str) -> Vec<Leaf> {
    let attributes: proc_macro2::TokenStream = item.attrs.iter().map(ToTokens::to_token_stream).collect();
    let before = format!("{module} use {}", tokens::text(attributes, false));
    let mut leaves = Vec::new();
    collect(&item.tree, &mut Vec::new(), &before, &mut leaves);
    leaves
}

fn collect(tree: &UseTree, path: &mut Vec<String>, before: &str, leaves: &mut Vec<Leaf>) {
    let mut leaf = |path: &[String], original: String, name: String| {
        let first = path.first().unwrap_or(&original).clone();
        let text = format!("{before} {}::{original} as {name}", path.join("::"));
        leaves.push(Leaf { name, original, first, text });
    };
    match tree {
        UseTree::Path(within) => {
            path.push(within.ident.to_string());
            collect(&within.tree, path, before, leaves);
            path.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| collect(tree, path, before, leaves)),
        UseTree::Glob(_) => leaf(path, "*".to_owned(), "*".to_owned()),
        UseTree::Name(name) if name.ident == "self" => {
            let last = path.last().cloned().unwrap_or_default();
            leaf(path, last.clone(), last);
        }
        UseTree::Name(name) => leaf(path, name.ident.to_string(), name.ident.to_string()),
        UseTree::Rename(rename) => {
            let original = if rename.ident == "self" { path.last().cloned() } else { None };
            leaf(path, original.unwrap_or_else(|| rename.ident.to_string()), rename.rename.to_string());
        }
    }
}
