//! Every limit that no configuration key sets, with what relates them checked at compile time.
