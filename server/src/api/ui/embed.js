// Which texts mean something alike: cosines, and a map of two dimensions.

import { bar, byId, complain, drawing, element, lines } from "./dom.js";
import { post } from "./server.js";

const EXAMPLES = [
  "How old are you?", "When were you born?", "I could eat a horse.", "I am very hungry.",
  "Hanoi is the capital of Vietnam.", "Vienna is the capital of Austria.",
  "The singer buys a ship.", "The vocalist purchases a vessel.", "The chef studies the woods.", "The cook learns about the forest.",
];
/** More than fit a map, and few enough to be compared in the page. */
const MOST_TEXTS = 200;
const WIDTH = 520, HEIGHT = 340, MARGIN = 24;
const LABEL_LETTERS = 34;

export function start() {
  byId("embed-texts").value = EXAMPLES.join("\n");
  byId("embed-query").value = "What is your age?";
  byId("embed-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void compare();
  });
}

async function compare() {
  const texts = lines(byId("embed-texts").value).slice(0, MOST_TEXTS);
  const query = byId("embed-query").value.trim();
  if (texts.length === 0 || byId("embed-model").disabled) return;
  const button = byId("embed-run");
  button.disabled = true;
  complain(byId("embed-error"), null);
  try {
    const input = query ? [...texts, query] : texts;
    const { embeddings } = await post("api/embed", { model: byId("embed-model").value, input });
    const asked = query ? embeddings[texts.length] : embeddings[0];
    const near = texts.map((text, index) => ({ text, likeness: cosine(asked, embeddings[index]) })).sort((a, b) => b.likeness - a.likeness);
    byId("embed-nearest").replaceChildren(...near.map(({ text, likeness }, rank) => bar(text, likeness.toFixed(3), likeness, rank === 0)));
    byId("embed-map").replaceChildren(map(input, places(embeddings), query ? texts.length : -1));
  } catch (error) {
    complain(byId("embed-error"), error);
  } finally {
    button.disabled = false;
  }
}

function dot(a, b) {
  return a.reduce((sum, value, index) => sum + value * b[index], 0);
}

function cosine(a, b) {
  return dot(a, b) / (Math.sqrt(dot(a, a) * dot(b, b)) || 1);
}

/** Where each vector lies on the two axes along which all differ most (principal components, by power iteration). */
function places(vectors) {
  const mean = vectors[0].map((_, column) => vectors.reduce((sum, vector) => sum + vector[column], 0) / vectors.length);
  const centred = vectors.map((vector) => vector.map((value, column) => value - mean[column]));
  // There are fewer texts than numbers in a vector: their products with each other are the smaller matrix.
  const gram = centred.map((one) => centred.map((other) => dot(one, other)));
  const axes = [];
  for (let axis = 0; axis < 2; axis++) {
    let guess = gram.map((_, index) => Math.cos(index * (axis + 1) + 1));
    for (let round = 0; round < 100; round++) {
      for (const found of axes) {
        const share = dot(guess, found.direction);
        guess = guess.map((value, index) => value - share * found.direction[index]);
      }
      guess = gram.map((row) => dot(row, guess));
      const length = Math.sqrt(dot(guess, guess));
      if (length < 1e-12) break;
      guess = guess.map((value) => value / length);
    }
    const strength = Math.max(0, dot(guess, gram.map((row) => dot(row, guess))));
    axes.push({ direction: guess, strength });
  }
  return vectors.map((_, index) => axes.map(({ direction, strength }) => direction[index] * Math.sqrt(strength)));
}

function map(texts, points, query) {
  const scale = (axis, from, to) => {
    const values = points.map((point) => point[axis]);
    const low = Math.min(...values), span = Math.max(...values) - low || 1;
    return (value) => from + ((value - low) / span) * (to - from);
  };
  const x = scale(0, MARGIN, WIDTH - MARGIN), y = scale(1, HEIGHT - MARGIN, MARGIN);
  const labels = new Labels(points.map(([across, up]) => [x(across), y(up)]));
  const marks = texts.map((text, index) => {
    const [left, top] = [x(points[index][0]), y(points[index][1])];
    const radius = index === query ? 7 : 5;
    const mark = drawing("g", index === query ? { class: "query" } : {}, drawing("title", {}, text), drawing("circle", { cx: left, cy: top, r: radius }));
    const short = text.length > LABEL_LETTERS ? `${text.slice(0, LABEL_LETTERS - 1)}…` : text;
    const place = labels.free(left, top + 4, radius + 5, labels.width(short, index === query));
    if (place) mark.append(drawing("text", { x: place.x, y: place.y, "text-anchor": place.isLeft ? "end" : "start" }, short));
    return mark;
  });
  return drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `Map of ${texts.length} texts; the list above says the same in numbers` }, ...marks);
}

/** Keeps labels from lying over each other and over points: one that finds no free place is left to its title. */
class Labels {
  constructor(points) {
    this.taken = points.map(([x, y]) => ({ left: x - 5, top: y - 5, right: x + 5, bottom: y + 5 }));
    this.pen = document.createElement("canvas").getContext("2d");
    this.family = getComputedStyle(document.body).fontFamily;
  }

  /** In units of the map: letters as style.css has them there. */
  width(text, isQuery) {
    this.pen.font = `${isQuery ? 650 : 400} 11px ${this.family}`;
    return this.pen.measureText(text).width;
  }

  /** Beside a point, `away` from it: first on the side that has more room. */
  free(point, y, away, width) {
    const sides = point > WIDTH / 2 ? [true, false] : [false, true];
    for (const [shift, isLeft] of [0, 13, -13, 26, -26].flatMap((shift) => sides.map((side) => [shift, side]))) {
      const x = isLeft ? point - away : point + away;
      const box = { left: isLeft ? x - width : x, top: y + shift - 11, right: isLeft ? x : x + width, bottom: y + shift + 2 };
      const inside = box.left >= 0 && box.right <= WIDTH && box.top >= 0 && box.bottom <= HEIGHT;
      const apart = this.taken.every((other) => box.left > other.right || box.right < other.left || box.top > other.bottom || box.bottom < other.top);
      if (inside && apart) {
        this.taken.push(box);
        return { x, y: y + shift, isLeft };
      }
    }
    return null;
  }
}
