//! Files that sources include: `include_str!("rules.txt")` and its kin.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{LitStr, parse2};

use super::tokens;

/// An included file.
pub(super) struct Included {
    /// The file.
    pub(super) path: PathBuf,
    /// The name used for it, and the digest of what is in it.
    pub(super) digest: String,
    /// Names in it, where it is code.
    pub(super) names: BTreeSet<String>,
}

/// Reads the file of an `include…!`. None: it is made by the crate's build script, whose inputs count already.
pub(super) fn read(
    (name, argument): &(String, TokenStream),
    here: &Path,
    package: &Path,
) -> Result<Option<Included>, String> {
    let Some((relative, path)) = locate(argument, here, package) else {
        if argument.to_string().contains("OUT_DIR") {
            return Ok(None);
        }
        return Err(format!("{name}!({argument}): write the file's name as a string, so that its content counts"));
    };
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut names = BTreeSet::new();
    if name == "include" {
        let text = String::from_utf8_lossy(&bytes);
        let code: TokenStream = text.parse().map_err(|error| format!("{}: {error}", path.display()))?;
        names = tokens::named(code, &|_| true).names;
    }
    Ok(Some(Included { path, digest: format!("{relative} {}", blake3::hash(&bytes).to_hex()), names }))
}

/// The file that `"name"` or `concat!(env!("CARGO_MANIFEST_DIR"), "/name")` means, and its name.
fn locate(argument: &TokenStream, here: &Path, package: &Path) -> Option<(String, PathBuf)> {
    if let Ok(name) = parse2::<LitStr>(argument.clone()) {
        return Some((name.value(), here.join(name.value())));
    }
    let tokens: Vec<TokenTree> = argument.clone().into_iter().collect();
    let [TokenTree::Ident(concat), _, TokenTree::Group(group), ..] = tokens.as_slice() else {
        return None;
    };
    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
    let [TokenTree::Ident(env), _, TokenTree::Group(variable), _, TokenTree::Literal(name), rest @ ..] =
        inner.as_slice()
    else {
        return None;
    };
    let is_package = concat == "concat" && env == "env" && variable.stream().to_string() == "\"CARGO_MANIFEST_DIR\"";
    if !is_package || rest.len() > 1 {
        return None;
    }
    let name = parse2::<LitStr>(TokenTree::Literal(name.clone()).into()).ok()?.value();
    let relative = name.strip_prefix('/')?;
    Some((relative.to_owned(), package.join(relative)))
}
