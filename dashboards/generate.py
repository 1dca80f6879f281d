"""Writes the Grafana dashboards in `grafana/dashboards/` from the panels below.

    python3 dashboards/generate.py            # write them
    python3 dashboards/generate.py --check    # fail if what is there is not what would be written

One panel is a few lines here and a hundred in Grafana's JSON, and all panels must agree on their selectors, intervals and
colours: so the JSON is made, and kept in the repository for those who import it by hand.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "grafana" / "dashboards"

# What the server serves, narrowed by the choices at the top of a dashboard.
PLACE = 'job=~"$job", instance=~"$instance"'
MODEL = f'{PLACE}, model=~"$model"'
WORK = f'{MODEL}, operation=~"$operation"'
# What a load test says: its targets are no instances of ours.
RUN = f'{PLACE}, workload=~"$workload"'
OVER = "[$__rate_interval]"

QUANTILES = (("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99"))
COLUMNS = 24


@dataclass
class Query:
    """One query of a panel."""

    expression: str
    legend: str = ""
    format: str = "time_series"
    instant: bool = False


@dataclass
class Panel:
    """A panel without its place."""

    kind: str
    title: str
    description: str
    unit: str
    queries: list[Query]
    width: int = 8
    height: int = 8
    custom: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    overrides: list[dict[str, Any]] = field(default_factory=list)
    transformations: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Variable:
    """A choice at the top of a dashboard: the values of a label."""

    name: str
    label: str
    metric: str
    of: str


@dataclass
class Dashboard:
    """A dashboard: rows of panels."""

    uid: str
    title: str
    description: str
    variables: list[Variable]
    rows: list[tuple[str, list[Panel]]]


# Panels.


def graph(title: str, description: str, unit: str, *queries: Query, stacked: bool = False, **more: Any) -> Panel:
    """Values over time."""
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 25 if stacked else 8, "showPoints": "never", "spanNulls": False}
    if stacked:
        custom["stacking"] = {"group": "A", "mode": "normal"}
    options = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, description, unit, list(queries), custom=custom, options=options, **more)


def number(title: str, description: str, unit: str, query: Query, *, steps: tuple[float, float] | None = None, **more: Any) -> Panel:
    """The present value, large; `steps` are where it gets worrying and where it is bad."""
    thresholds = [{"color": "green", "value": None}]
    if steps:
        thresholds += [{"color": "orange", "value": steps[0]}, {"color": "red", "value": steps[1]}]
    options = {
        "colorMode": "value" if steps else "none",
        "graphMode": "area",
        "justifyMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }
    defaults = {"thresholds": {"mode": "absolute", "steps": thresholds}}
    return Panel("stat", title, description, unit, [query], width=4, height=4, options=options, defaults=defaults, **more)


def heatmap(title: str, description: str, unit: str, metric: str, selector: str, **more: Any) -> Panel:
    """How a histogram's values spread over time."""
    query = Query(f"sum by (le) (increase({metric}_bucket{{{selector}}}{OVER}))", "{{le}}", format="heatmap")
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"exponent": 0.5, "mode": "scheme", "scheme": "Oranges", "steps": 64},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "unit": unit},
    }
    return Panel("heatmap", title, description, unit, [query], width=12, options=options, **more)


def table(title: str, description: str, unit: str, query: Query, hidden: tuple[str, ...], names: dict[str, str], **more: Any) -> Panel:
    """The series of one instant, a line each."""
    organise = {
        "id": "organize",
        "options": {"excludeByName": dict.fromkeys(("Time", "__name__", *hidden), True), "renameByName": names},
    }
    query.format, query.instant = "table", True
    return Panel("table", title, description, unit, [query], options={"showHeader": True}, transformations=[organise], **more)


def bars(title: str, description: str, unit: str, query: Query, **more: Any) -> Panel:
    """The present values beside each other."""
    query.instant = True
    options = {
        "displayMode": "basic",
        "minVizHeight": 16,
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "valueMode": "color",
    }
    return Panel("bargauge", title, description, unit, [query], options=options, **more)


def rate(metric: str, selector: str, by: str = "") -> str:
    """How much a counter grows per second."""
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate({metric}{{{selector}}}{OVER}))"


def quantile(share: str, metric: str, selector: str, by: str = "") -> str:
    """A quantile of a histogram, as far as its buckets tell."""
    group = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({group}) (rate({metric}_bucket{{{selector}}}{OVER})))"


def quantiles(metric: str, selector: str) -> list[Query]:
    """The usual three."""
    return [Query(quantile(share, metric, selector), name) for name, share in QUANTILES]


def mean(metric: str, selector: str, by: str = "") -> str:
    """The mean of a histogram."""
    return f"{rate(metric + '_sum', selector, by)} / {rate(metric + '_count', selector, by)}"


# Dashboards.

PLACES = [
    Variable("job", "Job", "llm_build_info", "job"),
    Variable("instance", "Instance", 'llm_build_info{job=~"$job"}', "instance"),
]
MODELS = [*PLACES, Variable("model", "Model", f"llm_batch_size_count{{{PLACE}}}", "model")]
ALL = [*MODELS, Variable("operation", "Operation", f"llm_requests_total{{{MODEL}}}", "operation")]

FAILED = f'llm_requests_total{{{WORK}, status="error"}}'

OVERVIEW = Dashboard(
    "chaski-overview",
    "Chaski / Overview",
    "Whether the servers are well, on one screen.",
    ALL,
    [
        (
            "Now",
            [
                number("Requests", "Inference requests that ended, per second, however they ended.", "reqps", Query(rate("llm_requests_total", WORK))),
                number(
                    "Failed",
                    "Share of requests that ended with an error of the server: not those refused for what they asked, nor for load, nor those whose caller left.",
                    "percentunit",
                    Query(f"sum(rate({FAILED}{OVER})) / {rate('llm_requests_total', WORK)}"),
                    steps=(0.001, 0.01),
                ),
                number(
                    "First token, p95",
                    "95 % of answers began within this time after their request arrived, waiting and loading included.",
                    "s",
                    Query(quantile("0.95", "llm_time_to_first_token_seconds", WORK)),
                    steps=(1, 5),
                ),
                number("Generated", "Tokens generated in answered requests, per second.", "short", Query(rate("llm_generated_tokens_total", MODEL))),
                number("Waiting", "Jobs that wait for a slot of their model.", "short", Query(f"sum(llm_requests_waiting{{{MODEL}}})"), steps=(1, 16)),
                number("Models loaded", "Models whose worker is ready, over all instances.", "short", Query(f"sum(llm_models_loaded{{{PLACE}}})")),
            ],
        ),
        (
            "Traffic",
            [
                graph("Requests by operation", "Inference requests that ended, per second.", "reqps", Query(rate("llm_requests_total", WORK, "operation"), "{{operation}}"), stacked=True),
                graph(
                    "Requests by outcome",
                    "ok; invalid: refused for what it asked; rejected: refused because of load; error; cancelled: its caller left.",
                    "reqps",
                    Query(rate("llm_requests_total", WORK, "status"), "{{status}}"),
                    stacked=True,
                ),
                graph(
                    "Tokens",
                    "Prompt tokens are those of answered requests, computed or taken from the cache.",
                    "short",
                    Query(rate("llm_prompt_tokens_total", MODEL), "prompt"),
                    Query(rate("llm_cached_prompt_tokens_total", MODEL), "prompt, from the cache"),
                    Query(rate("llm_generated_tokens_total", MODEL), "generated"),
                ),
            ],
        ),
        (
            "Latency",
            [
                graph("Time to first token", "From a request's arrival to the first piece of its answer.", "s", *quantiles("llm_time_to_first_token_seconds", WORK)),
                graph("Between tokens", "Between two pieces of an answer.", "s", *quantiles("llm_inter_token_latency_seconds", WORK)),
                graph("Whole request", "From a request's arrival to the end of its answer.", "s", *quantiles("llm_request_duration_seconds", WORK)),
            ],
        ),
        (
            "Load",
            [
                graph(
                    "Jobs and slots",
                    "Jobs beyond the slots wait; those that wait for room wait for a whole model.",
                    "short",
                    Query(f"sum(llm_requests_running{{{MODEL}}})", "running"),
                    Query(f"sum(llm_requests_waiting{{{MODEL}}})", "waiting for a slot"),
                    Query(f"sum(llm_requests_waiting_for_room{{{PLACE}}})", "waiting for room"),
                    Query(f"sum(llm_slots{{{MODEL}}})", "slots"),
                ),
                graph(
                    "Memory",
                    "Proportional set size: pages that processes share are counted once.",
                    "bytes",
                    Query(f"sum by (model) (llm_worker_proportional_memory_bytes{{{MODEL}}})", "{{model}}"),
                    Query(f"sum(process_proportional_memory_bytes{{{PLACE}}})", "server"),
                    stacked=True,
                ),
                table(
                    "Instances",
                    "Versions that answer Prometheus.",
                    "short",
                    Query(f"llm_build_info{{{PLACE}}}"),
                    ("Value", "job"),
                    {"version": "Version", "instance": "Instance"},
                ),
            ],
        ),
    ],
)

LATENCY = Dashboard(
    "chaski-latency",
    "Chaski / Latency",
    "Where the time of a request goes: load, queue, prefill, decode.",
    ALL,
    [
        (
            "First token",
            [
                graph("Time to first token", "From a request's arrival to the first piece of its answer.", "s", *quantiles("llm_time_to_first_token_seconds", WORK), width=12),
                graph("Time to first token by model, p95", "The same, model by model.", "s", Query(quantile("0.95", "llm_time_to_first_token_seconds", WORK, "model"), "{{model}}"), width=12),
                heatmap("Time to first token, spread", "Requests by the time to the first piece of their answer: two bands are two kinds of requests.", "s", "llm_time_to_first_token_seconds", WORK),
                heatmap("Between tokens, spread", "Pieces of answers by the time since the piece before.", "s", "llm_inter_token_latency_seconds", WORK),
            ],
        ),
        (
            "Phases",
            [
                graph(
                    "Mean time by phase",
                    "Load: until the model was ready. Queue: until it had a slot. Prefill: until the first token. Decode: until the last.",
                    "s",
                    *(Query(mean(f"llm_request_{phase}_seconds", WORK), phase) for phase in ("load", "queue", "prefill", "decode")),
                    stacked=True,
                    width=12,
                ),
                graph(
                    "Time by phase, p95",
                    "The slow ones of each phase; they are not the same requests, so these do not add up.",
                    "s",
                    *(Query(quantile("0.95", f"llm_request_{phase}_seconds", WORK), phase) for phase in ("load", "queue", "prefill", "decode")),
                    width=12,
                ),
            ],
        ),
        (
            "Whole requests",
            [
                graph("Between tokens", "Between two pieces of an answer.", "s", *quantiles("llm_inter_token_latency_seconds", WORK)),
                graph("Whole request by operation, p95", "From a request's arrival to the end of its answer.", "s", Query(quantile("0.95", "llm_request_duration_seconds", WORK, "operation"), "{{operation}}")),
                graph("HTTP by route, p95", "Head of the request to the end of the reply, over all statuses.", "s", Query(quantile("0.95", "http_server_request_duration_seconds", PLACE, "route"), "{{route}}")),
                heatmap("Whole request, spread", "Requests by the time from their arrival to the end of their answer.", "s", "llm_request_duration_seconds", WORK, height=9),
                heatmap("Queue, spread", "Requests by the time from their arrival at the model to their slot.", "s", "llm_request_queue_seconds", WORK, height=9),
            ],
        ),
    ],
)

THROUGHPUT = Dashboard(
    "chaski-throughput",
    "Chaski / Throughput and batching",
    "How much is computed, and how much of it together.",
    MODELS,
    [
        (
            "Throughput",
            [
                graph("Requests by model", "Inference requests that ended, per second.", "reqps", Query(rate("llm_requests_total", MODEL, "model"), "{{model}}"), stacked=True),
                graph("Generated tokens by model", "Tokens generated in answered requests, per second.", "short", Query(rate("llm_generated_tokens_total", MODEL, "model"), "{{model}}"), stacked=True),
                graph("Prompt tokens by model", "Prompt tokens of answered requests, computed or reused, per second.", "short", Query(rate("llm_prompt_tokens_total", MODEL, "model"), "{{model}}"), stacked=True),
            ],
        ),
        (
            "Batching",
            [
                graph("Jobs per engine call", "The mean over all engine calls: 1 means that nothing was computed together.", "short", Query(mean("llm_batch_size", MODEL, "model"), "{{model}}")),
                graph("Tokens per engine call", "The mean over all engine calls, prompt and generated tokens together.", "short", Query(mean("llm_batch_tokens", MODEL, "model"), "{{model}}")),
                graph(
                    "Slots in use",
                    "Share of a model's slots that hold a job: at 100 % what comes next waits.",
                    "percentunit",
                    Query(f"sum by (model) (llm_requests_running{{{MODEL}}}) / sum by (model) (llm_slots{{{MODEL}}} > 0)", "{{model}}"),
                ),
                heatmap("Jobs per engine call, spread", "Engine calls by the jobs in them.", "short", "llm_batch_size", MODEL),
                heatmap("Tokens per engine call, spread", "Engine calls by the tokens in them: decoding makes small ones, prompts large ones.", "short", "llm_batch_tokens", MODEL),
            ],
        ),
        (
            "Engine",
            [
                graph("Engine calls", "Per second.", "ops", Query(rate("llm_step_seconds_count", MODEL, "model"), "{{model}}")),
                graph("Time of one engine call", "Over all models shown.", "s", *quantiles("llm_step_seconds", MODEL)),
                graph("Engine busy", "Share of the time that a model's engine computes. More than one instance adds up to more than 100 %.", "percentunit", Query(rate("llm_step_seconds_sum", MODEL, "model"), "{{model}}")),
                graph(
                    "Tokens per second of computing",
                    "What the engine does while it computes: the speed that idle time does not dilute.",
                    "short",
                    Query(f"{rate('llm_batch_tokens_sum', MODEL, 'model')} / {rate('llm_step_seconds_sum', MODEL, 'model')}", "{{model}}"),
                    width=12,
                ),
                graph("Processor of the server process", "Cores; the workers, which compute, are processes of their own.", "short", Query(f"sum by (instance) (rate(process_cpu_seconds_total{{{PLACE}}}{OVER}))", "{{instance}}"), width=12),
            ],
        ),
    ],
)

CACHE = Dashboard(
    "chaski-cache",
    "Chaski / Cache and speculation",
    "What was not computed again, and how many tokens a step yields.",
    MODELS,
    [
        (
            "Prompts",
            [
                number("From the cache", "Share of prompt tokens whose results were still in the cache.", "percentunit", Query(f"{rate('llm_cached_prompt_tokens_total', MODEL)} / {rate('llm_prompt_tokens_total', MODEL)}")),
                number("Tokens saved", "Prompt tokens that were not computed again in the time shown.", "short", Query(f"sum(increase(llm_cached_prompt_tokens_total{{{MODEL}}}[$__range]))")),
                number(
                    "Prompts cut", "Share of engine requests whose prompt or texts did not fit the context.", "percentunit", Query(f"{rate('llm_truncated_prompts_total', MODEL)} / {rate('llm_requests_total', MODEL)}"), steps=(0.01, 0.1)
                ),
                number("Prefill, p95", "Slot to first token: what a warm cache shortens.", "s", Query(quantile("0.95", "llm_request_prefill_seconds", MODEL))),
                number("Tokens per job and step", "Generated tokens divided by the jobs in engine calls.", "short", Query(f"{rate('llm_generated_tokens_total', MODEL)} / {rate('llm_batch_size_sum', MODEL)}")),
            ],
        ),
        (
            "Reuse",
            [
                graph(
                    "Share of prompt tokens from the cache",
                    "Model by model. Conversations and shared system prompts raise it; a load balancer that scatters them lowers it.",
                    "percentunit",
                    Query(f"{rate('llm_cached_prompt_tokens_total', MODEL, 'model')} / {rate('llm_prompt_tokens_total', MODEL, 'model')}", "{{model}}"),
                    width=12,
                ),
                graph(
                    "Prompt tokens",
                    "Computed and reused, per second.",
                    "short",
                    Query(f"{rate('llm_prompt_tokens_total', MODEL)} - {rate('llm_cached_prompt_tokens_total', MODEL)}", "computed"),
                    Query(rate("llm_cached_prompt_tokens_total", MODEL), "from the cache"),
                    stacked=True,
                    width=12,
                ),
                graph("Prefill", "From a job's slot to its first token.", "s", *quantiles("llm_request_prefill_seconds", MODEL), width=12),
                graph("Prompts cut", "Requests whose prompt or texts were cut to fit the context, per second.", "reqps", Query(rate("llm_truncated_prompts_total", MODEL, "model"), "{{model}}"), width=12),
            ],
        ),
        (
            "Decoding",
            [
                graph(
                    "Tokens per job and step",
                    "Near 1 where each engine call yields one token of each job; more where a draft was accepted, less where prompts take calls of their own.",
                    "short",
                    Query(f"{rate('llm_generated_tokens_total', MODEL, 'model')} / {rate('llm_batch_size_sum', MODEL, 'model')}", "{{model}}"),
                    width=12,
                ),
                graph("Decode per answer", "From a job's first token to its last.", "s", *quantiles("llm_request_decode_seconds", MODEL), width=12),
            ],
        ),
    ],
)

MEMORY = Dashboard(
    "chaski-models",
    "Chaski / Models and memory",
    "Which models are loaded, what they take and what loading them costs.",
    MODELS,
    [
        (
            "Now",
            [
                number("Models loaded", "Models whose worker is ready.", "short", Query(f"sum(llm_models_loaded{{{PLACE}}})")),
                number("Loads", "Models that became ready in the time shown.", "short", Query(f"sum(increase(llm_model_load_seconds_count{{{MODEL}}}[$__range]))")),
                number("Load time, p95", "A worker's start to its readiness.", "s", Query(quantile("0.95", "llm_model_load_seconds", MODEL)), steps=(10, 60)),
                number("Memory", "Proportional set size of servers and workers.", "bytes", Query(f"sum(llm_worker_proportional_memory_bytes{{{MODEL}}}) + sum(process_proportional_memory_bytes{{{PLACE}}})")),
                number("Left for models", "What machine and control groups have left, on the instance that has least.", "bytes", Query(f"min(llm_memory_available_bytes{{{PLACE}}})")),
                number("Memory ratio", "Peak resident memory of server and workers by the size of the loaded models' files, on the worst instance.", "none", Query(f"max(llm_memory_ratio{{{PLACE}}})")),
            ],
        ),
        (
            "Workers",
            [
                graph("Proportional memory", "With shared pages divided (PSS): these add up to what the models really take.", "bytes", Query(f"sum by (model) (llm_worker_proportional_memory_bytes{{{MODEL}}})", "{{model}}"), stacked=True),
                graph(
                    "Resident memory by kind",
                    "File pages are the model file itself, which the kernel may drop and read again; the rest is caches and buffers.",
                    "bytes",
                    Query(f"sum(llm_worker_anonymous_memory_bytes{{{MODEL}}})", "anonymous"),
                    Query(f"sum(llm_worker_resident_memory_bytes{{{MODEL}}}) - sum(llm_worker_anonymous_memory_bytes{{{MODEL}}})", "file pages"),
                    stacked=True,
                ),
                graph("Largest resident memory so far", "Of each model's worker since it was started.", "bytes", Query(f"max by (model) (llm_worker_peak_resident_memory_bytes{{{MODEL}}})", "{{model}}")),
                graph("Size of the files", "Of each loaded model; 0 once it was unloaded.", "bytes", Query(f"max by (model) (llm_model_size_bytes{{{MODEL}}})", "{{model}}")),
                graph("Loads", "Models that became ready, per second: many mean that models push each other out.", "ops", Query(rate("llm_model_load_seconds_count", MODEL, "model"), "{{model}}")),
                graph("Workers lost", "Workers that ended, hung or sent garbage while they were needed.", "short", Query(f"sum by (model) (increase(llm_workers_lost_total{{{MODEL}}}{OVER}))", "{{model}}")),
            ],
        ),
        (
            "Server process",
            [
                graph(
                    "Resident memory",
                    "The server process alone; it runs no engine.",
                    "bytes",
                    Query(f"sum by (instance) (process_resident_memory_bytes{{{PLACE}}})", "{{instance}}"),
                    Query(f"sum by (instance) (process_peak_resident_memory_bytes{{{PLACE}}})", "{{instance}}, peak"),
                ),
                graph("Left for models", "What machine and control groups have left.", "bytes", Query(f"sum by (instance) (llm_memory_available_bytes{{{PLACE}}})", "{{instance}}")),
                graph(
                    "Open file descriptors",
                    "One a connection, one a worker, and a few. Beyond the limit connections are not taken.",
                    "short",
                    Query(f"sum by (instance) (process_open_fds{{{PLACE}}})", "{{instance}}"),
                    Query(f"min(process_max_fds{{{PLACE}}})", "limit"),
                    Query(f"sum by (instance) (process_threads{{{PLACE}}})", "{{instance}}, threads"),
                ),
            ],
        ),
    ],
)

ERRORS = Dashboard(
    "chaski-errors",
    "Chaski / Errors and queues",
    "Who was turned away, who failed, and who waits.",
    ALL,
    [
        (
            "Now",
            [
                number("Failed", "Share of requests that ended with an error of the server.", "percentunit", Query(f"sum(rate({FAILED}{OVER})) / {rate('llm_requests_total', WORK)}"), steps=(0.001, 0.01)),
                number("Refused because of load", "Per second; the caller gets 503 with Retry-After.", "reqps", Query(rate("llm_rejected_total", PLACE)), steps=(0.1, 1)),
                number("Workers lost", "In the time shown.", "short", Query(f"sum(increase(llm_workers_lost_total{{{MODEL}}}[$__range]))"), steps=(1, 3)),
                number("Waiting for a slot", "Jobs whose model is loaded and busy.", "short", Query(f"sum(llm_requests_waiting{{{MODEL}}})"), steps=(1, 16)),
                number("Waiting for room", "Requests whose model has no room in memory yet.", "short", Query(f"sum(llm_requests_waiting_for_room{{{PLACE}}})"), steps=(1, 16)),
                number("Up", "Instances that answer Prometheus.", "short", Query(f"sum(up{{{PLACE}}})")),
            ],
        ),
        (
            "Outcomes",
            [
                graph("Requests that did not end well", "By outcome, per second.", "reqps", Query(rate("llm_requests_total", WORK + ', status!="ok"', "status"), "{{status}}"), stacked=True),
                graph("Failed by model", "Share of a model's requests that ended with an error of the server.", "percentunit", Query(f"sum by (model) (rate({FAILED}{OVER})) / {rate('llm_requests_total', WORK, 'model')}", "{{model}}")),
                graph("Refused because of load, by reason", "Per second.", "reqps", Query(rate("llm_rejected_total", PLACE, "reason"), "{{reason}}"), stacked=True),
                graph("HTTP by status", "Replies per second, every route.", "reqps", Query(rate("http_server_request_duration_seconds_count", PLACE, "status"), "{{status}}"), stacked=True),
                graph("HTTP errors by route", "Replies of 400 and above, per second.", "reqps", Query(rate("http_server_request_duration_seconds_count", PLACE + ', status=~"[45].."', "route, status"), "{{status}} {{route}}"), stacked=True),
                graph("Workers lost", "Each costs the requests that its model was working on.", "short", Query(f"sum by (model) (increase(llm_workers_lost_total{{{MODEL}}}{OVER}))", "{{model}}")),
            ],
        ),
        (
            "Queues",
            [
                graph("Waiting for a slot, by model", "Jobs whose model is loaded and busy.", "short", Query(f"sum by (model) (llm_requests_waiting{{{MODEL}}})", "{{model}}"), stacked=True),
                graph("Running, by model", "Jobs that hold a slot.", "short", Query(f"sum by (model) (llm_requests_running{{{MODEL}}})", "{{model}}"), stacked=True),
                graph("Time in the queue", "From a job's arrival at its model to its slot.", "s", *quantiles("llm_request_queue_seconds", WORK)),
            ],
        ),
    ],
)

LOADGEN_VARIABLES = [
    Variable("job", "Job", "loadgen_report_timestamp_seconds", "job"),
    Variable("instance", "Instance", 'loadgen_report_timestamp_seconds{job=~"$job"}', "instance"),
    Variable("workload", "Workload", f"loadgen_requests{{{PLACE}}}", "workload"),
]


def measured(metric: str) -> str:
    """A figure of the newest run, for every target and load."""
    return f"{metric}{{{RUN}}}"


def latencies(title: str, description: str, metric: str) -> Panel:
    """Quantiles of a latency, target beside target."""
    expression = f'loadgen_latency_seconds{{{RUN}, metric="{metric}"}}'
    return bars(title, description, "s", Query(expression, "{{workload}} {{load}}: {{target}} {{statistic}}"), height=10)


LOADGEN = Dashboard(
    "chaski-loadgen",
    "Chaski / Load tests compared",
    "What the newest loadgen report says of its targets, side by side. The report itself says more, above all whether the figures may be believed.",
    LOADGEN_VARIABLES,
    [
        (
            "Run",
            [
                number("Finished", "When the newest run ended.", "dateTimeFromNow", Query(f"max(loadgen_report_timestamp_seconds{{{PLACE}}}) * 1000")),
                number("Exit code", "0: ran and every assertion held. loadgen's manual lists the others.", "none", Query(f"max(loadgen_exit_code{{{PLACE}}})"), steps=(1, 2)),
                number("Requests", "Measured, over all targets.", "short", Query(f"sum({measured('loadgen_requests')})")),
                number("Failed", "Share of the measured requests.", "percentunit", Query(f"sum({measured('loadgen_failed_requests')}) / sum({measured('loadgen_requests')})"), steps=(0.001, 0.01)),
                number("Targets", "Servers that were measured.", "short", Query(f"count(count by (target) ({measured('loadgen_requests')}))")),
            ],
        ),
        (
            "Speed",
            [
                latencies("Whole request", "From sending a request to the end of its answer.", "e2e"),
                latencies("First text", "From sending a request to the first text of its answer.", "ttft"),
                latencies("Per token", "Time per output token after the first.", "tpot"),
                bars("Requests per second", "Completed.", "reqps", Query(measured("loadgen_requests_per_second"), "{{workload}} {{load}}: {{target}}")),
                bars("Generated tokens per second", "Of all requests together.", "short", Query(measured("loadgen_output_tokens_per_second"), "{{workload}} {{load}}: {{target}}")),
                bars("Peak resident memory", "Of the target's process tree while the workload ran.", "bytes", Query(measured("loadgen_peak_resident_memory_bytes"), "{{workload}}: {{target}}")),
            ],
        ),
        (
            "Verdicts",
            [
                table(
                    "Ratios with their 95 % intervals",
                    "Candidate divided by baseline, where the rounds suffice for an interval: below 1 is less of it. An interval that holds 1 proves no difference.",
                    "none",
                    Query(measured("loadgen_ratio")),
                    ("job", "instance"),
                    {"Value": "Ratio", "bound": "Bound", "metric": "Metric", "statistic": "Statistic", "candidate": "Candidate", "baseline": "Baseline"},
                    width=16,
                    height=10,
                ),
                bars("Memory ratio", "Peak resident memory by the size of the loaded models' files.", "none", Query(measured("loadgen_memory_ratio"), "{{workload}}: {{target}}"), height=10),
            ],
        ),
    ],
)

DASHBOARDS = [OVERVIEW, LATENCY, THROUGHPUT, CACHE, MEMORY, ERRORS, LOADGEN]


# Grafana's JSON.

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def rendered(dashboard: Dashboard) -> str:
    """The dashboard as Grafana imports it."""
    whole = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["chaski"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [{"title": "Chaski", "type": "dashboards", "tags": ["chaski"], "asDropdown": False, "includeVars": True, "keepTime": True, "targetBlank": False, "tooltip": "", "icon": "external link"}],
        "templating": {"list": [datasource(), *map(variable, dashboard.variables)]},
        "panels": placed(dashboard.rows),
    }
    return json.dumps(whole, indent=2) + "\n"


def datasource() -> dict[str, Any]:
    """Which Prometheus."""
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0, "refresh": 1, "regex": "", "options": []}


def variable(choice: Variable) -> dict[str, Any]:
    """One choice at the top."""
    query = f"label_values({choice.metric}, {choice.of})"
    return {
        "name": choice.name,
        "label": choice.label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "StandardVariableQuery"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
        "options": [],
        "regex": "",
    }


def placed(rows: list[tuple[str, list[Panel]]]) -> list[dict[str, Any]]:
    """The panels, row by row, from left to right."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, content in rows:
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": top}, "panels": []})
        top += 1
        left = tallest = 0
        for panel in content:
            if left + panel.width > COLUMNS:
                top += tallest
                left = tallest = 0
            panels.append(drawn(panel, len(panels) + 1, {"h": panel.height, "w": panel.width, "x": left, "y": top}))
            left += panel.width
            tallest = max(tallest, panel.height)
        top += tallest
    return panels


def drawn(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    """One panel."""
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": query.expression,
            "format": query.format,
            "instant": query.instant,
            "range": not query.instant,
            "legendFormat": query.legend or "__auto",
        }
        for index, query in enumerate(panel.queries)
    ]
    defaults = {"unit": panel.unit, "min": 0, **panel.defaults}
    if panel.custom:
        defaults["custom"] = panel.custom
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": panel.overrides},
        "options": panel.options,
        "targets": targets,
        "transformations": panel.transformations,
    }


def main() -> int:
    """Writes or checks the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for dashboard in DASHBOARDS:
        file = FOLDER / f"{dashboard.uid.removeprefix('chaski-')}.json"
        text = rendered(dashboard)
        if check and (not file.exists() or file.read_text() != text):
            stale.append(file.name)
        elif not check:
            file.write_text(text)
    if stale:
        print(f"not as dashboards/generate.py writes them: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
