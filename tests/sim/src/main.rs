//! The small internet as a program: for the demo, for benchmarks, and for trying a handler by hand.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, builder::PossibleValuesParser};
use tollgate_sim::{
    Builder, Sim,
    sites::{
        catalogue,
        folder::Folder,
        ideas,
        models::ModelFaults,
        services::{self, ServiceFacts, Services},
        slow::Slow,
        video,
    },
};

/// A proxy on loopback with a small internet behind it. Runs until it is stopped.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Args {
    /// Where the proxy listens; without it, on a free port.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Lets `--listen` name an address outside of loopback; the sites' own ports are beside it then. For a network
    /// namespace of its own.
    #[arg(long, requires = "listen")]
    beyond_loopback: bool,
    /// Where its own endpoint listens: `/_sim/counts`, `/_sim/bill`, `/_sim/proxy`, `/_sim/reset`.
    #[arg(long)]
    admin: Option<SocketAddr>,
    /// Writes the certificate of the proxy's authority here.
    #[arg(long)]
    ca_out: Option<PathBuf>,
    /// Writes where everything is here, as JSON, once it listens.
    #[arg(long)]
    ready: Option<PathBuf>,
    /// Writes a member's cookies of the club here, as a browser's extension exports them.
    #[arg(long)]
    cookies_out: Option<PathBuf>,
    /// Serves a folder under a host name; repeatable.
    #[arg(long, value_name = "HOST=DIR")]
    folder: Vec<String>,
    /// Serves a site of its own, by its host name; repeatable. Without it, all there are, the paid services included.
    #[arg(long, value_name = "HOST", value_parser = hosts())]
    site: Vec<String>,
    /// Another seed, other prices and words in the catalogue, other ideas and cookies of the club.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// After how many ideas a session of the club expires; 0: never.
    #[arg(long, default_value_t = 0)]
    session_views: u64,
    /// How long the catalogue's slow page takes, in milliseconds.
    #[arg(long, default_value_t = 1_500)]
    slow_ms: u64,
    /// How many videos there are.
    #[arg(long, default_value_t = 40)]
    videos: u32,
    /// What the paid services have and what that costs, as JSON: `models`, `speech`, `serper-credit`, `brave-search`,
    /// all in billionths of a dollar. Without it, a few models by round prices.
    #[arg(long, value_name = "FILE")]
    services: Option<PathBuf>,
    /// Makes the models fail now and then, by this seed.
    #[arg(long, value_name = "SEED")]
    model_faults: Option<u64>,
    /// How long the paid services take for an answer in the mean, in milliseconds. Each takes between the half of that
    /// and half as much again, by what is asked.
    #[arg(long, default_value_t = 0)]
    service_ms: u64,
}

fn hosts() -> PossibleValuesParser {
    let own = [catalogue::HOST, ideas::HOST, video::HOST];
    PossibleValuesParser::new(own.into_iter().chain(services::HOSTS))
}

impl Args {
    fn serves(&self, host: &str) -> bool {
        self.site.is_empty() || self.site.iter().any(|site| site == host)
    }

    /// The paid services that are asked for.
    fn services(&self, builder: Builder) -> Result<Builder> {
        let facts = match &self.services {
            Some(file) => {
                let json = fs::read(file).with_context(|| file.display().to_string())?;
                serde_json::from_slice(&json).with_context(|| file.display().to_string())?
            }
            None => ServiceFacts::default(),
        };
        let services = Services::new(self.seed, facts);
        services.set_faults(self.model_faults.map(ModelFaults::seeded));
        let wanted = services::HOSTS.into_iter().filter(|host| self.serves(host));
        Ok(wanted.fold(builder, |builder, host| match services.site(host) {
            Some(site) => builder.site(host, Arc::new(Slow::new(site, Duration::from_millis(self.service_ms)))),
            None => builder,
        }))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut builder = Sim::builder();
    if args.serves(catalogue::HOST) {
        let shop = catalogue::Catalogue::seeded(args.seed, Duration::from_millis(args.slow_ms));
        builder = builder.site(catalogue::HOST, Arc::new(shop));
    }
    if args.serves(ideas::HOST) {
        let settings = ideas::Settings { session_views: args.session_views, ..ideas::Settings::default() };
        let club = ideas::Ideas::seeded(args.seed).with(settings);
        if let Some(file) = &args.cookies_out {
            fs::write(file, club.cookie_file(None, true)).with_context(|| file.display().to_string())?;
        }
        builder = builder.site(ideas::HOST, Arc::new(club));
    }
    if args.serves(video::HOST) {
        builder = builder.site(video::HOST, Arc::new(video::Videos::seeded(args.seed, args.videos)));
    }
    builder = args.services(builder)?;
    for folder in &args.folder {
        let (host, path) = folder.split_once('=').with_context(|| format!("--folder {folder}: write HOST=DIR"))?;
        let site = Folder::new(path).with_context(|| format!("--folder {folder}"))?;
        builder = builder.site(host, Arc::new(site));
    }
    if let Some(listen) = args.listen {
        builder = builder.listen(listen);
    }
    if args.beyond_loopback {
        builder = builder.beyond_loopback();
    }
    if let Some(admin) = args.admin {
        builder = builder.admin(admin);
    }
    let sim = builder.start().await?;
    if let Some(file) = &args.ca_out {
        sim.write_ca(file)?;
    }
    let facts = serde_json::json!({
        "proxy": sim.proxy_url(),
        "admin": format!("http://{}", sim.admin_addr()),
        "ca": args.ca_out,
        "direct": sim.direct_addrs(),
    });
    if let Some(ready) = &args.ready {
        // Beside and renamed: who waits for the file finds it whole.
        let beside = ready.with_extension("new");
        fs::write(&beside, facts.to_string())?;
        fs::rename(&beside, ready)?;
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    println!("{facts}");
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt?,
        _ = terminate.recv() => {}
    }
    sim.shutdown().await?;
    Ok(())
}
