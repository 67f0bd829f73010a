"""Canaries on the stack, of the kernel and of applications: who writes over the end of a buffer ends
the machine with a line that names the function, and the canaries are others with each boot."""

import re
import subprocess


def test_an_overflow_of_the_application_ends_it(boot):
    guest = boot("system-overflow", args="application")
    assert guest.wait_end(30) == (128 + 6) & 127, "as abort()"
    assert "the application was ended by a stack buffer overflow in the function at 0x" in guest.text
    report = guest.named_console()
    backtrace = report[report.index("backtrace:"):]
    assert re.search(r"#0 0x[0-9a-f]+  copies_too_much\+0x", backtrace), backtrace
    assert "nobody noticed" not in guest.text


def test_an_overflow_of_the_kernel_is_a_panic(boot):
    guest = boot("system-overflow", args="kernel")
    assert guest.wait_end(30) == 70, "the status of a panic"
    assert int(re.search(r"(\d+) canaries overwritten", guest.text)[1]) > 0
    assert "kernel panic: stack buffer overflow in the function at 0x" in guest.text
    report = guest.named_console()
    assert re.search(r"#0 0x[0-9a-f]+  .*(read|wait|sleep|switch)", report), report
    assert "nobody noticed" not in guest.text


def test_each_boot_has_its_own_canaries(boot):
    seen = []
    for _ in range(2):
        guest = boot("system-overflow", args="canaries")
        assert guest.wait_end(30) == 0
        seen += [int(n, 16) for n in re.findall(r"(?:application|kernel) ([0-9a-f]{16})", guest.text)]
    assert len(seen) == 4 and len(set(seen)) == 4
    for canary in seen:
        assert canary & 0xff00 == 0, "a zero byte against what goes by strings"
        assert bin(canary).count("1") > 8


def test_functions_with_buffers_have_the_check(app):
    """In what was really linked: the kernel, lwIP, the C library and the application."""
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", app("httpd").symbols],
                          capture_output=True, text=True, check=True).stdout
    callers = {"kernel_stack_chk_fail": set(), "__stack_chk_fail": set()}
    function = None
    for line in code.splitlines():
        if match := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            function = match[1]
        elif match := re.search(r"\bcall .*<(kernel_stack_chk_fail|__stack_chk_fail)>$", line):
            callers[match[1]].add(function)
    kernel, application = callers["kernel_stack_chk_fail"], callers["__stack_chk_fail"]
    assert len(kernel) > 150 and len(application) > 20
    assert any("7vformat" in f for f in kernel)
    assert any(f.startswith(("dhcp_", "nd6_", "icmp6_", "etharp_", "ip4_", "tcp_")) for f in kernel)
    assert "vfprintf" in application
    named = subprocess.run(["nm", "--defined-only", app("httpd").symbols], capture_output=True,
                           text=True, check=True).stdout
    assert "kernel_stack_guard" in re.findall(r" [Rr] (\w+)", named), "read-only after boot"
