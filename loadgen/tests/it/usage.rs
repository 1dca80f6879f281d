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

#[test]
fn a_mistake_in_a_workload_file_names_line_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    let shown = path.display().to_string();
    let check_file = |text: &str, answer: &str| {
        std::fs::write(&path, text).unwrap();
        check(
            &format!("run {shown} --target ours"),
            2,
            &format!("error: {answer}\n"),
        );
    };
    check_file(
        "schema = 1\nkind = \"embed\"\n[[load]]\nmodel = \"closed\"\nconcurency = 3\n",
        &format!("{shown}:5: unknown \"concurency\"; did you mean \"concurrency\"?"),
    );
    check_file(
        "schema = 1\nkind = \"embed\"\n[[load]]\nmodel = \"open\"\nrate = 1e9\n",
        &format!(
            "{shown}: load \"open\": rate is a number of requests per second between 0.001 and 100000"
        ),
    );
    check(
        "run chat-shrt --target ours",
        2,
        "error: unknown workload \"chat-shrt\"; did you mean \"chat-short\"?\n",
    );
    check(
        "run nowhere.toml --target ours",
        2,
        "error: workload nowhere.toml: No such file or directory (os error 2)\n",
    );
}

#[test]
fn quick_finds_nobody_and_says_so() {
    let port = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (ours, ollama) = (port(), port());
    check(
        &format!("quick --ours-url 127.0.0.1:{ours} --ollama-url 127.0.0.1:{ollama}"),
        5,
        &format!(
            "error: nothing answers at 127.0.0.1:{ours} or 127.0.0.1:{ollama}; start a server or pass --target NAME=URL\n"
        ),
    );
}

#[test]
fn a_dry_run_says_what_would_be_sent_and_sends_nothing() {
    let run = loadgen("run embed-query --target a=h:1 --target b=h:2 --dry-run --seed 3");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(
        run.table
            .contains("closed c=8, 20 rounds: 460 requests per target"),
        "{}",
        run.table
    );
    assert!(run.table.contains("1840 requests in all"), "{}", run.table);
}

#[test]
fn init_writes_a_file_that_run_reads_and_overwrites_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let init = |options: &str| {
        let output = std::process::Command::new(crate::support::LOADGEN)
            .arg("init")
            .arg(&path)
            .args(options.split_whitespace())
            .output()
            .unwrap();
        output.status.code().unwrap()
    };
    assert_eq!(init(""), 0);
    assert_eq!(init(""), 2, "it exists");
    let run = loadgen(&format!("run {} --target a=h:1 --dry-run", path.display()));
    assert_eq!(run.code, 0, "{}", run.stderr);
}
