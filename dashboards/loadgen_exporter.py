"""Shows Prometheus the figures of the newest loadgen report in a folder.

    loadgen run chat-short --target ours --target ollama --json reports/today.json
    python3 dashboards/loadgen_exporter.py reports --listen 127.0.0.1:9410

Each scrape reads the newest report (`schema` `chaski.loadgen/1`, described by loadgen/schema/report-1.json). A report that
cannot be read is named on standard error and passed over; without any, the page is empty. Only the standard library is
needed, so that a plain Python image can run it.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA = "chaski.loadgen/1"
# Reports hold raw samples, but none that loadgen writes comes near this.
LARGEST_BYTES = 512 << 20

HELP = {
    "loadgen_report_timestamp_seconds": "When the run ended, in seconds since 1970",
    "loadgen_exit_code": "How loadgen ended: 0 if it ran and every assertion held",
    "loadgen_requests": "Measured requests",
    "loadgen_failed_requests": "Measured requests that failed",
    "loadgen_requests_per_second": "Requests completed per second",
    "loadgen_output_tokens_per_second": "Generated tokens per second of all requests",
    "loadgen_latency_seconds": "A quantile of a latency: e2e, ttft, tpot and others, as loadgen's manual defines them",
    "loadgen_ratio": "Candidate divided by baseline: value, and the ends low and high of its 95 % interval",
    "loadgen_peak_resident_memory_bytes": "Largest resident memory of the target's process tree",
    "loadgen_memory_ratio": "Peak resident memory by the size of the loaded models' files",
}

QUANTILES = ("p50", "p95", "p99")


class Sample(NamedTuple):
    """One line of the page."""

    name: str
    labels: dict[str, str]
    value: float


def samples(report: dict[str, Any]) -> Iterator[Sample]:
    """The figures of a report; what was not measured is left out."""
    finished = datetime.fromisoformat(report["finished_at"].replace("Z", "+00:00"))
    yield Sample("loadgen_report_timestamp_seconds", {}, finished.timestamp())
    yield Sample("loadgen_exit_code", {}, report["exit_code"])
    targets = [target["name"] for target in report["targets"]]
    for workload in report["workloads"]:
        of_workload = {"workload": workload["name"]}
        for row in workload["rows"]:
            of_row = of_workload | {"load": row["label"]}
            yield from served(row, of_row, targets)
            yield from latencies(row, of_row, targets)
            yield from ratios(row["comparisons"], of_row)
        for target, memory in zip(targets, workload["memory"], strict=True):
            if memory is not None:
                labels = of_workload | {"target": target}
                yield Sample("loadgen_peak_resident_memory_bytes", labels, memory["peak"]["rss_bytes"])
                if memory["ratio"] is not None:
                    yield Sample("loadgen_memory_ratio", labels, memory["ratio"])
        yield from ratios(workload["memory_comparisons"], of_workload)


def served(row: dict[str, Any], of_row: dict[str, str], targets: list[str]) -> Iterator[Sample]:
    """How much each target did."""
    figures = {
        "requests": "loadgen_requests",
        "failed": "loadgen_failed_requests",
        "requests_per_s": "loadgen_requests_per_second",
        "output_tokens_per_s": "loadgen_output_tokens_per_second",
    }
    for target, record in zip(targets, row["served"], strict=True):
        for figure, name in figures.items():
            if record is not None and record[figure] is not None:
                yield Sample(name, of_row | {"target": target}, record[figure])


def latencies(row: dict[str, Any], of_row: dict[str, str], targets: list[str]) -> Iterator[Sample]:
    """How long it took."""
    for metric in row["metrics"]:
        if metric["unit"] != "ms":
            continue
        for target, distribution in zip(targets, metric["targets"], strict=True):
            for statistic in QUANTILES:
                value = (distribution or {}).get(statistic, {}).get("value")
                if value is not None:
                    labels = of_row | {"target": target, "metric": metric["metric"], "statistic": statistic}
                    yield Sample("loadgen_latency_seconds", labels, value / 1e3)


def ratios(comparisons: list[dict[str, Any]], labels: dict[str, str]) -> Iterator[Sample]:
    """What loadgen concludes, where it has rounds enough to conclude anything."""
    for comparison in comparisons:
        of_both = labels | {key: comparison[key] for key in ("metric", "statistic", "candidate", "baseline")}
        for bound, value in (("value", comparison["ratio"]), ("low", comparison["low"]), ("high", comparison["high"])):
            if value is not None:
                yield Sample("loadgen_ratio", of_both | {"bound": bound}, value)


def page(report: dict[str, Any]) -> str:
    """Prometheus' text format."""
    families: dict[str, list[Sample]] = {}
    for sample in samples(report):
        families.setdefault(sample.name, []).append(sample)
    lines = []
    for name, members in families.items():
        lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
        lines += [f"{name}{labels(sample.labels)} {sample.value}" for sample in members]
    return "\n".join(lines) + "\n"


def labels(pairs: dict[str, str]) -> str:
    """In braces, escaped."""
    if not pairs:
        return ""
    escaped = {key: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for key, value in pairs.items()}
    return "{" + ",".join(f'{key}="{value}"' for key, value in escaped.items()) + "}"


def newest(folder: Path) -> str:
    """The page of the newest report that can be read."""
    files = [file for file in folder.glob("*.json") if file.is_file() and file.stat().st_size <= LARGEST_BYTES]
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        try:
            report = json.loads(file.read_text())
            if report["schema"] != SCHEMA:
                raise ValueError(f"its schema is {report['schema']!r}, not {SCHEMA!r}")
            return page(report)
        except (KeyError, TypeError, ValueError) as error:
            print(f"{file}: not a report that can be shown: {error!r}", file=sys.stderr)
    return ""


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, help="folder of the files that loadgen --json wrote")
    parser.add_argument("--listen", default="127.0.0.1:9410")
    options = parser.parse_args()

    class Handler(BaseHTTPRequestHandler):
        """Answers scrapes."""

        def do_GET(self) -> None:
            if self.path != "/metrics":
                self.send_error(404)
                return
            body = newest(options.reports).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *parts: object) -> None:
            """Scrapes are not worth a line each."""

    host, _, port = options.listen.rpartition(":")
    with ThreadingHTTPServer((host, int(port)), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
