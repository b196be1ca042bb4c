//! The load on an echo server: one epoll loop, 64 bytes out and 64 bytes back on every connection.
//!
//! Closed loop: a connection sends its next message when the last one is back, so a slow server
//! is asked less. What a late answer delays is therefore seen in the latencies only once.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rustix::event::epoll;
use serde_json::json;

use crate::machine;

/// Bytes of a message.
const MESSAGE: usize = 64;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

struct Connection {
    stream: TcpStream,
    sent: Instant,
    received: usize,
}

/// Loads the server at `address`, process `server`, over `connections`; prints a JSON object.
pub fn run(
    address: SocketAddr,
    server: u32,
    connections: usize,
    milliseconds: u64,
) -> io::Result<()> {
    machine::die_with_parent()?;
    machine::pin(1)?;
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut all = Vec::with_capacity(connections);
    for index in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&queue, stream.as_fd(), data, epoll::EventFlags::IN)?;
        all.push(Connection { stream, sent: Instant::now(), received: 0 });
    }
    for connection in &mut all {
        connection.send()?;
    }

    let time = Duration::from_millis(milliseconds);
    exchange(&queue, &mut all, time / 4, &mut Vec::new())?;
    let mut latencies_ns = Vec::with_capacity(1 << 20);
    let (user, system) = machine::cpu_time(server)?;
    let begin = Instant::now();
    exchange(&queue, &mut all, time, &mut latencies_ns)?;
    let elapsed = begin.elapsed();
    let (user_after, system_after) = machine::cpu_time(server)?;

    let trips = latencies_ns.len() as f64;
    let per_trip_us = |time: Duration| time.as_secs_f64() * 1e6 / trips;
    latencies_ns.sort_unstable();
    let at = |share: f64| latencies_ns.get(((trips - 1.0) * share) as usize).copied();
    println!(
        "{}",
        json!({
            "trips_per_s": trips / elapsed.as_secs_f64(),
            "cpu_us": per_trip_us(user_after + system_after - user - system),
            "user_us": per_trip_us(user_after - user),
            "p50_us": at(0.5).unwrap_or(0) as f64 / 1e3,
            "p99_us": at(0.99).unwrap_or(0) as f64 / 1e3,
            "max_us": at(1.0).unwrap_or(0) as f64 / 1e3,
        })
    );
    Ok(())
}

/// Sends and receives for `time`; notes how long each round trip took.
fn exchange(
    queue: impl AsFd,
    all: &mut [Connection],
    time: Duration,
    latencies_ns: &mut Vec<u64>,
) -> io::Result<()> {
    let begin = Instant::now();
    let mut events = Vec::with_capacity(EVENTS);
    let limit = Duration::from_secs(5).try_into().ok();
    while begin.elapsed() < time {
        events.clear();
        epoll::wait(&queue, rustix::buffer::spare_capacity(&mut events), limit.as_ref())?;
        if events.is_empty() {
            return Err(io::Error::other("the server has been silent for five seconds"));
        }
        for event in &events {
            let connection = &mut all[event.data.u64() as usize];
            if connection.receive()? {
                latencies_ns.push(connection.sent.elapsed().as_nanos() as u64);
                connection.send()?;
            }
        }
    }
    Ok(())
}

impl Connection {
    fn send(&mut self) -> io::Result<()> {
        self.sent = Instant::now();
        self.received = 0;
        // At most one message is under way, so the kernel's buffer always has room for it.
        self.stream.write_all(&[b'x'; MESSAGE])
    }

    /// Whether the whole message is back.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; MESSAGE];
        match self.stream.read(&mut buffer[self.received..]) {
            Ok(0) => Err(io::Error::other("the server closed a connection")),
            Ok(count) => {
                self.received += count;
                Ok(self.received == MESSAGE)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
