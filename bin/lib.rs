//! Mish
