//! `chat serve --record FILE`: a diagram on SIGUSR1, and another one at the end.

use std::{env, fs, process};

use rustix::process::Signal;

use crate::{in_styles, server::Server};

in_styles! { [fibers tasks] [what_ran_is_drawn] }

fn what_ran_is_drawn(style: &str) {
    let path = env::temp_dir().join(format!("chat-{}-{style}.svg", process::id()));
    let mut server = Server::start_with(style, &["--record", path.to_str().unwrap()]);
    let (mut member, mut poster) = (server.member("Dogs"), server.client());
    poster.post("Dogs", "hello");
    member.gets("Dogs", "hello");
    server.signal(Signal::USR1);
    server.logs("what ran of late is drawn in");
    let meanwhile = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();

    drop((member, poster));
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    let finally = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    for picture in [meanwhile, finally] {
        assert!(picture.starts_with("<svg"), "{picture}");
        for word in ["worker 0", "main", "accept4", "epoll_wait", "recv"] {
            assert!(picture.contains(word), "no {word}: {picture}");
        }
    }
}
