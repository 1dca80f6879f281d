// Compares the dashboards with Grafana's own types: a field that Grafana does not know, or of another type, is an error.
//
//   npm --prefix dashboards/schema ci && node dashboards/schema/check.mjs

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const dashboards = join(here, "..", "grafana", "dashboards");
// Below this folder, so that its node_modules are found.
const scratch = mkdtempSync(join(here, "scratch-"));
try {
  const files = readdirSync(dashboards).filter((name) => name.endsWith(".json"));
  for (const name of files) {
    // JSON has no enums, which the types insist on.
    const text = readFileSync(join(dashboards, name), "utf8").replaceAll('"mode": "absolute"', '"mode": ThresholdsMode.Absolute');
    const lines = ['import { ThresholdsMode, type Dashboard } from "@grafana/schema";', `export const dashboard: Partial<Dashboard> = ${text.trim()};`];
    writeFileSync(join(scratch, name.replace(/json$/, "ts")), lines.join("\n"));
  }
  const options = ["--strict", "--noEmit", "--skipLibCheck", "--noUnusedLocals", "false", "--module", "esnext", "--moduleResolution", "bundler"];
  const sources = files.map((name) => join(scratch, name.replace(/json$/, "ts")));
  const compiler = join(here, "node_modules", ".bin", "tsc");
  const { status, error } = spawnSync(compiler, [...options, ...sources], { stdio: "inherit" });
  if (error) throw error;
  console.log(`${files.length} dashboards ${status === 0 ? "are" : "are not all"} what Grafana's types say`);
  process.exitCode = status;
} finally {
  rmSync(scratch, { recursive: true });
}
