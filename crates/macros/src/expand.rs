//! Rewrites the function under an attribute.
//!
//! The function as written goes, without its attributes, into the body of a function of the same
//! name that starts the runtime. So its return type, even `impl Trait`, its `?` and the places that
//! the compiler's messages name stay as written. On a fault the function is kept with an empty
//! body: the only message then is the one about the fault.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{
    Attribute, Error, ItemFn, Path, Result, Safety, Signature, parse_quote, spanned::Spanned,
};

use crate::arguments::Arguments;

/// Which attribute it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `#[bifilar::main]`
    Main,
    /// `#[bifilar::test]`
    Test,
}

/// The function `item` under an attribute with `arguments`, rewritten; faults become
/// `compile_error!`s.
pub fn expand(kind: Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(fault) => {
            let fault = not_a_function(kind, &item, fault).into_compile_error();
            return quote!(#fault #item);
        }
    };
    let arguments = Arguments::read(arguments);
    let signature = check(kind, &function);
    match (arguments, signature) {
        (Ok(arguments), Ok(())) => rewrite(kind, &arguments, function),
        (Err(mut fault), Err(other)) => {
            fault.combine(other);
            placeholder(fault, function)
        }
        (Err(fault), _) | (_, Err(fault)) => placeholder(fault, function),
    }
}

fn attribute(kind: Kind) -> &'static str {
    match kind {
        Kind::Main => "#[bifilar::main]",
        Kind::Test => "#[bifilar::test]",
    }
}

/// Tells a wrong kind of item from a function whose body does not parse.
fn not_a_function(kind: Kind, item: &TokenStream, fault: Error) -> Error {
    match syn::parse2::<syn::Item>(item.clone()) {
        Ok(item) => Error::new_spanned(item, format!("{} belongs on a function", attribute(kind))),
        Err(_) => fault,
    }
}

/// Whether the function can be called without anything and by nobody but us.
fn check(kind: Kind, function: &ItemFn) -> Result<()> {
    let Signature { inputs, generics, constness, safety, abi, .. } = &function.sig;
    let attribute = attribute(kind);
    let mut faults: Vec<Error> = Vec::new();
    if !inputs.is_empty() {
        let text = format!("a function under {attribute} takes no parameters");
        faults.push(Error::new_spanned(inputs, text));
    }
    if !generics.params.is_empty() {
        let text = format!("a function under {attribute} cannot be generic");
        faults.push(Error::new_spanned(&generics.params, text));
    }
    let qualifiers = [
        constness.as_ref().map(|word| ("const", word.span())),
        match safety {
            Safety::Unsafe(word) => Some(("unsafe", word.span())),
            _ => None,
        },
        abi.as_ref().map(|word| ("extern", word.span())),
    ];
    for (word, span) in qualifiers.into_iter().flatten() {
        faults.push(Error::new(span, format!("a function under {attribute} cannot be `{word}`")));
    }
    if kind == Kind::Test
        && let Some(twice) = function.attrs.iter().find(|attribute| is_test(attribute))
    {
        faults.push(Error::new_spanned(twice, format!("{attribute} already makes this a test")));
    }
    let first = faults.into_iter().reduce(|mut all, fault| {
        all.combine(fault);
        all
    });
    first.map_or(Ok(()), Err)
}

/// `#[test]`, as written by hand or by us.
fn is_test(attribute: &Attribute) -> bool {
    let path = attribute.path().to_token_stream().to_string();
    path == "test" || path == quote!(::core::prelude::v1::test).to_string()
}

fn rewrite(kind: Kind, arguments: &Arguments, mut function: ItemFn) -> TokenStream {
    let root: Path = arguments.root.clone().unwrap_or_else(|| parse_quote!(::bifilar));
    let name = &function.sig.ident;
    let run = match function.sig.asyncness {
        Some(_) => quote!(.block_on(#name())),
        None => quote!(.run(#name)),
    };
    let workers = match (&arguments.workers, kind) {
        (Some(number), _) => quote!(.workers(#number)),
        (None, Kind::Test) => quote!(.workers(1)),
        (None, Kind::Main) => quote!(),
    };
    let stack_size = arguments.stack_size.iter();
    let thread_name = arguments.name.iter();
    let settings = quote!(#workers #(.stack_size(#stack_size))* #(.name(#thread_name))*);

    let attributes = std::mem::take(&mut function.attrs);
    let test = (kind == Kind::Test).then(|| quote!(#[::core::prelude::v1::test]));
    let visibility = std::mem::replace(&mut function.vis, syn::Visibility::Inherited);
    let signature = Signature { asyncness: None, ..function.sig.clone() };
    quote! {
        #test
        #(#attributes)*
        #visibility #signature {
            #function
            #root::Builder::new() #settings #run
        }
    }
}

fn placeholder(fault: Error, mut function: ItemFn) -> TokenStream {
    let fault = fault.into_compile_error();
    function.sig.asyncness = None;
    function.attrs.clear();
    function.block = parse_quote!({ ::core::unimplemented!() });
    quote!(#fault #[allow(unused)] #function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewriting() {
        let table = [
            (
                Kind::Main,
                quote!(),
                quote!(
                    fn main() {
                        work();
                    }
                ),
                quote! {
                    fn main() {
                        fn main() { work(); }
                        ::bifilar::Builder::new().run(main)
                    }
                },
            ),
            (
                Kind::Main,
                quote!(workers = 2, stack_size = 65536, name = "x", crate = "renamed"),
                quote! {
                    /// Text.
                    #[allow(dead_code)]
                    pub async fn start() -> io::Result<impl Sized> { work().await }
                },
                quote! {
                    /// Text.
                    #[allow(dead_code)]
                    pub fn start() -> io::Result<impl Sized> {
                        async fn start() -> io::Result<impl Sized> { work().await }
                        renamed::Builder::new()
                            .workers(2).stack_size(65536).name("x").block_on(start())
                    }
                },
            ),
            (
                Kind::Test,
                quote!(),
                quote! {
                    #[should_panic]
                    #[ignore = "slow"]
                    fn t() {}
                },
                quote! {
                    #[::core::prelude::v1::test]
                    #[should_panic]
                    #[ignore = "slow"]
                    fn t() {
                        fn t() {}
                        ::bifilar::Builder::new().workers(1).run(t)
                    }
                },
            ),
            (
                Kind::Test,
                quote!(workers = 4),
                quote!(
                    async fn t() {}
                ),
                quote! {
                    #[::core::prelude::v1::test]
                    fn t() {
                        async fn t() {}
                        ::bifilar::Builder::new().workers(4).block_on(t())
                    }
                },
            ),
        ];
        for (kind, arguments, item, expected) in table {
            assert_eq!(expand(kind, arguments, item).to_string(), expected.to_string());
        }
    }

    #[test]
    fn faults_leave_an_empty_function() {
        let table = [
            (
                quote!(),
                quote!(
                    fn f(x: u8) {}
                ),
                "takes no parameters",
            ),
            (
                quote!(),
                quote!(
                    async fn f<T>() {}
                ),
                "cannot be generic",
            ),
            (
                quote!(),
                quote!(
                    unsafe fn f() {}
                ),
                "cannot be `unsafe`",
            ),
            (
                quote!(),
                quote!(
                    const fn f() {}
                ),
                "cannot be `const`",
            ),
            (
                quote!(),
                quote!(
                    extern "C" fn f() {}
                ),
                "cannot be `extern`",
            ),
            (
                quote!(),
                quote!(
                    #[test]
                    fn f() {}
                ),
                "already makes this a test",
            ),
            (
                quote!(),
                quote!(
                    #[::core::prelude::v1::test]
                    fn f() {}
                ),
                "already makes this a test",
            ),
            (
                quote!(workers = 0),
                quote!(
                    async fn f() {
                        x.await
                    }
                ),
                "at least 1",
            ),
        ];
        for (arguments, item, message) in table {
            let output = expand(Kind::Test, arguments, item).to_string();
            assert!(output.contains(message), "{output}");
            assert!(output.contains("unimplemented") && !output.contains("await"), "{output}");
        }
    }

    #[test]
    fn other_items_are_refused() {
        for item in [
            quote!(
                struct S;
            ),
            quote!(
                mod m {}
            ),
            quote!(
                const C: u8 = 1;
            ),
        ] {
            let output = expand(Kind::Main, quote!(), item.clone()).to_string();
            assert!(output.contains("#[bifilar::main] belongs on a function"), "{output}");
            assert!(output.ends_with(&item.to_string()), "{output}");
        }
    }

    #[test]
    fn faults_of_arguments_and_function_are_told_together() {
        let output = expand(
            Kind::Main,
            quote!(workers = 0),
            quote!(
                fn f(x: u8) {}
            ),
        )
        .to_string();
        assert!(output.contains("at least 1") && output.contains("takes no parameters"));
    }
}
