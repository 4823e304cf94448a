# GNU General Public License v3.0+ (see LICENSE)
"""`make test`: runs stages and prints a table of them with the slowest tests: python -m tests.run [stage ...].

`python -m tests.run one PATH-OR-EXPRESSION` runs the tests of a file or those whose names match, `python -m tests.run changed` those that
concern what differs from main (tests/changed.py has the rule).
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests import changed, newest
from tests.testbed import engine, image, mirror
from tests.testbed.artifacts import clickhouse
from tests.testbed.core import CACHE, TestbedError, heartbeat, locked, say

CHECKOUT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
# Integration tests that are stages of their own, so that stages side by side end at about the same time.
OF_CLICKHOUSE = ("test_clickhouse_*.py",)
OF_GRAFANA = ("test_grafana_*.py", "test_dashboards.py")
# Pairs of tables and changes of sets of objects in `make soak`, and how many share a seed.
PAIRS, LOT = 20_000, 1_000
SETS, SETS_LOT = 5_000, 500
# What tools and Ansible printed.
LOGS = CACHE / "logs"
# Tests named below the table of stages.
SLOWEST = 10
# Molecule scenario -> the inventory that it installs, where it is not the one with a single host.
INVENTORIES = {"default": "three_hosts", "cluster": "cluster", "alerts": "cluster"}
NOT_SHIPPED = ("tests/", "molecule/", "bench/", "examples/", ".")


@dataclass
class Result:
    """What a stage counted."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0
    said: str = ""


def added_up(results: Iterable[Result]) -> Result:
    """What several counted together."""
    every = list(results)
    return Result(*(sum(getattr(result, name) for result in every) for name in ("passed", "failed", "skipped", "seconds")))


def environment(**more: str) -> dict[str, str]:
    """The environment of every tool: the virtual environment's programs first, the checkout's collection, the cache."""
    return {
        **os.environ,
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{image.AT_START.parent}",
        "GROUNDWORK_COMPILED": str(image.COMPILED),
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "NO_COLOR": "1",
        "GROUNDWORK_CACHE": str(CACHE),
        **more,
    }


def call(what: str, argv: Sequence[str | Path], *, cwd: Path = CHECKOUT, env: dict[str, str] | None = None) -> tuple[bool, str]:
    """Run a tool with a heartbeat. All it says is kept in a file; on failure the end of it is printed."""
    with heartbeat(what):
        done = subprocess.run(
            list(map(str, argv)),
            cwd=cwd,
            env=env or environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    log = LOGS / f"{what.lower().replace(' ', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(done.stdout)
    if done.returncode:
        print(f"--- {what} failed ({done.returncode}): {' '.join(map(str, argv))}; all it said is in {log}", flush=True)
        print(done.stdout[-20000:], flush=True)
    return done.returncode == 0, done.stdout


def pytest(what: str, *arguments: str) -> Result:
    """A pytest run, counted from its last line; one that says nothing of a failure and ends with one failed."""
    passed, said = call(what, [sys.executable, "-m", "pytest", "-q", f"--durations={SLOWEST}", *arguments])
    result = counted(said)
    result.failed += not passed and not result.failed
    result.said = said
    return result


def counted(said: str) -> Result:
    """Counts of pytest's closing lines; a run without one failed."""
    result = Result()
    closing = re.findall(r"^(?:=+ )?((?:\d+ [a-z]+,? ?)+) in [\d.]+s", said, flags=re.MULTILINE)
    for line in closing:
        for number, word in re.findall(r"(\d+) ([a-z]+)", line):
            if word in ("passed", "failed", "skipped"):
                setattr(result, word, getattr(result, word) + int(number))
            elif word in ("error", "errors"):
                result.failed += int(number)
    if not closing:
        result.failed += 1
    return result


def slowest(outputs: Mapping[str, str], number: int = SLOWEST) -> list[tuple[float, str, str]]:
    """(seconds, stage, test) of the slowest tests and fixtures in what stages printed, the slowest first."""
    found = [
        (float(seconds), stage, f"{test} ({phase})")
        for stage, said in outputs.items()
        for seconds, phase, test in re.findall(r"^([\d.]+)s (call|setup|teardown) +(\S.*?)\s*$", said, flags=re.MULTILINE)
    ]
    return sorted(found, key=lambda entry: -entry[0])[:number]


def sanity_checkout() -> Path:
    """A copy of the tracked and new files where ansible-test wants them: below ansible_collections, without links."""
    target = CACHE / "sanity" / "ansible_collections" / "groundwork" / "observability"
    shutil.rmtree(target, ignore_errors=True)
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    for name in files:
        source = CHECKOUT / name
        # What users do not get is checked by ruff and mypy alone.
        if name and source.is_file() and not source.is_symlink() and not name.startswith(NOT_SHIPPED):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


def sanity_home() -> str:
    """A home folder in which ansible-test finds what it would download to install pip: Python's own pip does as well."""
    home = CACHE / "sanity" / "home"
    for version in ("20.3.4", "21.3.1", "24.2"):
        file = home / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("import ensurepip\n\nensurepip.bootstrap(default_pip=True)\n")
    return str(home)


def lint() -> Result:
    """Style, types, and ansible-test sanity, without skips or ignores."""
    with locked("lint"):  # the copy for ansible-test is one for all checkouts
        return added_up(check(*what) for what in lint_checks())


def lint_checks() -> list[tuple[str, list[str], Path, dict[str, str]]]:
    """(name, program and arguments, folder, more of the environment) of each check."""
    python = ["--python", f"{sys.version_info[0]}.{sys.version_info[1]}"]
    return [
        ("ruff", ["ruff", "check", "."], CHECKOUT, {}),
        ("yamllint", ["yamllint", "--strict", "."], CHECKOUT, {}),
        ("mypy", ["mypy", "plugins", "tests", "molecule", "bench"], CHECKOUT, {"MYPY_CACHE_DIR": str(CACHE / "mypy")}),
        ("ansible-lint", ["ansible-lint", "--strict", "--offline"], CHECKOUT, {}),
        ("ansible-test sanity", ["ansible-test", "sanity", "--color", "no", *python, "--venv"], sanity_checkout(), {"HOME": sanity_home()}),
    ]


def check(name: str, argv: Sequence[str], folder: Path, more: Mapping[str, str]) -> Result:
    """One check of C(lint), which counts as one test."""
    program, *arguments = argv
    passed, _said = call(name, [PROGRAMS / program, *arguments], cwd=folder, env=environment(**more))
    return Result(passed=passed, failed=not passed)


def unit() -> Result:
    """Pure functions, no server."""
    return pytest("unit tests", "tests/unit")


def unit_newest() -> Result:
    """The same with the newest ansible-core on the newest Python."""
    with heartbeat("unit tests with the newest Ansible"):
        done = newest.unit()
    result = counted(done.stdout)
    result.said = done.stdout
    result.failed += done.returncode != 0 and not result.failed
    if result.failed:
        print(f"{done.stdout}{done.stderr}"[-20000:], flush=True)
    return result


def site_newest() -> Result:
    """The platform on a host with Debian 13, installed twice and verified by the newest ansible-core on the newest Python."""
    problem = newest.site()
    print(problem[-20000:], flush=True)
    return Result(passed=not problem, failed=bool(problem))


def integration_tests(*patterns: str) -> list[str]:
    """Their files."""
    folder = CHECKOUT / "tests" / "integration"
    return sorted(str(path) for pattern in patterns for path in folder.glob(pattern))


def integration_clickhouse() -> Result:
    """ClickHouse's modules against the real engine on loopback."""
    clickhouse.engine_library()
    return pytest("integration tests of ClickHouse", *integration_tests(*OF_CLICKHOUSE))


def integration_grafana() -> Result:
    """Grafana's modules against its stand-in, and dashboards and alerts against the real engine, on loopback."""
    clickhouse.engine_library()
    return pytest("integration tests of Grafana", *integration_tests(*OF_GRAFANA))


def integration() -> Result:
    """All other modules, and stand-ins, against real engines on loopback."""
    mirror.fill(mirror.default_source())
    clickhouse.engine_library()
    others = [f"--ignore-glob=*/{pattern}" for pattern in (*OF_CLICKHOUSE, *OF_GRAFANA)]
    return pytest("integration tests", "tests/integration", *others)


def pipeline_faults() -> Result:
    """Every fault of the telemetry pipeline that tests/faults.py knows, and then one load with all of them in turn.

    GROUNDWORK_FAULT_OUTAGE_SECONDS says how long outages last, 600 by default, and GROUNDWORK_FAULT_MINUTES how long that load lasts, 30 by
    default.
    """
    minutes, outage = os.environ.get("GROUNDWORK_FAULT_MINUTES", "30"), os.environ.get("GROUNDWORK_FAULT_OUTAGE_SECONDS", "600")
    arguments = [f"--outage={outage}", f"--minutes={minutes}"]
    passed, said = call("faults of the pipeline", [sys.executable, "-m", "tests.faults", *arguments])
    print(said[said.rfind("\n\n") :], flush=True)
    return Result(passed=passed, failed=not passed)


def lots(name: str, expression: str, number: int) -> Callable[[], Result]:
    """A stage that runs those tests of a ClickHouse file whose names match the expression this number of times, two at a time."""

    def stage() -> Result:
        clickhouse.engine_library()
        with ThreadPoolExecutor(2) as pool:
            return added_up(pool.map(lambda _number: run_with_random_seed(name, "-k", expression), range(number)))

    return stage


def more_rounds() -> Result:
    """Changes on replicas, rebuilds and changes that are killed, replicas that join, and copies: more of each than in `make test`."""
    clickhouse.engine_library()
    parts = [("replicas",), ("rebuild",), ("join",), ("copy",), ("random_sets", "-k", "killed or breaks")]
    with ThreadPoolExecutor(2) as pool:
        return added_up(pool.map(lambda part: run_with_random_seed(*part), parts))


def run_with_random_seed(name: str, *arguments: str) -> Result:
    """Run tests of a ClickHouse file with a random seed. The result is printed at once, so that an interrupted soak has shown something."""
    seed = f"--hypothesis-seed={random.randrange(2**32)}"
    result = pytest(
        f"{name} {seed}", f"tests/integration/test_clickhouse_{name}.py", *arguments, seed, "--hypothesis-show-statistics"
    )
    say(f"{name} {seed}: {result.passed} passed, {result.failed} failed, {result.skipped} skipped")
    for line in re.findall(
        r"^ +- during generate phase \(.*|^ +\* [\d.]+%, (?:altered|refused|rebuilt|the same|changed)", result.said, flags=re.MULTILINE
    ):
        print(line, flush=True)
    return result


def scenario_environment(scenario: str) -> dict[str, str]:
    """What a scenario's files read. The default one runs at -vvv, so that its tests can look for secrets in what is printed."""
    inventory = INVENTORIES.get(scenario, "single")
    verbosity = "3" if scenario == "default" else "0"
    # The cheapest scenario has the other release of Debian.
    suite = image.TRIXIE if scenario == "alternative" else image.BOOKWORM
    return {"GROUNDWORK_INVENTORY": inventory, "GROUNDWORK_SUITE": suite, "ANSIBLE_VERBOSITY": verbosity, "ANSIBLE_DIFF_ALWAYS": "1"}


def molecule(scenario: str) -> Callable[[], Result]:
    """A scenario: every step of its sequence counts, and every test of its verify steps."""

    def stage() -> Result:
        engine.ensure()
        LOGS.mkdir(parents=True, exist_ok=True)
        printed = LOGS / f"molecule-{scenario}-ansible.log"
        printed.unlink(missing_ok=True)
        passed, said = call(
            f"molecule {scenario}",
            [PROGRAMS / "molecule", "test", "--scenario-name", scenario],
            env=environment(**scenario_environment(scenario), ANSIBLE_LOG_PATH=str(printed)),
        )
        result = counted(said) if re.search(r" passed.* in ", said) else Result()
        result.failed += not passed and not result.failed
        result.said = said
        return result

    stage.__doc__ = f"molecule scenario {scenario}"
    return stage


# The longest first, so that the last ones end at about the same time.
STAGES: dict[str, Callable[[], Result]] = {
    "integration-clickhouse": integration_clickhouse,
    "integration": integration,
    "molecule-default": molecule("default"),
    "integration-grafana": integration_grafana,
    "lint": lint,
    "unit": unit,
}
# Parts of `make soak`, which run one after another. Each can be run alone.
SOAK: dict[str, Callable[[], Result]] = {
    "unit-newest": unit_newest,
    "site-newest": site_newest,
    "soak-rounds": more_rounds,
    "soak-pairs": lots("alter", "any_definition", PAIRS // LOT),
    "soak-sets": lots("random_sets", "any_set", SETS // SETS_LOT),
    "soak-product-data": lambda: pytest("product_data", "tests/integration/test_product_data.py"),
    "soak-long": lambda: pytest("long tests", "tests/integration", "-m", "soak"),
    "soak-values": lambda: pytest("rendered values", "tests/unit/test_rendered_values.py"),
    "molecule-alternative": molecule("alternative"),
    "molecule-single": molecule("single"),
    "molecule-cluster": molecule("cluster"),
    "molecule-alerts": molecule("alerts"),
    "pipeline-faults": pipeline_faults,
}
# Numbers that are larger in `make soak` than in `make test`. A variable that is set already keeps its value.
SOAK_ENVIRONMENT = {
    "GROUNDWORK_PAIRS": str(LOT),
    "GROUNDWORK_SETS": str(SETS_LOT),
    "GROUNDWORK_ROUNDS": "100",
    "GROUNDWORK_JOINS": "1000",
    "GROUNDWORK_PRODUCT_ROWS": "1000000",
    "GROUNDWORK_COPIED": "1020000",
    "GROUNDWORK_RENDERED": "200",
}
# Stages of `make test` wait for servers and hosts a part of their time: three keep two cores busy.
AT_ONCE = 3


def stage_names(arguments: Sequence[str]) -> list[str]:
    """Names of the stages to run: those of `make test` by default, those of `make soak` for C(soak)."""
    return [name for argument in arguments for name in (SOAK if argument == "soak" else [argument])] or list(STAGES)


def timed(name: str, stage: Callable[[], Result]) -> Result:
    """What a stage counted, and its seconds."""
    say(f"stage {name}")
    started = time.monotonic()
    try:
        result = stage()
    except TestbedError as error:
        print(error, flush=True)
        result = Result(failed=1)
    result.seconds = time.monotonic() - started
    return result


def directly(*arguments: str) -> int:
    """Run pytest with its output on the terminal; its exit status."""
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=CHECKOUT, env=environment()).returncode


def one(what: str) -> int:
    """Run the tests of a file, a folder or a pytest id where there is such a path, else those whose names match the expression."""
    path = what.partition("::")[0]
    return directly(what) if path and (CHECKOUT / path).exists() else directly("-k", what)


def only_changed() -> int:
    """Run the tests that concern what differs from main."""
    files = changed.test_files(CHECKOUT)
    print("\n".join(files) or "no test concerns what differs from main", flush=True)
    return directly(*files) if files else 0


def main() -> int:
    """Run the named stages, all by default; every stage runs, whatever the ones before it gave."""
    image.COMPILED.mkdir(parents=True, exist_ok=True)
    match sys.argv[1:]:
        case ["one", what] if what:
            return one(what)
        case ["one", *_]:
            print("name a test file or an expression for pytest -k: make test-one T=tests/unit/test_roles.py", file=sys.stderr)
            return 2
        case ["changed"]:
            return only_changed()
    names, stages = stage_names(sys.argv[1:]), {**SOAK, **STAGES}
    unknown = [name for name in names if name not in stages]
    if unknown:
        print(f"there is no stage {unknown[0]!r}: choose from {', '.join(stages)} and soak", file=sys.stderr)
        return 2
    if any(name.startswith("soak-") for name in names):
        os.environ.update({**SOAK_ENVIRONMENT, **os.environ})
    started = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE if STAGES.keys() >= set(names) else 1) as pool:
        results = dict(zip(names, pool.map(lambda name: timed(name, stages[name]), names), strict=True))
    print(f"\n{'stage':<20}{'seconds':>9}{'passed':>9}{'failed':>9}{'skipped':>9}")
    for name, result in results.items():
        print(f"{name:<20}{result.seconds:>9.0f}{result.passed:>9}{result.failed:>9}{result.skipped:>9}")
    total = added_up(results.values())
    total.seconds = time.monotonic() - started
    print(f"{'all':<20}{total.seconds:>9.0f}{total.passed:>9}{total.failed:>9}{total.skipped:>9}\n")
    if slow := slowest({name: result.said for name, result in results.items()}):
        print("slowest tests")
        for seconds, stage, test in slow:
            print(f"{seconds:>9.1f} s  {stage:<20}{test}")
        print()
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped", flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
