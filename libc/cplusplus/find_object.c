/* Where the unwinder finds the frame information of an address: glibc's _dl_find_object(), which
 * libgcc_eh asks. There is one object, the image; the kernel's code has no frame information. */
#include <stdint.h>

/* glibc's struct dl_find_object. */
struct found_object {
	unsigned long long flags;
	void *map_start, *map_end;
	void *link_map;
	void *eh_frame_header;
	unsigned long long reserved[7];
};

/* By arch/x64/image.ld; scripts/link_image.py keeps frame information where this file is linked. */
extern __attribute__((visibility("hidden"))) char app_text_start[], app_text_end[], app_eh_frame_hdr[];

int _dl_find_object(void *address, struct found_object *found)
{
	const uintptr_t at = (uintptr_t)address;
	if (at < (uintptr_t)app_text_start || at >= (uintptr_t)app_text_end)
		return -1;
	*found = (struct found_object){
	    .map_start = app_text_start, .map_end = app_text_end, .eh_frame_header = app_eh_frame_hdr};
	return 0;
}
