"""Guest instructions, image sizes and memory against bench/budgets.json."""

import json
import subprocess

import pytest

from tests.system.conftest import ROOT, skip_without_tap

BUDGETS = json.loads((ROOT / "bench" / "budgets.json").read_text())


def within(app, name, tmp_path, *options):
    app(name)
    out = tmp_path / "figures.json"
    done = subprocess.run([ROOT / "bench" / "count.py", name, "--json", out, *options], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    print(done.stdout)
    assert done.returncode == 0
    figures = json.loads(out.read_text())
    over = {}
    for key, budget in BUDGETS[name].items():
        if key in figures:
            figure = figures[key]
            figure = figure["insns"] if isinstance(figure, dict) else figure
            assert figure > 0
            if figure > budget:
                over[key] = (figure, budget)
    assert over == {}, "counted, and the budget"
    return figures


def test_hello(app, tmp_path):
    assert {"power-off", "least MB"} <= set(within(app, "hello", tmp_path))


def test_redis_until_pong(app, tmp_path):
    skip_without_tap()
    assert "pong" in within(app, "redis", tmp_path, "--until-pong")


@pytest.mark.parametrize("pipeline", ["1", "16"])
@pytest.mark.parametrize("command", ["GET", "SET"])
def test_redis_per_request(app, tmp_path, command, pipeline):
    skip_without_tap()
    assert f"{command} P{pipeline} c50" in within(app, "redis", tmp_path, "--per-request", command,
                                                  "-P", pipeline)
