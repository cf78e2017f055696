//! Every network of the registry, and each against an independent implementation.

mod registry;
mod resnet_cifar;
mod rule;
