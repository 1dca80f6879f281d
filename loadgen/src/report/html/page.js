"use strict";
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);

  // Theme: auto, light, dark. A page from a file may not remember it; then it starts at auto.
  const themes = ["auto", "light", "dark"];
  const remembered = () => { try { return localStorage.getItem("loadgen-theme"); } catch { return null; } };
  const setTheme = (name) => {
    if (name === "auto") delete root.dataset.theme; else root.dataset.theme = name;
    byId("theme").querySelector("span").textContent = name;
    try { localStorage.setItem("loadgen-theme", name); } catch { /* Nothing is lost but the memory. */ }
  };
  const theme = byId("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const now = root.dataset.theme ?? "auto";
    setTheme(themes[(themes.indexOf(now) + 1) % themes.length]);
  });
  if (themes.includes(remembered())) setTheme(remembered());

  // Folding: all at once, and everything for paper.
  const folds = () => document.querySelectorAll("main details");
  const unfold = byId("unfold");
  unfold.hidden = false;
  unfold.addEventListener("click", () => {
    const open = unfold.getAttribute("aria-pressed") !== "true";
    folds().forEach((fold) => { fold.open = open; });
    unfold.setAttribute("aria-pressed", String(open));
    unfold.textContent = open ? "Close all" : "Open all";
  });
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details.row:not([open])")];
    folded.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((fold) => { fold.open = false; }));

  const copy = byId("copy");
  if (copy) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      const text = byId("command").textContent;
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(byId("command"));
        copy.textContent = "Selected";
      }
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    });
  }

  // Values under the pointer. Charts carry no second copy of their data: places are turned back into values.
  const scale = (attribute) => {
    const [kind, ...numbers] = attribute.split(" ");
    const [from, to, start, end] = numbers.map(Number);
    return (place) => {
      const share = (place - start) / (end - start);
      return kind === "log" ? from * (to / from) ** share : from + share * (to - from);
    };
  };
  const digits = (value) => {
    const size = Math.abs(value);
    return value.toFixed(size === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : 3);
  };
  const units = {
    ms: (value) => value < 0.9995 ? `${digits(value * 1e3)} µs` : value < 999.5 ? `${digits(value)} ms`
      : value < 599500 ? `${digits(value / 1e3)} s` : `${digits(value / 6e4)} min`,
    share: (value) => `${digits(value * 100)} %`,
    beyond: (value) => `P${(100 * (1 - 1 / value)).toFixed(value > 100 ? 2 : 1)}`,
    bytes: (value) => `${digits(value / 1048576)} MiB`,
    tokens: (value) => `${Math.round(value)} tokens`,
    round: (value) => `round ${Math.round(value)}`,
    rate: (value) => `${digits(value)}/s`,
  };
  const element = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const points = (path) => [...path.getAttribute("d").matchAll(/[ML](-?[\d.]+) (-?[\d.]+)/g)]
    .map(([, x, y]) => ({ x: Number(x), y: Number(y) }));

  const prepare = (svg) => {
    const [xs, ys] = [scale(svg.dataset.x), scale(svg.dataset.y)];
    const [xUnit, yUnit] = svg.dataset.units.split(" ");
    const series = [...svg.querySelectorAll("path[data-name]")].map((path) => ({
      name: path.dataset.name, style: path.getAttribute("class"), points: points(path),
    }));
    const places = [...new Set(series.flatMap((one) => one.points.map((point) => point.x)))].sort((a, b) => a - b);
    return { svg, xs, ys, xUnit, yUnit, series, places, index: -1 };
  };
  const show = (chart, x) => {
    const probe = chart.svg.querySelector(".probe");
    probe.replaceChildren();
    const near = chart.series
      .map((one) => ({ ...one, at: one.points.reduce((best, point) =>
        !best || Math.abs(point.x - x) < Math.abs(best.x - x) ? point : best, null) }))
      .filter((one) => one.at && Math.abs(one.at.x - x) < 40);
    if (near.length === 0) return "";
    const [, , width, height] = chart.svg.getAttribute("viewBox").split(" ").map(Number);
    const middle = near[0].at.x;
    probe.append(element("path", { d: `M${middle} 14V${height - 48}` }));
    const lines = [(units[chart.xUnit] ?? digits)(chart.xs(middle)),
      ...near.map((one) => `${one.name.slice(0, 24)}: ${(units[chart.yUnit] ?? digits)(chart.ys(one.at.y))}`)];
    near.forEach((one) => probe.append(element("circle", { cx: one.at.x, cy: one.at.y, r: 4.5, class: one.style.match(/t\d/)?.[0] ?? "" })));
    const wide = Math.max(...lines.map((line) => line.length)) * 6.8 + 18;
    const left = middle + 12 + wide > width ? middle - 12 - wide : middle + 12;
    probe.append(element("rect", { x: left, y: 20, width: wide, height: lines.length * 17 + 10, rx: 6 }));
    lines.forEach((line, row) => probe.append(element("text", { x: left + 9, y: 38 + row * 17 }, line)));
    return lines.join(", ");
  };
  const live = document.createElement("p");
  live.className = "unseen";
  live.setAttribute("aria-live", "polite");
  document.body.append(live);
  document.querySelectorAll("svg[data-x]").forEach((svg) => {
    let chart;
    const ready = () => (chart ??= prepare(svg));
    svg.addEventListener("pointermove", (event) => {
      const matrix = svg.getScreenCTM();
      if (matrix) show(ready(), (event.clientX - matrix.e) / matrix.a);
    });
    const clear = () => svg.querySelector(".probe").replaceChildren();
    svg.addEventListener("pointerleave", clear);
    svg.addEventListener("blur", clear);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") clear();
      if (!step || ready().places.length === 0) return;
      event.preventDefault();
      // Long curves are walked in a few dozen steps.
      const stride = Math.max(1, Math.round(chart.places.length / 60));
      chart.index = Math.min(chart.places.length - 1, Math.max(0, chart.index + step * stride));
      live.textContent = show(chart, chart.places[chart.index]);
    });
  });
})();
