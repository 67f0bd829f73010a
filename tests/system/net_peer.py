"""The guest that conformance tests talk to (images/net_peer.c, which has what its ports do), and the
fixtures around it."""

import contextlib

import pytest

from tests.system.raw_peer import Connection, Peer

ECHO, HOLD, KEPT, NARROW, SOURCE = 7, 9, 10, 11, 19
SOURCE_DATA = bytes(i % 251 for i in range(32768))
SHORT = 0.4


@pytest.fixture(scope="module")
def guest(boot_once):
    guest = boot_once("system-net_peer", "tap", limit=900)
    guest.wait_console("ready")
    return guest


# The long way in, through all layers, and the one that predicts headers.
@pytest.fixture(params=[False, True], ids=["checked", "offloaded"])
def peer(guest, request):
    with contextlib.closing(Peer(guest, request.param)) as peer:
        yield peer
        assert peer.ping(), "the guest does not answer any more"


@pytest.fixture
def echo(peer):
    connection = Connection(peer, ECHO)
    connection.open()
    yield connection
    connection.send("R")
