//! Data sets, their caches, augmentation and the loader.

mod cache;
mod download;
mod fixture;
mod folder;
mod hub;
mod image_folder;
mod loader;
mod pictures;
mod preprocess;
mod real;
#[path = "../support/hub.rs"]
mod server;
mod split;
mod synthetic;
