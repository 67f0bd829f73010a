"""Addresses given on the command line: IPv6, and for several interfaces."""

import socket
import time

from vmkit.resp import Redis

from tests.system.guest import free_port


def ping(guest, address, source=None, patience=60):
    deadline = time.monotonic() + patience
    while True:
        try:
            with guest.inside(), socket.create_connection(address, 5, source) as s:
                s.sendall(b"PING\r\n")
                assert s.recv(64) == b"+PONG\r\n"
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_static_ipv6(boot, namespace_with_tap):
    with namespace_with_tap.entered():
        namespace_with_tap.with_ipv6("tap0")
        for address, device in (("fd00:44::1/64", "tap0"), ("fd00:99::1/128", "lo")):
            namespace_with_tap.run("ip", "address", "add", address, "dev", device, "nodad")
    guest = boot("redis", namespace_with_tap, options="ip6=fd00:44::2/64 gw6=fd00:44::1")
    ping(guest, ("fd00:44::2", 6379))
    # An answer to elsewhere goes through the gateway.
    ping(guest, ("fd00:44::2", 6379), source=("fd00:99::1", 0))
    assert "ip6=" not in guest.text  # no complaint


def test_a_wrong_ipv6_address_is_named(boot):
    guest = boot("redis", "tap", options="ip6=fd00::2/48")
    guest.wait_redis()
    assert "ip6= is ADDRESS/64" in guest.text


def test_two_interfaces(boot):
    port = free_port()
    second = ["-netdev", f"user,id=net1,net=10.9.0.0/24,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.9.0.77:6379",
              "-device", "virtio-net-pci,netdev=net1,mac=52:54:00:0b:1a:c1"]
    guest = boot("redis", "tap", machine="q35", extra=second, options="en1.ip=10.9.0.77/24")
    guest.wait_redis()
    guest.wait_console(r"en1 has 10\.9\.0\.77/24")
    ping(guest, ("127.0.0.1", port))
