// LangChain by its Ollama and its OpenAI integrations.

import { ChatOllama, OllamaEmbeddings } from "@langchain/ollama";
import { ChatOpenAI } from "@langchain/openai";
import { tool } from "@langchain/core/tools";
import assert from "node:assert/strict";
import { z } from "zod";
import * as harness from "./harness.mjs";

const model = new ChatOllama({ baseUrl: harness.url, model: harness.chat, temperature: 0, numPredict: 64, think: false });
const openai = new ChatOpenAI({ configuration: { baseURL: `${harness.url}/v1` }, apiKey: "unused", model: harness.chat, temperature: 0, maxTokens: 64, maxRetries: 0, modelKwargs: { reasoning_effort: "none" } });
const getWeather = tool(() => harness.weather, { name: "get_weather", description: "Get the current weather in a city", schema: z.object({ city: z.string().describe("The city") }) });

await harness.run({
  async chat() {
    assert.match((await model.invoke(harness.question)).content, harness.answer);
  },
  async stream() {
    let text = "";
    for await (const chunk of await model.stream(harness.question)) text += chunk.content;
    assert.match(text, harness.answer);
  },
  async tools() {
    const reply = await model.bindTools([getWeather]).invoke(harness.weatherQuestion);
    assert.deepEqual(reply.tool_calls[0].args, { city: "Paris" });
  },
  async structured() {
    const person = await model.withStructuredOutput(z.object({ name: z.string(), age: z.number().int() }), { method: "jsonSchema" }).invoke(harness.extraction);
    assert.equal(person.name, "Ada");
  },
  async embed() {
    const vectors = await new OllamaEmbeddings({ baseUrl: harness.url, model: harness.embedder }).embedDocuments(["a small boat", "tax law"]);
    assert.equal(vectors.length, 2);
  },
  async openai_chat() {
    assert.match((await openai.invoke(harness.question)).content, harness.answer);
  },
  async openai_stream() {
    let text = "";
    for await (const chunk of await openai.stream(harness.question)) text += chunk.content;
    assert.match(text, harness.answer);
  },
  async openai_tools() {
    const reply = await openai.bindTools([getWeather]).invoke(harness.weatherQuestion);
    assert.deepEqual(reply.tool_calls[0].args, { city: "Paris" });
  },
});
