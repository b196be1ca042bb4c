//! Running out of file descriptors: the server says so, waits, and recovers.

use std::{fs, thread, time::Duration};

use crate::{in_each_style, server::Server};

in_each_style!(a_server_without_files_waits_for_some);

fn a_server_without_files_waits_for_some(style: &str) {
    const FILES: u32 = 40;
    let server = Server::start_with_files(style, FILES);
    // More clients than files; the kernel completes their connections all the same.
    let mut clients: Vec<_> = (0..FILES + 10).map(|_| server.client()).collect();
    for client in &mut clients {
        client.join("Dogs");
    }
    server.logs("Too many open files");

    // The server is busy with waiting, not with trying: far less than the second that passes.
    let before = cpu_ticks(&server);
    thread::sleep(Duration::from_secs(1));
    let spent = cpu_ticks(&server) - before;
    assert!(spent < 30, "{spent} ticks of 10 ms in one second");

    // Those who came first are served, and as they go the others are served too.
    while !clients.is_empty() {
        let mut client = clients.remove(0);
        client.fence();
    }
    let mut member = server.member("Dogs");
    member.post("Dogs", "on");
    member.gets("Dogs", "on");
    let lines = server.log().matches("Too many open files").count();
    assert!(lines <= 5, "{lines} log lines");
}

/// User and system time, in ticks of 10 ms.
fn cpu_ticks(server: &Server) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.child.id())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
