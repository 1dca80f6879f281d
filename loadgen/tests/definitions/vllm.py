#!/usr/bin/env python3
"""Computes TTFT, TPOT, ITL and E2EL from a raw log by the definitions of vLLM's `bench serve`, and compares them with what
loadgen reported.

    loadgen --target m=... --workload generate --json run.json --raw run.jsonl
    python3 vllm.py run.jsonl run.json

The definitions are those of `vllm/benchmarks/serve.py` (calculate_metrics) and `vllm/benchmarks/lib/endpoint_request_func.py`
(async_request_openai_completions), written anew, in another language, from other inputs than loadgen's own analysis:

    TTFT   first chunk with text - start of the request
    ITL    each chunk with text - the one before; of all requests together
    E2EL   last chunk with text - start of the request (loadgen's end to end lasts until the last byte)
    TPOT   (E2EL - TTFT) / (output tokens - 1), for more than one token

They count from the moment a request is sent; loadgen counts from the moment it was due. In a closed loop both are the same;
for open loops the comparison is made with the sending time. vLLM leaves failed requests out of every latency; a log with
failures is refused, because loadgen counts them as infinite and the two cannot agree.
"""

import json
import math
import sys
from collections import defaultdict

# Reports keep microseconds; one in the last digit is rounding.
TOLERANCE_MS = 0.002


def nearest_rank(values, quantile):
    ordered = sorted(values)
    return ordered[max(math.ceil(quantile * len(ordered) - 1e-9), 1) - 1]


def linear(values, quantile):
    """numpy.percentile's default, which vLLM uses: between neighbours."""
    ordered = sorted(values)
    place = quantile * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def by_definition(samples):
    """vLLM's figures in milliseconds, from raw samples of one row and target."""
    values = defaultdict(list)
    for sample in samples:
        start, tokens = sample["sent_ns"], sample["output_tokens"]
        ttft, latency = sample["ttft_ns"] - start, sample["last_ns"] - start
        values["ttft"].append(ttft / 1e6)
        values["icl"].extend(gap / 1e6 for gap in sample["gaps_ns"])
        values["e2el"].append(latency / 1e6)
        if tokens > 1:
            values["tpot"].append((latency - ttft) / (tokens - 1) / 1e6)
    return values


def main(raw_path, report_path):
    rows = defaultdict(list)
    with open(raw_path, encoding="utf-8") as raw:
        for line in raw:
            sample = json.loads(line)
            if sample["status"] != "ok":
                sys.exit(f"a request failed ({sample['status']}): the definitions differ there")
            if sample.get("ttft_ns") is not None:
                rows[sample["workload"], sample["row"], sample["target"]].append(sample)
    if not rows:
        sys.exit("no request of this log generated text")
    with open(report_path, encoding="utf-8") as report:
        report = json.load(report)

    worst = 0.0
    targets = [target["name"] for target in report["targets"]]
    for (workload, row, target), samples in rows.items():
        values = by_definition(samples)
        reported = next(
            one
            for of in report["workloads"]
            if of["name"] == workload
            for one in of["rows"]
            if one["label"] == row
        )
        figures = {
            metric["metric"]: metric["targets"][targets.index(target)] for metric in reported["metrics"]
        }
        # What loadgen adds to E2EL is the tail between the last text and the last byte.
        tails = [(sample["end_ns"] - sample["last_ns"]) / 1e6 for sample in samples]
        ours = [e2el + tail for e2el, tail in zip(values["e2el"], tails)]
        late = [(sample["sent_ns"] - sample["intended_ns"]) / 1e6 for sample in samples]
        values["e2e"] = [time + lag for time, lag in zip(ours, late)]
        values["ttft"] = [time + lag for time, lag in zip(values["ttft"], late)]
        print(f"{workload}, {row}, {target}: {len(samples)} requests, sent at most {max(late):.3f} ms late")
        for metric in ("ttft", "tpot", "icl", "e2e"):
            figure = figures[metric]
            for name, quantile in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99), ("mean", None)):
                if quantile is None:
                    mine, theirs = sum(values[metric]) / len(values[metric]), figure["mean"]
                else:
                    mine, theirs = nearest_rank(values[metric], quantile), figure[name]["value"]
                apart = abs(mine - theirs)
                worst = max(worst, apart)
                between = "" if quantile is None else f"   numpy's percentile {linear(values[metric], quantile):.3f}"
                mark = "" if apart <= TOLERANCE_MS else "   DIFFERS"
                print(f"  {metric:5}{name:5}{mine:12.3f} ms  reported {theirs:12.3f} ms{between}{mark}")
    print(f"largest difference {worst * 1e3:.3f} microseconds")
    sys.exit(worst > TOLERANCE_MS)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
