//! ollama-rs, the Rust client of Ollama.

mod harness;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use harness::{
    ANSWER, CHAT, EMBED, EXTRACTION, Outcome, QUESTION, Script, WEATHER, WEATHER_QUESTION,
};
use ollama_rs::Ollama;
use ollama_rs::coordinator::Coordinator;
use ollama_rs::generation::chat::request::ChatMessageRequest;
use ollama_rs::generation::chat::{ChatMessage, MessageRole};
use ollama_rs::generation::completion::request::GenerationRequest;
use ollama_rs::generation::embeddings::request::{EmbeddingsInput, GenerateEmbeddingsRequest};
use ollama_rs::generation::parameters::{FormatType, JsonStructure, KeepAlive, TimeUnit};
use ollama_rs::generation::tools::{self, Tool};
use ollama_rs::models::ModelOptions;
use ollama_rs::models::create::CreateModelRequest;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio_stream::StreamExt;

#[derive(Deserialize, JsonSchema)]
struct Person {
    name: String,
    age: u32,
}

#[derive(Deserialize, JsonSchema)]
struct Place {
    /// The city
    city: String,
}

/// Counts how often the model has called it.
#[derive(Clone, Default)]
struct Weather(Arc<Mutex<Vec<String>>>);

impl Tool for Weather {
    type Params = Place;

    fn name() -> &'static str {
        "get_weather"
    }

    fn description() -> &'static str {
        "Get the current weather in a city"
    }

    async fn call(&mut self, place: Place) -> tools::Result<String> {
        self.0.lock().unwrap().push(place.city);
        Ok(WEATHER.into())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let url = std::env::args()
        .nth(1)
        .expect("the first argument is the server's URL");
    let client = Ollama::try_new(url).expect("the first argument is a URL");
    let mut script = Script::default();
    script.ask("list", list(client.clone())).await;
    script.ask("show", show(client.clone())).await;
    script.ask("generate", generate(client.clone())).await;
    script
        .ask("generate_stream", generate_stream(client.clone()))
        .await;
    script.ask("context", context(client.clone())).await;
    script
        .ask("chat_history", chat_history(client.clone()))
        .await;
    script
        .ask("chat_history_stream", chat_history_stream(client.clone()))
        .await;
    script.ask("thinking", thinking(client.clone())).await;
    script.ask("tools", tools(client.clone())).await;
    script
        .ask("tools_stream", tools_stream(client.clone()))
        .await;
    script.ask("structured", structured(client.clone())).await;
    script.ask("logprobs", logprobs(client.clone())).await;
    script.ask("embed", embed(client.clone())).await;
    script.ask("keep_alive", keep_alive(client.clone())).await;
    script
        .ask("create_copy_delete", create_copy_delete(client.clone()))
        .await;
    script
        .ask("create_stream", create_stream(client.clone()))
        .await;
    script.ask("errors", errors(client)).await;
    script.end()
}

fn greedy() -> ModelOptions {
    ModelOptions::default().temperature(0.0).num_predict(64)
}

fn asked(prompt: &str) -> GenerationRequest<'_> {
    GenerationRequest::new(CHAT.into(), prompt)
        .options(greedy())
        .think(false)
}

fn said(text: &str) -> ChatMessageRequest {
    let messages = vec![ChatMessage::user(text.into())];
    ChatMessageRequest::new(CHAT.into(), messages)
        .options(greedy())
        .think(false)
}

async fn names(client: &Ollama) -> Result<Vec<String>, ollama_rs::error::OllamaError> {
    let models = client.list_local_models().await?;
    Ok(models.into_iter().map(|model| model.name).collect())
}

async fn list(client: Ollama) -> Outcome {
    let names = names(&client).await?;
    let is_there = |name: &str| names.iter().any(|listed| listed == name);
    assert!(
        is_there("tiny:latest") && is_there("tiny-embed:latest"),
        "{names:?}"
    );
    Ok(())
}

async fn show(client: Ollama) -> Outcome {
    let shown = client.show_model_info(CHAT.into()).await?;
    assert!(
        shown.capabilities.contains(&"completion".into()),
        "{:?}",
        shown.capabilities
    );
    assert_eq!(shown.model_info["general.architecture"], "llama");
    assert!(shown.modelfile.contains("FROM "), "{}", shown.modelfile);
    Ok(())
}

async fn generate(client: Ollama) -> Outcome {
    let reply = client.generate(asked(QUESTION)).await?;
    assert!(reply.done && reply.response.contains(ANSWER), "{reply:?}");
    assert!(
        reply.eval_count > Some(0) && reply.total_duration > Some(0),
        "{reply:?}"
    );
    Ok(())
}

async fn generate_stream(client: Ollama) -> Outcome {
    let whole = client.generate(asked(QUESTION)).await?;
    let mut pieces = Vec::new();
    let mut stream = client.generate_stream(asked(QUESTION)).await?;
    while let Some(chunk) = stream.next().await {
        pieces.extend(chunk?);
    }
    let text: String = pieces.iter().map(|piece| piece.response.as_str()).collect();
    assert_eq!(text, whole.response);
    let last = pieces.last().expect("a stream has an end");
    assert!(
        pieces.len() > 1 && last.done && last.eval_count == whole.eval_count,
        "{last:?}"
    );
    Ok(())
}

async fn context(client: Ollama) -> Outcome {
    let first = client.generate(asked(QUESTION)).await?;
    let context = first.context.expect("a reply has a context");
    let read = first.prompt_eval_count;
    let second = client.generate(asked(QUESTION).context(context)).await?;
    assert!(
        second.prompt_eval_count > read,
        "the second prompt holds the first: {second:?}"
    );
    Ok(())
}

async fn chat_history(client: Ollama) -> Outcome {
    let mut history = Vec::new();
    let first = client
        .send_chat_messages_with_history(&mut history, said(QUESTION))
        .await?;
    assert!(first.message.content.contains(ANSWER), "{first:?}");
    let second = client
        .send_chat_messages_with_history(&mut history, said("Why is the sky blue?"))
        .await?;
    assert!(
        second.message.content.to_lowercase().contains("scatter"),
        "{second:?}"
    );
    let roles: Vec<_> = history.iter().map(|message| message.role.clone()).collect();
    use MessageRole::{Assistant, User};
    assert_eq!(roles, [User, Assistant, User, Assistant]);
    Ok(())
}

async fn chat_history_stream(client: Ollama) -> Outcome {
    let history = Arc::new(Mutex::new(Vec::new()));
    let mut stream = client
        .send_chat_messages_with_history_stream(Arc::clone(&history), said(QUESTION))
        .await?;
    let mut last = None;
    while let Some(reply) = stream.next().await {
        last = Some(reply.map_err(|()| "the stream broke")?);
    }
    let last = last.expect("a stream has an end");
    assert!(last.done && last.final_data.is_some_and(|data| data.eval_count > 0));
    let history = history.lock().unwrap();
    assert!(
        history.len() == 2 && history[1].content.contains(ANSWER),
        "{history:?}"
    );
    Ok(())
}

async fn thinking(client: Ollama) -> Outcome {
    let request = said(QUESTION)
        .think(true)
        .options(ModelOptions::default().temperature(0.0));
    let reply = client.send_chat_messages(request).await?;
    assert!(
        reply
            .message
            .thinking
            .as_ref()
            .is_some_and(|thought| !thought.is_empty()),
        "{reply:?}"
    );
    assert!(reply.message.content.contains(ANSWER), "{reply:?}");
    Ok(())
}

async fn tools(client: Ollama) -> Outcome {
    let weather = Weather::default();
    let mut coordinator = Coordinator::new(client, CHAT.into(), Vec::new())
        .options(greedy())
        .think(false)
        .add_tool(weather.clone());
    let reply = coordinator
        .chat(vec![ChatMessage::user(WEATHER_QUESTION.into())])
        .await?;
    assert_eq!(*weather.0.lock().unwrap(), ["Paris"]);
    assert!(reply.message.content.contains("18"), "{reply:?}");
    Ok(())
}

async fn tools_stream(client: Ollama) -> Outcome {
    let request = said(WEATHER_QUESTION).add_tool(Weather::default());
    let mut stream = client.send_chat_messages_stream(request).await?;
    let mut calls = Vec::new();
    while let Some(reply) = stream.next().await {
        calls.extend(reply.map_err(|()| "the stream broke")?.message.tool_calls);
    }
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(calls[0].function.name, "get_weather");
    assert_eq!(calls[0].function.arguments["city"], "Paris");
    Ok(())
}

async fn structured(client: Ollama) -> Outcome {
    let format = FormatType::StructuredJson(Box::new(JsonStructure::new::<Person>()));
    let reply = client
        .send_chat_messages(said(EXTRACTION).format(format))
        .await?;
    let person: Person = serde_json::from_str(&reply.message.content)?;
    assert_eq!((person.name.as_str(), person.age), ("Ada", 36));
    let reply = client
        .generate(asked(EXTRACTION).format(FormatType::Json))
        .await?;
    assert!(
        serde_json::from_str::<Value>(&reply.response)?.is_object(),
        "{reply:?}"
    );
    Ok(())
}

async fn logprobs(client: Ollama) -> Outcome {
    let request = said(QUESTION)
        .options(greedy().num_predict(3))
        .logprobs(true)
        .top_logprobs(2);
    let logprobs = client
        .send_chat_messages(request)
        .await?
        .logprobs
        .unwrap_or_default();
    assert!(
        logprobs.len() == 3 && logprobs.iter().all(|entry| entry.logprob <= 0.0),
        "{logprobs:?}"
    );
    Ok(())
}

async fn embed(client: Ollama) -> Outcome {
    let asked = |input: EmbeddingsInput| GenerateEmbeddingsRequest::new(EMBED.into(), input);
    let many = client
        .generate_embeddings(asked(vec!["a small boat", "tax law"].into()))
        .await?
        .embeddings;
    let one = client
        .generate_embeddings(asked("a small boat".into()))
        .await?
        .embeddings;
    assert_eq!((many.len(), one.len()), (2, 1));
    for vector in &many {
        let length = vector
            .iter()
            .map(|number| number * number)
            .sum::<f32>()
            .sqrt();
        assert!((length - 1.0).abs() < 1e-3, "{length}");
    }
    let differs = one[0]
        .iter()
        .zip(&many[0])
        .any(|(alone, among)| (alone - among).abs() > 1e-4);
    assert!(!differs && one[0] != many[1]);
    Ok(())
}

async fn keep_alive(client: Ollama) -> Outcome {
    // The client has no function for it.
    let running = async || -> reqwest::Result<bool> {
        let url = client
            .url()
            .join("api/ps")
            .expect("a base URL takes a path");
        let running: Value = reqwest::get(url).await?.json().await?;
        let models = running["models"].as_array().expect("there is a list");
        Ok(models.iter().any(|model| model["name"] == "tiny:latest"))
    };
    let for_a_while = KeepAlive::Until {
        time: 5,
        unit: TimeUnit::Minutes,
    };
    client
        .generate(asked(QUESTION).keep_alive(for_a_while))
        .await?;
    assert!(running().await?, "it stays for five minutes");
    client
        .generate(asked("").keep_alive(KeepAlive::UnloadOnCompletion))
        .await?;
    assert!(!running().await?, "it goes at once");
    Ok(())
}

async fn create_copy_delete(client: Ollama) -> Outcome {
    let before = client.show_model_info(CHAT.into()).await?.license;
    let request = CreateModelRequest::new("client-made".into())
        .from_model(CHAT.into())
        .system("Be brief.".into())
        .license("And a licence of the client's own.".into())
        .parameters(ModelOptions::default().temperature(0.0));
    assert_eq!(client.create_model(request).await?.message, "success");
    let made = client.show_model_info("client-made".into()).await?;
    assert!(
        made.modelfile.contains("SYSTEM Be brief."),
        "{}",
        made.modelfile
    );
    assert!(
        made.license.starts_with(&before) && made.license.ends_with("of the client's own."),
        "{}",
        made.license
    );
    client
        .copy_model("client-made".into(), "client-copied".into())
        .await?;
    assert!(
        names(&client)
            .await?
            .contains(&"client-copied:latest".into())
    );
    for name in ["client-made", "client-copied"] {
        client.delete_model(name.into()).await?;
    }
    assert!(
        !names(&client)
            .await?
            .iter()
            .any(|name| name.starts_with("client-"))
    );
    Ok(())
}

async fn create_stream(client: Ollama) -> Outcome {
    let request = CreateModelRequest::new("client-made".into()).from_model(CHAT.into());
    let mut stream = client.create_model_stream(request).await?;
    let mut told = Vec::new();
    while let Some(status) = stream.next().await {
        told.push(status?.message);
    }
    assert_eq!(told.last().map(String::as_str), Some("success"), "{told:?}");
    client.delete_model("client-made".into()).await?;
    Ok(())
}

async fn errors(client: Ollama) -> Outcome {
    let request = GenerationRequest::new("no-such-model".into(), QUESTION);
    let error = client
        .generate(request)
        .await
        .expect_err("a model that does not exist cannot answer");
    assert!(error.to_string().contains("not found"), "{error}");
    assert!(client.delete_model("no-such-model".into()).await.is_err());
    Ok(())
}
