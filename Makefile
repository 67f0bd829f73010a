# A thin front for CMake: make image|run|gdb|check|check-full|bench|bench-boot|clean APP=name.
APP ?= hello
settings := APP ARGS LINUX REPETITIONS SYSTEMS MEM CPUS PORT ACCEL MACHINE NET OPTIONS CAPTURE
export $(settings)

BUILD := build/cmake

.PHONY: image run gdb check check-full bench bench-boot bench-net clean configure

configure: $(BUILD)/build.ninja
$(BUILD)/build.ninja:
	@cmake --preset release

image: configure
	@scripts/image.sh $(BUILD) "$(APP)"

# make ends with status 2 when a recipe fails; so for `run` it becomes what it would have started, and
# the status is the application's. Where that does not work, it is started.
ifneq ($(filter run,$(MAKECMDGOALS)),)
-load build/make_exec.so
build/make_exec.so: scripts/make_exec.c
	@mkdir -p build && $(CC) -shared -fPIC -O -o $@ $< 2>/dev/null || :
endif
run: image
	@$(if $(findstring n,$(firstword -$(MAKEFLAGS))),,$(exec $(settings),scripts/run.py $(APP)))scripts/run.py $(APP)

gdb: image
	@scripts/run.py --gdb $(APP)

check:
	@tests/run_all.py

check-full:
	@tests/run_all.py --full

bench: image
	@cmake --build $(BUILD) --target insn_count
	@bench/count.py $(APP)

# All of them unless one is named.
BOOT_APPS := $(if $(filter file,$(origin APP)),hello redis,$(APP))
bench-boot: configure
	@cmake --build $(BUILD) --target insn_count boot_bench $(BOOT_APPS:%=image-%)
	@bench/bench_boot.py $(BOOT_APPS)

# The network beside a minimal Linux guest; needs root.
bench-net: configure
	@cmake --build $(BUILD) --target image-redis insn_count test_tools
	@bench/bench_net.py

clean:
	@rm -rf build
