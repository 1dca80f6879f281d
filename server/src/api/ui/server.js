// What the page asks of its server. Addresses are relative, so that it works behind a proxy that serves it under another path.

/** Where the key is kept until the tab is closed. */
const KEY = "chaski-api-key";
let isDeclined = false;

/** The JSON of a route, or an error with the server's words. */
export async function get(path) {
  return read(await ask(path));
}

/** The text of a route. */
export async function text(path) {
  const reply = await ask(path);
  return reply.ok ? reply.text() : read(reply);
}

/** The JSON of a route that is asked with a body. */
export async function post(path, body, signal) {
  return read(await send(path, body, signal));
}

/** Calls `take` with each line of a streamed answer; the server's error, before or within it, is thrown. */
export async function stream(path, body, signal, take) {
  const reply = await send(path, body, signal);
  if (!reply.ok) await read(reply);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) {
      if (!line) continue;
      const record = JSON.parse(line);
      if (record.error) throw new Error(record.error);
      take(record);
    }
    if (done) return;
  }
}

function send(path, body, signal) {
  return ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
}

/** fetch, with the key that the server may ask for. The person is asked once; others who are refused meanwhile use the same answer. */
async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const reply = await fetch(path, withKey(options, key));
  if (reply.status !== 401) return reply;
  if (sessionStorage.getItem(KEY) === key) {
    const typed = isDeclined ? null : window.prompt("This server asks for an API key:");
    isDeclined = !typed?.trim();
    if (isDeclined) return reply;
    sessionStorage.setItem(KEY, typed.trim());
  }
  return fetch(path, withKey(options, sessionStorage.getItem(KEY)));
}

function withKey(options, key) {
  return key ? { ...options, headers: { ...options.headers, Authorization: `Bearer ${key}` } } : options;
}

async function read(reply) {
  const text = await reply.text();
  let value = null;
  try { value = JSON.parse(text); } catch { /* Not everything that refuses speaks JSON. */ }
  if (!reply.ok) throw new Error(value?.error?.message ?? value?.error ?? `${reply.status} ${text.slice(0, 200) || reply.statusText}`);
  return value;
}
