//! Every network of the registry, and each against an independent implementation.

mod export;
mod pretrained;
mod published;
mod reference;
mod registry;
mod rule;
mod training;
mod transfer;
