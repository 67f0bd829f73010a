/* Destructors of thread_local objects, for libstdc++: it hands each to __cxa_thread_atexit_impl(), and
 * a thread that ends, or calls exit(), runs its own, the newest first, before its pthread keys' and
 * before the destructors of static objects. musl calls __oblako_thread_objects_end() there
 * (build_musl.sh). A list belongs to its thread, so it needs no lock. */
#include <stdlib.h>

struct object {
	struct object *older;
	void (*destroy)(void *);
	void *address;
};

static __thread struct object *newest;

int __cxa_thread_atexit_impl(void (*destroy)(void *), void *address, void *dso_handle)
{
	(void)dso_handle;
	struct object *object = malloc(sizeof *object);
	if (!object)
		return -1;
	*object = (struct object){newest, destroy, address};
	newest = object;
	return 0;
}

/* A destructor may make another object. */
void __oblako_thread_objects_end(void)
{
	while (newest) {
		struct object object = *newest;
		free(newest);
		newest = object.older;
		object.destroy(object.address);
	}
}
