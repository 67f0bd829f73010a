#!/usr/bin/env python3
"""Writes the packets of a guest with net.capture=PORT to a pcap file, until ^C:

  scripts/capture.py FILE [PORT [ADDRESS]]

`make run CAPTURE=FILE` does it by itself. FILE may be - for a pipe: scripts/capture.py - | tshark -r -
"""

import sys

from vmkit.capture import DEFAULT_PORT, Capture


def main():
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    port = int(sys.argv[2]) if len(sys.argv) > 2 else DEFAULT_PORT
    address = sys.argv[3] if len(sys.argv) > 3 else "0.0.0.0"
    out = sys.stdout.buffer if sys.argv[1] == "-" else open(sys.argv[1], "wb")
    try:
        Capture(out, address, port).run()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
