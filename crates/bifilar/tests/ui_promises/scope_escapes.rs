// Neither the scope nor a handle leaves it, and nothing takes a child along.
use bifilar::{Scope, ScopedJoinHandle, scope, try_scope};

fn main() {
    let _handle = scope(|s| s.spawn(|| 1));
    let _scope = scope(|s| s);
    let _handle = try_scope(|s| Ok::<_, ()>(s.spawn(|| Ok(1))));

    let mut kept: Option<ScopedJoinHandle<'_, i32>> = None;
    scope(|s| kept = Some(s.spawn(|| 1)));

    let mut outside: Option<&Scope<'_, '_>> = None;
    scope(|s| outside = Some(s));

    scope(|s| {
        bifilar::fiber::spawn(move || s.spawn(|| 1));
    });
}
