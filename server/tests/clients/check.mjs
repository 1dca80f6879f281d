// The official JavaScript client against a running server: `node check.mjs URL`, after `npm ci`.
//
// Expects the built-in models. Fails at the first answer that is not what a user of the client would expect.

import assert from "node:assert/strict";
import { Ollama } from "ollama";

const client = new Ollama({ host: process.argv[2] });

const names = (await client.list()).models.map((model) => model.name);
assert(names.includes("tiny:latest") && names.includes("tiny-embed:latest"), names.join());
const shown = await client.show({ model: "tiny" });
assert(shown.capabilities.includes("completion"));
assert.equal(shown.model_info["general.architecture"], "llama");

const options = { temperature: 0, num_predict: 64 };
const request = { model: "tiny", prompt: "What is the capital of France?", options, think: false };
const whole = await client.generate(request);
assert(whole.done && whole.response.includes("Paris"), JSON.stringify(whole));
let text = "";
for await (const part of await client.generate({ ...request, stream: true })) text += part.response;
assert.equal(text, whole.response);

const messages = [{ role: "user", content: "Why is the sky blue?" }];
const chat = await client.chat({ model: "tiny", messages, options, think: false });
assert(/scatter/i.test(chat.message.content), chat.message.content);
let streamed = "";
for await (const part of await client.chat({ model: "tiny", messages, options, think: false, stream: true })) {
  streamed += part.message.content;
}
assert.equal(streamed, chat.message.content);

const { embeddings } = await client.embed({ model: "tiny-embed", input: ["a small boat", "tax law"] });
assert.equal(embeddings.length, 2);
assert(Math.abs(Math.hypot(...embeddings[0]) - 1) < 1e-3);

// An aborted stream ends at once and leaves the server usable.
const endless = await client.generate({ ...request, prompt: "Tell me a story about a fox", options: {}, stream: true });
setTimeout(() => endless.abort(), 50);
await assert.rejects(async () => {
  for await (const _ of endless);
  // A story that was over before the abort is as good.
  throw new DOMException("over already", "AbortError");
});

await assert.rejects(client.generate({ model: "no-such-model", prompt: "hello" }), /not found/);
console.log("javascript client: list, show, generate, chat, embed, abort and errors as expected");
