// Prometheus' text format: parsing, sums over labels, and quantiles of histograms.

/** The samples of a page: by name, lists of labels and value. */
export function parse(page) {
  const families = new Map();
  for (const line of page.split("\n")) {
    if (!line || line.startsWith("#")) continue;
    const [, name, , labels = "", value] = /^([^\s{]+)(\{(.*)\})?\s+(\S+)/.exec(line) ?? [];
    if (!name) continue;
    if (!families.has(name)) families.set(name, []);
    families.get(name).push({ labels: pairs(labels), value: Number(value.replace("Inf", "Infinity")) });
  }
  return families;
}

function pairs(text) {
  const labels = {};
  for (const [, name, value] of text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
    labels[name] = value.replace(/\\(.)/g, (_, letter) => (letter === "n" ? "\n" : letter));
  }
  return labels;
}

const fits = (labels, wanted) => Object.entries(wanted).every(([name, value]) => labels[name] === value);

/** The sum of the samples with these labels; NaN if there are none. */
export function sum(families, name, wanted = {}) {
  const samples = (families.get(name) ?? []).filter(({ labels }) => fits(labels, wanted));
  return samples.length ? samples.reduce((total, { value }) => total + value, 0) : NaN;
}

/** How often a histogram's values were at most so large, by bound. */
export function buckets(families, name, wanted = {}) {
  const counts = new Map();
  for (const { labels, value } of families.get(`${name}_bucket`) ?? []) {
    if (!fits(labels, wanted)) continue;
    const bound = Number(labels.le.replace("Inf", "Infinity"));
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return counts;
}

/** What came to a histogram since `before`. */
export function growth(now, before) {
  return new Map([...now].map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)]));
}

/** The value that a share of all does not exceed, by linear interpolation inside a bucket, as Prometheus does it. */
export function quantile(share, counts) {
  const bounds = [...counts.keys()].sort((a, b) => a - b);
  const total = counts.get(Infinity) ?? 0;
  if (total <= 0) return NaN;
  const rank = share * total;
  let lower = 0, below = 0;
  for (const bound of bounds) {
    const count = counts.get(bound);
    if (count >= rank) return bound === Infinity ? lower : lower + (bound - lower) * ((rank - below) / (count - below || 1));
    [lower, below] = [bound, count];
  }
  return lower;
}
