"""Compares deploy/kubernetes with the schemas of the API server, refusing fields that it does not know.

    python3 deploy/checks/manifests.py [CRD.yaml ...]

Kinds that are not Kubernetes' own are compared with the custom resource definitions given, such as those that
`kubectl get crd scaledobjects.keda.sh -o yaml` prints; without theirs they are named as not checked.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

FOLDER = Path(__file__).parent.parent / "kubernetes"

Document = dict[str, Any]


def documents(path: Path) -> Iterator[Document]:
    """The objects of a file."""
    for document in yaml.safe_load_all(path.read_text()):
        if document:
            yield document


def closed(schema: Any) -> Any:
    """A schema that refuses fields it does not name, as the API server drops them."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(part) for key, part in schema.items()}
    free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("additionalProperties")
    if schema.get("type") == "object" and "properties" in schema and not free:
        schema["additionalProperties"] = False
    return schema


def definitions(paths: list[Path]) -> dict[tuple[str, str], Document]:
    """The schema of each kind of the custom resource definitions."""
    found = {}
    for path in paths:
        for crd in documents(path):
            spec = crd["spec"]
            for version in spec["versions"]:
                schema = closed(version["schema"]["openAPIV3Schema"])
                # What every object has, and no definition spells out.
                schema["properties"]["metadata"] = {"type": "object"}
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def fault(document: Document, custom: dict[tuple[str, str], Document]) -> str | None:
    """What is wrong with an object."""
    schema = custom.get((document["apiVersion"], document["kind"]))
    try:
        if schema is not None:
            jsonschema.validate(document, schema)
        else:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        return f"{'/'.join(map(str, error.path))}: {error.message}"
    return None


def main() -> int:
    """Prints a line for each object."""
    custom = definitions([Path(argument) for argument in sys.argv[1:]])
    faults = 0
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name == "kustomization.yaml":
            continue
        for document in documents(path):
            kind = f"{document['apiVersion']} {document['kind']}"
            try:
                wrong = fault(document, custom)
            except kubernetes_validate.SchemaNotFoundError:
                print(f"not checked  {path.name}: {kind}, for lack of its definition")
                continue
            faults += wrong is not None
            print(f"FAULT        {path.name}: {kind}: {wrong}" if wrong else f"ok           {path.name}: {kind}")
    print(json.dumps({"faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
