//! Addresses, and names that must be looked up first.

use crate::{blocking::unblock, cell::JoinHandle};
use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    option,
    pin::Pin,
    task::{Context, Poll},
    vec,
};

/// What can be turned into socket addresses, as `std::net::ToSocketAddrs`.
///
/// Names are looked up on the pool of threads for blocking calls, so that no worker stands still.
/// Implemented for the same types as std's trait: addresses, pairs of host and port, strings
/// (`"localhost:7000"`) and slices of addresses. It can't be implemented for others.
pub trait ToSocketAddrs: sealed::Resolve {}

impl<T: sealed::Resolve + ?Sized> ToSocketAddrs for T {}

pub(super) mod sealed {
    pub trait Resolve {
        /// Begins to turn this into addresses.
        fn resolve(&self) -> super::Resolving;
    }
}

/// Addresses to come: a future.
#[derive(Debug)]
pub struct Resolving(State);

#[derive(Debug)]
enum State {
    Known(Option<Addresses>),
    LookingUp(JoinHandle<io::Result<vec::IntoIter<SocketAddr>>>),
}

/// An iterator over addresses.
#[derive(Debug, Clone)]
pub enum Addresses {
    /// At most one.
    One(option::IntoIter<SocketAddr>),
    /// Any number.
    Many(vec::IntoIter<SocketAddr>),
}

impl Iterator for Addresses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match self {
            Addresses::One(one) => one.next(),
            Addresses::Many(many) => many.next(),
        }
    }
}

impl Future for Resolving {
    type Output = io::Result<Addresses>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Known(addresses) => {
                Poll::Ready(Ok(addresses.take().expect("polled after completion")))
            }
            State::LookingUp(handle) => Pin::new(handle)
                .poll(cx)
                .map(|joined| joined.map_err(io::Error::from)?.map(Addresses::Many)),
        }
    }
}

fn known(address: SocketAddr) -> Resolving {
    Resolving(State::Known(Some(Addresses::One(Some(address).into_iter()))))
}

fn look_up<T>(name: T) -> Resolving
where
    T: std::net::ToSocketAddrs<Iter = vec::IntoIter<SocketAddr>> + Send + 'static,
{
    Resolving(State::LookingUp(unblock(move || name.to_socket_addrs())))
}

impl sealed::Resolve for str {
    fn resolve(&self) -> Resolving {
        match self.parse() {
            Ok(address) => known(address),
            Err(_) => look_up(self.to_owned()),
        }
    }
}

impl sealed::Resolve for (&str, u16) {
    fn resolve(&self) -> Resolving {
        match self.0.parse::<IpAddr>() {
            Ok(ip) => known(SocketAddr::new(ip, self.1)),
            Err(_) => look_up((self.0.to_owned(), self.1)),
        }
    }
}

impl sealed::Resolve for [SocketAddr] {
    fn resolve(&self) -> Resolving {
        Resolving(State::Known(Some(Addresses::Many(Vec::from(self).into_iter()))))
    }
}

impl<T: sealed::Resolve + ?Sized> sealed::Resolve for &T {
    fn resolve(&self) -> Resolving {
        (**self).resolve()
    }
}

impl sealed::Resolve for String {
    fn resolve(&self) -> Resolving {
        self.as_str().resolve()
    }
}

impl sealed::Resolve for (String, u16) {
    fn resolve(&self) -> Resolving {
        (self.0.as_str(), self.1).resolve()
    }
}

impl<const N: usize> sealed::Resolve for [SocketAddr; N] {
    fn resolve(&self) -> Resolving {
        self.as_slice().resolve()
    }
}

macro_rules! resolve_at_once {
    ($($type:ty),*) => {$(
        impl sealed::Resolve for $type {
            fn resolve(&self) -> Resolving {
                known(SocketAddr::from(*self))
            }
        }
    )*};
}

resolve_at_once!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

/// Tries each address in turn, and returns the first success or the last error.
pub(super) async fn first_that_works<T, F: Future<Output = io::Result<T>>>(
    addresses: Resolving,
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut last = None;
    for address in addresses.await? {
        match attempt(address).await {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")))
}
