//! `dtmfd run`: the service.

use std::process::ExitCode;

use clap::Args;
use log::{error, info, warn};

use super::{environment, read_tree};
use crate::config::{Flags, Settings, TenantFlags};
use crate::engine::Reach;
use crate::error::{Chain, Error};
use crate::observe::log::{Out, init};
use crate::serve::{Cause, Service, watch_signals};

/// The flags of `dtmfd run`.
#[derive(Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    tenant: TenantFlags,
    #[command(flatten)]
    service: Flags,
}

impl Run {
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let mut settings = Settings::new(&environment);
        let log = settings.log(&self.service);
        let tenant = settings.tenant(&self.tenant);
        let config = settings.service(&self.service, tenant);
        let path = settings.ivr(&self.service);
        let ivr = read_tree(&path);
        if let Err(error) = &ivr
            && settings.has_problems()
        {
            settings.add_problem(Chain(error).to_string());
        }
        let (config, log) = settings.finish(config.zip(log))?;
        let ivr = ivr?;
        init(log.level, log.format, Out::Stderr)?;

        let (tenant, simulator) = (&config.tenant, config.simulator);
        info!(
            api:% = tenant.api_url, oauth:% = tenant.oauth_url, websocket:% = tenant.ws_url;
            "credentials will be sent to these URLs and to no others"
        );
        if let Some(proxy) = &tenant.proxy {
            let links =
                [("api", &tenant.api_url), ("oauth", &tenant.oauth_url), ("websocket", &tenant.ws_url)];
            let served = links.iter().filter(|(_, url)| proxy.serves(url)).map(|(link, _)| *link);
            let through = served.collect::<Vec<_>>().join(" ");
            info!(proxy:%, through; "a proxy is on the way to the tenant; what is not named goes direct");
        }
        let service = Service::start(config, ivr, None)?;
        watch_signals(service.causes())?;
        let address = service.address();
        info!(address, tree:% = path.display(); "the local API is open");
        match simulator {
            Some(Reach::Own) => warn!("local processes can press digits and write variables (--simulator)"),
            Some(Reach::Live) => {
                warn!("local processes can press digits, on live calls too (--simulator live)")
            }
            Some(Reach::Dry) => {
                info!("local processes can press digits; nothing is written (--simulator dry)")
            }
            None => (),
        }
        let died = loop {
            match service.wait() {
                Cause::Stop => break None,
                Cause::ThreadLeft(name) => break Some(name),
                Cause::Reload => match read_tree(&path) {
                    Ok(ivr) => {
                        service.load_tree(ivr);
                        info!(tree:% = path.display(); "the tree was read again");
                    }
                    Err(error) => error!("the tree stays as it is: {}", Chain(&error)),
                },
            }
        };
        let report = service.stop();
        match died {
            Some(name) => Err(Error::ThreadDied(name)),
            None if report.is_none() => Err(Error::ThreadDied("calls".to_owned())),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}
