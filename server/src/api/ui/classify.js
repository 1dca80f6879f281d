// What a classifier says of texts.

import { bar, byId, complain, element, lines } from "./dom.js";
import { post } from "./server.js";

const EXAMPLES = ["This product exceeded my expectations!", "The parcel arrived broken and nobody answered.", "The box contains four screws."];
const MOST_TEXTS = 100;

export function start() {
  byId("classify-texts").value = EXAMPLES.join("\n");
  byId("classify-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void classify();
  });
}

async function classify() {
  const texts = lines(byId("classify-texts").value).slice(0, MOST_TEXTS);
  if (texts.length === 0 || byId("classify-model").disabled) return;
  const button = byId("classify-run");
  button.disabled = true;
  complain(byId("classify-error"), null);
  try {
    const { results } = await post("classify", { model: byId("classify-model").value, input: texts });
    byId("classify-results").replaceChildren(...results.flatMap((labels, index) => [
      element("h3", {}, texts[index]),
      element("ul", { class: "bars" }, ...labels.map(({ label, score }, rank) => bar(label, `${(score * 100).toFixed(1)} %`, score, rank === 0))),
    ]));
  } catch (error) {
    complain(byId("classify-error"), error);
  } finally {
    button.disabled = false;
  }
}
