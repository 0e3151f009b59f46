//! Any answer of a handler, through the real sandbox: it is refused by name, or sound for everyone who comes after.

mod answer;
#[expect(clippy::unwrap_used, dead_code, reason = "the guests of the sandbox's own tests, of which one is needed")]
#[path = "../../../host/sandbox/tests/sandbox/guests.rs"]
mod guests;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use tollgate_core::{
    JsonObject,
    contract::{Breach, Contract},
    outcome::{StageError, StageOutput},
    task::MESSAGE_BYTES_MAX,
};
use tollgate_sandbox::{
    Handler, Instances, KeptMemory,
    call::{CallFailure, CallLimits, CallResult, StageCall},
};

use crate::Target;

use guests::{Bench, Guest};

/// Tasks that one instance serves: a fresh one for each would cost most of the time.
const REUSE: u32 = 10_000;

/// Answers with the bytes that its item's data names, a character each, laid at [`answer::BASE`].
const ANSWERS: &str = "(local $from i32) (local $end i32) (local $to i32) (local $byte i32)
    (local.set $from (local.get 6))
    (local.set $end (i32.add (local.get 6) (local.get 7)))
    (local.set $to (i32.const 4096))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
      (local.set $byte (i32.load8_u (local.get $from)))
      (if (i32.ge_u (local.get $byte) (i32.const 128)) (then
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (local.set $byte (i32.or
          (i32.shl (i32.and (local.get $byte) (i32.const 3)) (i32.const 6))
          (i32.and (i32.load8_u (local.get $from)) (i32.const 63))))))
      (i32.store8 (local.get $to) (local.get $byte))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br $next)))
    (global.set $top (i32.const 65536))
    (i32.const 4096)";

/// A handler that answers as `answer` reads the input, and a contract for its outputs.
pub struct HandlerOutputs {
    runtime: Runtime,
    handler: Arc<Handler>,
    instances: Instances,
    contract: Contract,
    _bench: Bench,
}

impl Target for HandlerOutputs {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bench = Bench::new();
        let handler = runtime.block_on(bench.guest(Guest { process: ANSWERS, ..Guest::default() }));
        let instances = Instances::new(REUSE, 1, KeptMemory::default());
        Self { runtime, handler, instances, contract: Contract::new(schema()).unwrap(), _bench: bench }
    }

    fn run(&self, input: &[u8]) {
        match self.call(input) {
            Some(Ok(Ok(output))) => {
                self.is_sound(output);
            }
            Some(Ok(Err(error))) => is_clean(text_of(&error)),
            Some(Err(failure @ (CallFailure::Host(_) | CallFailure::Timeout(_)))) => panic!("{failure}"),
            Some(Err(failure)) => assert!(!failure.to_string().is_empty()),
            None => {}
        }
    }
}

impl HandlerOutputs {
    /// Has the handler answer as the input says; absent: it says nothing, or too much.
    fn call(&self, input: &[u8]) -> Option<CallResult<StageOutput>> {
        // Nobody reads the data but the guest.
        let data: String = answer::read(input)?.into_iter().map(char::from).collect();
        let call = StageCall { data: JsonObject::from_canonical(&data), ..guests::task() };
        let limits = CallLimits::default();
        let run = self.handler.run_stage_in(&self.instances, call, guests::no_gates(), &limits);
        Some(self.runtime.block_on(run).result)
    }

    /// Whether it keeps to the contract.
    fn is_sound(&self, output: StageOutput) -> bool {
        reads_back(&output.fields);
        for item in &output.found {
            assert!(!item.key.as_str().is_empty());
            reads_back(&item.data);
        }
        output.quality_flags.iter().for_each(|flag| is_clean(flag));
        let checked = self.contract.check(&Value::Object(output.fields));
        match &checked {
            Ok(()) => {}
            Err(Breach::Schema { message, .. }) => assert!(!message.is_empty()),
            Err(Breach::Empty { field }) => assert!(field.is_empty() || field.starts_with('/')),
        }
        checked.is_ok()
    }
}

/// An object is the same when it was written and read, also within others: as the stages after it and the pages of the
/// API have it.
fn reads_back(object: &Map<String, Value>) {
    let canonical = JsonObject::of(object);
    let read = canonical.parse().unwrap();
    assert_eq!(&read, object);
    assert_eq!(JsonObject::of(&read), canonical);
    let inputs = JsonObject::nest([("only", &canonical)]).parse().unwrap();
    assert_eq!(inputs["only"].as_object(), Some(object));
    let page = json!({"entries": [{"item": {"outputs": {"only": object}}}]}).to_string();
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["entries"][0]["item"]["outputs"]["only"].as_object(), Some(object));
}

fn text_of(error: &StageError) -> &str {
    match error {
        StageError::RetryLater { reason, .. } => reason,
        StageError::NothingHere(text)
        | StageError::Reject(text)
        | StageError::Blocked(text)
        | StageError::LoginRequired(text)
        | StageError::Permanent(text)
        | StageError::Failed(text) => text,
    }
}

/// A text that can be stored, logged and printed: no control characters but those of lines, and a length.
fn is_clean(text: &str) {
    assert!(text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')), "{text:?}");
    assert!(text.len() <= MESSAGE_BYTES_MAX + 16, "{} bytes", text.len());
}

/// One of everything that the SDK's schemas have, and a list of itself.
fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["title"],
        "properties": {
            "title": {"type": "string", "maxLength": 50},
            "notes": {"type": "string", "minLength": 0},
            "price": {"type": "number", "minimum": 0},
            "count": {"type": ["integer", "null"], "format": "uint32"},
            "kind": {"enum": ["book", "film"]},
            "code": {"type": "string", "pattern": "^[a-z]+[0-9]{2,4}$"},
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": true, "maxItems": 4},
            "parts": {"type": "array", "minItems": 0, "items": {"$ref": "#/$defs/Part"}},
            "next": {"anyOf": [{"$ref": "#/$defs/Part"}, {"type": "null"}]},
        },
        "additionalProperties": {"type": ["string", "object"]},
        "$defs": {"Part": {"type": "object", "properties": {
            "name": {"type": "string"}, "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        }}},
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn seeds_come_as_far_as_they_are_meant_to() {
        let target = HandlerOutputs::new();
        let call = |seed: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/handler_outputs");
            target.call(&std::fs::read(format!("{folder}/{seed}")).unwrap()).unwrap()
        };
        for (seed, keeps) in [("whole", true), ("found", true), ("memory", true), ("nested", false)] {
            assert_eq!(target.is_sound(call(seed).unwrap().unwrap()), keeps, "{seed}");
        }
        let found = call("found").unwrap().unwrap();
        let items: Vec<_> = found.found.iter().map(|item| (item.key.as_str(), item.revision.as_deref())).collect();
        assert_eq!(items, [("item-1", Some("r1")), ("item-2", None)]);
        assert_eq!(found.quality_flags, ["possible-duplicate"]);
        for (seed, words) in [("no-object", "not a JSON object"), ("too-deep", "100 objects"), ("escapes", "not JSON")]
        {
            let failure = call(seed).unwrap_err();
            assert!(matches!(&failure, CallFailure::Invalid(text) if text.contains(words)), "{seed}: {failure:?}");
        }
        let (reason, after) = ("not yet\u{fffd}[31m".to_owned(), Some(Duration::from_millis(1_500)));
        assert_eq!(call("later").unwrap().unwrap_err(), StageError::RetryLater { reason, after });
        assert!(matches!(call("failed").unwrap().unwrap_err(), StageError::Failed(_)));
    }
}
