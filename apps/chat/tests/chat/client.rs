//! A client that speaks bare lines.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpStream},
};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::{Value, json};

use crate::PATIENCE;

/// A connection to a server.
pub struct Client {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub fn join(&mut self, group: &str) {
        self.send(format!("{}\n", json!({"Join": {"group_name": group}})));
    }

    /// From now on the kernel takes little for this client before it reads; but several segments
    /// of loopback, or it would become very slow indeed.
    pub fn read_slowly(&self) {
        set_socket_recv_buffer_size(&self.stream, 512 * 1024).unwrap();
    }

    /// Posts a message that needs no escapes: cheap for large ones.
    pub fn post_plain(&mut self, group: &str, message: &str) {
        self.send(format!(
            "{{\"Post\":{{\"group_name\":\"{group}\",\"message\":\"{message}\"}}}}\n"
        ));
    }

    /// The next thing to come is this message, which needs no escapes.
    #[track_caller]
    pub fn gets_plain(&mut self, group: &str, message: &str) {
        let line = self.line().expect("a message, not the end");
        let frame = format!("{{\"Message\":{{\"group_name\":\"{group}\",\"message\":\"");
        let got = line.strip_prefix(&frame).and_then(|rest| rest.strip_suffix("\"}}"));
        assert!(got == Some(message), "expected {message:.20}…, got {line:.80}…");
    }

    pub fn post(&mut self, group: &str, message: &str) {
        self.send(format!("{}\n", json!({"Post": {"group_name": group, "message": message}})));
    }

    /// The next line, or `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.ends_with('\n').then(|| line.trim_end().to_owned())
    }

    /// The next value, or `None` at the end.
    pub fn next(&mut self) -> Option<Value> {
        self.line().map(|line| serde_json::from_str(&line).unwrap())
    }

    /// The next thing to come is this message.
    #[track_caller]
    pub fn gets(&mut self, group: &str, message: &str) {
        let expected = json!({"Message": {"group_name": group, "message": message}});
        assert_eq!(self.next(), Some(expected));
    }

    /// The next thing to come is an error; returns its text.
    #[track_caller]
    pub fn error(&mut self) -> String {
        let value = self.next().expect("an error, not the end");
        let text = value["Error"].as_str();
        text.unwrap_or_else(|| panic!("expected an error: {value}")).to_owned()
    }

    /// The next thing to come is the end.
    #[track_caller]
    pub fn end(&mut self) {
        assert_eq!(self.line(), None);
    }

    /// The next things to come are a goodbye and the end.
    #[track_caller]
    pub fn goodbye(&mut self) {
        assert_eq!(self.next(), Some(json!({"Goodbye": "The server is shutting down"})));
        self.end();
    }

    /// Waits until the server has taken everything sent before. Nothing else may be on its way
    /// to this client.
    #[track_caller]
    pub fn fence(&mut self) {
        self.post("nobody is here", "");
        assert_eq!(self.error(), "Group 'nobody is here' does not exist");
    }

    /// Nothing more is sent.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}
