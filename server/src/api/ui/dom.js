// Elements. Texts go in as text and never as markup, so that nothing a model or a caller writes becomes a part of the page.

/** An element by its id. */
export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; texts become text. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for drawings. */
export function drawing(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Shows what went wrong, or nothing. */
export function complain(place, error) {
  place.hidden = !error;
  place.textContent = error ? error.message : "";
}

/** A labelled bar of a list, as long as `share` of the whole. */
export function bar(label, value, share, isBest) {
  const fill = element("span");
  // A style attribute would be refused by the page's policy; a property is not.
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return element("li", isBest ? { class: "best" } : {},
    element("span", {}, label), element("span", { class: "value" }, value), element("span", { class: "bar", "aria-hidden": "true" }, fill));
}

/** The lines of a text that say something. */
export const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** A number with three digits that matter. */
export function figure(value) {
  if (!Number.isFinite(value)) return "–";
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return Number(value.toPrecision(3)).toString();
}

/** Seconds in the unit that suits them. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${figure(seconds * 1000)} ms`;
  return seconds < 120 ? `${figure(seconds)} s` : `${figure(seconds / 60)} min`;
}

/** Bytes in the unit that suits them. */
export function size(bytes) {
  if (!Number.isFinite(bytes)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${figure(bytes / 1024 ** step)} ${units[step]}`;
}
