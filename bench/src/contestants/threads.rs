//! `std::thread`: what everyone has, and what the kernel's scheduler does with it.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::sync_channel,
    thread,
    time::{Duration, Instant},
};

use super::{BATCH, BUFFER};

/// A thread for each operation.
pub fn spawn(_workers: usize, operations: u64) -> Duration {
    let begin = Instant::now();
    for _ in 0..operations / BATCH {
        let threads: Vec<_> = (0..BATCH).map(|number| thread::spawn(move || number)).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
    begin.elapsed()
}

/// Two threads on one core.
pub fn yields(_workers: usize, operations: u64) -> Duration {
    let body = move || (0..operations / 2).for_each(|_| thread::yield_now());
    let begin = Instant::now();
    let other = thread::spawn(body);
    body();
    other.join().unwrap();
    begin.elapsed()
}

/// `sync_channel(1)` both ways.
pub fn channel(_workers: usize, operations: u64) -> Duration {
    let (ping, pinged) = sync_channel(1);
    let (pong, ponged) = sync_channel(1);
    let other = thread::spawn(move || {
        for message in pinged {
            pong.send(message).unwrap();
        }
    });
    let begin = Instant::now();
    for number in 0..operations {
        ping.send(number).unwrap();
        assert_eq!(ponged.recv().unwrap(), number);
    }
    let elapsed = begin.elapsed();
    drop(ping);
    other.join().unwrap();
    elapsed
}

/// A thread for each connection.
pub fn echo(listener: TcpListener) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        thread::spawn(move || serve(stream));
    }
}

fn serve(mut stream: TcpStream) {
    let mut buffer = [0; BUFFER];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..count]).unwrap();
    }
}
