"""Makes the release archive: one folder that runs where it is unpacked, on any x86-64 or aarch64 Linux with this glibc or newer.

    python3 deploy/dist.py [--out target/dist] [--unpacked FOLDER]

Builds chaski with the feature `portable`, in a build folder of its own: llama.cpp's kernels become one library for each kind of
processor, and the best is chosen at start. Beside the programs lie ONNX Runtime, the manual, completions, the systemd unit,
settings and licences. The same commit makes the same archive, as far as the compiler does. With --unpacked nothing is built: programs
and libraries are those of an archive that was unpacked there, and make the same archive again.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHELLS = {"bash": "chaski.bash", "zsh": "_chaski", "fish": "chaski.fish", "elvish": "chaski.elv"}
DOCUMENTS = ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "docs/CONFIGURATION.md", "docs/config.schema.json", "docs/OPERATIONS.md"]
# The oldest processor: what only newer ones have is asked for at run time.
OLDEST = {"x86_64": "x86-64", "aarch64": "generic"}
# Not those for a linker, such as `libllama.so`, and not what only llama.cpp's own programs need.
LIBRARY = re.compile(r"lib(ggml|ggml-base|llama|mtmd)\.so\.\d+|libggml-cpu-[\w.]+\.so")


def run(*command: str, **environment: str) -> str:
    """The output of a command, which must succeed."""
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"dist: {' '.join(command)} failed")
    return done.stdout


def build(folder: Path) -> tuple[Path, list[Path]]:
    """Builds both programs for the oldest processor; returns where they are, and where llama.cpp's libraries are."""
    flags = f"-C target-cpu={OLDEST[platform.machine()]} -C link-arg=-Wl,-rpath,$ORIGIN/lib"
    features = ["--workspace", "--features", "chaski/portable", "--message-format", "json-render-diagnostics"]
    told = run("cargo", "build", "--release", "--locked", *features, CARGO_TARGET_DIR=str(folder), RUSTFLAGS=flags, CARGO_INCREMENTAL="0")
    # The folder may hold earlier builds of it, too.
    scripts = [message for message in map(json.loads, told.splitlines()) if message["reason"] == "build-script-executed"]
    installed = next(Path(script["out_dir"]) for script in scripts if "#llama-cpp-sys-2@" in script["package_id"])
    return folder / "release", [installed / "lib", installed / "backends"]


def libraries(folders: list[Path]) -> list[Path]:
    """llama.cpp's libraries in folders, under the names by which they are looked for at start."""
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if LIBRARY.fullmatch(path.name)]


def licences() -> str:
    """The licence texts of everything that is linked in, each text once with the packages that it is of."""
    arguments = ["--format-version", "1", "--locked", "--filter-platform", f"{platform.machine()}-unknown-linux-gnu"]
    metadata = json.loads(run("cargo", "metadata", *arguments))
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    # What is only used while building or testing is in no program.
    linked: set[str] = set()
    waiting = list(metadata["workspace_members"])
    while waiting:
        package = waiting.pop()
        if package in linked:
            continue
        linked.add(package)
        waiting += [dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
    texts: dict[str, list[str]] = {}
    names = []
    for package in sorted(metadata["packages"], key=lambda package: (package["name"], package["version"])):
        if package["id"] not in linked or package["source"] is None:
            continue
        name = f"{package['name']} {package['version']}"
        names.append(f"{name}: {package['license'] or 'see its licence file'}; {package['repository'] or ''}".rstrip("; "))
        folder = Path(package["manifest_path"]).parent
        # llama.cpp, and what it brings along, lie within its crate.
        files = folder.rglob("*") if package["name"] == "llama-cpp-sys-2" else folder.iterdir()
        for file in sorted(files):
            is_text = file.is_file() and file.suffix not in (".cmake", ".rs")
            if is_text and file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE")):
                texts.setdefault(file.read_text(errors="replace").strip(), []).append(name)
    parts = ["Chaski contains:", "\n".join(names)]
    parts += [f"{'=' * 80}\n{', '.join(of)}\n\n{text}" for text, of in texts.items()]
    return "\n\n".join(parts) + "\n"


def stage(folder: Path, programs: Path, kernels: list[Path]) -> None:
    """Puts everything into the folder that the archive unpacks to."""
    for name in ["chaski", "loadgen"]:
        shutil.copy2(programs / name, folder / name)
        run("strip", "--strip-debug", str(folder / name))
    library = folder / "lib"
    library.mkdir()
    for path in kernels:
        shutil.copy2(path, library / path.name)
        run("strip", "--strip-debug", str(library / path.name))
    for path in sorted((ROOT / ".tools" / "lib").glob("libonnxruntime.so.*")):
        shutil.copy2(path, library / path.name)
    licence = folder / "licences"
    licence.mkdir()
    for path in sorted((ROOT / ".tools" / "lib").glob("onnxruntime-*")):
        shutil.copy2(path, licence / path.name)
    (licence / "rust-and-llama.cpp.txt").write_text(licences())
    # The staged program says what it is, so that what does not start is not shipped.
    program = str(folder / "chaski")
    run(program, "man", str(folder / "share" / "man" / "man1"))
    completions = folder / "share" / "completions"
    completions.mkdir(parents=True)
    for shell, name in SHELLS.items():
        (completions / name).write_text(run(program, "completions", shell))
    shutil.copy2(ROOT / "deploy" / "systemd" / "chaski.service", folder / "share" / "chaski.service")
    for document in DOCUMENTS:
        shutil.copy2(ROOT / document, folder / Path(document).name)


def pack(folder: Path, archive: Path) -> None:
    """Packs the folder, without whatever differs from build to build of the same commit."""
    time = int(run("git", "log", "-1", "--format=%ct"))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in [folder, *sorted(folder.rglob("*"))]:
            entry = tar.gettarinfo(path, str(path.relative_to(folder.parent)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            entry.mtime = time
            entry.mode = 0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644
            with path.open("rb") if path.is_file() else io.BytesIO() as content:
                tar.addfile(entry, content if path.is_file() else None)
    with archive.open("wb") as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=time) as stream:
        stream.write(packed.getvalue())


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=lambda name: Path(name).resolve(), default=ROOT / "target" / "dist")
    parser.add_argument("--unpacked", type=Path, help="pack what an archive unpacked to, instead of building it")
    options = parser.parse_args()
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    name = f"chaski-{version}-{platform.machine()}-linux"
    options.out.mkdir(parents=True, exist_ok=True)
    programs, folders = (options.unpacked, [options.unpacked / "lib"]) if options.unpacked else build(options.out / "build")
    kernels = libraries(folders)
    if not any(path.name.startswith("libggml-cpu-") for path in kernels):
        sys.exit("dist: there are no kernels to choose from")
    folder = options.out / name
    if options.unpacked and options.unpacked.resolve() == folder:
        parser.error("--unpacked names the folder that would be made anew: another --out, please")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    stage(folder, programs, kernels)
    archive = options.out / f"{name}.tar.gz"
    pack(folder, archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (options.out / f"{name}.tar.gz.sha256").write_text(f"{digest}  {archive.name}\n")
    files = [path for path in folder.rglob("*") if path.is_file()]
    print(f"{archive}: {len(files)} files, {archive.stat().st_size / 1e6:.1f} MB packed, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB unpacked")
    return 0


if __name__ == "__main__":
    sys.exit(main())
