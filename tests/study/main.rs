//! Studies: statistics.

mod statistics;
