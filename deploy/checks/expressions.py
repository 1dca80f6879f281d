"""PromQL as this folder's files write it, made into what can be asked at once."""

import re

# What a browser would put in, everything chosen. Rates reach over many scrapes of the test's Prometheus.
VARIABLES = {
    "$__rate_interval": "20s",
    "$__range": "5m",
    "$job": ".+",
    "$instance": ".+",
    "$model": ".+",
    "$operation": ".+",
    "$workload": ".+",
}

# Strings, selectors and ranges, which hold no comparisons of numbers; and comparisons.
TOKENS = re.compile(r"""("(?:[^"\\]|\\.)*"|\{[^}]*\}|\[[^]]*\])|(==|!=|>=|<=|>|<)(?!\s*bool\b)""")


def observed(expression: str) -> str:
    """The expression of a panel with its variables filled in."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    if "$" in expression:
        raise ValueError(f"a variable that is not known: {expression}")
    return expression


def unconditional(expression: str) -> str:
    """The expression of an alert that says 0 or 1 where it would say nothing or something: whether it has data to look at."""
    return TOKENS.sub(lambda token: token[1] or f"{token[2]} bool", expression)
