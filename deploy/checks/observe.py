"""Starts a real Prometheus beside a real server, sends real traffic, and asks every query that a person or an alert asks.

    python3 deploy/checks/observe.py target/release/chaski target/release/loadgen

Fails when a panel's query returns nothing, when a variable has no values, when a recording rule or the data of an alert is
missing, when an alert has no test, when promtool finds fault with configuration, rules, alerts' tests or the metrics page, or
when the dashboards are not what generate.py writes. Prometheus and promtool are Debian's (`apt-get install prometheus`).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from expressions import observed, unconditional
from programs import Failed, free_port, start, until_ready
from traffic import Traffic

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
RULES = DASHBOARDS / "prometheus"
# How long a query may go on returning nothing while traffic flows: a rate needs two scrapes, a recording rule an evaluation.
PATIENCE_SECONDS = 90.0


class Query(NamedTuple):
    """Something that is asked of Prometheus."""

    asker: str
    expression: str


def promtool(*arguments: str, page: bytes | None = None) -> None:
    """Runs promtool."""
    done = subprocess.run(["promtool", *arguments], input=page, capture_output=True, check=False)
    if done.returncode != 0:
        raise Failed(f"promtool {' '.join(arguments)}:\n{(done.stdout + done.stderr).decode()}")
    print(f"promtool {arguments[0]} {arguments[1]}: ok")


class Prometheus:
    """A Prometheus under way."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.began = time.time()

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise Failed(f"{parameters}: {error.read().decode()}") from error

    def has(self, expression: str) -> bool:
        """Whether a graph of the expression would show anything: at least one point that is a number."""
        series = self.get("query_range", query=expression, start=str(self.began), end=str(time.time()), step="1")["result"]
        return any(value not in ("NaN", "+Inf", "-Inf") for one in series for _, value in one["values"])

    def values(self, label: str, selector: str) -> list[str]:
        """The values of a variable."""
        return self.get(f"label/{label}/values", **{"match[]": selector})


def configuration(folder: Path, chaski: str, figures: str) -> Path:
    """The shipped configuration, for programs on this machine and for people in a hurry."""
    text = (RULES / "prometheus.yml").read_text()
    changes = {
        "scrape_interval: 5s": "scrape_interval: 1s",
        "scrape_interval: 15s": "scrape_interval: 1s",
        "evaluation_interval: 15s": "evaluation_interval: 1s",
        "- rules.yml": f"- {RULES.resolve()}/rules.yml",
        "- alerts.yml": f"- {RULES.resolve()}/alerts.yml",
        "chaski:11434": chaski,
        "loadgen-figures:9410": figures,
    }
    for shipped, here in changes.items():
        if shipped not in text:
            raise Failed(f"prometheus.yml has no {shipped!r} any more")
        text = text.replace(shipped, here)
    file = folder / "prometheus.yml"
    file.write_text(text)
    return file


def panels() -> Iterator[Query]:
    """The queries of all panels."""
    for file in sorted((DASHBOARDS / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield Query(f"{file.stem}: {panel['title']}", observed(target["expr"]))


def variables() -> Iterator[tuple[str, str, str]]:
    """The choices of all dashboards: whose, of which label, of which series."""
    for file in sorted((DASHBOARDS / "grafana" / "dashboards").glob("*.json")):
        for variable in json.loads(file.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                inner = variable["query"]["query"].removeprefix("label_values(").removesuffix(")")
                selector, _, label = inner.rpartition(", ")
                yield f"{file.stem}: ${variable['name']}", label, observed(selector)


def rules(prometheus: Prometheus) -> Iterator[Query]:
    """What rules record, and what alerts look at."""
    for group in prometheus.get("rules")["groups"]:
        for rule in group["rules"]:
            if rule["type"] == "recording":
                yield Query(f"rule {rule['name']}", rule["name"])
            else:
                yield Query(f"alert {rule['name']}", unconditional(rule["query"]))


def untested(prometheus: Prometheus) -> list[str]:
    """Alerts that no test makes fire."""
    tests = (RULES / "alerts.test.yml").read_text()
    named = [rule["name"] for group in prometheus.get("rules")["groups"] for rule in group["rules"] if rule["type"] == "alerting"]
    return [name for name in named if f'alertname="{name}"' not in tests]


def silent(prometheus: Prometheus, queries: list[Query]) -> list[Query]:
    """The queries that return nothing, however long one waits."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    left = queries
    while left and time.monotonic() < deadline:
        left = [query for query in left if not prometheus.has(query.expression)]
        if left:
            time.sleep(1)
    return left


def observe(stack: ExitStack, chaski: Path, loadgen: Path, keep: bool) -> list[str]:
    """Starts everything, asks everything, and says what is wrong."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    traffic = Traffic.start(stack, folder, chaski, loadgen)
    reports = folder / "reports"
    figures = f"127.0.0.1:{free_port()}"
    log = folder / "figures.log"
    exporter = start(stack, log, [sys.executable, str(DASHBOARDS / "loadgen_exporter.py"), str(reports), "--listen", figures])
    until_ready(f"http://{figures}/metrics", exporter, log)

    file = configuration(folder, traffic.address, figures)
    promtool("check", "config", str(file))
    promtool("test", "rules", str(RULES / "alerts.test.yml"))
    address = f"127.0.0.1:{free_port()}"
    log = folder / "prometheus.log"
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address={address}", "--log.level=warn"]
    process = start(stack, log, command)
    until_ready(f"http://{address}/-/ready", process, log)
    prometheus = Prometheus(f"http://{address}")

    traffic.flow(stack)
    problems = []
    asked = list(panels())
    ruled = list(rules(prometheus))
    quiet = silent(prometheus, asked + ruled)
    problems += [f"{query.asker} shows nothing: {query.expression}" for query in quiet]
    of_panels, of_rules = sum(query in quiet for query in asked), sum(query in quiet for query in ruled)
    choices = list(variables())
    problems += [f"{whose} has no values" for whose, label, selector in choices if not prometheus.values(label, selector)]
    problems += [f"no test makes {name} fire" for name in untested(prometheus)]
    for target in prometheus.get("targets")["activeTargets"]:
        if target["labels"]["job"] in ("chaski", "loadgen") and target["health"] != "up":
            problems.append(f"Prometheus cannot read {target['scrapeUrl']}: {target['lastError']}")
    for page in (f"http://{traffic.address}/metrics", f"http://{figures}/metrics"):
        with urllib.request.urlopen(page, timeout=10) as reply:
            promtool("check", "metrics", page=reply.read())
    titles = {query.asker for query in asked}
    alerts = [query for query in ruled if query.asker.startswith("alert ")]
    print(f"{len(asked) - of_panels} of {len(asked)} queries of {len(titles)} panels returned data")
    print(f"{len(ruled) - of_rules} of {len(ruled)} rules returned data, {len(alerts)} of them alerts")
    print(f"{len(choices)} variables, {traffic.sent} requests sent")
    if keep:
        print(f"Prometheus stays at http://{address} and chaski at http://{traffic.address}: interrupt to end")
        try:
            process.wait()
        except KeyboardInterrupt:
            pass
    return problems


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chaski", type=Path)
    parser.add_argument("loadgen", type=Path)
    parser.add_argument("--keep", action="store_true", help="leave everything running, to look at")
    options = parser.parse_args()
    if subprocess.run([sys.executable, str(DASHBOARDS / "generate.py"), "--check"], check=False).returncode != 0:
        return 1
    with ExitStack() as stack:
        try:
            problems = observe(stack, options.chaski, options.loadgen, options.keep)
        except Failed as failed:
            problems = [str(failed)]
    for problem in problems:
        print(problem, file=sys.stderr)
    print("observe: failed" if problems else "observe: passed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
