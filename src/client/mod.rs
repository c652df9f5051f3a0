//! A live cluster: [`kubeconfig`] finds it and logs in, [`list`] reads in pages,
//! [`object`] reads and writes single objects, [`webhook`] calls the webhooks that
//! it knows, [`reach`] has the API server call them, and [`failure`] says in words why
//! it did not work.

pub mod failure;
pub mod kubeconfig;
pub mod list;
pub mod object;
pub mod reach;
pub mod webhook;
