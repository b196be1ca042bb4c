use bifilar::{Wait, task};

#[bifilar::main(workers = 2, stack_size = 0x1_0000, name = "worker",)]
async fn main() -> std::io::Result<()> {
    assert_eq!(task::spawn(async { 1 }).await?, 1);
    assert_eq!(task::spawn(async { 2 }).wait()?, 2);
    Ok(())
}
