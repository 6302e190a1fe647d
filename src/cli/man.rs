//! `lovage man`: the manual page, all commands in one.

use std::io::{self, Write};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;

use super::{Arguments, Outcome, output};
use crate::base::Error;

#[derive(Debug, Args)]
pub struct Man {}

impl Man {
    #[allow(clippy::unused_self)] // every command has this shape
    pub fn run(&self) -> Outcome {
        let page = render(Arguments::command()).map_err(|e| Error::io("write the manual", "", e))?;
        output::bytes(&page)
    }
}

fn render(mut command: Command) -> io::Result<Vec<u8>> {
    command.build();
    let mut out = Vec::new();
    let page = Page::new(command.clone());
    page.render(&mut out)?;
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
        writeln!(out, ".SH \"LOVAGE {}\"", sub.get_name().to_uppercase())?;
        let page = Page::new(sub.clone());
        page.render_synopsis_section(&mut out)?;
        page.render_description_section(&mut out)?;
        page.render_options_section(&mut out)?;
    }
    Ok(out)
}
