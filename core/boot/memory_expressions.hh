// Parts of memory in a recipe's arguments and files, so that an application's limits follow the
// machine's memory: `{memory/16}` becomes a number of bytes. Linked only where a recipe has such an
// expression.
//
//   {memory}  {memory/8}  {memory*3/16}       a part of the memory that is free when the machine
//   starts {memory/256k:32}  {memory/256k:32:10000}  the least, and the most, that it becomes
//
// Numbers may have the suffixes k, M and G; what the division leaves over is dropped.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace oblako::boot {

// Replaces every expression in a zero-terminated text by its number, in place: the text must hold
// room for it, as blanks before the closing brace. Returns the new length. Units: `memory` in
// bytes.
size_t expand_memory_expressions(char* text, uint64_t memory);

} // namespace oblako::boot

// The same with the machine's memory, which the first call notes: the start of the machine.
// Context: one thread at a time.
extern "C" [[gnu::weak]] size_t oblako_expand_memory(char* text);
