//! The program's manners at the command line, where they need the real program, a real shell or a real server.

use std::process::{Command, Output, Stdio};

use crate::program::Program;

fn chaski(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaski"));
    command.args(arguments).stdin(Stdio::null());
    for variable in [
        "CHASKI_CONFIG",
        "OLLAMA_HOST",
        "OLLAMA_MODELS",
        "CHASKI_SANDBOX",
    ] {
        command.env_remove(variable);
    }
    command
}

fn text(output: &Output) -> String {
    let streams = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(streams).unwrap()
}

#[test]
fn bash_completes_commands_and_options() {
    let check = |typed: &str, expected: &[&str]| {
        let script = "source <(\"$CHASKI\" completions bash) || exit\n\
             COMP_WORDS=($TYPED); [[ $TYPED == *' ' ]] && COMP_WORDS+=('')\n\
             COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n\
             _chaski chaski \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"\n\
             printf '%s\\n' \"${COMPREPLY[@]}\"\n";
        let output = Command::new("bash")
            .args(["--norc", "-c", script])
            .env("CHASKI", env!("CARGO_BIN_EXE_chaski"))
            .env("TYPED", typed)
            .output()
            .unwrap();
        let offered = text(&output);
        let mut offered: Vec<_> = offered.lines().collect();
        offered.sort_unstable();
        assert_eq!(offered, expected, "{typed}");
    };
    check("chaski s", &["serve", "show", "signin", "signout", "stop"]);
    check("chaski serve --tls", &["--tls-cert", "--tls-key"]);
    check("chaski doctor --m", &["--models"]);
}

#[test]
fn groff_finds_nothing_wrong_with_the_manual() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let output = chaski(&["man", pages.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let groff = Command::new("groff")
        .args(["-man", "-Tutf8", "-ww", "-z"])
        .args(
            std::fs::read_dir(&pages)
                .unwrap()
                .map(|page| page.unwrap().path()),
        )
        .output();
    // Not every machine that builds this has it.
    if let Ok(groff) = groff {
        assert!(
            groff.status.success() && text(&groff).is_empty(),
            "{}",
            text(&groff)
        );
    }
}

#[test]
fn a_file_of_settings_is_used_and_its_mistakes_keep_the_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let print = |contents: &str| {
        std::fs::write(&path, contents).unwrap();
        let mut command = chaski(&["serve", "--print-config", "--sandbox", "required"]);
        command
            .env("CHASKI_CONFIG", &path)
            .env("OLLAMA_HOST", "0.0.0.0:7");
        command.output().unwrap()
    };
    let output = print("max_queue = 9\nhost = 'unused:1'\n");
    assert!(output.status.success());
    let printed = text(&output);
    let line = |key: &str| printed.lines().find(|line| line.starts_with(key)).unwrap();
    assert!(line("max_queue = 9 ").ends_with(&format!("# {}:1", path.display())));
    assert!(line("host = \"0.0.0.0:7\"").ends_with("# variable OLLAMA_HOST"));
    assert!(line("sandbox = \"required\"").ends_with("# option --sandbox"));

    let refused = print("max_queue = 'many'");
    assert!(!refused.status.success());
    let expected = format!(
        "Error: {}:1: max_queue must be a whole number",
        path.display()
    );
    assert!(text(&refused).starts_with(&expected), "{}", text(&refused));
    let serve = chaski(&["serve", "--config"]).arg(&path).output().unwrap();
    assert!(
        !serve.status.success() && text(&serve).starts_with(&expected),
        "{}",
        text(&serve)
    );
}

#[test]
fn the_doctor_tries_the_sandbox_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let examine = |mode: &str| {
        let mut command = chaski(&["doctor", "--host", "127.0.0.1:0", "--models"]);
        command.arg(folder.path()).env("CHASKI_SANDBOX", mode);
        text(&command.output().unwrap())
    };
    let line = |report: &str| {
        let found = report.lines().find(|line| line.contains(" sandbox "));
        found.expect(report).to_owned()
    };
    assert!(line(&examine("off")).starts_with("note"));
    // Whatever this kernel has, a worker was asked.
    let tried = line(&examine("best-effort"));
    assert!(
        tried.contains("Landlock") || tried.contains("seccomp"),
        "{tried}"
    );
}

#[tokio::test]
async fn top_shows_what_a_server_does() {
    let program = Program::start(Stdio::null()).await;
    let body = serde_json::json!({"model": "tiny-embed", "input": "a small boat"});
    let reply = program.post("/api/embed", &body).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    let host = program.host();
    let output = tokio::task::spawn_blocking(move || {
        let mut command = chaski(&["top", "--once", "--interval", "0.2"]);
        command.env("OLLAMA_HOST", host).output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let shown = text(&output);
    assert!(
        shown.contains("tiny-embed") && !shown.contains('\x1b'),
        "{shown}"
    );
}
