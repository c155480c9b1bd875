//! frankctl as its callers see it: command lines against a daemon that answers with canned results.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod completion;
#[cfg(test)]
mod daemon;
#[cfg(test)]
mod exit_codes;
#[cfg(test)]
mod grant;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod listener;
#[cfg(test)]
mod manual;
#[cfg(test)]
mod output;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod rehearsal;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod send;
