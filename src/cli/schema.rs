//! `dtmfd schema`: what an editor needs to complete and explain a tree.

use std::process::ExitCode;

use clap::Args;

use super::print;
use crate::error::Error;
use crate::tree::SCHEMA;

/// `dtmfd schema` has no flags.
#[derive(Args, Debug)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        print(SCHEMA);
        Ok(ExitCode::SUCCESS)
    }
}
