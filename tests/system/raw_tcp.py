"""A TCP of our own on the guest's network, made of raw packets: it says exactly what a test wants
said, from addresses the host does not have, and keeps quiet otherwise."""

import socket
import struct
import time

from tests.system.guest import GUEST, MAC

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
OUR_MAC = bytes.fromhex("02000000beef")


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Segment:
    def __init__(self, frame):
        ip = frame[14:]
        header = (ip[0] & 15) * 4
        self.source, self.target = socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20])
        tcp = ip[header:struct.unpack("!H", ip[2:4])[0]]
        (self.sport, self.dport, self.seq, self.ack, offset, self.flags,
         self.window) = struct.unpack("!HHIIBBH", tcp[:16])
        self.options = tcp[20:(offset >> 4) * 4]
        self.data = tcp[(offset >> 4) * 4:]

    def sack_blocks(self):
        """The blocks of a SACK option."""
        at = 0
        while at < len(self.options) and self.options[at]:
            if self.options[at] == 1:
                at += 1
                continue
            if self.options[at] == 5:
                words = self.options[at + 2:at + self.options[at + 1]]
                return [struct.unpack("!II", words[n:n + 8]) for n in range(0, len(words), 8)]
            at += self.options[at + 1]
        return []

    def __repr__(self):
        names = [n for n, f in (("FIN", 1), ("SYN", 2), ("RST", 4), ("PSH", 8), ("ACK", 16))
                 if self.flags & f]
        return f"<{'|'.join(names)} seq {self.seq} ack {self.ack} {len(self.data)} bytes>"


class Wire:
    """The tap device, read and written as a card would."""

    def __init__(self, guest):
        self.guest_mac = bytes.fromhex(MAC.replace(":", ""))
        with guest.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            self.socket.bind(("tap0", 0))
        self.id = 0

    def close(self):
        self.socket.close()

    def send(self, source, sport, dport, seq, ack, flags, data=b"", options=b"", window=60000):
        options += b"\0" * (-len(options) % 4)
        tcp = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF,
                          (5 + len(options) // 4) << 4, flags, window, 0, 0) + options + data
        addresses = socket.inet_aton(source) + socket.inet_aton(GUEST)
        total = checksum(addresses + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
        tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
        self.id = self.id + 1 & 0xFFFF
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), self.id, 0, 64, 6, 0) + addresses
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        self.socket.send(self.guest_mac + OUR_MAC + b"\x08\x00" + ip + tcp)

    def answer_arp(self, frame):
        sender_mac, sender, target = frame[22:28], frame[28:32], frame[38:42]
        if frame[20:22] == b"\0\1" and target[3] >= 200:
            self.socket.send(sender_mac + OUR_MAC + b"\x08\x06" + frame[14:20] + b"\0\2" + OUR_MAC +
                             target + sender_mac + sender)

    def receive(self, timeout, wanted=lambda s: True):
        """The next segment from the guest that is wanted; None if none comes."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                frame, address = self.socket.recvfrom(65536)
            except TimeoutError:
                return None
            if address[2] == socket.PACKET_OUTGOING:
                continue
            if frame[12:14] == b"\x08\x06":
                self.answer_arp(frame)
            elif frame[12:14] == b"\x08\x00" and frame[23] == 6:
                segment = Segment(frame)
                if wanted(segment):
                    return segment
        return None


class Peer:
    """One end of a connection to the guest's port, at an address of its own (172.44.0.200 and up)."""

    def __init__(self, wire, port, sport, address="172.44.0.200", isn=1000):
        self.wire, self.port, self.sport, self.address = wire, port, sport, address
        self.isn = self.seq = isn
        self.ack = self.guest_isn = 0

    def send(self, flags, data=b"", seq=None, ack=None, **how):
        self.wire.send(self.address, self.sport, self.port, self.seq if seq is None else seq,
                       self.ack if ack is None else ack, flags, data, **how)

    def receive(self, timeout=10, wanted=lambda s: True):
        return self.wire.receive(timeout, lambda s: s.dport == self.sport and
                                 s.target == self.address and wanted(s))

    def silent(self, seconds):
        """True if the guest says nothing to us for that long."""
        return self.receive(seconds) is None

    def open(self, options=b""):
        self.seq, self.ack = self.isn, 0
        for _ in range(5):  # the guest may first have to ask for our hardware address
            self.send(SYN, options=options)
            answer = self.receive(3, lambda s: s.flags == SYN | ACK)
            if answer:
                break
        assert answer, "no answer to the SYN"
        assert answer.ack == self.isn + 1 & 0xFFFFFFFF
        self.guest_isn = answer.seq
        self.seq, self.ack = self.isn + 1, answer.seq + 1 & 0xFFFFFFFF
        self.send(ACK)
        return answer

    def reset(self):
        self.send(RST)

    def say(self, data):
        self.send(ACK | PSH, data)
        self.seq += len(data)
