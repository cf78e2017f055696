//! Custom ops with their own backward, a folder each.
