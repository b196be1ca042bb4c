//! Reads a crate's module tree and lists the imports between the modules of its root.
//!
//! Starts at `lib.rs`, follows `mod x;` to its file as the compiler does (`x.rs`, `x/mod.rs`,
//! `#[path]`), and walks the syntax tree. It resolves no names: a path counts by its first
//! segments, so what comes in under an alias made elsewhere is seen where the alias is made.
//! Code that exists only under `cfg(test)` is passed over.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::{
    Attribute, Expr, ExprLit, ImplItem, Item, ItemMod, Lit, Meta, Token, UseTree, Visibility,
    ext::IdentExt,
    punctuated::Punctuated,
    visit::{self, Visit},
};

/// What the crate's root is called in the lists.
pub const ROOT: &str = "lib";

/// One path that leads from one module of the root into another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The module of the root in which the path stands.
    pub from: String,
    /// The module of the root into which it leads.
    pub to: String,
    /// The path as written, as far as it was read.
    pub path: String,
    /// The file in which it stands.
    pub file: PathBuf,
    /// The line on which it begins, from 1.
    pub line: usize,
}

/// All imports between modules in the crate whose root is the file `lib`.
pub fn imports(lib: &Path) -> Result<Vec<Import>, String> {
    let mut walk = Walk {
        modules: Vec::new(),
        root_modules: Vec::new(),
        file: lib.to_path_buf(),
        child_directory: lib.parent().unwrap_or(Path::new("")).to_path_buf(),
        found: Vec::new(),
        error: None,
    };
    let syntax = parse(lib)?;
    walk.root_modules = syntax.items.iter().filter_map(module_name).collect();
    walk.visit_file(&syntax);
    match walk.error {
        Some(error) => Err(error),
        None => Ok(walk.found),
    }
}

struct Walk {
    /// Where we are: `["net", "tcp"]`; empty in the root.
    modules: Vec<String>,
    /// The modules that the root declares.
    root_modules: Vec<String>,
    file: PathBuf,
    /// Where the files of modules declared here are looked for.
    child_directory: PathBuf,
    found: Vec<Import>,
    error: Option<String>,
}

impl Walk {
    /// Notes the path `segments` if it leads into another module of the root.
    fn note(&mut self, segments: &[String], span: Span) {
        let Some(target) = self.resolve(segments) else { return };
        let from = self.modules.first().map_or(ROOT, String::as_str);
        let to = match target {
            Some(first) if self.root_modules.contains(first) => first.as_str(),
            _ => ROOT,
        };
        if from == to {
            return;
        }
        let import = Import {
            from: from.to_string(),
            to: to.to_string(),
            path: segments.join("::"),
            file: self.file.clone(),
            line: span.start().line,
        };
        if !self.found.contains(&import) {
            self.found.push(import);
        }
    }

    /// `None` if the path is not one of ours; else the segment that follows the root, if any.
    fn resolve<'a>(&'a self, segments: &'a [String]) -> Option<Option<&'a String>> {
        match segments.first()?.as_str() {
            "crate" if segments.len() > 1 => Some(segments.get(1)),
            "self" | "super" => {
                let steps = segments.iter().take_while(|s| *s == "super" || *s == "self");
                let up = steps.clone().filter(|s| *s == "super").count();
                let rest = &segments[steps.count()..];
                let kept = self.modules.len().checked_sub(up)?;
                Some(self.modules[..kept].iter().chain(rest).next())
            }
            _ => None,
        }
    }

    fn use_tree(&mut self, prefix: &mut Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.unraw().to_string());
                self.use_tree(prefix, &path.tree);
                prefix.pop();
            }
            UseTree::Group(group) => {
                for item in &group.items {
                    self.use_tree(prefix, item);
                }
            }
            UseTree::Name(name) => self.use_end(prefix, &name.ident),
            UseTree::Rename(rename) => self.use_end(prefix, &rename.ident),
            UseTree::Glob(glob) => {
                let mut segments = prefix.clone();
                segments.push("*".to_string());
                self.note(&segments, glob.star_token.spans[0]);
            }
        }
    }

    /// The last name of a use; `use super::time::{self}` names what the prefix names.
    fn use_end(&mut self, prefix: &[String], name: &syn::Ident) {
        let mut segments = prefix.to_vec();
        if segments.is_empty() || name != "self" {
            segments.push(name.unraw().to_string());
        }
        self.note(&segments, name.span());
    }

    /// Paths in the body of a macro, which has no syntax tree: `crate :: a`, `super :: b`,
    /// `crate :: { a, b }`.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut index = 0;
        while index < tokens.len() {
            match &tokens[index] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) if *first == "crate" || *first == "super" => {
                    let span = first.span();
                    let mut segments = vec![first.to_string()];
                    while is_path_separator(&tokens[index + 1..]) {
                        match tokens.get(index + 3) {
                            Some(TokenTree::Ident(next)) => segments.push(next.to_string()),
                            Some(TokenTree::Group(group))
                                if group.delimiter() == Delimiter::Brace =>
                            {
                                self.token_group(&segments, group.stream());
                                segments.clear();
                            }
                            _ => {}
                        }
                        index += 3;
                    }
                    self.note(&segments, span);
                }
                _ => {}
            }
            index += 1;
        }
    }

    /// The names that `{ a::b, c }` adds to the path before it.
    fn token_group(&mut self, prefix: &[String], group: TokenStream) {
        let mut starts = true;
        for token in group {
            match token {
                TokenTree::Ident(name) if starts => {
                    let mut segments = prefix.to_vec();
                    segments.push(name.to_string());
                    self.note(&segments, name.span());
                    starts = false;
                }
                TokenTree::Punct(mark) if mark.as_char() == ',' => starts = true,
                _ => starts = false,
            }
        }
    }

    /// Walks the file of `mod name;`.
    fn module_file(&mut self, module: &ItemMod) -> Result<(), String> {
        let name = module.ident.unraw().to_string();
        let given = path_attribute(&module.attrs);
        let here = self.file.parent().unwrap_or(Path::new("")).to_path_buf();
        let candidates = match given {
            Some(path) => vec![here.join(path)],
            None => vec![
                self.child_directory.join(format!("{name}.rs")),
                self.child_directory.join(&name).join("mod.rs"),
            ],
        };
        let file = candidates
            .iter()
            .find(|path| path.is_file())
            .ok_or_else(|| format!("{}: no file for `mod {name};`", self.file.display()))?;
        let syntax = parse(file)?;
        let child_directory = self.child_directory.join(&name);
        let outer_file = std::mem::replace(&mut self.file, file.clone());
        let outer_directory = std::mem::replace(&mut self.child_directory, child_directory);
        self.visit_file(&syntax);
        self.file = outer_file;
        self.child_directory = outer_directory;
        Ok(())
    }
}

impl<'ast> Visit<'ast> for Walk {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item_attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let name = module.ident.unraw().to_string();
        self.modules.push(name.clone());
        if module.content.is_some() {
            let directory = self.child_directory.join(name);
            let outer = std::mem::replace(&mut self.child_directory, directory);
            visit::visit_item_mod(self, module);
            self.child_directory = outer;
        } else if let Err(error) = self.module_file(module) {
            self.error.get_or_insert(error);
        }
        self.modules.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&mut Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect();
        if segments.len() > 1
            && let Some(first) = path.segments.first()
        {
            self.note(&segments, first.ident.span());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    /// `pub(in crate::x)` says who may look in, and imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    /// Documentation and other attributes import nothing.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

fn parse(file: &Path) -> Result<syn::File, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    syn::parse_file(&text)
        .map_err(|error| format!("{}:{}: {error}", file.display(), error.span().start().line))
}

fn module_name(item: &Item) -> Option<String> {
    match item {
        Item::Mod(module) => Some(module.ident.unraw().to_string()),
        _ => None,
    }
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(tokens.first()) && colon(tokens.get(1))
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Whether an item with these attributes exists in test builds only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<Meta>().is_ok_and(|meta| needs_test(&meta)))
    })
}

/// Whether the condition can hold in test builds only.
fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else { return condition.path().is_ident("test") };
    let Ok(parts) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return false;
    };
    if list.path.is_ident("all") {
        parts.iter().any(needs_test)
    } else {
        list.path.is_ident("any") && !parts.is_empty() && parts.iter().all(needs_test)
    }
}

fn item_attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The imports of `text`, standing in the module `modules` of a crate whose root declares
    /// `a`, `b` and `c`; as `from → to path`.
    fn scan(modules: &[&str], text: &str) -> Vec<String> {
        let mut walk = Walk {
            modules: modules.iter().map(ToString::to_string).collect(),
            root_modules: ["a", "b", "c"].map(String::from).to_vec(),
            file: PathBuf::from("x.rs"),
            child_directory: PathBuf::new(),
            found: Vec::new(),
            error: None,
        };
        walk.visit_file(&syn::parse_file(text).unwrap());
        walk.found.iter().map(|i| format!("{} → {} {}", i.from, i.to, i.path)).collect()
    }

    #[test]
    fn what_counts_as_an_import() {
        let table: &[(&[&str], &str, &[&str])] = &[
            (&["a"], "use crate::b::X;", &["a → b crate::b::X"]),
            (&["a"], "use crate::b;", &["a → b crate::b"]),
            (&["a"], "use crate::b::{self};", &["a → b crate::b"]),
            (&["a"], "use crate::b as other;", &["a → b crate::b"]),
            (&["a"], "pub(crate) use crate::b::X;", &["a → b crate::b::X"]),
            (
                &["a"],
                "use crate::{b::{X, Y}, c};",
                &["a → b crate::b::X", "a → b crate::b::Y", "a → c crate::c"],
            ),
            (&["a"], "use crate::*;", &["a → lib crate::*"]),
            (&["a"], "use crate::Builder;", &["a → lib crate::Builder"]),
            (&["a"], "use super::b::X;", &["a → b super::b::X"]),
            (&["a"], "use super::X;", &["a → lib super::X"]),
            (&["a", "deep"], "use super::X;", &[]),
            (&["a", "deep"], "use super::super::b;", &["a → b super::super::b"]),
            (&["a"], "use self::deep::X;", &[]),
            (&["a"], "use std::fmt; use crate::a::deep::X;", &[]),
            (&[], "pub use crate::a::X; pub use b::Y;", &["lib → a crate::a::X"]),
            (&["a"], "fn f(x: &crate::b::X) {}", &["a → b crate::b::X"]),
            (
                &["a"],
                "fn f() { g::<Vec<crate::c::X>>(crate::b::y()) }",
                &["a → c crate::c::X", "a → b crate::b::y"],
            ),
            (&["a"], "fn f() { use crate::b::X; }", &["a → b crate::b::X"]),
            (&["a"], "impl crate::b::T for X {}", &["a → b crate::b::T"]),
            (&["a"], "fn f() { assert!(crate::b::ready()); }", &["a → b crate::b::ready"]),
            (&["a"], "macro_rules! m { () => { $crate::b::X } }", &["a → b crate::b::X"]),
            (&["a"], "m! { use crate::{b::X, c}; }", &["a → b crate::b", "a → c crate::c"]),
            (&["a"], "mod inline { use super::super::b; }", &["a → b super::super::b"]),
        ];
        for (modules, text, expected) in table {
            assert_eq!(scan(modules, text), *expected, "{text}");
        }
    }

    #[test]
    fn what_does_not() {
        for text in [
            "// use crate::b::X;",
            "/* crate::b::X */",
            "/// [`X`](crate::b::X)\nstruct S;",
            "//! use crate::b::X;",
            "const S: &str = \"crate::b::X\";",
            "#[cfg(test)] mod tests { use crate::b::X; }",
            "#[cfg(test)] mod tests;",
            "#[cfg(all(test, loom))] mod models { use crate::b::X; }",
            "#[cfg(any(test, all(test, loom)))] use crate::b::X;",
            "#[test] fn t() { crate::b::x(); }",
            "impl S { #[cfg(test)] fn t() { crate::b::x(); } }",
            "pub(in crate::b) struct S;",
            "pub(crate) struct S;",
            "use bifilar_events::b::X;",
        ] {
            assert_eq!(scan(&["a"], text), [""; 0], "{text}");
        }
        for text in ["#[cfg(not(test))] use crate::b::X;", "#[cfg(any(test, unix))] use crate::b;"]
        {
            assert_eq!(scan(&["a"], text).len(), 1, "{text}");
        }
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let mut walk = Walk {
            modules: vec!["a".to_string()],
            root_modules: vec!["b".to_string()],
            file: PathBuf::from("x.rs"),
            child_directory: PathBuf::new(),
            found: Vec::new(),
            error: None,
        };
        walk.visit_file(&syn::parse_file("\n\nuse std::fmt;\n\nuse crate::b;\n").unwrap());
        assert_eq!(walk.found[0].line, 5);
    }
}
