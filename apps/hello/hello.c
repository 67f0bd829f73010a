// The smallest application there is: prints one line and ends.
#include <stdio.h>

int main(void)
{
	puts("hello from oblako");
	return 0;
}
