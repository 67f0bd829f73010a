# A thin front for CMake: make image|run|gdb|check|check-full|bench|clean APP=name.
APP ?= hello
export APP ARGS MEM CPUS PORT ACCEL MACHINE NET OPTIONS

BUILD := build/cmake

.PHONY: image run gdb check check-full bench clean configure

configure: $(BUILD)/build.ninja
$(BUILD)/build.ninja:
	@cmake --preset release

image: configure
	@cmake --build $(BUILD) --target image-$(APP)

run: image
	@scripts/run.py $(APP)

gdb: image
	@scripts/run.py --gdb $(APP)

check:
	@tests/run_all.py

check-full:
	@tests/run_all.py --full

bench: image
	@cmake --build $(BUILD) --target insn_count
	@bench/count.py $(APP)

clean:
	@rm -rf build
