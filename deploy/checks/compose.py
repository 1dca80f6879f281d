"""Reads compose.yaml as Compose itself does, with compose-go, and says which services each profile starts.

    python3 deploy/checks/compose.py

Fails when Compose would refuse the file, when a profile lacks what its services depend on, when a mounted file is not in the
repository, when a port is opened beyond this machine or twice, when a container has rights that it does not need, or when a build
target is none of the Dockerfile's. Nothing is started: that needs a Docker engine.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMPOSE = ["go", "run", "github.com/compose-spec/compose-go/v2/cmd@v2.16.2", "-format", "json", "compose.yaml"]
# What each profile is for, beside the server that always starts.
PROFILES = {
    "observe": {"prometheus", "grafana", "loadgen-figures"},
    "measure": {"loadgen"},
    "ollama": {"ollama"},
    "replicas": {"replica", "haproxy"},
}
ALWAYS = {"chaski"}
# Images of others that write where they like.
UNHARDENED = {"ollama"}

Service = dict[str, Any]


def project() -> dict[str, Service]:
    """The services with every variable, anchor and default in place."""
    # Nobody's settings, so that the defaults are what is looked at.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CHASKI_", "OLLAMA_"))}
    done = subprocess.run(COMPOSE, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"compose.yaml is refused: {done.stderr}")
    return json.loads(done.stdout)["services"]


def faults_of(name: str, service: Service, together: set[str]) -> Iterator[str]:
    """What is wrong with a service that starts together with these."""
    missing = set(service.get("depends_on", {})) - together
    if missing:
        yield f"{name} depends on {', '.join(sorted(missing))}, which its profile does not start"
    for volume in service.get("volumes", []):
        if volume["type"] == "bind" and not Path(volume["source"]).exists():
            yield f"{name} mounts {volume['source']}, which is not there"
        if volume["type"] == "bind" and not volume.get("read_only"):
            yield f"{name} may write {volume['source']}"
    for port in service.get("ports", []):
        if port.get("host_ip") != "127.0.0.1":
            yield f"{name} opens port {port['published']} beyond this machine"
    if name not in UNHARDENED:
        held = service.get("read_only") and service.get("cap_drop") == ["ALL"]
        if not held or "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{name} has rights that it does not need"
    build = service.get("build")
    if build:
        stages = re.findall(r"^FROM .* AS (\S+)$", Path(build["context"], build["dockerfile"]).read_text(), re.MULTILINE)
        if build["target"] not in stages:
            yield f"{name} is built from {build['target']}, which the Dockerfile lacks"


def main() -> int:
    """Exit code."""
    services = project()
    faults = []
    known = {profile for service in services.values() for profile in service.get("profiles", [])}
    faults += [f"profile {profile} is not known here" for profile in sorted(known - set(PROFILES))]
    for profile, expected in PROFILES.items():
        started = {name for name, service in services.items() if profile in service.get("profiles", [profile])}
        print(f"{profile:10}{', '.join(sorted(started))}")
        if started != expected | ALWAYS:
            faults.append(f"profile {profile} should start {', '.join(sorted(expected | ALWAYS))}")
        faults += [fault for name in sorted(started) for fault in faults_of(name, services[name], started)]
    published = [port["published"] for service in services.values() for port in service.get("ports", [])]
    faults += [f"port {port} is opened twice" for port in sorted({port for port in published if published.count(port) > 1})]
    for fault in sorted(set(faults)):
        print(fault, file=sys.stderr)
    print(f"compose: {len(services)} services, {len(PROFILES)} profiles, {len(set(faults))} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
