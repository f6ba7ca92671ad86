//! Frames, headers and the guard: everything between the socket and a decoded request.
