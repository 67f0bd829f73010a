"""redis's own suite: what passes natively passes in the image (redis_suite.py)."""

import pytest

from tests.system import redis_suite
from tests.system.conftest import skip_without_tap

# About a minute in the image, and most of the commands; the others take longest for what they
# show (scan, sort, zset, hyperloglog, geo, dump wait or loop). The longest first.
SELECTION = """
    unit/type/stream unit/type/hash unit/scripting unit/type/string unit/other unit/multi unit/bitops
    unit/bitfield unit/introspection-2 unit/type/list-3 unit/expire unit/lazyfree unit/keyspace
    unit/type/stream-cgroups unit/tracking unit/functions unit/slowlog unit/pubsub unit/pubsubshard
    unit/protocol unit/info-command unit/type/incr
""".split()


LANES = 2  # servers side by side: half of the time nothing but the tests' own waits passes


def run(units, app):
    skip_without_tap()
    app("redis")
    reference, excepted = (redis_suite.read_list(f) for f in (redis_suite.REFERENCE,
                                                              redis_suite.EXCEPTIONS))
    outcomes = redis_suite.run(redis_suite.VmServer, units, skip=excepted,
                               report=redis_suite.progress, lanes=LANES)
    assert redis_suite.differences(outcomes) == []
    passed = sum(outcome == "ok" for cases in outcomes.values() for outcome in cases.values())
    expected = sum(len(reference.get(u, {})) - len(excepted.get(u, {})) for u in outcomes)
    assert passed >= expected > 100


def test_every_exception_is_a_case_of_the_reference_and_has_a_reason():
    reference = redis_suite.read_list(redis_suite.REFERENCE)
    for unit, cases in redis_suite.read_list(redis_suite.EXCEPTIONS).items():
        assert all(reason and case in reference[unit] for case, reason in cases.items())


def test_a_selection(app):
    run(SELECTION, app)


@pytest.mark.full
def test_everything(app):
    run(None, app)
