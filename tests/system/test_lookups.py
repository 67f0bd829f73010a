"""Names: the machine's own, those of services, and what the C library asks again over TCP because
the answer did not fit a datagram (RFC 7766)."""

import contextlib
import socket
import struct
import threading

from tests.system.guest import HOST

ADDRESSES = 120
MOST = 48  # musl's limit for one name


def question_end(query):
    return query.index(b"\0", 12) + 5


def records(query):
    """120 addresses; for a name that begins with "chain", behind eight long names."""
    out, owner = [], b"\xc0\x0c"
    if query[13:18] == b"chain":
        for n in range(8):
            name = b"".join(bytes([63]) + bytes([97 + n]) * 63 for _ in range(3)) + b"\0"
            out.append(owner + struct.pack("!HHIH", 5, 1, 60, len(name)) + name)
            owner = name
        return out + [owner + struct.pack("!HHIH4B", 1, 1, 60, 4, 10, 9, 9, 9)]
    return [owner + struct.pack("!HHIH4B", 1, 1, 60, 4, 10, 1, 1, n) for n in range(ADDRESSES)]


def answer(query, room):
    sent, all_of_them = b"", records(query)
    whole = len(b"".join(all_of_them)) + question_end(query) <= room
    count = 0
    for record in all_of_them:
        if len(sent) + len(record) + question_end(query) > room:
            break
        sent, count = sent + record, count + 1
    flags = 0x8180 | (0 if whole else 0x200)
    return query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + query[12:question_end(query)] + sent


def exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            return b""
        data += more
    return data


class Server:
    """Answers over UDP in 512 octets and over TCP whole, in pieces, but for names that begin with
    "deaf": there the connection ends without an answer."""

    def __init__(self, guest):
        with guest.inside():
            self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.datagrams.bind((HOST, 53))
            self.listener = socket.create_server((HOST, 53))
        for run in self.udp, self.tcp:
            threading.Thread(target=run, daemon=True).start()

    def udp(self):
        with contextlib.suppress(OSError):
            while True:
                query, client = self.datagrams.recvfrom(512)
                self.datagrams.sendto(answer(query, 512), client)

    def tcp(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection:
                    query = exactly(connection, struct.unpack("!H", exactly(connection, 2))[0])
                    if query[13:17] == b"deaf":
                        continue
                    whole = answer(query, 65535)
                    whole = struct.pack("!H", len(whole)) + whole
                    for at in 0, 1, 700:
                        connection.sendall(whole[at:{0: 1, 1: 700, 700: None}[at]])

    def close(self):
        self.datagrams.close()
        self.listener.close()


def test_names(boot):
    guest = boot("system-lookups", "tap", options=f"dns={HOST} hostname=sparrow",
                 args="lookups big.test chain.test deaf.test")
    with contextlib.closing(Server(guest)):
        guest.wait_console("done", 30)
    text = guest.text
    assert "sparrow -: ok, 1\n" in text
    assert "127.0.0.1 http: ok, 1\n" in text
    assert "udp is 17\n" in text
    assert f"big.test -: ok, {MOST}\n" in text
    assert "chain.test -: ok, 1\n" in text
    assert "deaf.test -: ok, " in text  # what the datagram held
