"""A DHCP server for one guest, enough of RFC 2131 to offer, confirm, renew and refuse."""

import socket
import struct
import threading
from collections import namedtuple

IP_PKTINFO = 8
COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE = range(1, 8)
MASK, ROUTER, DNS, REQUESTED, LEASE, KIND, SERVER, T1, T2 = 1, 3, 6, 50, 51, 53, 54, 58, 59

# What a client said: the kind, the address it has, and where it sent it.
Message = namedtuple("Message", "kind client to")


def parse_options(data):
    options = {}
    i = 0
    while i < len(data) and data[i] != 255:
        if data[i] == 0:
            i += 1
            continue
        options[data[i]] = data[i + 2:i + 2 + data[i + 1]]
        i += 2 + data[i + 1]
    return options


class DhcpServer(threading.Thread):
    """Leases `guest` to whoever asks on `interface`. Make it inside the network namespace.
    `log` holds the kinds of the messages received, `heard` more of each; `silent` DISCOVERs are
    ignored first. While it runs: what is sent to the addresses in `mute` is not answered, `refuse`
    answers every REQUEST with a NAK, `moves` confirms another address than was asked for, `rubbish`
    holds what is said before each answer: changes of its options (None takes one away), or of the
    address under "address"; `always` what is changed in the answers themselves."""

    def __init__(self, interface, server="172.44.0.1", guest="172.44.0.2", lease=3600, silent=0):
        super().__init__(daemon=True)
        self.server, self.guest, self.lease, self.silent = server, guest, lease, silent
        self.log, self.heard = [], []
        self.mute = set()
        self.refuse = self.moves = False
        self.rubbish, self.always = [], {}
        self.requests_answered = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._socket.bind(("0.0.0.0", 67))
        self._socket.settimeout(0.2)
        self._stop_asked = threading.Event()
        self.start()

    def stop(self):
        self._stop_asked.set()
        self.join()
        self._socket.close()

    def run(self):
        while not self._stop_asked.is_set():
            try:
                request, about, _, sender = self._socket.recvmsg(2048, 64)
            except TimeoutError:
                continue
            except OSError:
                return  # the interface is gone
            if len(request) < 241 or request[0] != 1 or request[236:240] != COOKIE:
                continue
            options = parse_options(request[240:])
            kind = options.get(KIND, b"\0")[0]
            self.log.append(kind)
            self.heard.append(Message(kind, socket.inet_ntoa(request[12:16]),
                                      socket.inet_ntoa(about[0][2][8:12])))
            for answer in self.answers_to(kind, options, request):
                # A client without an address hears broadcasts; one that renews is asked directly.
                to = "255.255.255.255" if sender[0] == "0.0.0.0" else sender[0]
                try:
                    self._socket.sendto(answer, (to, 68))
                except OSError:
                    return
                self.requests_answered += kind == REQUEST

    def answers_to(self, kind, options, request):
        heard = self.heard[-1].to not in self.mute
        answer = self.answer_to(kind, options, request) if heard else None
        if answer is None:
            return []
        answered = OFFER if kind == DISCOVER else ACK
        return [self.reply(answered, request, r) for r in self.rubbish] + [answer]

    def answer_to(self, kind, options, request):
        if kind == DISCOVER:
            if self.silent > 0:
                self.silent -= 1
                return None
            return self.reply(OFFER, request)
        if kind == REQUEST:
            if options.get(SERVER, self.packed(self.server)) != self.packed(self.server):
                return None  # it took another server's offer
            wanted = options.get(REQUESTED, request[12:16])
            good = not self.refuse and (self.moves or wanted == self.packed(self.guest))
            return self.reply(ACK if good else NAK, request)
        return None

    @staticmethod
    def packed(address):
        return socket.inet_aton(address)

    def reply(self, kind, request, changes=None):
        changes = dict(changes or {})
        address = changes.pop("address", "0.0.0.0" if kind == NAK else self.guest)
        head = struct.pack("!BBBB4sHH4s4s4s4s", 2, 1, 6, 0, request[4:8], 0, 0x8000, bytes(4),
                           self.packed(address), self.packed(self.server), bytes(4))
        options = {KIND: bytes([kind]), SERVER: self.packed(self.server)}
        if kind != NAK:
            options |= {MASK: self.packed("255.255.255.0"), ROUTER: self.packed(self.server),
                        DNS: self.packed(self.server), LEASE: struct.pack("!I", self.lease)}
            options |= self.always
        options |= changes
        body = b"".join(bytes([o, len(v)]) + v for o, v in options.items() if v is not None)
        body += b"\xff"
        return (head + request[28:44] + bytes(192) + COOKIE + body).ljust(300, b"\0")
