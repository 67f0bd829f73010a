#!/usr/bin/env python3
"""Links one application, the C library and what it reaches of the kernel into a bootable image.

Two steps where needed: constant numbers passed to syscall() are found in the linked code, and the
calls behind them are linked in a second pass; so is frame information where code unwinds. Prints the
image's size and the reached system calls.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import time

import memory_expressions
import pack_root

# What libstdc++ calls by glibc's inner names and libc/cplusplus/locale.c serves.
LOCALE = ("__newlocale", "__duplocale", "__freelocale")

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout)
        sys.exit(f"{command[0]} failed")
    return done.stdout


def assembled(name, text, work):
    source, target = (os.path.join(work, name + kind) for kind in (".S", ".o"))
    with open(source, "w", encoding="utf-8") as f:
        f.write(text + '  .section .note.GNU-stack, "", @progbits\n')
    run(["as", "--64", "-I", work, "-o", target, source])
    return target


def arguments_object(path, work):
    """The recipe's argv lies in the image as text; the kernel splits it in place."""
    with open(path, encoding="utf-8") as f:
        arguments = f.read()
    text = memory_expressions.with_room(arguments, "ARGS")
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return assembled("arguments", '  .section .data.oblako_application_arguments, "aw", @progbits\n'
                     "  .globl oblako_application_arguments\noblako_application_arguments:\n" +
                     need("oblako_expand_memory", text != arguments) + f'  .asciz "{quoted}"\n', work)


def need(symbol, wanted=True):
    """Pulls a function into the image that the kernel refers to weakly."""
    return f"  .reloc ., R_X86_64_NONE, {symbol}\n" if wanted else ""


def blob_object(blob, work):
    with open(blob, "rb") as f:
        content = f.read()
    # Page-aligned files are larger than a page (core/fs/packed_format.hh); without any, no padding.
    alignment = 12 if len(content) > 4096 else 3
    return assembled("root", f'  .section .oblako_root, "a", @progbits\n  .p2align {alignment}\n'
                     "  .globl oblako_root_start, oblako_root_end\noblako_root_start:\n" +
                     need("oblako_inflate", pack_root.has_compressed(content)) +
                     need("oblako_expand_memory", pack_root.has_expressions(content)) +
                     f'  .incbin "{blob}"\noblako_root_end:\n', work)


def link(options, extra_objects, forced, target, frames=False):
    musl = options.musl
    command = ["ld", "-O2", "-nostdlib", "-static", "-z", "max-page-size=64", "-z", "common-page-size=64", "-z", "noexecstack",
               "--gc-sections", "--build-id=none", "--hash-style=gnu",
               "--no-warn-rwx-segments", "-Map", options.output + ".map", "-o", target]
    if frames:
        command += ["--eh-frame-hdr", "-T", os.path.join(os.path.dirname(options.script), "frames.ld")]
    command += ["-T", options.script]
    for name in options.need + forced:
        command += ["-u", name]
    for name in LOCALE:
        command += ["--wrap", name]
    command += [f"{musl}/crt1.o", f"{musl}/crti.o", *options.objects, *extra_objects, options.table,
                "--start-group", *options.cplusplus, options.replacement, f"{musl}/libc.a",
                options.kernel, options.stubs, "--end-group", options.libgcc, f"{musl}/crtn.o"]
    output = run(command)
    sys.stderr.write("".join(line + "\n" for line in output.splitlines() if "warning" in line))


def drop_section_headers(image):
    """Monitors go by program headers: what lies behind the last segment is only for tools, which have
    the .debug file."""
    with open(image, "r+b") as f:
        header = bytearray(f.read(64))
        start, = struct.unpack_from("<Q", header, 0x20)
        size, count = struct.unpack_from("<HH", header, 0x36)
        f.seek(start)
        segments = [f.read(size) for _ in range(count)]
        end = max(sum(struct.unpack_from("<Q", s, at)[0] for at in (8, 32)) for s in segments)
        struct.pack_into("<Q", header, 0x28, 0)
        struct.pack_into("<HHH", header, 0x3A, 0, 0, 0)
        f.seek(0)
        f.write(header)
        f.truncate(end)


def absolute_symbol(elf, name):
    return next(int(line.split()[0], 16) for line in run(["nm", elf]).splitlines()
                if line.split()[-1] == name)


def main():
    parser = argparse.ArgumentParser()
    for name in ("output", "script", "arguments", "root", "musl", "replacement", "kernel", "stubs", "table"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--need", action="append", default=[], help="symbol to link in any case")
    parser.add_argument("objects", nargs="+")
    options = parser.parse_args()
    options.libgcc = run(["gcc", "-print-libgcc-file-name"]).strip()
    # libstdc++ has all of libsupc++; an application without C++ takes nothing from either.
    options.cplusplus = [run(["g++", f"-print-file-name={name}"]).strip()
                         for name in ("libstdc++.a", "libgcc_eh.a")]
    started = time.monotonic()

    work = os.path.dirname(options.arguments)
    extra = [arguments_object(options.arguments, work)]
    if options.root:
        extra.append(blob_object(options.root, work))

    debug = options.output + ".debug"
    numbers = os.path.join(options.musl, "syscalls.txt")
    report = os.path.join(HERE, "report_syscalls.py")
    link(options, extra, [], debug)
    forced = run([report, "--needed", debug, numbers]).split()
    frames = " _dl_find_object\n" in run(["nm", debug])  # what the unwinder asks
    if forced or frames:
        link(options, extra, forced, debug, frames)
    run(["objcopy", "--strip-all", "--remove-section=.comment", debug, options.output])
    drop_section_headers(options.output)

    size = os.path.getsize(options.output)
    least = absolute_symbol(debug, "image_least_mb")
    with open(os.path.join(os.path.dirname(options.output), "image.json"), "w", encoding="ascii") as f:
        json.dump({"least_memory_mb": least}, f)
    print(f"{options.output}: {size:,} bytes, linked in {time.monotonic() - started:.1f} s; "
          f"needs {least} MB of memory and what the application asks for")
    print(run([report, debug, numbers]), end="")


if __name__ == "__main__":
    main()
