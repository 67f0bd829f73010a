/* A function for make: $(exec NAMES,COMMAND) makes make become COMMAND (words without quotes), with
 * the variables NAMES in its environment. A recipe that fails makes make end with status 2, whatever
 * the recipe's own status was; this way `make run` ends with the application's, and a signal for make
 * reaches what runs. Only for the last thing that make has to do. */
#include <gnumake.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS = 64 };

int plugin_is_GPL_compatible; /* asked for by make; our licence is compatible */

static void export_variable(const char *name)
{
	char reference[128];
	snprintf(reference, sizeof reference, "$(%s)", name);
	char *value = gmk_expand(reference);
	setenv(name, value, 1);
	gmk_free(value);
}

static char *become(const char *function, unsigned int count, char **arguments)
{
	(void)function, (void)count;
	for (char *name = strtok(arguments[0], " "); name; name = strtok(NULL, " "))
		export_variable(name);
	char *words[WORDS + 1];
	int n = 0;
	for (char *word = strtok(arguments[1], " "); word && n < WORDS; word = strtok(NULL, " "))
		words[n++] = word;
	words[n] = NULL;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	fflush(NULL);
	execvp(words[0], words);
	perror(words[0]);
	exit(127);
}

int make_exec_gmk_setup(const gmk_floc *location)
{
	(void)location;
	gmk_add_function("exec", become, 2, 2, GMK_FUNC_DEFAULT);
	return 1;
}
