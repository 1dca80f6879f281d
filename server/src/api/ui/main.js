// The playground: tabs, theme, and which models there are.

import { byId, element } from "./dom.js";
import { get } from "./server.js";
import * as chat from "./chat.js";
import * as embed from "./embed.js";
import * as classify from "./classify.js";
import * as live from "./live.js";
import { theme } from "./theme.js";

const panels = { chat, embed, classify, live };
const tabs = [...document.querySelectorAll("[role=tab]")];

function select(tab) {
  for (const other of tabs) {
    const isChosen = other === tab;
    const name = other.getAttribute("aria-controls");
    other.setAttribute("aria-selected", isChosen);
    other.tabIndex = isChosen ? 0 : -1;
    byId(name).hidden = !isChosen;
    panels[name].shown?.(isChosen);
  }
  history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
}

for (const tab of tabs) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const end = { Home: 0, End: tabs.length - 1 }[event.key];
    if (step === undefined && end === undefined) return;
    event.preventDefault();
    const next = tabs[end ?? (tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    select(next);
    next.focus();
  });
}

/** Fills the choices of models, each with those that can do what is asked of them. */
async function models() {
  const able = { "chat-model": "completion", "embed-model": "embedding", "classify-model": "classify" };
  let all = [];
  try {
    all = (await get("api/tags")).models;
    const { version } = await get("api/version");
    byId("server").textContent = `${all.length} models on this machine; speaks as Ollama ${version}`;
  } catch (error) {
    byId("server").textContent = `The server does not answer: ${error.message}`;
  }
  for (const [id, capability] of Object.entries(able)) {
    const choice = byId(id);
    const before = choice.value;
    const fitting = all.filter((model) => model.capabilities?.includes(capability)).map((model) => model.name);
    choice.replaceChildren(...fitting.map((name) => element("option", { value: name }, name)));
    if (fitting.includes(before)) choice.value = before;
    choice.disabled = fitting.length === 0;
    if (fitting.length === 0) choice.append(element("option", {}, "no model can do this"));
  }
  // What a model can do belongs to its name.
  chat.offer(new Map(all.map((model) => [model.name, model.capabilities ?? []])));
}

theme(byId("theme"));
for (const panel of Object.values(panels)) panel.start();
// Before anything is typed the models are there.
await models();
// They may have been pulled meanwhile.
addEventListener("focus", models);
select(tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash) ?? tabs[0]);
document.body.dataset.ready = "";
