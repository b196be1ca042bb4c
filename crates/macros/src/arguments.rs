//! What stands between the parentheses of an attribute: `workers = 2, name = "counter"`.
//!
//! Every fault is reported at its own place, all of them at once. Values are literals; whether a
//! stack of that size can be had is the runtime's to say.

use proc_macro2::{Ident, Span, TokenStream};
use syn::{
    Error, Lit, LitInt, LitStr, Path, Result, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
};

const KNOWN: &str = "`workers`, `stack_size`, `name` and `crate`";

/// The arguments of an attribute, each if it was given.
#[derive(Default)]
pub struct Arguments {
    /// `workers = N`, more than zero.
    pub workers: Option<LitInt>,
    /// `stack_size = N`, more than zero.
    pub stack_size: Option<LitInt>,
    /// `name = "…"`, not empty.
    pub name: Option<LitStr>,
    /// `crate = "path::of::bifilar"`.
    pub root: Option<Path>,
}

impl Arguments {
    /// Reads all of `tokens`; the error holds every fault in them.
    pub fn read(tokens: TokenStream) -> Result<Self> {
        let pairs = Punctuated::<Argument, Token![,]>::parse_terminated.parse2(tokens)?;
        let mut arguments = Self::default();
        let mut faults: Option<Error> = None;
        for pair in pairs {
            if let Err(fault) = arguments.take(pair) {
                match &mut faults {
                    Some(faults) => faults.combine(fault),
                    None => faults = Some(fault),
                }
            }
        }
        faults.map_or(Ok(arguments), Err)
    }

    fn take(&mut self, Argument { key, value }: Argument) -> Result<()> {
        let word = key.to_string();
        match word.as_str() {
            "workers" => set(&mut self.workers, &key, positive(&word, value)?),
            "stack_size" => set(&mut self.stack_size, &key, positive(&word, value)?),
            "name" => set(&mut self.name, &key, thread_name(value)?),
            "crate" => set(&mut self.root, &key, path(value)?),
            _ => Err(unknown(&key)),
        }
    }
}

/// One `key = literal`.
struct Argument {
    key: Ident,
    value: Lit,
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = input.call(Ident::parse_any)?;
        if !input.peek(Token![=]) {
            return Err(if is_known(&key) {
                Error::new(key.span(), format!("`{key}` needs a value: `{key} = …`"))
            } else {
                unknown(&key)
            });
        }
        input.parse::<Token![=]>()?;
        let place = input.span();
        let value = input
            .parse()
            .map_err(|_| Error::new(place, format!("the value of `{key}` must be a literal")))?;
        if !input.is_empty() && !input.peek(Token![,]) {
            return Err(input.error(format!(
                "expected `,` or `)`: the value of `{key}` must be a single literal"
            )));
        }
        Ok(Self { key, value })
    }
}

fn is_known(key: &Ident) -> bool {
    ["workers", "stack_size", "name", "crate"].iter().any(|known| key == known)
}

fn unknown(key: &Ident) -> Error {
    Error::new(key.span(), format!("unknown argument `{key}`; there are {KNOWN}"))
}

fn set<T>(place: &mut Option<T>, key: &Ident, value: T) -> Result<()> {
    if place.is_some() {
        return Err(Error::new(key.span(), format!("`{key}` is given twice")));
    }
    *place = Some(value);
    Ok(())
}

fn positive(key: &str, value: Lit) -> Result<LitInt> {
    let fault = |span: Span, text: &str| Err(Error::new(span, format!("`{key}` {text}")));
    let Lit::Int(number) = value else {
        return fault(value.span(), "must be an integer, as in `workers = 2`");
    };
    if !matches!(number.suffix(), "" | "usize") {
        return fault(number.span(), "must be a plain integer or a `usize`");
    }
    match number.base10_parse::<usize>() {
        Ok(1..) => Ok(number),
        Ok(0) => fault(number.span(), "must be at least 1"),
        Err(_) if number.base10_digits().starts_with('-') => {
            fault(number.span(), "must be at least 1")
        }
        Err(_) => fault(number.span(), "must fit into a `usize`"),
    }
}

fn text(key: &str, value: Lit) -> Result<LitStr> {
    match value {
        Lit::Str(text) => Ok(text),
        other => Err(Error::new(other.span(), format!("`{key}` must be a string in quotes"))),
    }
}

fn thread_name(value: Lit) -> Result<LitStr> {
    let name = text("name", value)?;
    if name.value().is_empty() || name.value().contains('\0') {
        return Err(Error::new(name.span(), "`name` must be neither empty nor contain a NUL"));
    }
    Ok(name)
}

fn path(value: Lit) -> Result<Path> {
    let text = text("crate", value)?;
    text.parse_with(Path::parse_mod_style)
        .map_err(|_| Error::new(text.span(), "`crate` must be a path, as in `\"::bifilar\"`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::{ToTokens, quote};

    #[test]
    fn all_arguments() {
        let arguments = Arguments::read(quote!(
            workers = 2,
            stack_size = 65_536usize,
            name = "x",
            crate = "crate::a",
        ))
        .unwrap();
        assert_eq!(arguments.workers.unwrap().base10_digits(), "2");
        assert_eq!(arguments.stack_size.unwrap().base10_digits(), "65536");
        assert_eq!(arguments.name.unwrap().value(), "x");
        assert_eq!(arguments.root.unwrap().to_token_stream().to_string(), "crate :: a");
        let nothing = Arguments::read(quote!()).unwrap();
        assert!(nothing.workers.is_none() && nothing.root.is_none());
    }

    #[test]
    fn faults() {
        let table = [
            (quote!(wokers = 2), "unknown argument `wokers`"),
            (quote!(flavor = "multi_thread"), "unknown argument `flavor`"),
            (quote!(multi), "unknown argument `multi`"),
            (quote!(workers), "`workers` needs a value"),
            (quote!(workers = "2"), "`workers` must be an integer"),
            (quote!(workers = 2.0), "`workers` must be an integer"),
            (quote!(workers = -1), "`workers` must be at least 1"),
            (quote!(workers = 0), "`workers` must be at least 1"),
            (quote!(workers = 2u8), "plain integer"),
            (quote!(workers = 99999999999999999999999), "must fit"),
            (quote!(workers = CORES), "must be a literal"),
            (quote!(stack_size = 64 * 1024), "must be a single literal"),
            (quote!(stack_size = true), "`stack_size` must be an integer"),
            (quote!(workers = 1, workers = 2), "`workers` is given twice"),
            (quote!(name = 'x'), "`name` must be a string"),
            (quote!(name = ""), "neither empty"),
            (quote!(crate = tokio), "must be a literal"),
            (quote!(crate = "a b"), "`crate` must be a path"),
            (quote!(workers = 1 name = "x"), "expected `,`"),
        ];
        for (tokens, message) in table {
            let shown = tokens.to_string();
            let fault = Arguments::read(tokens).err().unwrap().to_string();
            assert!(fault.contains(message), "{shown}: {fault}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let arguments = quote!(workers = 0, name = 1, colour = "red");
        let fault = Arguments::read(arguments).err().unwrap();
        assert_eq!(fault.into_iter().count(), 3);
    }
}
