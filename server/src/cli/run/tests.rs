use clap::Parser;
use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::cli::testing::{Ran, Reply, ScriptedServer, ran};

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(words: &[&str]) -> Args {
    let line = ["run", "tiny"].iter().chain(words);
    Line::try_parse_from(line).unwrap().args
}

fn shown(capabilities: &[&str]) -> Reply {
    let shown = json!({
        "capabilities": capabilities, "template": "{{ .Prompt }}", "license": "", "parameters": "top_k   1",
        "details": {"family": "llama"},
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    });
    Reply::ok(&shown.to_string())
}

/// A stream of `/api/chat`: thoughts, then words.
fn answered(thoughts: &[&str], words: &[&str]) -> Reply {
    let line = |message: Value| json!({"message": message, "done": false}).to_string() + "\n";
    let thoughts = thoughts
        .iter()
        .map(|text| line(json!({"role": "assistant", "content": "", "thinking": text})));
    let words = words
        .iter()
        .map(|text| line(json!({"role": "assistant", "content": text})));
    let last =
        json!({"message": {"role": "assistant", "content": ""}, "done": true, "eval_count": 4})
            .to_string();
    Reply::ok(&(thoughts.chain(words).collect::<String>() + &last + "\n"))
}

async fn once(server: &ScriptedServer, words: &[&str], piped: Option<&str>) -> Ran {
    let args = args(words);
    ran(None, async |console| {
        answer_once(&args, piped, &server.client, console).await
    })
    .await
}

#[tokio::test]
async fn one_answer_is_printed_as_it_is() {
    let server = ScriptedServer::start([
        ("POST /api/show", shown(&["completion"])),
        ("POST /api/chat", answered(&[], &["Par", "is"])),
    ])
    .await;
    let words = [
        "--keepalive",
        "10m",
        "--format",
        "json",
        "--verbose",
        "capital",
        "of",
        "France?",
    ];
    let ran = once(&server, &words, Some("piped\n")).await;
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        ("Paris\n\n", "eval count:           4 token(s)\n")
    );
    let expected = json!({
        "model": "tiny", "keep_alive": "10m", "format": "json", "options": {},
        "messages": [{"role": "user", "content": "piped\n capital of France?"}],
    });
    assert_eq!(server.bodies("POST /api/chat"), [expected]);
}

#[tokio::test]
async fn thoughts_are_set_apart_or_hidden() {
    let server = ScriptedServer::start([
        ("POST /api/show", shown(&["completion", "thinking"])),
        ("POST /api/chat", answered(&["2 and 2", " is 4"], &["4"])),
    ])
    .await;
    let out = "Thinking...\n2 and 2 is 4\n...done thinking.\n\n4\n\n";
    assert_eq!(once(&server, &["2+2?"], None).await.out, out);
    assert_eq!(
        once(&server, &["--think=low", "--hidethinking", "2+2?"], None)
            .await
            .out,
        "4\n\n"
    );
    once(&server, &["--think", "2+2?"], None).await;
    once(&server, &["--think=false", "2+2?"], None).await;
    let thinks = server
        .bodies("POST /api/chat")
        .into_iter()
        .map(|body| body["think"].clone());
    assert_eq!(
        thinks.collect::<Vec<_>>(),
        [json!(true), json!("low"), json!(true), json!(false)]
    );
}

#[tokio::test]
async fn on_a_terminal_thoughts_are_grey_and_lines_are_broken() {
    let server = ScriptedServer::start([
        ("POST /api/show", shown(&["completion"])),
        (
            "POST /api/chat",
            answered(&["hm"], &["one two three ", "four"]),
        ),
    ])
    .await;
    let print = async |words: &[&str]| {
        let args = args(words);
        let print = async |console: &mut Console<'_>| {
            answer_once(&args, None, &server.client, console).await
        };
        ran(Some(20), print).await.out
    };
    let thoughts = "\x1b[38;5;245m\x1b[1mThinking...\n\x1b[0m\x1b[38;5;245mhm\n\x1b[38;5;245m\x1b[1m...done thinking.\n\n\x1b[0m";
    assert_eq!(
        print(&["x"]).await,
        format!("{thoughts}one two three f\x1b[1D\x1b[K\nfour\n\n")
    );
    assert_eq!(
        print(&["--nowordwrap", "x"]).await,
        format!("{thoughts}one two three four\n\n")
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let line = "{\"message\":{\"role\":\"assistant\",\"content\":\"Par\"},\"done\":false}\n";
    let cases = [
        (
            line.to_owned(),
            "Error: the server ended its reply too early\n",
        ),
        (
            format!("{line}{{\"error\":\"the worker died\"}}\n"),
            "Error: the worker died\n",
        ),
    ];
    for (body, expected) in cases {
        let server = ScriptedServer::start([
            ("POST /api/show", shown(&["completion"])),
            ("POST /api/chat", Reply::ok(&body)),
        ])
        .await;
        let ran = once(&server, &["x"], None).await;
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("Par\n", expected));
    }
}

#[tokio::test]
async fn a_missing_model_is_pulled_or_told() {
    let missing = || Reply::refused(404, "{\"error\":\"model 'tiny:latest' not found\"}");
    let pulling = |reply| {
        [
            ("POST /api/show", missing()),
            ("POST /api/show", shown(&["completion"])),
            ("POST /api/pull", reply),
            ("POST /api/chat", answered(&[], &["Hi"])),
        ]
    };
    let server = ScriptedServer::start(pulling(Reply::ok("{\"status\":\"success\"}\n"))).await;
    let pulled = Ran {
        out: "Hi\n\n".into(),
        err: "success\n".into(),
    };
    assert_eq!(once(&server, &["x"], None).await, pulled);
    let cannot = Reply::refused(501, "{\"error\":\"registries are not supported yet\"}");
    let server = ScriptedServer::start(pulling(cannot)).await;
    assert_eq!(
        once(&server, &["x"], None).await.err,
        "Error: model 'tiny:latest' not found\n"
    );
    let server =
        ScriptedServer::start(pulling(Reply::refused(500, "{\"error\":\"no such file\"}"))).await;
    assert_eq!(
        once(&server, &["x"], None).await.err,
        "Error: no such file\n"
    );
}

#[tokio::test]
async fn an_embedding_model_prints_a_vector() {
    let server = ScriptedServer::start([
        ("POST /api/show", shown(&["embedding"])),
        (
            "POST /api/embed",
            Reply::ok("{\"embeddings\":[[0.1,-0.25]]}"),
        ),
    ])
    .await;
    let ran = once(
        &server,
        &["--truncate=false", "--dimensions", "2", "some text"],
        None,
    )
    .await;
    assert_eq!(ran.out, "[0.1,-0.25]\n");
    let expected =
        json!({"model": "tiny", "input": "some text", "truncate": false, "dimensions": 2});
    assert_eq!(server.bodies("POST /api/embed"), [expected]);
    let without = once(&server, &[], None).await.err;
    assert!(
        without.starts_with("Error: embedding models require input text."),
        "{without}"
    );
}

#[tokio::test]
async fn a_classifier_prints_labels() {
    let reply = "{\"results\":[[{\"label\":\"question\",\"score\":0.98765},{\"label\":\"order\",\"score\":0.01}]]}";
    let server = ScriptedServer::start([
        ("POST /api/show", shown(&["classify"])),
        ("POST /classify", Reply::ok(reply)),
    ])
    .await;
    let ran = once(&server, &["why?"], None).await;
    assert_eq!(ran.out, "question    0.9877\norder       0.0100\n");
    assert_eq!(
        server.bodies("POST /classify"),
        [json!({"model": "tiny", "input": "why?"})]
    );
}

#[test]
fn flags_are_checked_before_anything_is_asked() {
    for wrong in [["--think=hard"], ["--keepalive=soon"], ["--dimensions=-1"]] {
        let line = ["run", "tiny"].iter().chain(&wrong);
        assert!(Line::try_parse_from(line).is_err(), "{wrong:?}");
    }
    let schema = args(&["--format", "{\"type\":\"object\"}"]);
    assert_eq!(schema.format, Some(json!({"type": "object"})));
}

/// Types these lines, then ends the input, and returns the screen.
async fn talked(server: &ScriptedServer, typed: &[&str]) -> Ran {
    let (lines_sender, lines) = mpsc::channel(typed.len().max(1));
    for line in typed {
        lines_sender.try_send(Ok((*line).to_owned())).unwrap();
    }
    drop(lines_sender);
    // Held open: nobody presses Ctrl+C.
    let (_interrupt, interrupts) = mpsc::channel(1);
    let terminal = repl::Terminal { lines, interrupts };
    talk_with(server, terminal).await
}

async fn talk_with(server: &ScriptedServer, terminal: repl::Terminal) -> Ran {
    let args = args(&["--nowordwrap"]);
    let talk = async |console: &mut Console<'_>| -> Result<(), Error> {
        let session = begin(&args, &server.client, console).await?;
        repl::talk(session, terminal, &server.client, console).await
    };
    ran(Some(80), talk).await
}

const GREETING: &str = ">>> Hi\nHello\n\n";

async fn chat_server<const N: usize>(replies: [Reply; N]) -> ScriptedServer {
    let chats = replies.map(|reply| ("POST /api/chat", reply));
    let others = [
        ("POST /api/show", shown(&["completion"])),
        (
            "POST /api/generate",
            Reply::ok("{\"done\":true,\"done_reason\":\"load\"}"),
        ),
    ];
    ScriptedServer::start_with(chats.into_iter().chain(others)).await
}

#[tokio::test]
async fn a_conversation_is_remembered_until_it_is_cleared() {
    let server = chat_server([answered(&[], &["first"]), answered(&[], &["second"])]).await;
    let typed = [
        "one",
        "/set system Be brief.",
        "two",
        "/clear",
        "three",
        "/bye",
        "never",
    ];
    let ran = talked(&server, &typed).await;
    let expected = format!(
        "{GREETING}>>> first\n\n>>> Set system message.\n>>> second\n\n>>> Cleared session context\n>>> second\n\n>>> "
    );
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        (expected.as_str(), "")
    );
    let said = |body: &Value| {
        let messages = body["messages"].as_array().unwrap().clone();
        messages
            .iter()
            .map(|message| message["content"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let chats: Vec<_> = server.bodies("POST /api/chat").iter().map(said).collect();
    let expected = [
        vec!["one"],
        vec!["Be brief.", "one", "first", "two"],
        vec!["Be brief.", "three"],
    ];
    assert_eq!(chats, expected);
}

#[tokio::test]
async fn settings_reach_the_next_request() {
    let server = chat_server([answered(&[], &["a"])]).await;
    let typed = [
        "/set parameter temperature 0.5",
        "/set parameter stop a b",
        "/set parameter seed x",
        "/set parameter mirostat 2",
        "/set format json",
        "/set nothink",
        "/set verbose",
        "go",
        "/save kept",
    ];
    let ran = talked(&server, &typed).await;
    let expected = format!(
        "{GREETING}>>> Set parameter 'temperature' to '0.5'\n>>> Set parameter 'stop' to 'a, b'\n\
         >>> Couldn't set parameter: \"invalid int value [x]\"\n>>> Parameter 'mirostat' has no effect any more\n\
         >>> Set format to 'json' mode.\n>>> Set 'nothink' mode.\n>>> Set 'verbose' mode.\n>>> a\n\n>>> >>> \n"
    );
    assert_eq!(ran.out, expected);
    let warning = "warning: model \"tiny\" does not support thinking output\n";
    // The scripted server has no /api/create.
    let failed = "Error: 404 Not Found 404 page not found\n";
    assert_eq!(
        ran.err,
        format!("{warning}eval count:           4 token(s)\n{failed}")
    );
    let chat = &server.bodies("POST /api/chat")[0];
    assert_eq!(
        chat["options"],
        json!({"temperature": 0.5, "stop": ["a", "b"]})
    );
    assert_eq!(
        (&chat["format"], &chat["think"]),
        (&json!("json"), &json!(false))
    );
    let saved = json!({
        "model": "kept", "from": "tiny", "stream": false, "parameters": {"temperature": 0.5, "stop": ["a", "b"]},
        "messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": "a"}],
    });
    assert_eq!(server.bodies("POST /api/create"), [saved]);
}

#[tokio::test]
async fn what_there_is_to_know_is_shown() {
    let server = chat_server([]).await;
    let typed = [
        "/show license",
        "/show parameters",
        "/show system",
        "/show template",
        "/what",
        "/show info",
    ];
    let ran = talked(&server, &typed).await;
    let expected = "\
>>> No license was specified for this model.
>>> Model defined parameters:
  top_k   1

>>> No system message was specified for this model.
>>> {{ .Prompt }}
>>> Unknown command '/what'. Type /? for help
>>>   Model
    architecture    llama

  Capabilities
    completion

  Parameters
    top_k    1

>>> 
";
    assert_eq!(ran.out, format!("{GREETING}{expected}"));
}

#[tokio::test]
async fn a_failed_answer_leaves_the_conversation_as_it_was() {
    let busy = Reply::refused(503, "{\"error\":\"server busy\"}");
    let server = chat_server([busy, answered(&[], &["now"])]).await;
    let ran = talked(&server, &["one", "two"]).await;
    assert_eq!(ran.err, "Error: server busy\n");
    let messages = &server.bodies("POST /api/chat")[1]["messages"];
    assert_eq!(messages, &json!([{"role": "user", "content": "two"}]));
}

#[tokio::test]
async fn ctrl_c_stops_the_answer_and_keeps_what_was_said() {
    let begun =
        "{\"message\":{\"role\":\"assistant\",\"content\":\"It goes on\"},\"done\":false}\n";
    let (endless, mut left) = Reply::endless(begun);
    let server = chat_server([endless, answered(&[], &["fine"])]).await;
    let (line, lines) = mpsc::channel(1);
    let (interrupt, interrupts) = mpsc::channel(1);
    let terminal = repl::Terminal { lines, interrupts };
    let person = async {
        line.send(Ok("one".to_owned())).await.unwrap();
        server.asked("POST /api/chat").await;
        interrupt.send(()).await.unwrap();
        left.recv().await.unwrap();
        line.send(Ok("two".to_owned())).await.unwrap();
        drop(line);
    };
    let (ran, ()) = tokio::join!(talk_with(&server, terminal), person);
    assert_eq!(ran.err, "");
    let second = &server.bodies("POST /api/chat")[1]["messages"];
    // Whether the words came before Ctrl+C is a race; either way no question stays without an answer.
    let asked = json!({"role": "user", "content": "two"});
    assert_eq!(second.as_array().unwrap().last(), Some(&asked));
    let roles: Vec<_> = second
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["role"])
        .collect();
    assert!(
        roles == ["user"] || roles == ["user", "assistant", "user"],
        "{roles:?}"
    );
    assert!(ran.out.ends_with(">>> fine\n\n>>> \n"), "{}", ran.out);
}

#[tokio::test]
async fn models_that_do_not_talk_need_a_text() {
    let server = ScriptedServer::start([("POST /api/show", shown(&["embedding"]))]).await;
    let ran = talked(&server, &[]).await;
    assert!(
        ran.err.starts_with("Error: tiny needs a text to embed."),
        "{}",
        ran.err
    );
}
