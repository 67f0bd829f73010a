// Making threads and knowing them by number: for the calls that create, end and look up threads.
#pragma once

#include "core/sched/thread.hh"

namespace oblako::sched {

// A thread that will start at entry(argument) on its own kernel stack once it is made runnable by
// wake(); a null argument stands for the thread itself. It is not in the table yet. Errors: nomem.
result<thread*> create_thread(void (*entry)(void*), void* argument);
// Gives it a number and enters it. Errors: again (no number is free).
result<void> register_thread(thread& t);
// Takes the running or a never started thread out of the table; nobody finds it afterwards.
// Returns how many application threads are left.
uint32_t forget_thread(thread& t);
// Frees a thread that never ran and is not in the table.
void discard_thread(thread& t);

} // namespace oblako::sched
