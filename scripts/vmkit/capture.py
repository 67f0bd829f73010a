"""The host's end of net.capture=: datagrams that are pcap records, into a pcap file."""

import socket
import struct
import threading

DEFAULT_PORT = 5555
# pcap with nanoseconds, version 2.4, no time zone, records up to 64 kB, Ethernet.
FILE_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
RECORD_HEADER = struct.Struct("<IIII")


def is_record(datagram):
    """Whether it is one whole record; anybody may send to the port."""
    if len(datagram) < RECORD_HEADER.size:
        return False
    _, nanoseconds, captured, original = RECORD_HEADER.unpack_from(datagram)
    return (nanoseconds < 1_000_000_000 and captured == len(datagram) - RECORD_HEADER.size
            and captured <= original)


class Capture:
    """Listens from its creation on; run() or start() writes what comes."""

    def __init__(self, out, address="127.0.0.1", port=0):
        self.out = out
        self.records = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((address, port))
        self.port = self._socket.getsockname()[1]
        self._ended = False

    def run(self):
        self.out.write(FILE_HEADER)
        self.out.flush()
        self._socket.settimeout(0.2)
        while True:
            try:
                datagram = self._socket.recv(65536)
            except TimeoutError:
                self.out.flush()
                if self._ended:
                    return
                continue
            if is_record(datagram):
                self.out.write(datagram)
                self.records += 1

    def start(self):
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        """Takes what has arrived, then ends."""
        self._ended = True
        self._thread.join()
        self._socket.close()
        self.out.close()
