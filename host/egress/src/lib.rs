//! The gate: the only way to the network, by site policy, through the proxy.
//!
//! A request passes, in this order: its address is decided (`address`), its route is open (`proxy`), its site has room
//! and is not cooling down (`site`), no budget of either is spent (`meter`), the exchange runs under limits and its
//! body is spooled (`exchange`), and guards look at the answer (`guard`). Redirects are decided hop by hop, each as a
//! request of its own. Members of remote archives (`archive`) are ranges, and each range is such a request. A tool
//! passes the same way, and runs through its site's proxy (`tool`). A named endpoint (`endpoint`) is a site of its own,
//! which no host name leads to.

mod address;
mod archive;
mod checked;
mod copies;
mod denial;
mod endpoint;
mod error;
mod everything;
mod exchange;
mod explain;
mod gate;
pub mod guard;
mod guarding;
mod headers;
mod judging;
mod login;
mod meter;
mod outage;
mod own_word;
mod proxy;
mod receive;
mod redact;
mod resolve;
mod retry_after;
mod route;
mod secret;
mod service;
mod session;
mod site;
mod spool;
mod status;
mod tool;
mod ways;
mod wire;

pub use archive::Listed;
pub use denial::{Denial, DenialCount};
pub use error::{GateError, Refused};
pub use explain::{Explained, explain, guards_of};
pub use gate::{Caller, Gate, GateOptions, Hop, Response, Told};
pub use guard::{GuardLayer, Guarded, GuardedPage};
pub use service::{MayGo, ServiceAnswer, ServiceFailure, ServiceKey, ServiceRequest};
pub use session::{SessionError, SessionSource, SessionStatus, SessionTest};
pub use site::{NoMemory, NotKept, SiteMemory};
pub use spool::{Held, Spooled, SpooledBody};
pub use status::{BudgetStatus, GateStatus, GuardHits, MeterStatus, ProxyStatus, Renewals, SiteStatus};
pub use tool::{ToolFile, ToolOutput, ToolRefused};
