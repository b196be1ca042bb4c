//! SIGQUIT: the server says what everybody is doing, and goes on.

use rustix::process::Signal;

use crate::{in_styles, server::Server};

in_styles! { [fibers tasks] [everybody_is_listed] }

fn everybody_is_listed(style: &str) {
    let server = Server::start(style);
    let (mut member, mut poster) = (server.member("Dogs"), server.client());
    poster.post("Dogs", "before");
    member.gets("Dogs", "before");
    server.signal(Signal::QUIT);
    server.logs("tasks of the runtime 'chat'");
    server.logs("'reader 127.0.0.1:");
    server.logs("to be readable (127.0.0.1:");
    server.logs("'writer 127.0.0.1:");
    server.logs("'main', spawned at");
    poster.post("Dogs", "after");
    member.gets("Dogs", "after");
}
