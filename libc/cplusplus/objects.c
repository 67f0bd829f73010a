/* Two objects that libstdc++ refers to. */

/* Names the object to which a destructor belongs; there is one object. */
__attribute__((visibility("hidden"))) void *__dso_handle = &__dso_handle;

/* glibc's: while it is set, reference counts go without atomic instructions. Never set here. */
char __libc_single_threaded;
