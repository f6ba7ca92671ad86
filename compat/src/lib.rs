//! Native tools of the compatibility suite.
