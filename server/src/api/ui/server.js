// What the page asks of its server. Addresses are relative, so that it works behind a proxy that serves it under another path.

/** The JSON of a route, or an error with the server's words. */
export async function get(path) {
  return read(await fetch(path));
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
  return fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
}

async function read(reply) {
  const text = await reply.text();
  let value = null;
  try { value = JSON.parse(text); } catch { /* Not everything that refuses speaks JSON. */ }
  if (!reply.ok) throw new Error(value?.error?.message ?? value?.error ?? `${reply.status} ${text.slice(0, 200) || reply.statusText}`);
  return value;
}
