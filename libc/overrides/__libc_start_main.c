/* Replaces musl's src/env/__libc_start_main.c. The start-up is ours: the kernel below is trusted, so
 * the set-user-id branch (which reaches poll and open) is gone, and the first thread's block lies in
 * the image, whose linker knows its size (so mmap is not reached); all else is what musl's parts
 * expect. Reads the stack that core/boot/app_stack.cc lays out. */
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "libc.h"
#include "pthread_impl.h"

static void nothing(void)
{
}
weak_alias(nothing, _init);

extern weak hidden void (*const __init_array_start)(void), (*const __init_array_end)(void);

static void no_canary(void *random)
{
	(void)random;
}
weak_alias(no_canary, __init_ssp);

/* The kernel's boot timeline (core/boot/timeline.cc). */
void oblako_reached_main(void);

/* By arch/x64/image.ld; the last two are numbers. */
extern hidden char app_tls_start[], app_tls_file_end[], app_tls_bytes[], app_tls_alignment[];

enum { thread_alignment = _Alignof(struct pthread), dtv_bytes = 2 * sizeof(void *) };

/* What thread-local data adds, and the padding around it, follows in the image (image.ld). */
static char first_thread[dtv_bytes + sizeof(struct pthread) + 2 * thread_alignment]
    __attribute__((section(".bss.oblako_first_thread"), aligned(sizeof(void *))));

/* As static_init_tls() of src/env/__init_tls.c does it from program headers. */
static void initialise_tls(void)
{
	static struct tls_module module;

	module.align = thread_alignment;
	if (app_tls_bytes) {
		const uintptr_t image = (uintptr_t)app_tls_start, align = (uintptr_t)app_tls_alignment;
		module.image = app_tls_start;
		module.len = app_tls_file_end - app_tls_start;
		module.size = (uintptr_t)app_tls_bytes;
		module.size += (-module.size - image) & (align - 1);
		module.offset = module.size;
		if (align > thread_alignment)
			module.align = align;
		libc.tls_cnt = 1;
		libc.tls_head = &module;
	}
	libc.tls_align = module.align;
	libc.tls_size = (dtv_bytes + sizeof(struct pthread) + module.size + module.align +
	                 thread_alignment - 1) & -(size_t)thread_alignment;
	if (__init_tp(__copy_tls((unsigned char *)first_thread)) < 0)
		a_crash();
}

enum { auxv_slots = 38 };

static void initialise_libc(char **envp, char *program)
{
	size_t aux[auxv_slots] = {0};
	size_t i = 0;

	__environ = envp;
	while (envp[i])
		i++;
	size_t *auxv = (size_t *)(envp + i + 1);
	libc.auxv = auxv;
	for (; auxv[0]; auxv += 2)
		if (auxv[0] < auxv_slots)
			aux[auxv[0]] = auxv[1];
	__hwcap = aux[AT_HWCAP];
	libc.page_size = aux[AT_PAGESZ];

	if (!program)
		program = "";
	__progname = __progname_full = program;
	for (i = 0; program[i]; i++)
		if (program[i] == '/')
			__progname = program + i + 1;

	initialise_tls();
	__init_ssp((void *)aux[AT_RANDOM]);
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv,
                      void (*init)(void), void (*fini)(void), void (*rtld_fini)(void))
{
	(void)init;
	(void)fini;
	(void)rtld_fini;
	char **envp = argv + argc + 1;
	initialise_libc(envp, argv[0]);

	_init();
	for (uintptr_t f = (uintptr_t)&__init_array_start; f < (uintptr_t)&__init_array_end;
	     f += sizeof(void (*)(void)))
		(*(void (**)(void))f)();

	oblako_reached_main();
	exit(main(argc, argv, envp));
}
