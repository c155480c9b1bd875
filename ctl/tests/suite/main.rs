//! frankctl as its callers see it: command lines against a daemon that answers with canned results.

mod commands;
mod daemon;
mod exit_codes;
mod grant;
mod harness;
mod listener;
mod output;
mod reference;
mod samples;
mod secrets;
mod send;
