"""The systems whose boot is measured: how QEMU is called for each, how one sees that it is up, and
what it costs in counts. Ours, the null guest, Linux (bench/linux_guest.sh) and those a user names."""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from bench.count import PLUGIN, ROOT, Accesses, plugin, symbols_of
from tests.system.guest import GUEST, HOST, MAC, PREFIX, STATIC
from vmkit import vm
from vmkit.resp import Redis

TAP = "tap0"
ANSWERS = {"redis": "Ready to accept connections"}  # the console's line, by application
PVH_ENTRY = 18  # XEN_ELFNOTE_PHYS32_ENTRY


def pvh_entry(elf):
    """The physical address where a machine monitor enters an image by PVH."""
    notes = subprocess.run(["readelf", "-nW", str(elf)], capture_output=True, text=True).stdout
    found = re.search(r"Xen\s.*\(0x0*12\)\s+description data: ((?:[0-9a-f]{2} ?)+)", notes)
    return int.from_bytes(bytes.fromhex(found[1]), "little") if found else None


class System:
    """`answers`: None for a system that is done when it has ended, else the line on its console
    behind which it answers a PING. `marks`: {name: address} of what a boot goes through. `good`:
    QEMU's exit statuses that say that all went well."""

    def __init__(self, name, command, *, answers=None, marks=None, files=(), symbols=None,
                 good=(0, 1)):
        self.name, self.command, self.answers = name, command, answers
        self.marks = {k: v for k, v in (marks or {}).items() if v}
        self.files, self.symbols = [str(f) for f in files], symbols or {}
        self.counts = {}
        self.good = good

    def image_bytes(self):
        return sum(os.path.getsize(f) for f in self.files)

    def run(self, *extra, counted=None):
        """Boots it; counted() is called when it has done what it is for, before it is stopped."""
        qemu = vm.start([*self.command, *extra], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        limit = threading.Timer(300, qemu.kill)
        limit.start()
        try:
            if self.answers is None:
                text = qemu.communicate()[0]
                if qemu.returncode not in self.good:
                    raise RuntimeError(f"{self.name} ended with {qemu.returncode}: {text[-300:]}")
                return None
            text = b""
            while self.answers.encode() not in text:
                piece = os.read(qemu.stdout.fileno(), 65536)
                if not piece:
                    raise RuntimeError(f"{self.name} ended before it answered: {text[-300:]}")
                text += piece
            with Redis.connect((GUEST, 6379)) as redis:
                if redis.call("PING") != "PONG":
                    raise RuntimeError(f"{self.name} answers nonsense")
            return counted(qemu) if counted else None
        finally:
            limit.cancel()
            qemu.kill()
            qemu.wait()
            qemu.stdout.close()
            qemu.stdin.close()

    def count(self):
        """Instructions, translated blocks, device accesses: in runs of their own."""
        with tempfile.TemporaryDirectory(prefix="oblako-systems-") as folder:
            out, log = Path(folder) / "counts", Path(folder) / "log"
            out.touch()
            marks = [f"at={name}:{address:x}" for name, address in self.marks.items()]

            def lines():
                return [json.loads(line) for line in out.read_text().splitlines()]

            def ask_plugin(qemu):
                os.kill(qemu.pid, signal.SIGUSR2)
                deadline = time.monotonic() + 10
                while lines()[-1:] == [] or lines()[-1]["event"] != "signal":
                    if time.monotonic() > deadline:
                        raise RuntimeError("the plugin does not answer")
                    time.sleep(0.002)

            self.run(*plugin(out, self.symbols, *marks), counted=ask_plugin)
            last = lines()[-1]
            self.counts = {"insns": last["insns"], "blocks": last["blocks"],
                           "rep_repeats": last["rep_repeats"]}
            for line in lines()[:-1]:
                if line["event"] in self.marks:
                    self.counts[f"insns_to_{line['event']}"] = line["insns"]

            out.write_text("")
            trace = ("-D", str(log), "-d", "plugin", "-trace", "memory_region_ops_read",
                     "-trace", "memory_region_ops_write")
            entry = self.marks.get("first_instruction")
            if entry:
                counting = f"{PLUGIN},out={out},log=1,count=0,at=entry:{entry:x}"
                accesses = []
                self.run(*trace, "-plugin", counting,
                         counted=lambda _: accesses.append(log.read_text()))
                self.counts["device_accesses"] = Accesses((accesses or [log.read_text()])[0]).total
        self.counts["image_bytes"] = self.image_bytes()
        return self.counts


def marks_of(elf, **names):
    symbols = symbols_of(elf)
    return {name: symbols[symbol][0] for name, symbol in names.items() if symbol in symbols}


def network():
    return {"netdev": vm.tap_network(TAP), "mac": MAC}


def null():
    image = PLUGIN.parent / "null_guest"
    return System("null", vm.qemu_command(image, memory=16), files=[image],
                  marks={"first_instruction": pvh_entry(image)})


def ours(name):
    app = vm.App(name)
    how = network() if app.port else {}
    append = vm.command_line([STATIC] if app.port else [], "")
    symbols = symbols_of(app.symbols)
    return System(f"oblako/{name}",
                  vm.qemu_command(app.image, memory=app.memory, append=append, **how),
                  answers=ANSWERS.get(app.probe), files=[app.image], symbols=symbols,
                  good=[vm.SUCCESS],
                  marks=marks_of(app.symbols, first_instruction="pvh_entry", main="main",
                                 listen="oblako_stage_listen"))


def linux(kind, name, memory=128):
    """Linux with the same application. The stock kernel has its network devices only with ACPI."""
    done = subprocess.run([ROOT / "bench" / "linux_guest.sh", kind], stdout=subprocess.PIPE,
                          text=True)
    if done.returncode:
        raise RuntimeError(f"no Linux guest ({kind})")
    about = json.loads(done.stdout)
    guest = about["apps"][name]
    append, how, machine = guest["append"], {}, "microvm"
    if name in ANSWERS:
        append += f" address={GUEST}/{PREFIX} gateway={HOST}"
        how = network()
        machine = next(k for k, v in vm.MACHINES.items() if v[0] == about["machine"])
    return System(f"linux-{kind}/{name}",
                  vm.qemu_command(about["kernel"], machine=machine, memory=memory, append=append,
                                  extra=("-initrd", guest["initrd"]), **how),
                  answers=ANSWERS.get(name), files=[about["kernel"], guest["initrd"]],
                  marks={"first_instruction": pvh_entry(about["kernel"])} |
                        marks_of(guest["program"], main="main", listen="listen"))


def named(path):
    """Systems of a user's own: a JSON list of {"name": "nanos/redis", "qemu": [QEMU's arguments],
    "answers": "line on the console" (none: it ends by itself), "files": [what it boots from],
    "marks": {"first_instruction": "0x..."}}. {tap} and {mac} in an argument stand for ours; the
    guest's address is 172.44.0.2/24."""
    for entry in json.loads(Path(path).read_text()):
        words = [w.replace("{tap}", TAP).replace("{mac}", MAC) for w in entry["qemu"]]
        yield System(entry["name"], ["qemu-system-x86_64", *words], answers=entry.get("answers"),
                     files=entry.get("files", []),
                     marks={k: int(v, 16) for k, v in entry.get("marks", {}).items()})
