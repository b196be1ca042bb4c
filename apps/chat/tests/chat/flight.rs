//! `chat serve --record FILE`: a diagram on SIGUSR1, and another one at the end.

use std::{env, fs, process};

use rustix::process::Signal;

use crate::{in_styles, server::Server};

in_styles! { [fibers tasks] [what_ran_is_drawn] }

fn what_ran_is_drawn(style: &str) {
    let directory = env::temp_dir().join(format!("chat-{}-{style}", process::id()));
    fs::create_dir(&directory).unwrap();
    let path = directory.join("run.svg");
    let mut server = Server::start_with(style, &["--record", path.to_str().unwrap()]);
    let (mut member, mut poster) = (server.member("Dogs"), server.client());
    poster.post("Dogs", "hello");
    member.gets("Dogs", "hello");
    server.signal(Signal::USR1);
    server.logs("what ran of late is in");

    drop((member, poster));
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read_to_string(entry.path()).unwrap())
    };
    let mut pictures: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|entry| read(entry.unwrap())).collect();
    fs::remove_dir_all(&directory).unwrap();
    pictures.sort_by_key(|(name, _)| name.ends_with("-call.svg"));
    let [(meanwhile, _), (finally, _)] = &pictures[..] else { panic!("{pictures:?}") };
    assert!(meanwhile.starts_with("run-2") && meanwhile.ends_with("-signal.svg"), "{meanwhile}");
    assert!(finally.starts_with("run-2") && finally.ends_with("-call.svg"), "{finally}");
    for (_, picture) in pictures {
        assert!(picture.starts_with("<svg"), "{picture}");
        for word in ["worker 0", "main", "accept4", "epoll_wait", "recv"] {
            assert!(picture.contains(word), "no {word}: {picture}");
        }
    }
}
