//! Studies: definitions, runs, analysis, report, statistics.

mod analysis;
mod definition;
mod published;
mod statistics;
mod support;
