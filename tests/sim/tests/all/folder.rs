//! A folder as a site: types, indexes, what is refused.

use crate::client::{Client, request};
use http::{Method, StatusCode};
use std::fs;
use std::sync::Arc;
use tollgate_sim::Sim;
use tollgate_sim::sites::folder::Folder;

const HOST: &str = "docs.example";

async fn start() -> (Sim, Client, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("std")).unwrap();
    fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    fs::write(root.join("index.html"), "<h1>home</h1>").unwrap();
    fs::write(root.join("std/index.html"), "<h1>std</h1>").unwrap();
    fs::write(root.join("a b.css"), "h1 {}").unwrap();
    fs::write(root.join("data.bin"), [0, 255]).unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret.txt"), root.join("link.txt")).unwrap();
    let sim = Sim::builder().site(HOST, Arc::new(Folder::new(&root).unwrap())).start().await.unwrap();
    let client = Client::new(&sim);
    (sim, client, folder)
}

#[tokio::test]
async fn files_have_their_types_and_folders_their_index() {
    let (_sim, client, _folder) = start().await;
    for (path, content_type, body) in [
        ("/", "text/html; charset=utf-8", &b"<h1>home</h1>"[..]),
        ("/index.html?a=1", "text/html; charset=utf-8", b"<h1>home</h1>"),
        ("/std/", "text/html; charset=utf-8", b"<h1>std</h1>"),
        ("/std/index.html", "text/html; charset=utf-8", b"<h1>std</h1>"),
        ("/a%20b.css", "text/css; charset=utf-8", b"h1 {}"),
        ("/data.bin", "application/octet-stream", &[0, 255]),
    ] {
        // Twice: the second comes from memory.
        for _ in 0..2 {
            let reply = client.get(&format!("http://{HOST}{path}")).await.unwrap();
            assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, content_type), "{path}");
            assert_eq!(reply.body, body, "{path}");
        }
    }
    let reply = client.get("http://docs.example/std").await.unwrap();
    assert_eq!((reply.status, reply.header("location")), (StatusCode::MOVED_PERMANENTLY, "/std/"));
}

#[tokio::test]
async fn files_stay_in_memory() {
    let (_sim, client, folder) = start().await;
    client.get("http://docs.example/data.bin").await.unwrap();
    fs::remove_file(folder.path().join("root/data.bin")).unwrap();
    assert_eq!(client.get("http://docs.example/data.bin").await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn nothing_outside_the_folder_is_served() {
    let (_sim, client, _folder) = start().await;
    for path in
        ["/../secret.txt", "/%2e%2e/secret.txt", "/std/..%2f..%2fsecret.txt", "/link.txt", "/none", "/%zz", "/%"]
    {
        let reply = client.get(&format!("http://{HOST}{path}")).await.unwrap();
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn head_has_the_length_and_other_methods_are_refused() {
    let (_sim, client, _folder) = start().await;
    let target = "http://docs.example/";
    let head = client.plain().await.unwrap().send(request(Method::HEAD, HOST, target)).await.unwrap();
    assert_eq!((head.header("content-length"), head.body.len()), ("13", 0));
    let post = client.plain().await.unwrap().send(request(Method::POST, HOST, target)).await.unwrap();
    assert_eq!((post.status, post.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
}

#[tokio::test]
async fn a_file_is_no_folder() {
    let (_sim, client, folder) = start().await;
    assert!(Folder::new(folder.path().join("secret.txt")).is_err());
    assert!(Folder::new(folder.path().join("none")).is_err());
    assert_eq!(client.get("http://docs.example/data.bin/").await.unwrap().status, StatusCode::NOT_FOUND);
}
