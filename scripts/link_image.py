#!/usr/bin/env python3
"""Links one application, the C library and what it reaches of the kernel into a bootable image.

What an application may have that an image's own parts have too, or that no rule of image.ld names, is
looked for in its objects first (fitted()). Then two steps where needed: constant numbers passed to syscall() are found in the linked code, and the
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

import elf_object
import memory_expressions
import pack_root

# What libstdc++ calls by glibc's inner names and libc/cplusplus/locale.c serves.
LOCALE = ("__newlocale", "__duplocale", "__freelocale")
# What an exception may leave, and libc/cplusplus/once.c serves.
ONCE = ("pthread_once",)

# What belongs to an allocator. Who brings malloc brings the first three, or memory of one allocator
# would be given to the other.
ALLOCATOR = ("free", "realloc", "calloc", "aligned_alloc", "memalign", "posix_memalign", "malloc_usable_size")
NO_MEMORY = 12  # ENOMEM

# The sections that image.ld has rules for, by name or what comes before the next dot.
KNOWN = {".text", ".init", ".fini", ".rodata", ".gcc_except_table", ".stapsdt", ".got", ".data", ".bss", ".tdata",
         ".tbss", ".init_array", ".fini_array", ".eh_frame", ".eh_frame_hdr", ".note"}

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


def kind_of(section):
    """Which of image.ld's places a section of the application belongs to."""
    flags = section.flags
    if flags & elf_object.SHF_TLS:
        return "thread_zero" if section.kind == elf_object.SHT_NOBITS else "thread"
    if flags & elf_object.SHF_EXECINSTR:
        return "exec"
    if not flags & elf_object.SHF_WRITE:
        return "read"
    return "zero" if section.kind == elf_object.SHT_NOBITS else "write"


def place_orphans(objects, work):
    """Writes what image.ld includes: a rule for each section of a name of its own. All are kept: a
    program finds them by __start_NAME and __stop_NAME, or from outside."""
    order = ("read", "zero", "write")
    kinds = {}
    for path, found in objects.items():
        for section in found.sections:
            name = section.name
            if not section.flags & elf_object.SHF_ALLOC or "." + name.lstrip(".").split(".")[0] in KNOWN and name[0] == ".":
                continue
            kind = kind_of(section)
            if kind == "exec" and section.flags & elf_object.SHF_WRITE:
                sys.exit(f"{path}: the section {name} is writable and executable; it can be one of the two")
            if any(c in name for c in '*?[]"\\\n'):
                sys.exit(f"{path}: the section {name!r} has a name that a linker script cannot have")
            other = kinds.setdefault(name, kind)
            if kind != other:
                if kind not in order or other not in order:
                    sys.exit(f"{path}: the section {name} is of another kind than in other objects")
                kinds[name] = max(kind, other, key=order.index)
    lines = {kind: [] for kind in ("exec", "read", "write", "zero", "thread", "thread_zero")}
    ending = {"exec": ":atext", "read": ":arodata", "write": ":adata", "zero": ":NONE"}
    for name, kind in kinds.items():
        keep = f'KEEP(*("{name}"))'
        if kind in ending:
            noload = " (NOLOAD)" if kind == "zero" else ""
            keep = f'"{name}"{noload} : {{ {keep} }} {ending[kind]}'
        lines[kind].append(keep + "\n")
    for kind, text in lines.items():
        with open(os.path.join(work, f"orphans_{kind}.ld"), "w", encoding="utf-8", errors="surrogateescape") as f:
            f.writelines(text)


def allocator_object(defined, work):
    """For an application with an allocator of its own: what it leaves out of the family fails, as in
    musl, where ours would serve memory that its free() does not know."""
    missing = [name for name in ALLOCATOR if name not in defined]
    for name in missing[:]:
        if name in ALLOCATOR[:3]:
            sys.exit(f"the application defines malloc but not {name}: memory of one allocator would come to "
                     "the other's")
    text = '  .section .text.no_such_allocation, "ax", @progbits\n'
    for name in missing:
        text += f"  .globl {name}\n  .type {name}, @function\n{name}:\n"
        if name in ("aligned_alloc", "memalign"):
            text += f"  sub $8, %rsp\n  call __errno_location\n  movl ${NO_MEMORY}, (%rax)\n  add $8, %rsp\n"
        text += f"  mov ${NO_MEMORY if name == 'posix_memalign' else 0}, %eax\n  ret\n"
    return assembled("allocator", text, work), set(missing)


def fitted(options, work):
    """The application's objects and the C library's replacements, so that they go together: a name that
    the kernel has too gets another one in the application, and what the application defines itself is
    not taken from the replacements."""
    try:
        objects = {path: elf_object.Object(path) for path in options.objects}
    except ValueError as error:
        sys.exit(f"{' '.join(options.objects)}: {error}")
    place_orphans(objects, work)
    defined = set().union(*(o.defined for o in objects.values()))
    kernels = elf_object.archive_symbols(options.kernel) | elf_object.archive_symbols(options.stubs)
    if both := sorted(defined & kernels):
        names = os.path.join(work, "names.txt")
        with open(names, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.writelines(f"{name} {name}.app\n" for name in both)
        renamed = [os.path.join(work, f"renamed-{i}.o") for i in range(len(options.objects))]
        for path, target in zip(options.objects, renamed):
            run(["objcopy", f"--redefine-syms={names}", path, target])
        options.objects = renamed
    extra = []
    if "malloc" in defined:
        allocator, more = allocator_object(defined, work)
        extra.append(allocator)
        defined |= more
    if both := sorted(defined & elf_object.archive_symbols(options.replacement)):
        weaker = os.path.join(work, "libc_replacement.a")
        run(["objcopy", *(f"--weaken-symbol={name}" for name in both), options.replacement, weaker])
        options.replacement = weaker
    return extra


def link(options, extra_objects, forced, target, frames=False):
    musl = options.musl
    command = ["ld", "-O2", "-nostdlib", "-static", "-z", "max-page-size=64", "-z", "common-page-size=64", "-z", "noexecstack",
               "--gc-sections", "--build-id=none", "--hash-style=gnu",
               "--no-warn-rwx-segments", "-Map", options.output + ".map", "-o", target,
               "-L", os.path.dirname(options.arguments)]
    if frames:
        command += ["--eh-frame-hdr", "-T", os.path.join(os.path.dirname(options.script), "frames.ld")]
    command += ["-T", options.script]
    for name in options.need + forced:
        command += ["-u", name]
    for name in LOCALE + (ONCE if frames else ()):
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
    extra = [arguments_object(options.arguments, work), *fitted(options, work)]
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
