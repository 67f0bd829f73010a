// Takes memory until there is none: by malloc, whose failure is an answer ("malloc"), or by touching
// a mapping bigger than the machine ("touch"), which cannot be answered.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int main(int argc, char** argv)
{
	size_t total = 0;
	if (argc > 1 && !strcmp(argv[1], "touch")) {
		size_t size = (size_t)1 << 30;
		char* p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED) {
			perror("mmap");
			return 3;
		}
		for (; total < size; total += 4096)
			p[total] = 1;
	} else {
		for (char* p; (p = malloc(100000)); total += 100000)
			memset(p, 1, 100000);
		perror("malloc");
	}
	printf("took %zu kB\n", total >> 10);
	return 0;
}
