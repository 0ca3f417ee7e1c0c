"""Sessions: `nox -s demo`; `nox -s tests lint docs build third_party`, as CI does; `nox -s minimums litert`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests", "lint", "docs", "build", "third_party"]
nox.options.reuse_venv = "yes"

ROOT = Path(__file__).parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
CONSTRAINTS = ("-c", "constraints.txt")
EXTRAS = {"core": "[decord,detection,flow,parquet,wandb]", "datasets": "[shards]", "deploy": "[onnx]"}
"""By package, its extras that need nothing beside them: not torchcodec, which needs FFmpeg's libraries, nor LiteRT."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""The networks of the tests are too small to be shared by several."""


def install(session: nox.Session, group: str | None = None) -> None:
    """Install all packages of the repository and a dependency group, at the versions pinned in constraints.txt."""
    groups = ["--group", group] if group else []
    session.install(*CONSTRAINTS, *groups, *(part for name in PACKAGES for part in ("-e", f"./packages/{name}")))


@nox.session
def demo(session: nox.Session) -> None:
    """Makes the demo videos, trains on them, tests, predicts and renders."""
    install(session)
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Runs every test."""
    install(session, "tests")
    session.run("python", "-m", "pytest", "--numprocesses=auto", *session.posargs, env=ONE_THREAD)


@nox.session
def litert(session: nox.Session) -> None:
    """Runs the tests of LiteRT's converter, which cannot be installed with what constraints.txt pins."""
    session.install("-e", "./packages/core", "-e", "./packages/deploy[litert]", "pytest")
    session.run("python", "-m", "pytest", "packages/deploy/tests/test_litert.py", env=ONE_THREAD)


@nox.session(python="3.10")
def minimums(session: nox.Session) -> None:
    """Runs every test with the lowest versions that the packages declare, on the lowest Python."""
    packages = (part for name in PACKAGES for part in ("-e", f"./packages/{name}{EXTRAS.get(name, '')}"))
    runner = ("pytest>=8", "pytest-random-order>=1.1", "pytest-xdist>=3.6")
    session.install("--resolution", "lowest-direct", *packages, *runner)
    session.run("python", "-m", "pytest", "--numprocesses=auto", *session.posargs, env=ONE_THREAD)


@nox.session
def pin(session: nox.Session) -> None:
    """Write constraints.txt; versions in it stay while they fit, `nox -s pin -- --upgrade` takes the newest."""
    session.install("uv")
    requirements = Path(session.create_tmp()) / "requirements.in"
    requirements.write_text("".join(f"-e {ROOT}/packages/{name}{EXTRAS.get(name, '')}\n" for name in PACKAGES))
    groups = [f"--group={name}" for name in ("tests", "lint", "docs", "build")]
    ours = [f"--no-emit-package=vidcore{'' if name == 'core' else '-' + name.replace('_', '-')}" for name in PACKAGES]
    form = ["--universal", "--python-version=3.10", "--no-annotate", "--no-header", "--quiet"]
    output = ["-o", "constraints.txt", str(requirements)]
    session.run("uv", "pip", "compile", *form, *groups, *ours, *session.posargs, *output)


@nox.session
def lint(session: nox.Session) -> None:
    """Checks style, types and which package imports which."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    for name in PACKAGES:
        session.run("mypy", f"packages/{name}/src")
    session.run("mypy", "benchmarks", "examples", "noxfile.py")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Builds the documentation; a warning is an error."""
    install(session, "docs")
    session.run("mkdocs", "build", "--strict", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def build(session: nox.Session) -> None:
    """Builds every wheel, installs it into a clean environment, and runs one forward there."""
    wheels = _wheels(session, [f"packages/{name}" for name in PACKAGES])
    for plugin in [name for name in PACKAGES if name not in ("core", "datasets", "deploy")]:
        python = _clean(session, plugin, wheels, f"vidcore-{plugin.replace('_', '-')}")
        session.run(python, "-m", "vidcore.cli", "list", external=True)
        session.run(python, "integration_tests/one_forward.py", plugin, external=True)


@nox.session
def third_party(session: nox.Session) -> None:
    """Installs the example of a third-party plugin from its wheel and runs its tests."""
    example = "examples/third_party_plugin"
    wheels = _wheels(session, [*(f"packages/{name}" for name in PACKAGES), example])
    python = _clean(session, "example", wheels, "vidcore-frame-diff[test]")
    session.run(python, "-m", "vidcore.cli", "plugins", external=True)
    session.run(python, "-m", "pytest", "-c", f"{example}/pyproject.toml", f"{example}/tests", external=True)


def _wheels(session: nox.Session, projects: list[str]) -> Path:
    """The folder with a wheel of each project."""
    wheels = Path(session.create_tmp()) / "wheels"
    session.install("uv")
    for old in wheels.glob("*.whl"):
        old.unlink()
    for project in projects:
        session.run("uv", "build", "--wheel", "--quiet", "--out-dir", str(wheels), project)
    return wheels


def _clean(session: nox.Session, name: str, wheels: Path, requirement: str) -> str:
    """The Python of a new environment with the requirement."""
    environment = Path(session.create_tmp()) / f"clean-{name}"
    python = str(environment / ("Scripts" if os.name == "nt" else "bin") / "python")
    session.run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(environment))
    found = (*CONSTRAINTS, "--find-links", str(wheels), requirement)
    # uv's cache tells wheels of a folder apart by name and version, and would install those of an earlier build.
    ours = (part for wheel in wheels.glob("*.whl") for part in ("--refresh-package", wheel.name.split("-")[0]))
    session.run("uv", "pip", "install", "--quiet", "--python", python, *found, *ours)
    return python
