"""Fixtures of the system tests. `boot` starts images and ends them with the test."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from tests.system.dhcp_server import DhcpServer  # noqa: E402
from tests.system.guest import GUEST, HOST, MAC, PREFIX, Guest  # noqa: E402
from vmkit import netns, vm  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the long tests too")


def pytest_configure(config):
    config.addinivalue_line("markers", "full: takes long; only with --full (make check-full)")
    config.addinivalue_line("markers", "tap: needs a tap device in a namespace of its own")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--full"):
        full = [i for i in items if i.get_closest_marker("full")]
        config.hook.pytest_deselected(items=full)
        items[:] = [i for i in items if i not in full]


_no_tap = []


def skip_without_tap():
    if not _no_tap:
        _no_tap.append(netns.cannot_run())
    if _no_tap[0]:
        pytest.skip(f"not run: {_no_tap[0]}")


@pytest.fixture(scope="session")
def app():
    """An application by name, built if need be; `system-NAME` is images/NAME.c here, `guest-NAME` a
    guest test."""
    built = {}

    def get(name):
        if name not in built:
            done = subprocess.run(["make", "-s", "image", f"APP={name}"], cwd=ROOT, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert done.returncode == 0, done.stdout[-4000:]
            kind = name.partition("-")[0]
            built[name] = vm.App(name, vm.BUILD / kind if kind in ("system", "guest") else vm.BUILD)
        return built[name]

    return get


_live = []  # the guests whose consoles a failing test shows


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for guest in _live[-3:]:
            report.sections.append((f"console of {guest.app.name}",
                                    "\n".join(guest.named_console().splitlines()[-40:])))


def _booter(app, guests, namespaces):
    def boot(name, network=None, **how):
        if network == "tap":
            skip_without_tap()
            if not namespaces:
                namespaces.append(netns.Namespace())
            network = namespaces[0]
        guest = Guest(app(name), network=network, **how)
        guests.append(guest)
        _live.append(guest)
        return guest

    return boot


def _boot_fixture(app):
    guests, namespaces = [], []
    yield _booter(app, guests, namespaces)
    for guest in guests:
        guest.kill()
        _live.remove(guest)
    for namespace in namespaces:
        namespace.close()


@pytest.fixture
def boot(app):
    """boot(name, network=None|"user"|"tap", **as Guest) -> Guest"""
    yield from _boot_fixture(app)


@pytest.fixture(scope="module")
def boot_once(app):
    """The same for a machine that the tests of one file share."""
    yield from _boot_fixture(app)


@pytest.fixture
def namespace_with_tap():
    """For tests that prepare the network before they boot."""
    skip_without_tap()
    with netns.Namespace() as namespace:
        with namespace.entered():
            namespace.add_tap("tap0", f"{HOST}/{PREFIX}", guest=GUEST, mac=MAC)
        yield namespace


@pytest.fixture
def dhcp():
    servers = []

    def serve(guest_or_namespace, **how):
        with guest_or_namespace.entered():
            server = DhcpServer("tap0", **how)
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.stop()
