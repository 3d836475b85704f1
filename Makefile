# `make demo` trains a network and reads with it; `make test` is what CI runs.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test types tests format bench docs clean

demo: $(INSTALLED)
	@rm -rf runs/demo
	$(BIN)/rowscan train lstm-rows-b64 --output runs/demo
	$(BIN)/python examples/read_digits.py runs/demo

test: $(INSTALLED)
	@command -v npm >/dev/null || { apt-get update -qq && apt-get install -yqq npm; }
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -yqq chromium; }
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	@$(MAKE) --no-print-directory --jobs 2 types tests

types: $(INSTALLED)
	$(BIN)/mypy

# Each process of the tests would compile Rowscan anew.
unexport PYTHONDONTWRITEBYTECODE

tests: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

format: $(INSTALLED)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(INSTALLED)
	@$(BIN)/python benchmarks/tutorials.py

docs: $(INSTALLED)
	$(BIN)/python docs/make_pictures.py
	$(BIN)/python docs/make_digit_pictures.py
	$(BIN)/python docs/make_number_pictures.py
	$(BIN)/python docs/make_page_picture.py

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[heic,pdf,ray,remote,server,train,tensorflow,xlsx]' --group dev
	@touch $(INSTALLED)

clean:
	rm -rf .venv runs .mypy_cache .pytest_cache .ruff_cache
