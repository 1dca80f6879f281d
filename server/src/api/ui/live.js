// What the server does now: figures from /metrics, models from /api/ps.

import { byId, complain, drawing, duration, element, figure, size } from "./dom.js";
import { get, text } from "./server.js";
import { buckets, growth, parse, quantile, sum } from "./prometheus.js";

const EVERY_MS = 2000;
/** Rates and quantiles are those of the last so many readings; drawings go further back. */
const WINDOW = 5, KEPT = 60;
const WORKERS = "llm_worker_proportional_memory_bytes", SERVER = "process_proportional_memory_bytes";

const readings = [];
const drawn = new Map();
let timer = null;
let isShown = false;

export function start() {
  byId("live-run").addEventListener("change", tick);
  document.addEventListener("visibilitychange", tick);
}

export function shown(is) {
  isShown = is;
  tick();
}

function tick() {
  clearTimeout(timer);
  timer = null;
  if (isShown && !document.hidden && (byId("live-run").checked || readings.length === 0)) {
    // The next reading waits for this one, however slow it is.
    void refresh().finally(() => {
      if (isShown && byId("live-run").checked) timer = setTimeout(tick, EVERY_MS);
    });
  }
}

async function refresh() {
  try {
    const [page, processes] = await Promise.all([text("metrics"), get("api/ps")]);
    readings.push({ at: performance.now(), families: parse(page) });
    if (readings.length > KEPT) readings.shift();
    tiles(processes);
    models(processes.models);
    latency();
    complain(byId("live-error"), null);
  } catch (error) {
    complain(byId("live-error"), new Error(`The server does not answer: ${error.message}`));
  }
}

function tiles(processes) {
  const now = readings.at(-1), before = readings[Math.max(0, readings.length - 1 - WINDOW)];
  const seconds = (now.at - before.at) / 1000;
  const rate = (name, labels) => (seconds > 0 ? ((sum(now.families, name, labels) || 0) - (sum(before.families, name, labels) || 0)) / seconds : 0);
  const recent = (name) => growth(buckets(now.families, name), buckets(before.families, name));
  const first = recent("llm_time_to_first_token_seconds"), between = recent("llm_inter_token_latency_seconds");
  const running = sum(now.families, "llm_requests_running") || 0, waiting = sum(now.families, "llm_requests_waiting") || 0;
  const slots = processes.models.reduce((total, model) => total + model.slots, 0);
  const memory = (sum(now.families, WORKERS) || 0) + (sum(now.families, SERVER) || 0);
  const failed = rate("llm_requests_total", { status: "error" }) + rate("llm_requests_total", { status: "rejected" });
  show("Requests", rate("llm_requests_total"), (value) => `${figure(value)}/s`, failed > 0 ? `${figure(failed)}/s failed or were refused` : "none failed");
  show("Generated tokens", rate("llm_generated_tokens_total"), (value) => `${figure(value)}/s`, `${figure(rate("llm_prompt_tokens_total"))} prompt tokens/s`);
  show("First token, p50", quantile(0.5, first), duration, `p95 ${duration(quantile(0.95, first))}`);
  show("Between tokens, p50", quantile(0.5, between), duration, `p95 ${duration(quantile(0.95, between))}`);
  show("Running", running, figure, `of ${figure(slots)} slots`);
  show("Waiting", waiting + processes.waiting, figure, `${figure(processes.waiting)} of them for room`);
  show("Memory", memory, size, `${size(sum(now.families, "llm_memory_available_bytes"))} left`);
}

/** A tile with its value, a remark and how the value went. */
function show(title, value, format, remark) {
  if (!drawn.has(title)) {
    const line = drawing("path", { d: "" });
    const tile = element("div", { class: "tile" }, element("h3", {}, title), element("p", { class: "big" }), element("p", { class: "soft" }),
      drawing("svg", { viewBox: `0 0 ${KEPT} 34`, preserveAspectRatio: "none", "aria-hidden": "true" }, line));
    byId("live-tiles").append(tile);
    drawn.set(title, { tile, line, values: [] });
  }
  const { tile, line, values } = drawn.get(title);
  tile.children[1].textContent = format(value);
  tile.children[2].textContent = remark;
  values.push(Number.isFinite(value) ? value : 0);
  if (values.length > KEPT) values.shift();
  const highest = Math.max(...values) || 1;
  const at = (value, index) => `${KEPT - values.length + index + 0.5},${(32 - (value / highest) * 30).toFixed(1)}`;
  line.setAttribute("d", values.length > 1 ? `M${values.map(at).join("L")}` : "");
}

function models(loaded) {
  const rows = loaded.map((model) => element("tr", {}, element("th", { scope: "row" }, model.name),
    ...[`${model.running} of ${model.slots}`, model.queued, `${figure(model.context_length)} tokens`, size(model.size), leaves(model.expires_at)]
      .map((text) => element("td", {}, String(text)))));
  byId("live-models").replaceChildren(...(rows.length ? rows : [none(6, "No model is loaded; the first request loads one.")]));
}

function leaves(expires) {
  const seconds = (Date.parse(expires) - Date.now()) / 1000;
  if (!Number.isFinite(seconds) || seconds > 10 * 365 * 86400) return "never";
  // A time long ago is that of a model at work.
  if (seconds <= 0) return "when idle";
  return `in ${duration(seconds < 120 ? Math.ceil(seconds) : Math.round(seconds / 60) * 60)}`;
}

function latency() {
  const { families } = readings.at(-1);
  const kinds = (families.get("llm_request_duration_seconds_count") ?? []).map(({ labels }) => labels);
  kinds.sort((a, b) => a.model.localeCompare(b.model) || a.operation.localeCompare(b.operation));
  const rows = kinds.map(({ model, operation }) => {
    const wanted = { model, operation };
    const whole = buckets(families, "llm_request_duration_seconds", wanted), first = buckets(families, "llm_time_to_first_token_seconds", wanted);
    const figures = [quantile(0.5, first), quantile(0.95, first), quantile(0.5, whole), quantile(0.95, whole)].map(duration);
    return element("tr", {}, element("th", { scope: "row" }, model),
      ...[operation, figure(whole.get(Infinity)), ...figures].map((text) => element("td", {}, text)));
  });
  byId("live-latency").replaceChildren(...(rows.length ? rows : [none(7, "No requests yet.")]));
}

function none(columns, text) {
  return element("tr", {}, element("td", { colspan: columns, class: "none" }, text));
}
