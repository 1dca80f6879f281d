// Vercel's AI SDK, by its Ollama provider and by the OpenAI-compatible one.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { createOllama } from "ai-sdk-ollama";
import assert from "node:assert/strict";
import { z } from "zod";
import * as harness from "./harness.mjs";

const ollama = createOllama({ baseURL: harness.url })(harness.chat, { think: false });
const compatible = createOpenAICompatible({ name: "chaski", baseURL: `${harness.url}/v1`, supportsStructuredOutputs: true });
const openai = compatible(harness.chat);
const quiet = { providerOptions: { chaski: { reasoningEffort: "none" } } };
const asked = (model, prompt) => ({ model, prompt, temperature: 0, maxOutputTokens: 200, maxRetries: 0, ...(model === openai ? quiet : {}) });
const tools = { get_weather: tool({ description: "Get the current weather in a city", inputSchema: z.object({ city: z.string().describe("The city") }), execute: async () => harness.weather }) };
const person = z.object({ name: z.string(), age: z.number().int() });

const of = (name, model) => ({
  async [`${name}_text`]() {
    assert.match((await generateText(asked(model, harness.question))).text, harness.answer);
  },
  async [`${name}_stream`]() {
    let text = "";
    for await (const piece of streamText(asked(model, harness.question)).textStream) text += piece;
    assert.match(text, harness.answer);
  },
  async [`${name}_tools`]() {
    const result = await generateText({ ...asked(model, harness.weatherQuestion), tools, stopWhen: stepCountIs(2) });
    assert.match(result.text, /18/);
  },
  async [`${name}_object`]() {
    const { output } = await generateText({ ...asked(model, harness.extraction), output: Output.object({ schema: person }) });
    assert.equal(output.name, "Ada");
  },
});

await harness.run({
  ...of("ollama", ollama),
  ...of("openai", openai),
  async openai_embed() {
    const { embeddings } = await embedMany({ model: compatible.textEmbeddingModel(harness.embedder), values: ["a small boat", "tax law"] });
    assert.equal(embeddings.length, 2);
  },
});
