// Talk with a model, and see how fast it writes.

import { byId, complain, duration, element, figure } from "./dom.js";
import { stream } from "./server.js";

/** The conversation as the server is sent it; it lives as long as the page. */
let messages = [];
/** Stops the answer under way. */
let stopping = null;
let capabilities = new Map();

export function start() {
  byId("chat-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (stopping) stopping.abort();
    else void send();
  });
  byId("chat-input").addEventListener("keydown", (event) => {
    // Enter that ends the composition of a letter does not send.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!stopping) byId("chat-form").requestSubmit();
  });
  byId("chat-settings").addEventListener("submit", (event) => event.preventDefault());
  byId("chat-model").addEventListener("change", thinking);
  byId("chat-new").addEventListener("click", () => {
    stopping?.abort();
    messages = [];
    byId("chat-log").replaceChildren();
    byId("chat-figures").replaceChildren();
    complain(byId("chat-error"), null);
    byId("chat-input").focus();
  });
}

/** Tells what the models can do. */
export function offer(known) {
  capabilities = known;
  thinking();
}

function thinking() {
  const able = capabilities.get(byId("chat-model").value)?.includes("thinking") ?? false;
  byId("chat-think").disabled = !able;
  if (!able) byId("chat-think").checked = false;
}

async function send() {
  const input = byId("chat-input");
  const text = input.value.trim();
  if (!text || byId("chat-model").disabled) return;
  complain(byId("chat-error"), null);
  input.value = "";
  messages.push({ role: "user", content: text });
  bubble("user").body.replaceChildren(...formatted(text));

  const answer = bubble("assistant");
  const clock = new Clock();
  stopping = new AbortController();
  byId("chat-send").textContent = "Stop";
  byId("chat-log").setAttribute("aria-busy", "true");
  let said = "", thought = "";
  try {
    await stream("api/chat", request(), stopping.signal, (record) => {
      const { content = "", thinking: piece = "" } = record.message ?? {};
      said += content;
      thought += piece;
      if (content || piece) clock.tick();
      answer.show(said, thought);
      if (record.done) clock.finish(record);
      clock.show();
    });
  } catch (error) {
    if (error.name !== "AbortError") complain(byId("chat-error"), error);
  } finally {
    stopping = null;
    byId("chat-send").textContent = "Send";
    byId("chat-log").setAttribute("aria-busy", "false");
    if (said) messages.push({ role: "assistant", content: said });
    else if (!thought) answer.remove();
  }
}

function request() {
  const system = byId("chat-system").value.trim();
  const think = byId("chat-think");
  return {
    model: byId("chat-model").value,
    messages: [...(system ? [{ role: "system", content: system }] : []), ...messages],
    ...(think.disabled ? {} : { think: think.checked }),
    options: { temperature: number("chat-temperature", 0.7), num_predict: number("chat-limit", 512) },
  };
}

function number(id, otherwise) {
  const { valueAsNumber, validity } = byId(id);
  return Number.isFinite(valueAsNumber) && validity.valid ? valueAsNumber : otherwise;
}

/** A message of the log. */
function bubble(role) {
  const log = byId("chat-log");
  const body = element("div", { class: "text" });
  const thoughts = element("details", {}, element("summary", {}, "Thoughts"), element("div"));
  thoughts.hidden = true;
  const node = element("article", { class: `message ${role}` },
    element("p", { class: "who" }, role === "user" ? "You" : byId("chat-model").value), thoughts, body);
  log.append(node);
  log.scrollTop = log.scrollHeight;
  return {
    body,
    remove: () => node.remove(),
    show(said, thought) {
      // Who has scrolled up to read stays there.
      const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
      thoughts.hidden = !thought;
      thoughts.lastChild.textContent = thought;
      body.replaceChildren(...formatted(said));
      if (follows) log.scrollTop = log.scrollHeight;
    },
  };
}

/** Text, with what stands between fences as code. */
function formatted(text) {
  return text.split("```").map((part, index) => {
    if (index % 2 === 0) return document.createTextNode(part);
    // The first line may name a language.
    return element("pre", { tabindex: "0" }, element("code", {}, part.replace(/^\S*\n/, "")));
  });
}

/** Times an answer as it is seen here; how fast it was written is in the end told by the server's own count. */
class Clock {
  constructor() {
    this.asked = performance.now();
    this.first = this.last = this.ended = null;
    this.pieces = 0;
    this.final = null;
  }

  tick() {
    this.last = performance.now();
    this.first ??= this.last;
    this.pieces += 1;
  }

  finish(record) {
    this.final = record;
    this.ended = performance.now();
  }

  show() {
    const { final } = this;
    const seconds = (this.last - this.first) / 1000;
    const rate = final?.eval_duration ? final.eval_count / (final.eval_duration / 1e9) : (this.pieces - 1) / seconds;
    const figures = [
      ["tokens/s", this.pieces > 1 || final ? figure(rate) : "–"],
      ["first token", this.first === null ? "–" : duration((this.first - this.asked) / 1000)],
      ["tokens", final ? figure(final.eval_count) : figure(this.pieces)],
    ];
    if (final) {
      figures.push(["prompt tokens", figure(final.prompt_eval_count)]);
      figures.push(["in all", duration((this.ended - this.asked) / 1000)]);
      if (final.done_reason === "length") figures.push(["ended", "at the limit"]);
    }
    byId("chat-figures").replaceChildren(...figures.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  }
}
