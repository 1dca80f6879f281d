// Opens report pages in a real Chromium and fails on what a reader would meet: errors in the console, requests to anywhere,
// missing panels, text that runs out of its chart or over its neighbour, a page wider than its window, controls without use.
//
//   node check.mjs [--shots FOLDER] [--chromium PATH] REPORT.html...

import { mkdirSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import puppeteer from "puppeteer-core";

const { values: options, positionals: files } = parseArgs({
  allowPositionals: true,
  options: {
    shots: { type: "string" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    /** Comma-separated ids of panels that must exist beside the usual ones. */
    panels: { type: "string", default: "" },
  },
});
if (files.length === 0) {
  console.error("usage: node check.mjs [--shots FOLDER] [--chromium PATH] [--panels ID,...] REPORT.html...");
  process.exit(2);
}

const LARGEST_BYTES = 8 * 1024 * 1024;
const USUAL_PANELS = ["validity", "results", "environment", "method", "command"];
const problems = [];

const browser = await puppeteer.launch({
  executablePath: options.chromium,
  // Root in a container has no other choice; the page under test is our own file.
  args: ["--no-sandbox", "--force-color-profile=srgb"],
});

for (const file of files) {
  const problem = (text) => problems.push(`${basename(file)}: ${text}`);
  if (statSync(file).size > LARGEST_BYTES) problem(`${statSync(file).size} bytes`);
  const page = await browser.newPage();
  page.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) problem(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problem(`script: ${error.message}`));
  page.on("request", (request) => {
    if (request.url() !== pathToFileURL(resolve(file)).href) problem(`request to ${request.url()}`);
  });
  await page.setViewport({ width: 1280, height: 900 });
  await page.goto(pathToFileURL(resolve(file)).href);

  const panels = [...USUAL_PANELS, ...options.panels.split(",").filter(Boolean)];
  for (const panel of panels) {
    if (!(await page.$(`#${panel}`))) problem(`no panel #${panel}`);
  }
  await check(page, problem);
  await narrow(page, problem);
  if (options.shots) await shoot(page, basename(file, ".html"));
  await page.close();
}

await browser.close();
problems.forEach((text) => console.error(text));
console.log(`${files.length} pages, ${problems.length} problems`);
console.log(`${problems.length === 0 ? files.length : 0} passed, ${problems.length === 0 ? 0 : files.length} failed`);
process.exit(problems.length === 0 ? 0 : 1);

async function check(page, problem) {
  const cards = await page.$$("article.card");
  if (cards.length === 0) problem("no verdict card");
  // Everything unfolded, so that nothing hides from the checks below.
  await page.click("#unfold");
  if (await page.$("main details:not([open])")) problem("'Open all' leaves something folded");

  for (const text of await page.evaluate(layout)) problem(text);
  for (const text of await page.evaluate(accessibility)) problem(text);

  // Values under the pointer, and the same by keyboard.
  const chart = await page.$("svg[data-x]");
  if (chart) {
    await chart.scrollIntoView();
    const box = await chart.boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    if (!(await page.$(".probe text"))) problem("no value under the pointer");
    await page.mouse.move(0, 0);
    await chart.evaluate((svg) => svg.focus());
    await page.keyboard.press("ArrowRight");
    const said = await page.$eval("[aria-live]", (live) => live.textContent);
    if (!/\d/.test(said)) problem(`arrow keys say ${JSON.stringify(said)}`);
  }

  // Three presses go through dark and back to where they began.
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const seen = new Set();
  for (let press = 0; press < 3; press++) {
    await page.click("#theme");
    seen.add(await background());
  }
  if (seen.size < 2) problem("the theme switch changes nothing");
}

/** In the page: text outside of its drawing, or over other text. */
function layout() {
  const found = [];
  for (const svg of document.querySelectorAll("figure svg[role=img]")) {
    const frame = svg.getBoundingClientRect();
    const name = svg.querySelector("title")?.textContent ?? "chart";
    const texts = [...svg.querySelectorAll("text")].map((text) => ({ said: text.textContent, box: text.getBoundingClientRect() }));
    for (const { said, box } of texts) {
      if (box.width === 0) continue;
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) {
        found.push(`${name}: "${said}" runs out of the drawing`);
      }
    }
    texts.forEach((one, index) => texts.slice(index + 1).forEach((other) => {
      const wide = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      const high = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      if (wide > 2 && high > 4) found.push(`${name}: "${one.said}" lies over "${other.said}"`);
    }));
    for (const path of svg.querySelectorAll("path")) {
      if (/NaN|inf/i.test(path.getAttribute("d") ?? "")) found.push(`${name}: a path without place`);
    }
  }
  return found;
}

/** In the page: names that a screen reader needs. */
function accessibility() {
  const found = [];
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
  if (twice.length) found.push(`id twice: ${twice[0]}`);
  for (const svg of document.querySelectorAll("svg:not([aria-hidden])")) {
    for (const id of (svg.getAttribute("aria-labelledby") ?? "").split(" ")) {
      if (!document.getElementById(id)?.textContent) found.push(`a drawing without a name: ${id || svg.outerHTML.slice(0, 80)}`);
    }
  }
  for (const button of document.querySelectorAll("button")) {
    if (!button.textContent.trim()) found.push("a button without a name");
  }
  let last = 1;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const level = Number(heading.tagName[1]);
    if (level > last + 1) found.push(`heading "${heading.textContent}" skips a level`);
    last = level;
  }
  return found;
}

async function narrow(page, problem) {
  await page.setViewport({ width: 390, height: 844 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (overflow > 1) problem(`${overflow} pixels wider than a telephone`);
  await page.setViewport({ width: 1280, height: 900 });
}

async function shoot(page, name) {
  mkdirSync(options.shots, { recursive: true });
  await page.reload();
  for (const theme of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    await page.screenshot({ path: join(options.shots, `${name}-${theme}.png`), fullPage: true });
  }
  await page.emulateMediaFeatures([]);
  await page.pdf({ path: join(options.shots, `${name}.pdf`), format: "A4" });
  await page.setViewport({ width: 390, height: 844 });
  await page.screenshot({ path: join(options.shots, `${name}-narrow.png`) });
}
