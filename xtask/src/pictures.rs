//! The pictures of the documentation, drawn anew from real runs: `get` in each style, against a server
//! that answers here, slowly.
//!
//! ```text
//! get --style STYLE --diagram … ──► connection ──► half of the answer, pause, the other half
//! ```
//!
//! They are never the same twice, since time passes as it will; so no check compares them. Look at
//! them before they are committed.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use crate::steps::{call, cargo, root};

/// Where they are kept, from the root.
const FOLDER: &str = "apps/get/pictures";

const STYLES: [&str; 4] = ["sync", "threads", "fibers", "tasks"];

/// Milliseconds before each half of the answer, which are the paths that are asked for.
const PAUSES: [&str; 3] = ["2", "4", "3"];

pub fn run() -> Result<(), String> {
    let address = serve().map_err(|error| format!("cannot start a server: {error}"))?;
    let urls = PAUSES.map(|pause| format!("http://{address}/{pause}"));
    let folder = root().join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{FOLDER}: {error}"))?;
    for style in STYLES {
        draw(style, &folder, &urls)?;
    }
    eprintln!("drawn in {FOLDER}; look at them");
    Ok(())
}

/// On a single worker, so that fibers and tasks show what they can do without threads.
fn draw(style: &str, folder: &Path, urls: &[String]) -> Result<(), String> {
    let picture = folder.join(style).with_extension("svg");
    let get = ["--release", "--quiet", "--package", "bifilar-get", "--"];
    let options = ["--style", style, "--workers", "1", "--diagram"];
    call(cargo("run").args(get).args(options).arg(picture).args(urls))
}

/// Starts a server that lives as long as this process, and says where.
fn serve() -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream?));
        }
    });
    Ok(address)
}

/// Answers `GET /2 HTTP/1.1` with two halves, each after two milliseconds.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?).lines();
    let first = request.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let pause = Duration::from_millis(path.parse().unwrap_or(1));
    while request.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    for half in ["HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello ", "world"] {
        thread::sleep(pause);
        stream.write_all(half.as_bytes())?;
    }
    Ok(())
}
