/* What std::random_device asks in libstdc++: a number from the kernel's generator, which does not
 * fail. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

uint32_t arc4random(void)
{
	uint32_t number;
	if (getrandom(&number, sizeof number, 0) != sizeof number)
		abort();
	return number;
}
