//! Frames, headers and the guard: everything between the socket and a decoded request.

pub mod answer_schema;
pub mod frame;
pub mod guard;
pub mod header;
pub mod output;
pub mod schema;
pub mod send_file;
