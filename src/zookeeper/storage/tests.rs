//! Whole data directories: written, cut, changed, and loaded again.
