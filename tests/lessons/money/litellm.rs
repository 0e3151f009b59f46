//! A real litellm proxy between us and the models: what it answers with mocks, as OpenAI and as Anthropic, arrives as
//! it was sent, and is in the ledger as the proxy counted it.
//!
//! Behind the feature `real-litellm`, since it must be installed; once asked for, a missing one is a failure. The
//! chore: `cargo xtask test`, or as that says by hand where it can't.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    process::{Child, Command},
};
use tollgate::Host;
use tollgate_core::{
    item::ItemStatus,
    ledger::{Cost, How},
    money::NanoUsd,
    task::{LaterKind, TaskState},
};
use tollgate_sim::real_program::{HeldPort, start};

use super::{KEY, answers, asks, end, entries, paid};
use crate::{
    clock::TestClock,
    faulty::Faulty,
    world::{World, detail, open_items, state, stop, wait},
};

/// What it says once it takes connections.
const READY: &str = "Uvicorn running on";
/// By alias: the format, and the name of a model of the proxy's.
const ALIASES: [(&str, &str, &str); 9] = [
    ("gpt", "openai", "gpt-4.1-mini"),
    ("claude", "anthropic", "claude-haiku-4-5"),
    ("gpt-filtered", "openai", "filtered"),
    ("gpt-limited", "openai", "limited"),
    ("claude-limited", "anthropic", "limited"),
    ("gpt-small", "openai", "small"),
    ("claude-small", "anthropic", "small"),
    ("gpt-broken", "openai", "broken"),
    ("claude-broken", "anthropic", "broken"),
];
/// The proxy's word when it refuses a prompt by itself.
const BLOCKED: &str = "Content blocked: keyword 'anvils' detected (nothing about them)";

/// A real litellm proxy of this test's own. Dropped, it is killed.
struct Litellm {
    at: SocketAddr,
    _held: HeldPort,
    _child: Child,
}

impl Litellm {
    async fn start(folder: &Path) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (program, config) = (root.join("target/litellm/bin/litellm"), root.join("tests/tools/litellm/config.yaml"));
        assert!(
            program.exists(),
            "litellm is not installed: python3 -m venv target/litellm && \
             target/litellm/bin/pip install -r tests/tools/litellm/requirements.txt"
        );
        let held = HeldPort::new().unwrap();
        let port = held.number().unwrap();
        let mut command = Command::new(program);
        // It asks nobody for prices, and tells nobody that it runs.
        command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("PYTHONUNBUFFERED", "1").env("HOME", folder);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--telemetry", "False", "--config"]);
        let child = start(command.arg(config).current_dir(folder), "litellm", port, READY).await.unwrap();
        Self { at: SocketAddr::from(([127, 0, 0, 1], port)), _held: held, _child: child }
    }
}

/// Stands before a service and keeps what that answers, byte for byte.
#[derive(Clone)]
struct Heard {
    at: SocketAddr,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Heard {
    async fn before(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let heard = Self { at: listener.local_addr().unwrap(), bytes: Arc::default() };
        let kept = heard.bytes.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (from_near, mut to_near) = near.into_split();
                let (mut from_far, to_far) = TcpStream::connect(service).await.unwrap().into_split();
                tokio::spawn(carry(from_near, to_far));
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut part = vec![0; 64 << 10];
                    while let Ok(length @ 1..) = from_far.read(&mut part).await {
                        // Kept before it goes on: who was answered finds all of it here.
                        kept.lock().unwrap().extend_from_slice(&part[..length]);
                        if to_near.write_all(&part[..length]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        heard
    }

    /// The JSON objects in what was answered that have this field, in order: a line each, of a stream or whole.
    fn objects_with(&self, field: &str) -> Vec<Value> {
        let text = String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap();
        let objects = text.lines().filter_map(|line| {
            let json = line.strip_prefix("data: ").unwrap_or(line);
            serde_json::from_str::<Value>(json).ok()
        });
        objects.filter(|object| object.get(field).is_some()).collect()
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: impl tokio::io::AsyncWrite + Unpin) {
    // Who goes away first ends it.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

/// A host whose models are all behind that service, and its ledger.
struct Behind {
    world: World,
    host: Host,
    store: Arc<Faulty>,
}

impl Behind {
    async fn service(service: SocketAddr) -> Self {
        let world = World::new(Vec::new()).await;
        fs::write(world.path("key"), KEY).unwrap();
        let mut jobs = format!("[endpoint.litellm]\nurl = \"http://{service}\"\n");
        for (alias, provider, name) in ALIASES {
            // What litellm's own table has for the two models.
            let (path, price) = match provider {
                "openai" => ("/v1", "{ input = \"0.40 USD\", output = \"1.60 USD\" }"),
                _ => ("", "{ input = \"1.00 USD\", output = \"5.00 USD\" }"),
            };
            jobs += &format!(
                "[model.{alias}]\nprovider = \"{provider}\"\nname = \"{name}\"\nurl = \"endpoint://litellm{path}\"\n\
                 key = {{ file = \"key\" }}\noutput-max = 1000\nprice = {price}\n"
            );
        }
        let file = world.jobs(&format!("{jobs}{}", paid("[job.test.stage.first]\nattempts = 1")));
        let store = Faulty::open(&world.path("data"));
        let host = world.host(&file).await.store(store.clone()).clock(Arc::new(TestClock::new()));
        let host = host.start().await.unwrap();
        Self { world, host, store }
    }

    /// Makes these calls, one after the other, and waits until the item has ended or waits.
    async fn ask(&self, key: &str, calls: &[Value]) -> tollgate_store::ItemDetail {
        let mut progress = self.host.progress();
        self.host.operations().add("test", vec![asks(key, calls)]).await.unwrap();
        wait(&mut progress, self.host.operations(), |job| {
            open_items(job) == job.job.items.get(&ItemStatus::Retrying).copied().unwrap_or(0)
        })
        .await;
        detail(&self.host, key).await
    }

    async fn end(self) {
        drop(self.store);
        stop(self.host).await;
        drop(self.world);
    }
}

fn extract(alias: &str, document: &str) -> Value {
    let documents = json!([{ "name": "page", "text": document }]);
    json!({ "ask": "Is it one?", "extract": true, "model": alias, "documents": documents, "swallow": true })
}

/// What is extracted is what the mock says, and is billed as the proxy counts it; of OpenAI's
/// format, as it prices it too.
async fn extractions(litellm: &Litellm) {
    let heard = Heard::before(litellm.at).await;
    let behind = Behind::service(heard.at).await;
    let one = behind.ask("one", &[extract("gpt", "Acme makes forks."), extract("claude", "Acme makes forks.")]).await;
    assert_eq!(one.item.status, ItemStatus::Done, "{one:#?}");
    let (answers, bills, rows) = (answers(&one, "first"), heard.objects_with("usage"), entries(&behind.store).await);
    assert_eq!((answers.len(), bills.len(), rows.len()), (2, 2, 2), "{one:#?}\n{bills:#?}\n{rows:#?}");
    let fields = [("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")];
    for (place, (sent, made)) in fields.into_iter().enumerate() {
        let (answer, usage, row) = (&answers[place], &bills[place]["usage"], &rows[place]);
        assert_eq!(answer["text"], "true: It is one.", "{one:#?}");
        assert_eq!(answer["model"], ALIASES[place].2);
        assert_eq!((&answer["input"], &answer["output"]), (&usage[sent], &usage[made]), "{usage}");
        let end = row.end.as_ref().unwrap();
        assert_eq!((end.how, end.is_estimate), (How::Answered, false), "{row:#?}");
        assert_eq!((json!(end.tokens.input), json!(end.tokens.output)), (usage[sent].clone(), usage[made].clone()));
        assert_eq!(json!(end.cost.known().unwrap()), answer["cost"], "{row:#?}");
        assert_eq!(end.provider_request.as_deref(), bills[place]["id"].as_str());
    }
    let billed = bills[0]["usage"]["cost"].as_f64().unwrap();
    let NanoUsd(cost) = rows[0].end.as_ref().unwrap().cost.known().unwrap();
    assert_eq!(format!("0.{cost:09}"), format!("{billed:.9}"), "{bills:#?}");
    assert!(cost > 0, "{bills:#?}");
    behind.end().await;
}

/// What is refused arrives as the typed error that it is, with the proxy's words, and costs nothing.
async fn refusals(litellm: &Litellm) {
    let behind = Behind::service(litellm.at).await;
    let asked = [
        ("gpt-filtered", "forks", "refused: litellm.BadRequestError: litellm.ContentPolicyViolationError: "),
        ("gpt", "anvils", "refused: Content blocked"),
        ("claude", "anvils", "refused: Content blocked"),
        ("gpt-small", "forks", "invalid request: litellm.ContextWindowExceededError: "),
        ("claude-small", "forks", "invalid request: litellm.ContextWindowExceededError: "),
        ("gpt-broken", "forks", "unavailable: model gpt-broken: the provider failed: litellm.InternalServerError: "),
        (
            "claude-broken",
            "forks",
            "unavailable: model claude-broken: the provider failed: litellm.InternalServerError: ",
        ),
    ];
    let one = behind.ask("one", &asked.map(|(alias, document, _)| extract(alias, document))).await;
    let output = one.item.outputs.iter().find(|(name, _)| name.as_str() == "first");
    let swallowed = output.unwrap_or_else(|| panic!("{one:#?}")).1["swallowed"].as_array().unwrap();
    assert_eq!(swallowed.len(), asked.len(), "{one:#?}");
    for ((.., begins), said) in asked.iter().zip(swallowed) {
        assert!(said.as_str().unwrap().starts_with(begins), "{begins:?}: {said}");
    }
    assert!(swallowed[0].as_str().unwrap().contains("content_filter_policy: not this one"), "{swallowed:?}");
    assert!(swallowed[1..3].iter().all(|said| said.as_str().unwrap().contains(BLOCKED)), "{swallowed:?}");
    for alias in ["gpt-limited", "claude-limited"] {
        let limited = behind.ask(alias, &[json!({ "ask": "Is it one?", "model": alias })]).await;
        let TaskState::RetryLater { reason, .. } = state(&limited, "first") else { panic!("{limited:#?}") };
        assert_eq!((reason.kind, limited.item.tasks[0].tally.counted), (LaterKind::RateLimited, 0), "{reason:?}");
        assert!(reason.message.contains(&format!("model {alias}: rate limited")), "{}", reason.message);
    }
    let rows = entries(&behind.store).await;
    let free = (How::Refused, false, Cost::Known(NanoUsd(0)));
    assert_eq!(rows.iter().map(end).collect::<Vec<_>>(), [free; 9], "{rows:#?}");
    behind.end().await;
}

#[tokio::test]
async fn an_extraction_and_each_refusal_pass_through_a_real_litellm_as_openai_and_as_anthropic() {
    let folder = tempfile::tempdir().unwrap();
    let litellm = Litellm::start(folder.path()).await;
    tokio::join!(extractions(&litellm), refusals(&litellm));
}
