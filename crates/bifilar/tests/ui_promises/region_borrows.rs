// Code in a region runs here and now, but what it gives must outlive it as ever.
use bifilar::{shield, until};

fn main() {
    let result: Result<&str, ()> = until(std::future::ready(()), || {
        let inside = String::new();
        inside.as_str()
    });
    let shielded: &str = shield(|| String::new().as_str());
    println!("{result:?} {shielded}");
}
