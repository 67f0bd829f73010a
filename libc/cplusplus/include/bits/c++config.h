// libstdc++'s configuration, without what glibc has and musl has not: waiting by a clock of choice.
// Steady clocks are waited for by the system clock then, as on older systems.
#pragma GCC system_header
#include_next <bits/c++config.h>

#undef _GLIBCXX_USE_PTHREAD_COND_CLOCKWAIT
#undef _GLIBCXX_USE_PTHREAD_MUTEX_CLOCKLOCK
#undef _GLIBCXX_USE_PTHREAD_RWLOCK_CLOCKLOCK
