//! Studies: many runs, compared with statistics.

pub mod statistics;
