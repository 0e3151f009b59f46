//! The program: its ready-file, its options, its end.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Ended with the test, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill().and_then(|()| self.0.wait().map(drop));
    }
}

async fn ask(addr: &str, request: String) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn it_says_where_it_is_serves_and_ends_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, ready) = (folder.path().join("ca.pem"), folder.path().join("ready.json"));
    std::fs::write(folder.path().join("page.html"), "from a folder").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--site", "catalogue.example"]);
    command
        .args(["--slow-ms", "0", "--seed", "7", "--folder"])
        .arg(format!("docs.example={}", folder.path().display()));
    command.arg("--ca-out").arg(&ca).arg("--ready").arg(&ready).stdout(Stdio::piped());
    let mut sim = Running(command.spawn().unwrap());

    // It prints the same line once the file is there, so that a test need not poll.
    let mut said = BufReader::new(sim.0.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let facts: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(facts, serde_json::from_slice::<Value>(&std::fs::read(&ready).unwrap()).unwrap());
    assert!(std::fs::read_to_string(&ca).unwrap().contains("BEGIN CERTIFICATE"));
    assert_eq!(facts["ca"].as_str().unwrap(), ca.to_str().unwrap());
    assert!(facts["direct"]["catalogue.example"].is_string() && facts["direct"]["docs.example"].is_string());

    let proxy = facts["proxy"].as_str().unwrap().trim_start_matches("http://");
    let page = |url: &str, host: &str| format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let shop = ask(proxy, page("http://catalogue.example/item/42", "catalogue.example")).await;
    let price = tollgate_sim::sites::catalogue::facts(7, 42).price;
    assert!(shop.contains(&format!("EUR {price:.2}")), "{shop}");
    let file = ask(proxy, page("http://docs.example/page.html", "docs.example")).await;
    assert!(file.ends_with("from a folder"), "{file}");
    let admin = facts["admin"].as_str().unwrap().trim_start_matches("http://");
    let counts = ask(admin, page("/_sim/counts", "localhost")).await;
    let counts: Value = serde_json::from_str(counts.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((counts["via_proxy"].as_u64(), counts["direct"].as_u64()), (Some(2), Some(0)));

    let kill = Command::new("kill").args(["-TERM", &sim.0.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert!(sim.0.wait().unwrap().success());
}

#[test]
fn what_it_cannot_serve_it_refuses() {
    for args in [["--folder", "no-folder"], ["--folder", "a.example=/does/not/exist"], ["--site", "unknown.example"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(args).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[tokio::test]
async fn it_serves_the_paid_services_and_tells_their_bill() {
    let folder = tempfile::tempdir().unwrap();
    let services = folder.path().join("services.json");
    std::fs::write(&services, "{\"serper-credit\": 7}").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command
        .args(["--site", "google.serper.dev", "--site", "video.example", "--videos", "3", "--services"])
        .arg(&services);
    let mut sim = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(sim.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let facts: Value = serde_json::from_str(&line).unwrap();
    let direct = facts["direct"].as_object().unwrap();
    assert_eq!(direct.keys().collect::<Vec<_>>(), ["google.serper.dev", "video.example"]);
    let proxy = facts["proxy"].as_str().unwrap().trim_start_matches("http://");
    let body = "{\"q\": \"kettle\"}";
    let search = format!(
        "POST http://google.serper.dev/search HTTP/1.1\r\nHost: google.serper.dev\r\nX-API-KEY: k\r\n\
         Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    assert!(ask(proxy, search).await.contains("catalogue.example/item/"));
    let admin = facts["admin"].as_str().unwrap().trim_start_matches("http://");
    let bill = ask(admin, "GET /_sim/bill HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned()).await;
    let bill: Value = serde_json::from_str(bill.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&bill["sum"], &bill["rows"][0]["amount"]["credits"]), (&Value::from(7), &Value::from(1)));
}
