//! `shaped-link`: joins network namespaces through TUN devices, each machine with a way up and a way down of its own
//! rate, delay, jitter, loss and queue.
//!
//!     shaped-link [--seed N] --machine /run/netns/NAME,ADDRESS,UP,DOWN ...
//!
//! UP and DOWN are words like `rate=25000000;delay=12.5;jitter=2;loss=0.5;queue=1250000`: bytes a second, milliseconds,
//! milliseconds, percent of packets, bytes; what is left out does not limit. It makes the device `wan0` in each
//! namespace, says `ready`, and forwards IPv4 until standard input ends; the caller gives the devices their addresses.
//! Lines on standard input: `ADDRESS,UP,DOWN` shapes a machine anew, `figures` prints what each way carried.
//! Must never open a socket, nor touch a namespace it was not told of.
#![allow(clippy::print_stdout)]

mod profile;
mod switch;
mod tun;
mod way;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use profile::Shape;
use switch::Switch;

/// What can go wrong here is told to a person and ends the program.
pub(crate) type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("shaped-link: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut words: impl Iterator<Item = String>) -> Outcome<()> {
    let (mut seed, mut machines) = (1, Vec::new());
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--seed" => seed = value.parse().map_err(|e| format!("{value}: {e}"))?,
            "--machine" => machines.push(machine(&value)?),
            _ => return Err(format!("no such option: {word}")),
        }
    }
    // Best effort: on a busy machine a forwarder that waits for its turn is a slower link than was asked for.
    let _ = rustix::process::setpriority_process(None, -20);
    let mut switch = Switch::new(seed);
    for (namespace, address, shape) in machines {
        let device = tun::open(&namespace).map_err(|e| format!("{}: {e}", namespace.display()))?;
        switch.plug(device, address, &shape);
    }
    println!("ready");
    switch.run()
}

fn machine(text: &str) -> Outcome<(PathBuf, Ipv4Addr, Shape)> {
    let (namespace, rest) = text.split_once(',').ok_or_else(|| format!("{text}: no address"))?;
    let (address, shape) = profile::addressed(rest)?;
    Ok((namespace.into(), address, shape))
}
