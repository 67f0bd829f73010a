// The end of an application thread.
#pragma once

// Hands over robust mutexes, wakes the joiner, leaves. The last thread ends the VM with `status`.
// Context: thread, on its kernel stack.
extern "C" [[noreturn]] void oblako_exit_thread(int status);
