//! A generator as an iterator, and one that borrows from its surroundings.
//!
//! ```text
//! $ cargo run -q -p bifilar-coroutine --example generator
//! [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]
//! 3: two words
//! 5: as many again
//! 2 of 5 lines had words
//! ```

use bifilar_coroutine::Generator;

fn main() {
    let fibonacci = Generator::new(|output| {
        let (mut a, mut b) = (0u64, 1);
        loop {
            output.suspend(a);
            (a, b) = (b, a + b);
        }
    });
    println!("{:?}", fibonacci.take(10).collect::<Vec<_>>());

    let text = "\n\ntwo words\n\nas many again";
    let mut lines = 0;
    let found = Generator::scope(
        |output| {
            for (index, line) in text.lines().enumerate() {
                lines += 1;
                if !line.is_empty() {
                    output.suspend((index + 1, line));
                }
            }
        },
        |values| values.inspect(|(number, line)| println!("{number}: {line}")).count(),
    );
    println!("{found} of {lines} lines had words");
}
