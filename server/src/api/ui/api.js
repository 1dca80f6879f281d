// The reference of the API, drawn from the OpenAPI document of the server that serves it.

import { byId, complain, element } from "./dom.js";
import { get } from "./server.js";
import { theme } from "./theme.js";

const FAMILIES = { ollama: "Ollama's API", openai: "OpenAI's API", anthropic: "Anthropic's API", native: "Beside them", tei: "As text-embeddings-inference" };
/** Records within records, and no further: some refer to themselves. */
const DEEPEST = 4;

/** One operation: its texts for the filter, and its element. */
function operation(document, path, method, about) {
  const content = about.requestBody?.content ?? {};
  const body = content["application/json"]?.schema;
  const parts = [];
  if (about.parameters?.length) {
    parts.push(element("h3", {}, "In the path"), table(about.parameters.map(({ name, description = "" }) => ({ name, depth: 0, type: "string", needed: true, description }))));
  }
  const fields = body ? described(document, body) : [];
  if (fields.length) parts.push(element("h3", {}, "Body"), table(fields));
  else if (about.requestBody) parts.push(element("h3", {}, "Body"), element("p", {}, Object.keys(content).join(", ")));
  const texts = [path, method, about.summary, ...fields.map(({ name }) => name)];
  for (const [status, reply] of Object.entries(about.responses ?? {})) {
    const types = Object.keys(reply.content ?? {});
    parts.push(element("h3", {}, `${status}: ${reply.description}`));
    if (types.length) parts.push(element("p", { class: "soft" }, types.join(", ")));
    const schema = Object.values(reply.content ?? {})[0]?.schema;
    const answered = schema ? described(document, schema) : [];
    if (answered.length) parts.push(table(answered));
    texts.push(...answered.map(({ name }) => name));
  }
  const node = element("details", { class: "operation" },
    element("summary", {}, element("span", { class: `method ${method}` }, method.toUpperCase()), element("span", { class: "path" }, path), element("span", { class: "soft" }, about.summary ?? "")),
    element("div", {}, ...parts));
  return { node, family: about.tags?.[0] ?? "native", text: texts.join("\n").toLowerCase() };
}

function resolved(document, schema) {
  let found = schema;
  // A reference leads to a schema, which may be a reference again, but never for long.
  for (let step = 0; found?.$ref && step < DEEPEST; step++) {
    found = found.$ref.slice(2).split("/").reduce((part, name) => part?.[name], document);
  }
  return found ?? {};
}

/** The fields of a schema, those of inner records after the field that holds them. */
function described(document, schema, depth = 0) {
  const whole = resolved(document, schema);
  if (depth > DEEPEST) return [];
  const merged = [...(whole.allOf ?? []), ...(whole.anyOf ?? [])].flatMap((part) => described(document, part, depth));
  const items = whole.items && !whole.properties ? described(document, whole.items, depth) : [];
  const own = Object.entries(whole.properties ?? {}).flatMap(([name, field]) => [
    { name, depth, type: type(document, field), needed: whole.required?.includes(name) ?? false, description: field.description ?? resolved(document, field).description ?? "" },
    ...described(document, field, depth + 1),
  ]);
  return [...merged, ...items, ...own];
}

function type(document, schema, depth = 0) {
  const whole = resolved(document, schema);
  if (depth > DEEPEST) return "…";
  if (whole.enum) return whole.enum.map((value) => JSON.stringify(value)).join(" or ");
  const forms = whole.anyOf ?? whole.allOf;
  if (forms) return [...new Set(forms.map((form) => type(document, form, depth + 1)))].join(" or ");
  if (whole.type === "array") return `list of ${type(document, whole.items ?? {}, depth + 1)}`;
  return [whole.type ?? "anything"].flat().join(" or ");
}

function table(fields) {
  const rows = fields.map(({ name, depth, type: kind, needed, description }) => element("tr", {},
    element("th", { scope: "row" }, element("span", { class: "depth", "aria-hidden": "true" }, "· ".repeat(depth)), element("code", {}, name)),
    element("td", {}, kind + (needed ? ", always" : "")), element("td", {}, description)));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Fields" }, element("table", {}, element("tbody", {}, ...rows)));
}

theme(byId("theme"));
try {
  const document = await get("../openapi.json");
  const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, about]) => operation(document, path, method, about)));
  const sections = Object.keys(Object.groupBy(operations, ({ family }) => family)).map((family) => {
    const members = operations.filter((one) => one.family === family);
    const node = element("section", {}, element("h2", {}, FAMILIES[family] ?? family), ...members.map(({ node: member }) => member));
    return { node, members };
  });
  byId("operations").replaceChildren(...sections.map(({ node }) => node));
  const filter = () => {
    const wanted = byId("filter").value.trim().toLowerCase();
    for (const { node, members } of sections) {
      for (const member of members) member.node.hidden = !member.text.includes(wanted);
      node.hidden = members.every((member) => member.node.hidden);
    }
    const count = operations.filter(({ node }) => !node.hidden).length;
    byId("count").textContent = `${count} of ${operations.length} operations`;
  };
  byId("filter").addEventListener("input", filter);
  filter();
} catch (error) {
  complain(byId("error"), error);
}
globalThis.document.body.dataset.ready = "";
