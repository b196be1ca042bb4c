//! The example serves many clients, also ones that write much before they read.

#[path = "../examples/echo_callbacks.rs"]
#[allow(dead_code)] // its `main`
mod echo_callbacks;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

#[test]
fn many_clients_get_their_bytes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || echo_callbacks::serve(listener));

    // All are connected before the first one speaks.
    let mut clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(format!("round {round} of client {number}\n").as_bytes()).unwrap();
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let expected = format!("round {round} of client {number}\n");
            let mut answer = vec![0; expected.len()];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(String::from_utf8(answer).unwrap(), expected);
        }
    }
}

#[test]
fn more_than_the_socket_buffers_hold() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || echo_callbacks::serve(listener));

    const LENGTH: usize = 16 << 20;
    let sent: Vec<u8> = (0..LENGTH).map(|at| (at % 251) as u8).collect();
    let mut client = TcpStream::connect(address).unwrap();
    thread::scope(|scope| {
        let mut writer = client.try_clone().unwrap();
        let sent = &sent;
        scope.spawn(move || writer.write_all(sent).unwrap());
        let mut received = vec![0; LENGTH];
        client.read_exact(&mut received).unwrap();
        assert!(received == *sent);
    });
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}
