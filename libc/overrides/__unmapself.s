/* Replaces musl's src/thread/x86_64/__unmapself.s: one call on the thread's kernel stack unmaps the
 * stack this runs on and ends the thread. */
.text
.global __unmapself
.type __unmapself,@function
__unmapself:
	jmp sys_unmap_and_exit
.size __unmapself,.-__unmapself
