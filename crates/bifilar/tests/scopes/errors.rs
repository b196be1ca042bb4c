//! `try_scope`: the first error ends the rest.

use super::*;

#[test]
fn the_first_error_wins_and_the_rest_is_ended() {
    everywhere(|| {
        for rest_fails in [false, true] {
            let drops = Drops::default();
            let result: Result<(), String> = try_scope(|s| {
                let _body = drops.guard();
                for _ in 0..3 {
                    let guard = drops.guard();
                    s.spawn(move || {
                        let _guard = guard;
                        match catch_unwind(never) {
                            Err(_) if rest_fails => Err(String::from("a later one")),
                            Err(payload) => std::panic::resume_unwind(payload),
                            Ok(()) => Ok(()),
                        }
                    });
                    let guard = drops.guard();
                    s.spawn_future(async move {
                        let _guard = guard;
                        pending::<Result<(), String>>().await
                    });
                }
                fiber::yield_now();
                s.spawn(|| Err::<(), _>(String::from("the first")));
                never();
                unreachable!("the body is interrupted");
            });
            assert_eq!(result, Err(String::from("the first")));
            drops.assert_all(7);
        }
    });
}

#[test]
fn an_error_of_the_body_ends_the_children() {
    everywhere(|| {
        let (drops, text) = (Drops::default(), String::from("borrowed"));
        let result: Result<(), &str> = try_scope(|s| {
            let guard = drops.guard();
            s.spawn(move || {
                let _guard = guard;
                never();
                Ok(())
            });
            fiber::yield_now();
            Err(text.as_str())
        });
        assert_eq!(result, Err("borrowed"));
        drops.assert_all(1);
    });
}

#[test]
fn a_late_error_is_dropped_before_the_scope_ends() {
    struct Error<'a> {
        _guard: drops::Guard<'a>,
    }
    everywhere(|| {
        let drops = Drops::default();
        let result: Result<(), Error<'_>> = try_scope(|s| {
            for _ in 0..10 {
                s.spawn(|| {
                    fiber::yield_now();
                    Err::<(), _>(Error { _guard: drops.guard() })
                });
            }
            Ok(())
        });
        assert!(result.is_err());
        let (made, dropped) = drops.get();
        assert_eq!(made - dropped, 1, "only the first is left");
        drop(result);
        assert_eq!(drops.get(), (made, made));
    });
}

#[test]
fn success_gives_the_bodys_value_and_the_childrens() {
    everywhere(|| {
        let numbers = ["1", "2", "3"];
        let sum: Result<i32, std::num::ParseIntError> = try_scope(|s| {
            let parsed: Vec<_> =
                numbers.iter().map(|number| s.spawn(|| number.parse::<i32>())).collect();
            Ok(parsed.into_iter().map(|child| child.join().unwrap().unwrap()).sum())
        });
        assert_eq!(sum, Ok(6));
        // A failed child's handle gives nothing: its error is the scope's.
        let failed: Result<(), i32> = try_scope(|s| {
            let child = s.spawn(|| Err::<(), _>(7));
            assert!(matches!(child.join(), Ok(None)));
            Ok(())
        });
        assert_eq!(failed, Err(7));
    });
}

#[test]
fn a_panic_of_a_child_ends_a_try_scope() {
    everywhere(|| {
        for join in [false, true] {
            let drops = Drops::default();
            let result = outcome(|| {
                try_scope(|s| {
                    let guard = drops.guard();
                    s.spawn(move || {
                        let _guard = guard;
                        never();
                        Ok::<_, ()>(())
                    });
                    let child = s.spawn(|| -> Result<(), ()> { panic!("a child's") });
                    if join {
                        // It may come to this, or be interrupted first.
                        assert!(child.join().unwrap_err().is_panic());
                    }
                    never();
                    Ok(())
                })
            });
            assert_eq!(result, Err(String::from("a scoped task panicked")));
            drops.assert_all(1);
        }
    });
}

#[test]
fn a_cancelled_parent_of_a_try_scope_is_cancelled() {
    let runtime = Runtime::new().unwrap();
    let drops = Drops::default();
    let counted = drops.clone();
    let (started, is_started) = oneshot::channel();
    let parent = runtime.spawn_fiber(move || {
        try_scope(|s| {
            let guard = counted.guard();
            s.spawn(move || {
                let _guard = guard;
                started.send(()).unwrap();
                never();
                Ok::<_, ()>(())
            });
            Ok(())
        })
    });
    is_started.wait().unwrap();
    parent.cancel();
    assert!(parent.join().unwrap_err().is_cancelled());
    drops.assert_all(1);
}
