//! The stand-in over a real socket, as an application and a browser meet it.

mod api;
mod binary;
mod device_flow;
mod faults;
mod organizations;
mod support;
mod web_flow;
