//! The crate goes by another name; the function is not `main`, and returns an unnamed type.

use bifilar as coil;

mod inner {
    #[coil::main(crate = "coil", workers = 1)]
    pub(crate) async fn start() -> impl Iterator<Item = u32> {
        0..3
    }

    use super::coil;
}

fn main() {
    assert_eq!(inner::start().sum::<u32>(), 3);
}
