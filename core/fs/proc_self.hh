// What /proc/self tells of the one process: its strings and its directories.
#pragma once

#include "core/fs/pseudo.hh"

namespace oblako::fs {

// The last component of the name the program was started by; the text lies in `buffer`.
text program_name(char (&buffer)[256]);

void write_cmdline(text_builder& out);
void write_environ(text_builder& out);
void write_auxv(text_builder& out);
// The texts of links.
void write_cwd(text_builder& out);
void write_exe(text_builder& out);

} // namespace oblako::fs
