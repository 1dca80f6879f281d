// Opens the pages of a real server in a real Chromium, uses them as a person would, by mouse and by keyboard, and fails on what
// such a person would meet: errors, refused code, requests elsewhere, text that does nothing, a page wider than its window.
//
//   node check.mjs [--shots FOLDER] [--chromium PATH] CHASKI

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import puppeteer from "puppeteer-core";

const { values: options, positionals: [chaski] } = parseArgs({
  allowPositionals: true,
  options: { shots: { type: "string" }, chromium: { type: "string", default: "/usr/bin/chromium" } },
});
if (!chaski) {
  console.error("usage: node check.mjs [--shots FOLDER] [--chromium PATH] CHASKI");
  process.exit(2);
}

const STARTUP_MS = 30_000, ANSWER_MS = 60_000;
/** How long the live view is fed before its picture is taken. */
const SHOWN_MS = 90_000;
const HOSTILE = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>";
const problems = [];
const problem = (text) => problems.push(text);
const expect = (holds, text) => { if (!holds) problem(text); };

const folder = mkdtempSync(join(tmpdir(), "chaski-ui-"));
const port = await freePort();
const origin = `http://127.0.0.1:${port}`;
const server = spawn(chaski, ["serve", "--host", `127.0.0.1:${port}`, "--models", folder], { stdio: "ignore" });
let browser;
try {
  await answering();
  browser = await puppeteer.launch({ executablePath: options.chromium, args: ["--no-sandbox", "--force-color-profile=srgb"] });
  await guards();
  const page = await opened(`${origin}/`);
  expect(await page.$eval("#chat", (panel) => !panel.hidden), "a browser at / is not shown the playground");
  await chat(page);
  await embed(page);
  await classify(page);
  await live(page);
  await keyboard(page);
  await themes(page);
  await everyWidth(page);
  if (options.shots) await shoot(page);
  await reference();
} finally {
  await browser?.close();
  server.kill();
  await once(server, "exit");
  rmSync(folder, { recursive: true, force: true });
}
problems.forEach((text) => console.error(text));
console.log(`ui: ${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port: free } = probe.address();
  probe.close();
  return free;
}

async function answering() {
  const deadline = Date.now() + STARTUP_MS;
  while (Date.now() < deadline) {
    try {
      if ((await fetch(`${origin}/readyz`)).ok) return;
    } catch { /* Not yet. */ }
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error("the server does not start");
}

/** What holds for the pages without a browser. */
async function guards() {
  const text = await (await fetch(`${origin}/`)).text();
  expect(text === "Ollama is running", `a program at / reads ${JSON.stringify(text.slice(0, 60))}`);
  const reply = await fetch(`${origin}/ui`);
  expect(reply.headers.get("content-security-policy")?.startsWith("default-src 'none'"), "no policy");
  expect(reply.headers.get("x-content-type-options") === "nosniff", "types may be guessed");
  expect((await fetch(`${origin}/ui/nothing.js`)).status === 404, "a file that is not there is not 404");
  expect((await fetch(`${origin}/ui`, { headers: { Origin: "https://evil.example" } })).status === 403, "strangers' pages may read /ui");
}

/** A page that reports what goes wrong in it. */
async function opened(url) {
  const page = await browser.newPage();
  page.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) problem(`console: ${message.text()} ${message.location()?.url ?? ""}`);
  });
  page.on("pageerror", (error) => problem(`script: ${error.message}`));
  page.on("request", (request) => {
    const asked = request.url();
    if (!asked.startsWith(origin) && !asked.startsWith("data:")) problem(`request to ${asked}`);
  });
  await page.setViewport({ width: 1280, height: 900 });
  await page.goto(url);
  await page.waitForSelector("body[data-ready]");
  return page;
}

function select(page, tab) {
  return page.click(`#tab-${tab}`);
}

function texts(page, selector) {
  return page.$$eval(selector, (nodes) => nodes.map((node) => node.textContent));
}

async function said(page, text) {
  await page.type("#chat-input", text);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#chat-send").textContent === "Send", { timeout: ANSWER_MS });
}

async function chat(page) {
  await page.$eval("#chat-temperature", (input) => { input.value = "0"; });
  await said(page, "What is the capital of France?");
  const [, answer] = await texts(page, ".message .text");
  expect(/Paris/.test(answer ?? ""), `the answer is ${JSON.stringify(answer)}`);
  const figures = (await texts(page, "#chat-figures div")).join(" ");
  expect(/tokens\/s\s*[\d.,]+/.test(figures) && /first token\s*[\d.]+ m?s/.test(figures), `the figures are ${figures}`);
  const [first, whole] = ["first token", "in all"].map((name) => milliseconds(figures, name));
  expect(first <= whole, `the first token came after ${first} ms, all of them after ${whole} ms`);
  await said(page, HOSTILE);
  expect((await texts(page, ".message.user .text")).at(-1) === HOSTILE, "markup is not shown as it was typed");
  expect(!(await page.$(".log img, .log script")), "markup became a part of the page");
  expect((await page.title()) === "Chaski", "markup was executed");

  // Stopping.
  await page.$eval("#chat-temperature", (input) => { input.value = "2"; });
  await page.$eval("#chat-limit", (input) => { input.value = "4000"; });
  await page.type("#chat-input", "Count to a million");
  await page.keyboard.press("Enter");
  await page.click("#chat-send");
  await page.waitForFunction(() => document.querySelector("#chat-send").textContent === "Send", { timeout: ANSWER_MS });
  expect(await page.$eval("#chat-error", (alert) => alert.hidden), "stopping is told as an error");

  await page.click("#chat-new");
  expect((await page.$$(".message")).length === 0, "a new chat begins with the old one");
  await page.$eval("#chat-temperature", (input) => { input.value = "0"; });
  await page.$eval("#chat-limit", (input) => { input.value = "512"; });
  await page.click("#chat-think");
  await said(page, "Why is the sky blue?");
  expect((await texts(page, ".message details:not([hidden])")).length === 1, "thoughts are not told apart");
}

/** A figure of the chat that is a time; NaN if it is not there. */
function milliseconds(figures, name) {
  const [, value, unit] = new RegExp(`${name}\\s*([\\d.]+) (m?s)`).exec(figures) ?? [];
  return Number(value) * (unit === "s" ? 1000 : 1);
}

async function embed(page) {
  await select(page, "embed");
  await page.click("#embed-run");
  await page.waitForSelector("#embed-map svg", { timeout: ANSWER_MS });
  const near = await texts(page, "#embed-nearest li");
  expect(near.length === 10, `${near.length} texts are compared`);
  const values = (await texts(page, "#embed-nearest .value")).map(Number);
  expect(values.every((value, index) => Number.isFinite(value) && (index === 0 || value <= values[index - 1])), `not in order: ${values}`);
  for (const text of await page.evaluate(layout)) problem(text);
}

async function classify(page) {
  await select(page, "classify");
  await page.click("#classify-run");
  await page.waitForSelector("#classify-results li", { timeout: ANSWER_MS });
  const best = await texts(page, "#classify-results .best");
  expect(best.length === 3 && best[0].startsWith("positive"), `the labels are ${best}`);
  // What the server refuses is told in its own words.
  await page.$eval("#classify-model", (choice) => {
    const other = document.createElement("option");
    other.value = other.textContent = "nobody";
    choice.append(other);
    choice.value = "nobody";
  });
  const expected = problems.length;
  await page.click("#classify-run");
  await page.waitForFunction(() => !document.querySelector("#classify-error").hidden, { timeout: ANSWER_MS });
  const told = await page.$eval("#classify-error", (alert) => alert.textContent);
  expect(/nobody/.test(told), `a missing model is told as ${told}`);
  // The console's note of the 404 is what was asked for.
  problems.splice(0, problems.length, ...problems.filter((text, index) => index < expected || !/404/.test(text)));
  await page.$eval("#classify-model", (choice) => choice.lastChild.remove());
  await page.click("#classify-run");
  await page.waitForFunction(() => document.querySelector("#classify-error").hidden, { timeout: ANSWER_MS });
}

async function live(page) {
  await select(page, "live");
  await page.waitForSelector("#live-models th", { timeout: ANSWER_MS });
  const loaded = await texts(page, "#live-models th");
  expect(loaded.includes("tiny:latest"), `loaded are ${loaded}`);
  const latency = await texts(page, "#live-latency tr");
  expect(latency.some((row) => /tiny:latest.*chat.*ms/.test(row)), `latency: ${latency}`);
  // A second reading draws lines, and knows of what came between.
  await fetch(`${origin}/api/generate`, { method: "POST", body: JSON.stringify({ model: "tiny", prompt: "Hello", stream: false }) });
  await page.waitForFunction(() => document.querySelector(".tile path").getAttribute("d").includes("L"), { timeout: ANSWER_MS });
  const tiles = await texts(page, ".tile");
  expect(tiles.length === 7 && tiles.every((text) => !/NaN|undefined/.test(text)), `tiles: ${tiles}`);
  expect(tiles.some((text) => /^Generated tokens[\d.,]+\/s/.test(text) && !/^Generated tokens0\/s/.test(text)), `tiles: ${tiles}`);
}

/** From tab to tab with the arrow keys, and no control that cannot be reached or has no name. */
async function keyboard(page) {
  await page.focus("#tab-live");
  await page.keyboard.press("ArrowRight");
  const chosen = await page.evaluate(() => document.activeElement.id);
  expect(chosen === "tab-chat", `from the last tab the arrow leads to ${chosen}`);
  const heights = await page.$$eval("#chat-settings :is(select, input[type=number], button)", (nodes) => nodes.map((node) => node.offsetHeight));
  expect(new Set(heights).size === 1, `the settings of the chat are ${heights} pixels high`);
  for (const tab of ["chat", "embed", "classify", "live"]) {
    await select(page, tab);
    for (const text of await page.evaluate(accessibility)) problem(`${tab}: ${text}`);
  }
}

async function themes(page) {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const seen = new Set();
  for (let press = 0; press < 3; press++) {
    await page.click("#theme");
    seen.add(await background());
  }
  expect(seen.size === 2, "the theme switch changes nothing");
  for (const theme of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    for (const text of await page.evaluate(contrast)) problem(`${theme}: ${text}`);
  }
  await page.emulateMediaFeatures([]);
}

async function everyWidth(page) {
  for (const width of [360, 390, 768, 1280]) {
    await page.setViewport({ width, height: 844 });
    for (const tab of ["chat", "embed", "classify", "live"]) {
      await select(page, tab);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(over <= 1, `${tab} is ${over} pixels wider than ${width}`);
    }
  }
  await page.setViewport({ width: 1280, height: 900 });
}

async function reference() {
  const page = await opened(`${origin}/ui/api`);
  const operations = await page.$$(".operation");
  expect(operations.length > 30, `${operations.length} operations`);
  await page.type("#filter", "/api/chat");
  const left = await page.$$eval(".operation", (nodes) => nodes.filter((node) => node.offsetParent).length);
  expect(left >= 1 && left < 5, `the filter leaves ${left}`);
  await page.$$eval(".operation", (nodes) => nodes.filter((node) => node.offsetParent)[0].querySelector("summary").click());
  const fields = await texts(page, ".operation[open] th code");
  expect(fields.includes("messages") && fields.includes("keep_alive"), `fields: ${fields}`);
  for (const text of await page.evaluate(accessibility)) problem(`reference: ${text}`);
  await page.setViewport({ width: 390, height: 844 });
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(over <= 1, `the reference is ${over} pixels wider than a telephone`);
  if (options.shots) {
    await page.setViewport({ width: 1280, height: 900 });
    await page.screenshot({ path: join(options.shots, "reference.png") });
  }
  await page.close();
}

/** In the page: labels of the map outside of it, or over each other. */
function layout() {
  const found = [];
  const frame = document.querySelector("#embed-map svg").getBoundingClientRect();
  const labels = [...document.querySelectorAll("#embed-map text")].map((text) => ({ said: text.textContent, box: text.getBoundingClientRect() }));
  if (labels.length < 5) found.push(`only ${labels.length} labels on the map`);
  labels.forEach(({ said: text, box }, index) => {
    if (box.left < frame.left - 1 || box.right > frame.right + 1) found.push(`"${text}" runs out of the map`);
    for (const other of labels.slice(index + 1)) {
      const wide = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
      const high = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
      if (wide > 4 && high > 5) found.push(`"${text}" lies over "${other.said}"`);
    }
    for (const point of document.querySelectorAll("#embed-map circle")) {
      const at = point.getBoundingClientRect();
      const wide = Math.min(box.right, at.right) - Math.max(box.left, at.left), high = Math.min(box.bottom, at.bottom) - Math.max(box.top, at.top);
      if (wide > 2 && high > 5) found.push(`a point lies over "${text}"`);
    }
  });
  return found;
}

/** In the page: names that a screen reader needs. */
function accessibility() {
  const found = [];
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
  if (twice.length) found.push(`id twice: ${twice[0]}`);
  for (const control of document.querySelectorAll("input, select, textarea")) {
    if (!control.labels?.length) found.push(`#${control.id} has no label`);
  }
  for (const button of document.querySelectorAll("button, a")) {
    if (!button.textContent.trim()) found.push("a control without a name");
  }
  for (const tab of document.querySelectorAll("[role=tab]")) {
    if (!document.getElementById(tab.getAttribute("aria-controls"))) found.push(`${tab.id} controls nothing`);
  }
  let last = 1;
  for (const heading of [...document.querySelectorAll("h1, h2, h3")].filter((node) => node.offsetParent)) {
    const level = Number(heading.tagName[1]);
    if (level > last + 1) found.push(`heading "${heading.textContent}" skips a level`);
    last = level;
  }
  return found;
}

/** In the page: text that is hard to read (WCAG 2.2, 1.4.3: 4.5 to 1). */
function contrast() {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => {
    const [red, green, blue] = numbers(colour).map((value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((numbers(colour)[3] ?? 1) > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = new Set();
  for (const node of document.querySelectorAll("button, .soft, label, th, td, .big, h2, a, input, select")) {
    if (!node.offsetParent || node.disabled) continue;
    const [one, other] = [light(getComputedStyle(node).color), light(behind(node))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) found.add(`${node.tagName.toLowerCase()} "${node.textContent.trim().slice(0, 20)}" has a contrast of ${ratio.toFixed(1)}`);
  }
  return [...found];
}

/** Requests of all kinds, one after another, until it is told to stop. */
function traffic() {
  const asked = [
    ["api/chat", { model: "tiny", messages: [{ role: "user", content: "Why is the sky blue?" }], think: false, options: { temperature: 0 } }],
    ["api/generate", { model: "tiny", prompt: "What is the capital of France?", think: false, options: { temperature: 0 } }],
    ["api/embed", { model: "tiny-embed", input: ["a small boat on the lake", "the train is late"] }],
    ["classify", { model: "tiny-classify", input: "This product exceeded my expectations!" }],
  ];
  let isWanted = true;
  const going = (async () => {
    for (let index = 0; isWanted; index++) {
      const [path, body] = asked[index % asked.length];
      await (await fetch(`${origin}/${path}`, { method: "POST", body: JSON.stringify(body) })).text();
      // Busier and calmer in turns, so that there is something to see.
      await new Promise((done) => setTimeout(done, 60 + 50 * Math.sin(Date.now() / 6000)));
    }
  })();
  return () => { isWanted = false; return going; };
}

async function shoot(page) {
  mkdirSync(options.shots, { recursive: true });
  await select(page, "live");
  const stop = traffic();
  await new Promise((done) => setTimeout(done, SHOWN_MS));
  for (const theme of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    for (const [name, width, heights] of [["desktop", 1280, [700, 1040, 700, 920]], ["phone", 390, [844, 844, 844, 844]]]) {
      for (const [index, tab] of ["chat", "embed", "classify", "live"].entries()) {
        await page.setViewport({ width, height: heights[index] });
        await select(page, tab);
        await page.evaluate(() => scrollTo(0, 0));
        await page.screenshot({ path: join(options.shots, `${tab}-${name}-${theme}.png`) });
      }
    }
  }
  await page.emulateMediaFeatures([]);
  await stop();
}
