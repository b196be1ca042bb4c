// What children borrow outlives the call, and is free again only after it.
fn main() {
    let mut text = String::from("outside");
    bifilar::scope(|s| {
        s.spawn(|| text.push('!'));
        text.len()
    });
    bifilar::scope(|s| {
        let child = s.spawn(|| &text);
        drop(text);
        child.join().unwrap();
    });

    let longer: &str = {
        let short = String::from("short");
        bifilar::scope(|s| s.spawn(|| short.as_str()).join().unwrap())
    };
    println!("{longer}");

    // An error goes out of the scope, so it borrows nothing of a child.
    let _: Result<(), &str> = bifilar::try_scope(|s| {
        s.spawn(|| {
            let of_the_child = String::from("gone with the child");
            Err::<(), &str>(of_the_child.as_str())
        });
        let of_the_closure = String::from("gone with the closure");
        Err(of_the_closure.as_str())
    });
}
