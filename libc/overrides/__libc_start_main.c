/* Replaces musl's src/env/__libc_start_main.c. The start-up is ours: the kernel below is trusted, so
 * the set-user-id branch (which reaches poll and open) is gone; all else is what musl's parts
 * expect. Reads the stack that core/boot/app_stack.cc lays out. */
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "libc.h"

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

	__init_tls(aux);
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
