//! Data sets, their caches, augmentation and the loader.

mod cache;
mod download;
mod environment;
mod fixture;
mod folder;
mod hub;
mod image_folder;
mod images;
mod loader;
mod preprocess;
mod real;
#[path = "../support/hub.rs"]
mod server;
mod split;
mod synthetic;
