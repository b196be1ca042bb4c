use bifilar::{Wait, task};

/// Documentation stays.
#[bifilar::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number: u32 = "42".parse()?;
    assert_eq!(task::spawn(async move { number }).wait()?, 42);
    Ok(())
}
