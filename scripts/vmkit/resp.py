"""A redis client of the smallest kind: one connection, RESP2."""

import socket


class RedisError(Exception):
    pass


class Redis:
    """Speaks over a connected socket."""

    def __init__(self, sock):
        self.socket = sock
        self._in = sock.makefile("rb")

    @classmethod
    def connect(cls, address, timeout=10):
        s = socket.create_connection(address, timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(s)

    def close(self):
        self._in.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def encode(*words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)

    def send(self, *words):
        self.socket.sendall(self.encode(*words))

    def read(self):
        """The next reply: str, int, list or None. An error reply is raised."""
        reply = self.read_raw()
        return reply.decode("utf-8", "surrogateescape") if isinstance(reply, bytes) else reply

    def read_raw(self):
        """The same, but a bulk string as bytes: decoding a large one takes longer than its way here."""
        line = self._in.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("connection closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if rest == b"-1":
                return None
            data = self._in.read(int(rest) + 2)
            if len(data) != int(rest) + 2:
                raise ConnectionError("connection closed")
            return data[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise ConnectionError(f"not RESP: {line!r}")

    def call(self, *words):
        self.send(*words)
        return self.read()

    def pipeline(self, commands):
        """Sends all, then reads all; an error reply becomes a RedisError in the list."""
        self.socket.sendall(b"".join(self.encode(*c) for c in commands))
        replies = []
        for _ in commands:
            try:
                replies.append(self.read())
            except RedisError as error:
                replies.append(error)
        return replies

    def info(self, section="everything"):
        lines = self.call("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)
