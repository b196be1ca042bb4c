#[bifilar::main(wokers = 2)]
fn unknown() {}

#[bifilar::main(multi_thread)]
fn unknown_word() {}

#[bifilar::main(workers)]
fn no_value() {}

#[bifilar::main(workers = "2")]
fn wrong_type() {}

#[bifilar::main(workers = 0)]
fn zero() {}

#[bifilar::main(workers = cores())]
fn no_literal() {}

#[bifilar::main(stack_size = 64 * 1024)]
fn no_single_literal() {}

#[bifilar::main(name = 1)]
fn no_text() {}

#[bifilar::main(workers = 1, name = "x", workers = 2)]
fn twice() {}

#[bifilar::main(crate = "a b")]
fn no_path() {}

#[bifilar::main(workers = 0, name = "", colour = "red")]
async fn three_at_once() {
    nothing_in_here_is_looked_at().await
}

fn main() {}
