//! Walks a binary tree in order: plain recursion becomes an iterator, and two walks in lockstep
//! tell whether two trees of different shape hold the same values.
//!
//! ```text
//! $ cargo run -q -p bifilar-coroutine --example tree_walk
//! balanced (depth 4): [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
//! chain (depth 10):   [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
//! same values: true
//! without 7: false, told apart by Some(7) and Some(8)
//! ```

use std::rc::Rc;

use bifilar_coroutine::{Generator, Suspender};

struct Node {
    left: Tree,
    value: u32,
    right: Tree,
}

type Tree = Option<Rc<Node>>;

/// The walk as one writes it first: no stack of its own to keep, no state to name.
fn walk(tree: &Tree, output: &Suspender<(), u32>) {
    if let Some(node) = tree {
        walk(&node.left, output);
        output.suspend(node.value);
        walk(&node.right, output);
    }
}

fn values(tree: &Tree) -> Generator<u32> {
    let tree = tree.clone();
    Generator::new(move |output| walk(&tree, output))
}

fn balanced(sorted: &[u32]) -> Tree {
    let (left, rest) = sorted.split_at(sorted.len() / 2);
    let (&value, right) = rest.split_first()?;
    Some(Rc::new(Node { left: balanced(left), value, right: balanced(right) }))
}

fn chain(sorted: &[u32]) -> Tree {
    let (&value, left) = sorted.split_last()?;
    Some(Rc::new(Node { left: chain(left), value, right: None }))
}

fn depth(tree: &Tree) -> usize {
    tree.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
}

fn main() {
    let numbers: Vec<u32> = (1..=10).collect();
    let (even, long) = (balanced(&numbers), chain(&numbers));
    println!("balanced (depth {}): {:?}", depth(&even), values(&even).collect::<Vec<_>>());
    println!("chain (depth {}):   {:?}", depth(&long), values(&long).collect::<Vec<_>>());
    println!("same values: {}", values(&even).eq(values(&long)));

    let numbers: Vec<u32> = numbers.into_iter().filter(|&n| n != 7).collect();
    let other = chain(&numbers);
    let same = values(&even).eq(values(&other));
    let (mut a, mut b) = (values(&even), values(&other));
    // Neither tree is walked further than to the first difference.
    let (a, b) = std::iter::repeat_with(|| (a.next(), b.next())).find(|(a, b)| a != b).unwrap();
    println!("without 7: {same}, told apart by {a:?} and {b:?}");
}
