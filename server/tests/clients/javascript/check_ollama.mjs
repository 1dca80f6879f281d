// ollama-js, Ollama's own client.

import assert from "node:assert/strict";
import { Ollama } from "ollama";
import * as harness from "./harness.mjs";

const client = new Ollama({ host: harness.url });
const options = { temperature: 0, num_predict: 64 };
const request = { model: harness.chat, prompt: harness.question, options, think: false };
const tool = { type: "function", function: { name: "get_weather", description: "Get the current weather in a city", parameters: harness.weatherSchema } };
const asked = (content) => ({ model: harness.chat, messages: [{ role: "user", content }], options, think: false });

await harness.run({
  async list() {
    const names = (await client.list()).models.map((model) => model.name);
    assert(names.includes("tiny:latest") && names.includes("tiny-embed:latest"), names.join());
    const shown = await client.show({ model: harness.chat });
    assert(shown.capabilities.includes("completion"));
    assert.equal(shown.model_info["general.architecture"], "llama");
  },
  async generate() {
    const whole = await client.generate(request);
    assert(whole.done && harness.answer.test(whole.response), JSON.stringify(whole));
    let text = "";
    for await (const part of await client.generate({ ...request, stream: true })) text += part.response;
    assert.equal(text, whole.response);
  },
  async chat() {
    const whole = await client.chat(asked("Why is the sky blue?"));
    assert.match(whole.message.content, /scatter/i);
    let streamed = "";
    for await (const part of await client.chat({ ...asked("Why is the sky blue?"), stream: true })) streamed += part.message.content;
    assert.equal(streamed, whole.message.content);
  },
  async tools() {
    const { message } = await client.chat({ ...asked(harness.weatherQuestion), tools: [tool] });
    assert.equal(message.tool_calls[0].function.name, "get_weather");
    assert.deepEqual(message.tool_calls[0].function.arguments, { city: "Paris" });
  },
  async structured() {
    const { message } = await client.chat({ ...asked(harness.extraction), format: harness.personSchema });
    assert.equal(JSON.parse(message.content).name, "Ada");
  },
  async embed() {
    const { embeddings } = await client.embed({ model: harness.embedder, input: ["a small boat", "tax law"] });
    assert.equal(embeddings.length, 2);
    assert(Math.abs(Math.hypot(...embeddings[0]) - 1) < 1e-3);
  },
  async abort() {
    // An aborted stream ends at once and leaves the server usable.
    const endless = await client.generate({ ...request, prompt: "Tell me a story about a fox", options: {}, stream: true });
    setTimeout(() => endless.abort(), 50);
    await assert.rejects(async () => {
      for await (const _ of endless);
      // A story that was over before the abort is as good.
      throw new DOMException("over already", "AbortError");
    });
    await client.generate(request);
  },
  async errors() {
    await assert.rejects(client.generate({ model: "no-such-model", prompt: "hello" }), /not found/);
  },
});
