# Every target does whatever set-up is still missing, in its own virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: install native sanitise test test-slow test-all demo lint docs check wheel-test clean

install: $(STAMP)

NATIVE = CMakeLists.txt $(wildcard src/native/*)

$(STAMP): pyproject.toml constraints.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "timewarp needs Python 3.11 or newer; this is " + sys.version.split()[0] + " (set PYTHON=python3.12, say)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

# The extension module alone, into the source tree: for work on the kernels.
native:
	PATH=$(abspath $(BIN)):$$PATH cmake -S . -B build/native -G Ninja -DPython_EXECUTABLE=$(abspath $(BIN))/python > /dev/null
	PATH=$(abspath $(BIN)):$$PATH cmake --build build/native
	rm -f src/timewarp/native/_core*.so  # a new file: processes that run keep the old one
	cp build/native/_core*.so src/timewarp/native/

# The compiled kernels under AddressSanitizer and UBSan, and their tests; Python itself leaks at exit, which is not looked at.
SANITISED = build/sanitised
SANITISED_TESTS ?= tests/native tests/flows/test_native_flow.py tests/flows/test_native_growth.py tests/energies/test_energy_engines.py \
  tests/simulation/test_batched_langevin.py
sanitise: install
	PATH=$(abspath $(BIN)):$$PATH cmake -S . -B $(SANITISED) -G Ninja -DTIMEWARP_SANITISE=ON -DPython_EXECUTABLE=$(abspath $(BIN))/python > /dev/null
	PATH=$(abspath $(BIN)):$$PATH cmake --build $(SANITISED)
	rm -rf $(SANITISED)/src && cp -r src $(SANITISED)/src && rm -f $(SANITISED)/src/timewarp/native/_core*.so
	cp $(SANITISED)/_core*.so $(SANITISED)/src/timewarp/native/
	PYTHONPATH=$(abspath $(SANITISED))/src LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 $(BIN)/python -m pytest -n 2 -p no:cacheprovider $(SANITISED_TESTS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation, from docs/ and the code; any warning fails it. Everything is read anew: a second try would hide warnings.
docs: install
	$(BIN)/sphinx-build -q -E -W --keep-going -b html docs build/docs
	@echo $(abspath build/docs/index.html)

# What is most often broken, in some minutes; `make test-all` runs the slow rest (tests/slow_tests.txt) as well.
test: install
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: install
	$(BIN)/python -m pytest -n 2 -m slow

test-all: test test-slow

check: lint docs test-all

demo: install
	$(BIN)/python examples/demo.py $(DEMO_FLAGS)

# The wheel, with the weights inside, in an environment that holds nothing else.
wheel-test: install
	rm -rf dist build/wheel-env
	$(BIN)/python -m build --wheel --outdir dist
	$(PYTHON) -m venv build/wheel-env
	build/wheel-env/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	build/wheel-env/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	cd build && rm -rf wheel-run && wheel-env/bin/timewarp models && \
	  wheel-env/bin/timewarp sample Ace-A-Nme --samples 640 --chains 32 --warmup 20 --out wheel-run && \
	  wheel-env/bin/timewarp report wheel-run

clean:
	rm -rf $(VENV) demo-run build dist src/timewarp/native/_core*.so
