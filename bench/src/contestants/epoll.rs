//! An echo server as a bare epoll loop: no tasks, no buffers kept, as little as will work. The
//! limit for everyone else on the same system calls.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
};

use rustix::event::epoll;

use super::BUFFER;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// The number under which the listener is registered.
const LISTENER: u64 = u64::MAX;

/// Serves until killed.
pub fn echo(listener: TcpListener) {
    serve(&listener).expect("the echo loop failed");
}

fn serve(listener: &TcpListener) -> io::Result<()> {
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    listener.set_nonblocking(true)?;
    let data = epoll::EventData::new_u64(LISTENER);
    epoll::add(&queue, listener.as_fd(), data, epoll::EventFlags::IN)?;
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = [0; BUFFER];
    loop {
        events.clear();
        epoll::wait(&queue, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let number = event.data.u64();
            if number == LISTENER {
                let (stream, _) = listener.accept()?;
                let data = epoll::EventData::new_u64(streams.len() as u64);
                epoll::add(&queue, stream.as_fd(), data, epoll::EventFlags::IN)?;
                streams.push(Some(stream));
                continue;
            }
            let place = &mut streams[number as usize];
            let Some(stream) = place else { continue };
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => *place = None,
                Ok(count) => stream.write_all(&buffer[..count])?,
            }
        }
    }
}
