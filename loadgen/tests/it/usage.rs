use std::net::TcpListener;

use crate::support::loadgen;

#[track_caller]
fn check(options: &str, code: i32, answer: &str) {
    let run = loadgen(options);
    assert_eq!(
        (run.code, run.stderr.as_str(), run.table.as_str()),
        (code, answer, ""),
        "{options}"
    );
}

#[test]
fn a_mistake_is_answered_in_one_line() {
    check(
        "--target ours --workload generat",
        2,
        "error: unknown workload \"generat\"; did you mean \"generate\"?\n",
    );
    check(
        "--target mine",
        2,
        "error: unknown target \"mine\": use ours, ollama or NAME=URL\n",
    );
    check(
        "--target ours --model embed",
        2,
        "error: --model \"embed\": write WORKLOAD=MODEL or TARGET:WORKLOAD=MODEL\n",
    );
}

#[test]
fn a_dead_port_is_answered_in_one_line() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    check(
        &format!("--target m=127.0.0.1:{port}"),
        5,
        &format!(
            "error: m: nothing answers at http://127.0.0.1:{port}/ (no connection: Connection refused (os error 111)); \
             start the server or pass --target m=URL\n"
        ),
    );
}
