#[bifilar::main]
fn parameters(count: usize, name: &str) {}

#[bifilar::main]
async fn generic<T>() {}

#[bifilar::main]
unsafe fn dangerous() {}

#[bifilar::main]
struct NoFunction;

#[bifilar::test]
mod no_function_either {}

#[bifilar::test]
#[test]
fn twice() {}

fn main() {}
