// The official Anthropic client.

import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import * as harness from "./harness.mjs";

const client = new Anthropic({ baseURL: harness.url, apiKey: "unused", maxRetries: 0 });
const asked = (content) => ({ model: harness.chat, max_tokens: 64, temperature: 0, messages: [{ role: "user", content }], thinking: { type: "disabled" } });
const tools = [{ name: "get_weather", description: "Get the current weather in a city", input_schema: harness.weatherSchema }];

await harness.run({
  async chat() {
    const reply = await client.messages.create(asked(harness.question));
    assert.match(reply.content[0].text, harness.answer);
    assert.equal(reply.stop_reason, "end_turn");
  },
  async stream() {
    const final = await client.messages.stream(asked(harness.question)).finalMessage();
    assert.match(final.content[0].text, harness.answer);
  },
  async tools() {
    const final = await client.messages.stream({ ...asked(harness.weatherQuestion), tools }).finalMessage();
    assert.deepEqual(final.content.find((block) => block.type === "tool_use").input, { city: "Paris" });
  },
  async errors() {
    await assert.rejects(client.messages.create({ ...asked("Hi"), model: "no-such-model" }), Anthropic.NotFoundError);
  },
});
