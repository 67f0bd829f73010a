"""What it costs to boot and to serve, against bench/budget.json: counts only, never time."""

import json
import subprocess

import pytest

from tests.system.conftest import ROOT, skip_without_tap

BUDGETS = json.loads((ROOT / "bench" / "budget.json").read_text())


def figure_of(counted):
    """The one number of an entry that has a budget."""
    if isinstance(counted, dict):
        return counted["insns"] if "insns" in counted else counted["total"]
    return counted


def count(name, out, options):
    done = subprocess.run([ROOT / "bench" / "count.py", name, "--json", out, *options], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    print(done.stdout)
    assert done.returncode == 0
    return {key: figure_of(counted) for key, counted in json.loads(out.read_text()).items()}


def within(app, name, tmp_path, *options):
    """Counts, and holds every figure that has a budget against it; the figures' names. On a busy
    host timer ticks come on top and requests arrive one by one, so what is beyond its budget is
    counted up to three times."""
    app(name)
    figures, over = {}, {}
    for _ in range(3):
        for key, figure in count(name, tmp_path / "figures.json", options).items():
            figures[key] = min(figure, figures.get(key, figure))
        over = {key: (figures[key], budget) for key, budget in BUDGETS[name].items()
                if key in figures and figures[key] > budget}
        if not over:
            break
    assert over == {}, "counted, and the budget"
    return set(figures)


def test_hello_boot(app, tmp_path):
    assert {"power-off", "device accesses", "variation", "growth %"} <= within(
        app, "hello", tmp_path, "--boot")


def test_hello_least_memory(app, tmp_path):
    assert "least kB" in within(app, "hello", tmp_path, "--fits-in", str(BUDGETS["hello"]["least kB"]))


def test_redis_boot(app, tmp_path):
    skip_without_tap()
    assert {"pong", "device accesses", "DHCP"} <= within(app, "redis", tmp_path, "--boot")


def test_redis_least_memory(app, tmp_path):
    skip_without_tap()
    assert "least kB" in within(app, "redis", tmp_path, "--fits-in", str(BUDGETS["redis"]["least kB"]))


@pytest.mark.full
@pytest.mark.parametrize("name", ["hello", "redis"])
def test_the_least_memory_is_found(app, tmp_path, name):
    skip_without_tap()
    assert "least kB" in within(app, name, tmp_path, "--least-memory")


@pytest.mark.parametrize("pipeline", ["1", "16"])
@pytest.mark.parametrize("command", ["GET", "SET"])
def test_redis_per_request(app, tmp_path, command, pipeline):
    skip_without_tap()
    assert f"{command} P{pipeline} c50" in within(app, "redis", tmp_path, "--per-request", command,
                                                  "-P", pipeline)


def test_bulk(app, tmp_path):
    skip_without_tap()
    assert {"received MB", "sent MB"} <= within(app, "system-bulk", tmp_path, "--bulk")
