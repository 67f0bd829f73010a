/* The one locale of C++ applications, "C". Debian's libstdc++.a looks into glibc's locale structure for
 * its tables of characters; the functions that it gives the same structure to are musl's, which see
 * six categories at its beginning, all null: the "C" locale. The image's linker puts these three
 * in place of musl's where libstdc++ calls them by glibc's inner names (link_image.py); an
 * application's own newlocale() stays musl's. Any other name is refused, which std::locale
 * reports by std::runtime_error. */
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <stdint.h>
#include <string.h>

enum { glibc_categories = 13 };

static struct {
	const void *categories[glibc_categories];
	const unsigned short *classes;
	const int32_t *to_lower, *to_upper;
	const char *names[glibc_categories];
} c_locale;

_Static_assert(sizeof c_locale == 232, "glibc's struct __locale_struct");

const unsigned short **__ctype_b_loc(void);
const int32_t **__ctype_tolower_loc(void);
const int32_t **__ctype_toupper_loc(void);

/* May run in several threads at once: each writes the same. */
static locale_t get(void)
{
	c_locale.to_lower = *__ctype_tolower_loc();
	c_locale.to_upper = *__ctype_toupper_loc();
	c_locale.classes = *__ctype_b_loc();
	for (int i = 0; i < glibc_categories; i++)
		c_locale.names[i] = "C";
	return (locale_t)&c_locale;
}

locale_t __wrap___newlocale(int mask, const char *name, locale_t base)
{
	(void)mask;
	(void)base;
	if (strcmp(name, "C") && strcmp(name, "POSIX")) {
		errno = ENOENT;
		return 0;
	}
	return get();
}

locale_t __wrap___duplocale(locale_t locale)
{
	(void)locale;
	return get();
}

void __wrap___freelocale(locale_t locale)
{
	(void)locale;
}
