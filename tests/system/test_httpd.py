"""The static HTTP server: the recipe works, and what clients rely on."""

import contextlib
import http.client
import select
import shutil
import socket
import time

import pytest

from tests.system.guest import GUEST


@pytest.fixture
def start(boot):
    guests = []

    def start(name):
        guest = boot(name, "tap")
        guest.address = (GUEST, 80)
        guest.wait_console("httpd: serving")
        guests.append(guest)
        return guest

    yield start
    for guest in guests:
        guest.interrupt()
        assert guest.wait_end(20) == 0, guest.tail()


@pytest.fixture
def httpd(start):
    return start("httpd")


def ask(guest, method, path, headers=None, connection=None):
    with guest.inside():
        c = connection or http.client.HTTPConnection(*guest.address, timeout=20)
        c.request(method, path, headers=headers or {})
        answer = c.getresponse()
        return answer, answer.read()


def test_it_serves(httpd):
    answer, page = ask(httpd, "GET", "/")
    assert answer.status == 200 and b"It works" in page
    assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
    # All on one connection.
    with httpd.inside():
        c = http.client.HTTPConnection(*httpd.address, timeout=20)
    head, nothing = ask(httpd, "HEAD", "/index.html?query", connection=c)
    assert head.getheader("Content-Length") == str(len(page)) and nothing == b""
    assert ask(httpd, "GET", "/nothing", connection=c)[0].status == 404
    assert ask(httpd, "GET", "/../etc/passwd", connection=c)[0].status == 400
    assert ask(httpd, "GET", "/%2e%2e/etc/passwd", connection=c)[0].status == 400
    assert ask(httpd, "PUT", "/", connection=c)[0].status == 405
    since = {"If-Modified-Since": answer.getheader("Last-Modified")}
    assert ask(httpd, "GET", "/", since, connection=c)[0].status == 304
    part, some = ask(httpd, "GET", "/", {"Range": "bytes=2-8"}, connection=c)
    assert part.status == 206 and some == page[2:9]
    assert part.getheader("Content-Range") == f"bytes 2-8/{len(page)}"


def test_large_files_and_slow_readers(start):
    """What does not fit into a socket goes on when there is room, and others are served meanwhile."""
    httpd = start("system-httpd_large")
    with httpd.inside():
        slow = http.client.HTTPConnection(*httpd.address, timeout=60)
        slow.connect()
        slow.request("GET", "/large.bin")
    whole = None
    for _ in range(3):
        answer, whole = ask(httpd, "GET", "/large.bin")
        assert answer.status == 200 and len(whole) == 3_000_000
    assert slow.getresponse().read() == whole
    assert whole == b"".join(b"%07d\n" % i for i in range(375_000))
    tail, end = ask(httpd, "GET", "/large.bin", {"Range": "bytes=-100000"})
    assert tail.status == 206 and end == whole[-100_000:]


def test_pipelining(httpd):
    with httpd.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 200
                  + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := s.recv(65536):
            data += piece
    assert data.count(b"HTTP/1.1 200 OK\r\n") == 201


def test_half_requests_give_way(start):
    """More half-sent requests than there is room for (slowloris), in the memory of the recipe, 32 MB: who
    asks is served all along, on a connection kept and on new ones; the oldest half is gone."""
    httpd = start("httpd")
    most = int(httpd.wait_console(r"at most (\d+) connections")[1])
    assert 500 < most < 1024
    with contextlib.ExitStack() as stack:
        with httpd.inside():
            kept = http.client.HTTPConnection(*httpd.address, timeout=20)
        halves = []
        for n in range(most * 3):
            s = stack.enter_context(httpd.connect(20))
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-a: ")
            halves.append(s)
            if n % 100 == 0:
                assert ask(httpd, "GET", "/", connection=kept)[0].status == 200
                assert ask(httpd, "GET", "/")[0].status == 200
        with contextlib.suppress(ConnectionResetError):
            assert halves[0].recv(1) == b""
        halves[-1].sendall(b"\r\n\r\n")
        assert halves[-1].recv(12) == b"HTTP/1.1 200"


@pytest.mark.full
@pytest.mark.skipif(not shutil.which("wrk"), reason="needs wrk")
@pytest.mark.full
def test_time_limits(start):
    """A head that does not end, a connection without a request and an answer that is read too slowly
    end after their seconds; one that is read fast enough does not."""
    httpd = start("system-httpd_large")
    head, idle, stuck, slow = (httpd.connect() for _ in range(4))
    began = time.monotonic()
    head.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
    idle.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle.recv(65536).startswith(b"HTTP/1.1 404")
    for s in stuck, slow:
        s.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    ended = {}
    while time.monotonic() - began < 75:
        for name, s in ("head", head), ("idle", idle):
            if name not in ended and select.select([s], [], [], 0)[0]:
                with contextlib.suppress(ConnectionError):
                    s.recv(65536)
                ended[name] = time.monotonic() - began
        # A reset shows although nothing is read.
        if "stuck" not in ended and stuck.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            ended["stuck"] = time.monotonic() - began
        assert slow.recv(15_000), "who reads 30 kB a second was closed"
        time.sleep(0.5)
    assert 14 <= ended["head"] <= 22, ended
    assert 59 <= ended["idle"] <= 68, ended
    assert 29 <= ended["stuck"] <= 68, ended


def test_wrk(httpd):
    out = httpd.run("wrk", "-t1", "-c50", "-d5s", f"http://{httpd.address[0]}/")
    assert "Socket errors" not in out and "Non-2xx" not in out, out
    print(out)
