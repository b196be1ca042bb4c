//! The load on an echo server: one epoll loop, 64 bytes out and 64 bytes back on every connection.
//!
//! Closed loop: a connection sends its next message when the last one is back, so a slow server
//! is asked less. What a late answer delays is therefore seen in the latencies only once.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, OwnedFd},
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
    let mut load = Load::connect(address, connections)?;
    load.begin()?;

    let time = Duration::from_millis(milliseconds);
    load.exchange(time / 4, &mut Vec::new())?;
    let mut latencies_ns = Vec::with_capacity(1 << 20);
    let (user, system) = machine::cpu_time(server)?;
    let begin = Instant::now();
    load.exchange(time, &mut latencies_ns)?;
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

/// Connections to one server, and the queue of their events.
pub struct Load {
    queue: OwnedFd,
    all: Vec<Connection>,
}

impl Load {
    /// Connects, and sends nothing yet.
    pub fn connect(address: SocketAddr, connections: usize) -> io::Result<Self> {
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
        Ok(Load { queue, all })
    }

    /// Sends the first message on each connection.
    fn begin(&mut self) -> io::Result<()> {
        self.all.iter_mut().try_for_each(Connection::send)
    }

    /// Sends and receives for `time`; notes how long each round trip took.
    fn exchange(&mut self, time: Duration, latencies_ns: &mut Vec<u64>) -> io::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.wait(|connection| {
                latencies_ns.push(connection.sent.elapsed().as_nanos() as u64);
                connection.send()
            })?;
        }
        Ok(())
    }

    /// Begins, sends and receives for `time`, and waits until all messages are back; how many round
    /// trips that were.
    pub fn round(&mut self, time: Duration) -> io::Result<u64> {
        let begin = Instant::now();
        self.begin()?;
        let (mut trips, mut under_way) = (0, self.all.len());
        while under_way > 0 {
            let goes_on = begin.elapsed() < time;
            self.wait(|connection| {
                trips += 1;
                if goes_on {
                    return connection.send();
                }
                under_way -= 1;
                Ok(())
            })?;
        }
        Ok(trips)
    }

    /// Waits for events, and calls `back` for each connection whose message is back.
    fn wait(&mut self, mut back: impl FnMut(&mut Connection) -> io::Result<()>) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let limit = Duration::from_secs(5).try_into().ok();
        epoll::wait(&self.queue, rustix::buffer::spare_capacity(&mut events), limit.as_ref())?;
        if events.is_empty() {
            return Err(io::Error::other("the server has been silent for five seconds"));
        }
        for event in &events {
            let connection = &mut self.all[event.data.u64() as usize];
            if connection.receive()? {
                back(connection)?;
            }
        }
        Ok(())
    }
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
