//! Coroutines without a scheduler: whoever resumes them decides whose turn it is.

use std::time::{Duration, Instant};

/// So many rounds over so many coroutines, each resumed by `resume` with a number.
fn rounds<C>(mut coroutines: Vec<C>, turns: u64, resume: impl Fn(&mut C, u64) -> u64) -> Duration {
    // Each has started before the clock does.
    coroutines.iter_mut().for_each(|coroutine| assert_eq!(resume(coroutine, 1), 2));
    let begin = Instant::now();
    let mut sum = 0;
    for round in 0..turns / coroutines.len() as u64 {
        for coroutine in &mut coroutines {
            sum += resume(coroutine, round);
        }
    }
    std::hint::black_box(sum);
    begin.elapsed()
}

/// Bifilar's.
pub mod coroutines {
    use std::time::Duration;

    use bifilar_coroutine::{Coroutine, CoroutineState::Yielded};

    /// A number in, a number out.
    pub fn turns(count: usize, turns: u64) -> Duration {
        let new = |_| {
            Coroutine::<u64, u64, ()>::new(|suspender, mut number| {
                loop {
                    number = suspender.suspend(number + 1);
                }
            })
        };
        super::rounds((0..count).map(new).collect(), turns, |coroutine, number| {
            let Yielded(number) = coroutine.resume(number) else { unreachable!() };
            number
        })
    }
}

/// corosensei's, on its own stacks, of the same size.
pub mod corosensei {
    use std::time::Duration;

    use bifilar_coroutine::stack::DEFAULT_SIZE;
    use corosensei::{Coroutine, CoroutineResult::Yield, Yielder, stack::DefaultStack};

    /// A number in, a number out.
    pub fn turns(count: usize, turns: u64) -> Duration {
        let new = |_| {
            let stack = DefaultStack::new(DEFAULT_SIZE).unwrap();
            Coroutine::<u64, u64, ()>::with_stack(stack, |yielder: &Yielder<_, _>, mut number| {
                loop {
                    number = yielder.suspend(number + 1);
                }
            })
        };
        super::rounds((0..count).map(new).collect(), turns, |coroutine, number| {
            let Yield(number) = coroutine.resume(number) else { unreachable!() };
            number
        })
    }
}

/// Nothing but the switches, on bifilar's stacks: no panics caught, no check who may be resumed.
pub mod bare {
    use std::{mem::MaybeUninit, time::Duration};

    use bifilar_coroutine::{
        raw::{self, Suspended},
        stack::Stack,
    };

    struct Execution {
        /// Where the side is suspended that doesn't run.
        other: MaybeUninit<Suspended>,
        number: u64,
        _stack: Stack,
    }

    /// # Safety
    /// `execution` is an `Execution` that outlives this, and whose other side is suspended.
    unsafe extern "C" fn body(execution: *mut ()) -> ! {
        let execution = execution.cast::<Execution>();
        loop {
            // SAFETY: as promised; and nobody else uses it while this side runs.
            unsafe {
                (*execution).number += 1;
                raw::switch((*execution).other.as_mut_ptr(), (*execution).other.assume_init());
            }
        }
    }

    /// A number in, a number out.
    pub fn turns(count: usize, turns: u64) -> Duration {
        let new = |_| {
            let stack = Stack::new(bifilar_coroutine::stack::DEFAULT_SIZE).unwrap();
            let top = stack.top();
            let other = MaybeUninit::uninit();
            let execution = Box::into_raw(Box::new(Execution { other, number: 0, _stack: stack }));
            // SAFETY: the stack is ours and is never given back, as the execution is leaked: it is
            // suspended for ever in the end, with nothing on it that needs to be dropped.
            unsafe { (*execution).other.write(raw::prepare(top, body, execution.cast())) };
            execution
        };
        super::rounds((0..count).map(new).collect(), turns, |execution, number| {
            let execution = *execution;
            // SAFETY: leaked, so alive; suspended whenever this side runs, and on this thread.
            unsafe {
                (*execution).number = number;
                raw::switch((*execution).other.as_mut_ptr(), (*execution).other.assume_init());
                (*execution).number
            }
        })
    }
}
