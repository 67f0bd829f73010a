/* Replaces musl's src/thread/x86_64/__set_thread_area.s: a leaf call of the kernel sets the thread
 * pointer of the running thread. */
.text
.global __set_thread_area
.hidden __set_thread_area
.type __set_thread_area,@function
__set_thread_area:
	jmp sys_set_thread_pointer
.size __set_thread_area,.-__set_thread_area
