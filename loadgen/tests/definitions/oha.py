#!/usr/bin/env python3
"""Computes latencies from a raw log by the definition of `oha --latency-correction`, and compares them with what loadgen reported.

    loadgen run workload.toml --target m=... --json run.json --raw run.jsonl
    python3 oha.py run.jsonl run.json

The definition is that of oha 1.16, written anew from `src/client.rs` (RequestResult::duration) and `src/printer.rs`
(percentile_iter):

    latency     end of the reply - when the request was due, because with `-q` and `--latency-correction` the schedule is the start
    percentile  the value at index floor(p * n) of all n sorted latencies, counted from 0

loadgen counts end to end from when a request was due as well, and takes percentiles by nearest rank: index ceil(p * n) - 1, which is
oha's index or the one before it. So mean, least and largest must be equal, loadgen's percentiles must be what nearest rank finds in
oha's latencies, and oha's lie at most one value above. A log with failures is refused: oha leaves them out.

With a third file, what oha itself measured of an equal server (`oha --output-format json`), the two runs are printed side by side:

    loadgen mock --listen 127.0.0.1:4101 --embed-time 1ms --freeze 2s@5s &
    oha -n 100 -q 10 -c 50 --latency-correction --no-tui --output-format json -m POST -T application/json \\
        -d '{"model":"tiny-embed","input":"x"}' http://127.0.0.1:4101/api/embed > oha.json

`oha` comes from `cargo install oha`. Two runs of a noisy machine are never equal; nothing is asserted of them.
"""

import json
import math
import sys
from collections import defaultdict

# Reports keep microseconds; one in the last digit is rounding.
TOLERANCE_MS = 0.002
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


def read_raw(path):
    rows = defaultdict(list)
    with open(path, encoding="utf-8") as raw:
        for line in raw:
            sample = json.loads(line)
            if sample["status"] != "ok":
                sys.exit(f"a request failed ({sample['status']}): oha leaves it out, loadgen counts it")
            rows[sample["workload"], sample["row"], sample["target"]].append(sample)
    return rows


def reported(report, workload, row, target):
    """The end-to-end distribution of one row and target."""
    place = [one["name"] for one in report["targets"]].index(target)
    of = next(one for one in report["workloads"] if one["name"] == workload)
    found = next(one for one in of["rows"] if one["label"] == row)
    metric = next(one for one in found["metrics"] if one["metric"] == "e2e")
    return metric["targets"][place]


def main(raw_path, report_path, oha_path=None):
    with open(report_path, encoding="utf-8") as report:
        report = json.load(report)
    oha = None
    if oha_path:
        with open(oha_path, encoding="utf-8") as file:
            oha = json.load(file)
    worst = 0.0
    for (workload, row, target), samples in read_raw(raw_path).items():
        figures = reported(report, workload, row, target)
        latencies = sorted((one["end_ns"] - one["intended_ns"]) / 1e6 for one in samples)
        count = len(latencies)
        print(f"{workload}, {row}, {target}: {count} requests")
        lines = [
            ("mean", sum(latencies) / count, figures["mean"], "average"),
            ("least", latencies[0], figures["min"], "fastest"),
            ("largest", latencies[-1], figures["max"], "slowest"),
        ]
        for name, quantile in PERCENTILES.items():
            rank = max(math.ceil(quantile * count - 1e-9), 1) - 1
            index = min(int(quantile * count), count - 1)
            if index - rank not in (0, 1):
                sys.exit(f"{name}: oha's index {index} is not next to rank {rank}")
            lines.append((name, latencies[rank], figures[name]["value"], name))
        for name, recomputed, figure, oha_name in lines:
            apart = abs(recomputed - figure)
            worst = max(worst, apart)
            text = f"  {name:8}{recomputed:12.3f} ms  reported {figure:12.3f} ms"
            if name in PERCENTILES:
                index = min(int(PERCENTILES[name] * count), count - 1)
                text += f"   at oha's index {latencies[index]:12.3f}"
            if oha:
                summary, percentiles = oha["summary"], oha["latencyPercentiles"]
                seconds = summary.get(oha_name, percentiles.get(oha_name))
                text += f"   oha measured {1e3 * seconds:12.3f}"
            print(text + ("" if apart <= TOLERANCE_MS else "   DIFFERS"))
    print(f"largest difference {worst * 1e3:.3f} microseconds")
    sys.exit(worst > TOLERANCE_MS)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
