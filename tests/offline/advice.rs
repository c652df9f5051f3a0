//! Advice that can be followed: what a rule's fix says is done, and must neither be denied
//! nor trade one finding for another.

mod availability;
mod pages;
