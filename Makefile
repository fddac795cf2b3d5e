# SPDX-License-Identifier: GPL-3.0-or-later
# Every target sets up what it needs, is safe to repeat and fast the second time.

BUILD ?= build
VENV ?= .venv
PREFIX ?= /usr/local
CONFIG ?= training/detector/configs/admm5-16qam.yaml
JOBS ?= $(shell nproc)
# GNU Radio belongs to the system's interpreter; another python3 on PATH may have none.
PYTHON := /usr/bin/python3
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

APT_PACKAGES := gnuradio gnuradio-dev pybind11-dev g++ cmake make libboost-test-dev \
    python3-numpy python3-zmq python3-jsonschema python3-yaml python3-tqdm python3-threadpoolctl python3-matplotlib \
    gir1.2-gtk-3.0 python3-markdown-it python3-scipy python3-pytest python3-hypothesis python3-venv clang-format

# For tests of the kernels alone: sanitizers, the fuzzer and a second compiler; another processor, and emulators of processors.
CLANG_PACKAGES := clang libclang-rt-dev llvm cmake make libboost-test-dev
AARCH64_PACKAGES := g++-aarch64-linux-gnu qemu-user cmake make libboost-test-dev

CMAKE_FLAGS ?=
RUN := PYTHONPATH=$(BUILD)/test_modules $(PYTHON)

, := ,

# $(call apt_install,PACKAGES): those that are missing
define apt_install
@missing=$$(for p in $(1); do \
    dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || echo $$p; done); \
if [ -n "$$missing" ]; then echo "installing:" $$missing; \
    $(SUDO) apt-get update -q && \
    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; fi
endef

# $(call build_kernels,NAME,FLAGS,TARGETS): the kernels and their tests, without GNU Radio and Python, in build/NAME
define build_kernels
@mkdir -p $(BUILD)
@cmake -S lib -B $(BUILD)/$(1) $(2) > $(BUILD)/$(1).log 2>&1 || { cat $(BUILD)/$(1).log; exit 1; }
@cmake --build $(BUILD)/$(1) -j $(JOBS) --target $(or $(3),all) -- --no-print-directory
endef

.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-long test-wheel test-debian sanitize sanitize-python fuzz fuzz-blocks fuzz-contents soak test-compilers test-aarch64 test-x86-64 bench bench-quick train compare report report-quick onnx coverage mutate lint format install uninstall clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Install the Debian or Ubuntu packages that are missing
	$(call apt_install,$(APT_PACKAGES))

# $(configure): CMake, over a cache of this checkout; one that was moved here is of no use
define configure
@grep -qsx "CMAKE_HOME_DIRECTORY:INTERNAL=$(CURDIR)" $(BUILD)/CMakeCache.txt || rm -rf $(BUILD)/CMakeCache.txt $(BUILD)/CMakeFiles
@cmake -S . -B $(BUILD) -DPYTHON_EXECUTABLE=$(PYTHON) $(CMAKE_FLAGS) > $(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
endef

build: setup  ## Compile the kernels and assemble the package in build/test_modules
	$(configure)
	@cmake --build $(BUILD) -j $(JOBS) -- --no-print-directory

# torch is only for training and its tests, and stays out of the system's packages
$(VENV)/bin/python:
	$(MAKE) --no-print-directory setup
	$(PYTHON) -m venv --system-site-packages $(VENV)
$(VENV)/.complete: training/requirements.txt requirements-dev.txt | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r training/requirements.txt -r requirements-dev.txt
	@touch $@

# only what is installed: neither tests nor fuzzers
demo: setup  ## Run the flowgraphs with the shipped detectors: a BER table, and a picture in out/demo.png
	$(configure)
	@cmake --build $(BUILD) -j $(JOBS) --target _kernel _coding _gnuradio pages -- --no-print-directory
	$(RUN) examples/demo.py --output out

# TORCH=no leaves out torch, and the training tests with it; auto asks before a download of gigabytes
TORCH ?= auto
test: build | $(VENV)/bin/python  ## Run all quick tests
	$(call apt_install,libitpp-dev libuhd-dev libsoapysdr-dev libzmq3-dev)
	@if training/offer_torch.sh $(VENV) $(TORCH); then $(MAKE) --no-print-directory $(VENV)/.complete || exit 1; \
	    python=$(abspath $(VENV))/bin/python; fi; \
	    cmake -S . -B $(BUILD) -DKAQ_TRAINING_PYTHON=$$python -DKAQ_VIRTUAL_DEVICES=ON > $(BUILD).log
	@cmake --build $(BUILD) -j $(JOBS) --target all kaq_speed kaq_exact_ml -- --no-print-directory
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

test-long: $(VENV)/.complete build  ## Run the tests that take minutes: the BER of every shipped detector
	PYTHONPATH=$(BUILD)/test_modules GRC_BLOCKS_PATH=grc $(VENV)/bin/python -m pytest -m long

test-wheel: setup  ## Build wheels with pip, with a compiler and without, and try them in environments of their own
	PYTHONPATH=. $(PYTHON) -B -m pytest -q -p no:cacheprovider -m long tests/test_wheel.py

SUITE ?= trixie
test-debian:  ## Run `make demo` and `make test` in a bare system, SUITE (trixie, bookworm, or Ubuntu's noble), which debootstrap makes in build
	@mkdir -p $(BUILD)
	$(SUDO) .ci/bare_debian $(SUITE) $(BUILD)/$(SUITE) 'make demo && make test TORCH=$(TORCH)'

sanitize:  ## Run the kernels' tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
	$(call apt_install,$(CLANG_PACKAGES))
	$(call build_kernels,asan,-DCMAKE_CXX_COMPILER=clang++ -DKAQ_SANITIZE=address$(,)undefined$(,)fuzzer-no-link)
	ctest --test-dir $(BUILD)/asan --output-on-failure -j $(JOBS)
	@# of these, which have several threads
	$(call build_kernels,tsan,-DCMAKE_CXX_COMPILER=clang++ -DKAQ_SANITIZE=thread,test_threads fuzz_random)
	ctest --test-dir $(BUILD)/tsan --output-on-failure -j $(JOBS) -R '^(threads|fuzz_random)$$'

# The tests that use the bindings most; of the blocks, those that have a binding of their own, or all states. Left out are
# what frees memory too early on purpose (qa_workarounds), compiles flowgraphs (qa_grc), or simulates for long. What Python
# itself leaves behind at its end is no leak of ours.
SANITIZED_BLOCKS := base channel_estimator channel_predictor csi_pmt csi_recorder data_aided_decoder detector \
    frame_synchronizer frame_transmitter_decoder mimo_receiver qam_source_ber_meter states zmq_samples
SANITIZED_TESTS ?= tests/detection/test_arrays.py tests/detection/test_native_kernel.py tests/detection/test_plan_sharing.py \
    tests/detection/test_extreme_levels.py tests/frames tests/estimation $(SANITIZED_BLOCKS:%=tests/blocks/qa_%.py)
sanitize-python: setup  ## Run the tests of the bindings with the extensions built under the first two
	@mkdir -p $(BUILD)
	@cmake -S . -B $(BUILD)/asan-python -DPYTHON_EXECUTABLE=$(PYTHON) -DKAQ_SANITIZE=address$(,)undefined > $(BUILD)/asan-python.log 2>&1 || \
	    { cat $(BUILD)/asan-python.log; exit 1; }
	@cmake --build $(BUILD)/asan-python -j $(JOBS) --target _kernel _coding _gnuradio -- --no-print-directory
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	    ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$(BUILD)/asan-python/test_modules GRC_BLOCKS_PATH=$(CURDIR)/grc \
	    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PYTHON) -B -m pytest -q -p no:cacheprovider $(SANITIZED_TESTS)

FUZZ_SECONDS ?= 60
fuzz:  ## Feed kernels and receiver anything that there may be, for FUZZ_SECONDS (60) each
	$(call apt_install,$(CLANG_PACKAGES))
	$(call build_kernels,asan,-DCMAKE_CXX_COMPILER=clang++ -DKAQ_SANITIZE=address$(,)undefined$(,)fuzzer-no-link)
	@for target in fuzz_plan fuzz_frames; do \
	    mkdir -p $(BUILD)/asan/corpus-$$target && \
	    (cd $(BUILD)/asan && tests/$$target corpus-$$target -max_total_time=$(FUZZ_SECONDS) -max_len=192 -len_control=0 \
	        -timeout=60 -fork=$(JOBS) -artifact_prefix=$$target-) || exit 1; done

# CASES in place of SECONDS, SEED, and what else `python -m tests.fuzz --help` lists, as in FUZZ_ARGS="--block detector"
SEED ?= 1
SECONDS ?= 60
fuzz-blocks: build  ## Fuzz every block in flowgraphs, for SECONDS (60) or CASES, from SEED (1): out/fuzz
	PYTHONPATH=$(BUILD)/test_modules:. $(PYTHON) -B -m tests.fuzz --seed $(SEED) $(if $(CASES),--cases $(CASES),--seconds $(SECONDS)) --jobs $(JOBS) $(FUZZ_ARGS)

fuzz-contents: $(VENV)/.complete build  ## Fuzz all that is read, files and frames over ZMQ, for SECONDS (60), from SEED (1): out/fuzz
	PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -B -m tests.fuzz.contents --seed $(SEED) --seconds $(SECONDS) $(FUZZ_ARGS)

MINUTES ?= 3
LIMIT_MIB ?= 4
soak: build  ## Run the receiver at its highest rate for MINUTES (3), its peers killed; memory, latency, losses: out/soak
	PYTHONPATH=$(BUILD)/test_modules:. $(PYTHON) -B -m benchmarks.soak --minutes $(MINUTES) --limit-mib $(LIMIT_MIB)

test-compilers: build  ## Build the kernels with clang, run their tests, and compare their bits with those of the build under test
	$(call apt_install,$(CLANG_PACKAGES))
	$(call build_kernels,clang,-DCMAKE_CXX_COMPILER=clang++)
	ctest --test-dir $(BUILD)/clang --output-on-failure -j $(JOBS)
	KAQ_REPLAY_CLANG=$(BUILD)/clang/tests/replay $(RUN) -B -m pytest -q -p no:cacheprovider tests/detection/test_replay.py

test-aarch64: build  ## Build the kernels for 64-bit Arm and run their tests under an emulator
	$(call apt_install,$(AARCH64_PACKAGES))
	$(call build_kernels,aarch64,-DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/cmake/aarch64-linux-gnu.cmake)
	ctest --test-dir $(BUILD)/aarch64 --output-on-failure -j $(JOBS)
	KAQ_REPLAY_AARCH64=$(BUILD)/aarch64/tests/replay $(RUN) -B -m pytest -q -p no:cacheprovider tests/detection/test_replay.py

test-x86-64: build  ## Run the kernels' tests on emulated x86-64 processors without AVX-512, and without AVX2
	$(call apt_install,qemu-user)
	for cpu in max qemu64; do qemu-x86_64 -cpu $$cpu $(BUILD)/lib/tests/test_kernels && \
	    qemu-x86_64 -cpu $$cpu $(BUILD)/lib/tests/test_list_kernels && \
	    qemu-x86_64 -cpu $$cpu $(BUILD)/lib/tests/test_linear_kernels && \
	    qemu-x86_64 -cpu $$cpu $(BUILD)/lib/tests/fuzz_random 50 || exit 1; done

bench: $(VENV)/.sionna build  ## Measure the speed of everything side by side, in some 10 minutes: out/bench
	@cmake --build $(BUILD) -j $(JOBS) --target kaq_speed -- --no-print-directory
	PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -m benchmarks.speed --output out/bench

bench-quick: $(VENV)/.complete build  ## The same with tiny budgets, in seconds: out/bench-quick
	@cmake --build $(BUILD) -j $(JOBS) --target kaq_speed -- --no-print-directory
	PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -m benchmarks.speed --quick --output out/bench-quick

train: $(VENV)/.complete build  ## Train and export a detector: make train CONFIG=training/detector/configs/NAME.yaml
	PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -m training train $(CONFIG) --output out/training
	PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -m training export out/training/$(basename $(notdir $(CONFIG)))

compare: $(VENV)/.complete build  ## Train quantization methods side by side, as methods.yaml says
	PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -m training compare training/detector/comparisons/methods.yaml --jobs $(JOBS)

# Sionna's detectors and its LDPC code are what the report compares with. Its metadata asks for a NumPy that GNU Radio of
# Debian 12 does not run with, so what it needs is installed by name.
$(VENV)/.sionna: $(VENV)/.complete
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps sionna-no-rt==2.2.0 importlib_resources==7.1.0
	@touch $@

# IT++'s sphere decoder, too, which is exact
define build_exact_ml
@cmake -S . -B $(BUILD) > $(BUILD).log
@cmake --build $(BUILD) -j $(JOBS) --target kaq_exact_ml -- --no-print-directory
endef

report: $(VENV)/.sionna build  ## Measure what is missing and write docs/report (some two hours from scratch)
	$(call apt_install,libitpp-dev)
	$(build_exact_ml)
	PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -m benchmarks.report --jobs $(JOBS)

report-quick: $(VENV)/.complete build  ## The same with tiny budgets, in minutes: out/report-quick
	$(build_exact_ml)
	PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -m benchmarks.report --quick --fresh --jobs $(JOBS)

NAME ?= admm5-16qam
SNR ?= 10 15 20
onnx: $(VENV)/.complete build  ## Export a detector to ONNX: make onnx NAME=admm5-16qam SNR="10 15 20"
	PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -m training onnx $(NAME) --snr $(SNR) --output out/onnx

# in an environment of its own, as Jupyter brings another pyzmq; the notebook that trains uses the other one
.venv-docs/.complete: docs/requirements.txt
	$(PYTHON) -m venv --system-site-packages .venv-docs
	.venv-docs/bin/pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	@touch $@

.PHONY: docs
docs: .venv-docs/.complete $(VENV)/.complete build  ## Make the documentation as a site, notebooks run, warnings are errors: out/site
	PYTHONPATH=$(abspath $(BUILD))/test_modules KAQ_TRAINING_PYTHON=$(abspath $(VENV))/bin/python \
	    .venv-docs/bin/python -m sphinx -q -W --keep-going -c docs . out/site
	@echo "out/site/docs/index.html"

.PHONY: train-estimator estimator-report
train-estimator: $(VENV)/.complete build  ## Train, quantize and export a learned channel estimator: out/estimator/estimator
	PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -m training train estimator
	PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -m training export out/estimator/estimator

estimator-report: $(VENV)/.complete build  ## Measure the estimators that ship: the tables of docs/guide/learned-estimator.md
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH=$(BUILD)/test_modules:. $(VENV)/bin/python -m training evaluate

# The tests of the package, each file for itself: its name goes with what it has run, for `make mutate`.
COVERED_TESTS := $(filter-out tests/fuzz/% tests/benchmarks/% tests/training/detector/% tests/training/quantization/% \
    tests/training/test_% tests/test_install.py tests/test_docs.py, \
    $(shell git ls-files 'tests/**/test_*.py' 'tests/test_*.py' 'tests/**/qa_*.py'))
coverage: $(VENV)/.complete build  ## Measure which lines and branches of the package the quick tests run: out/coverage
	@mkdir -p out/coverage && rm -f out/coverage/data*
	@for file in $(COVERED_TESTS); do echo $$file; \
	    PYTHONPATH=$(BUILD)/test_modules:. GRC_BLOCKS_PATH=$(CURDIR)/grc OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	    $(VENV)/bin/python -B -m coverage run --context=$$file -m pytest -q -p no:cacheprovider -p tests.coverage_threads \
	    $$file > out/coverage/log || cat out/coverage/log; done
	@$(VENV)/bin/coverage combine -q
	$(VENV)/bin/coverage report --fail-under=95

COUNT ?= 50
mutate: $(VENV)/.complete build  ## Change COUNT (50) places of the package, from SEED (1), and see whether a test notices: out/mutate
	$(VENV)/bin/python -B -m tests.mutate --count $(COUNT) --seed $(SEED) --modules $(BUILD)/test_modules

lint: $(VENV)/.complete  ## Check formatting, style, types, and the floors of the rooms
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	PYTHONPATH=python:. $(VENV)/bin/lint-imports
	$(VENV)/bin/python docs/internals/draw_rooms.py --check
	clang-format --dry-run --Werror $(shell git ls-files '*.cc' '*.h' '*.c')

format: $(VENV)/.complete  ## Format the sources
	$(VENV)/bin/ruff format
	$(VENV)/bin/ruff check --fix
	clang-format -i $(shell git ls-files '*.cc' '*.h' '*.c')

install: build  ## Install into PREFIX (default /usr/local)
	$(SUDO) cmake --install $(BUILD) --prefix $(PREFIX)

uninstall:  ## Remove what `make install` installed last
	@test -f $(BUILD)/install_manifest.txt || { echo "nothing was installed from here"; exit 1; }
	$(SUDO) xargs -r rm -f < $(BUILD)/install_manifest.txt
	@# and the package's folders, where Python has left its caches
	$(SUDO) rm -rf $$(sed -n 's,/gr_kaq/__init__.py$$,/gr_kaq,p' $(BUILD)/install_manifest.txt)

clean:  ## Remove everything that was built, trained or measured
	rm -rf $(BUILD) $(BUILD).log $(VENV) .venv-docs out
