//! TCP over the reactor.
//!
//! Everything that can block returns a future: `.await` it in async code, `.wait()` for it anywhere.
//! Byte streams implement `std::io::{Read, Write}`, which wait, and `futures_io::{AsyncRead,
//! AsyncWrite}`. Not every method of the operating system's sockets is here: `as_fd` opens the way
//! to the rest.
//!
//! ```
//! use bifilar::{Wait, WaitIter, fiber, net::{TcpListener, TcpStream}};
//! use std::io::{Read, Write};
//!
//! bifilar::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0").wait()?;
//!     let address = listener.local_addr()?;
//!     let server = fiber::spawn(move || {
//!         let mut stream = listener.incoming().wait_iter().next().unwrap()?;
//!         stream.write_all(b"hello")
//!     });
//!     let mut text = String::new();
//!     TcpStream::connect(address).wait()?.read_to_string(&mut text)?;
//!     assert_eq!(text, "hello");
//!     server.join()?
//! }).unwrap();
//! ```

mod address;
mod listener;
mod stream;

pub use address::ToSocketAddrs;
pub use listener::{Incoming, TcpListener};
#[doc(no_inline)]
pub use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
pub use stream::TcpStream;
