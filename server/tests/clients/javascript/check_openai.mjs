// The official OpenAI client.

import assert from "node:assert/strict";
import OpenAI from "openai";
import * as harness from "./harness.mjs";

const client = new OpenAI({ baseURL: `${harness.url}/v1`, apiKey: "unused", maxRetries: 0 });
const asked = (content) => ({ model: harness.chat, messages: [{ role: "user", content }], temperature: 0, max_tokens: 64, reasoning_effort: "none" });
const tool = { type: "function", function: { name: "get_weather", description: "Get the current weather in a city", parameters: harness.weatherSchema } };

await harness.run({
  async list() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    assert(names.includes("tiny:latest"), names.join());
  },
  async chat() {
    const reply = await client.chat.completions.create(asked(harness.question));
    assert.match(reply.choices[0].message.content, harness.answer);
    assert.equal(reply.choices[0].finish_reason, "stop");
  },
  async stream() {
    let text = "";
    for await (const chunk of await client.chat.completions.create({ ...asked(harness.question), stream: true })) text += chunk.choices[0]?.delta?.content ?? "";
    assert.match(text, harness.answer);
  },
  async tools() {
    const reply = await client.chat.completions.create({ ...asked(harness.weatherQuestion), tools: [tool] });
    assert.deepEqual(JSON.parse(reply.choices[0].message.tool_calls[0].function.arguments), { city: "Paris" });
  },
  async structured() {
    const response_format = { type: "json_schema", json_schema: { name: "person", schema: harness.personSchema } };
    const reply = await client.chat.completions.create({ ...asked(harness.extraction), response_format });
    assert.equal(JSON.parse(reply.choices[0].message.content).name, "Ada");
  },
  async responses() {
    const request = { model: harness.chat, input: harness.question, temperature: 0, max_output_tokens: 64, reasoning: { effort: "none" } };
    assert.match((await client.responses.create(request)).output_text, harness.answer);
    const final = await client.responses.stream(request).finalResponse();
    assert.match(final.output[0].content[0].text, harness.answer);
  },
  async embed() {
    const reply = await client.embeddings.create({ model: harness.embedder, input: ["a small boat", "tax law"] });
    assert.equal(reply.data.length, 2);
    assert(Math.abs(Math.hypot(...reply.data[0].embedding) - 1) < 1e-3);
  },
  async errors() {
    await assert.rejects(client.chat.completions.create({ ...asked("Hi"), model: "no-such-model" }), OpenAI.NotFoundError);
  },
});
