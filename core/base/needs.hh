// Linking on purpose. A weak reference uses a subsystem only if something else brought it in;
// OBLAKO_NEEDS is that something: inside a function it makes whoever links this function link
// `symbol` too, at no cost at run time (a relocation that patches nothing).
#pragma once

#define OBLAKO_NEEDS(symbol) asm volatile(".reloc ., R_X86_64_NONE, " #symbol)
