//! Time: deadlines, and who is told when they pass.
#![allow(dead_code)] // until the reactor drives the wheel

mod wheel;
