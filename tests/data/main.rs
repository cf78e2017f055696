//! Data sets, their caches, augmentation and the loader.

mod cache;
mod fixture;
mod folder;
mod loader;
mod real;
mod split;
