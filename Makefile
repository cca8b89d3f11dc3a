# One target, one command. `make demo` and `make test` need nothing but Python and pip.
PYTHON ?= python3
BIN := .venv/bin
DEMO := .lambent/demo
WORKERS := -p tools.workers -n 2 --dist worksteal

.PHONY: demo test check bench gates faults soak docs picture layer lock venv clean

demo: venv  ## trace an example in the local environment, and measure what tracing costs it
	@$(BIN)/lambent invoke examples/orders-api/app.handler --event examples/orders-api/events/get-order.json --memory 512
	@mkdir -p $(DEMO)
	@$(BIN)/lambent bench examples/orders-api/app.handler --event examples/orders-api/events/get-order.json \
		--memory 256,1024 --cold 10 --warm 20 --output $(DEMO)/performance-results.json --html $(DEMO)/performance-report.html

test: venv  ## all tests, two at a time; what measures runs alone. TESTS="-n 0 sdk/tests" for some of them, one by one
	$(BIN)/python -m pytest $(WORKERS) $(TESTS)

check: venv  ## ruff, mypy, the code in README and docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy sdk/src lab/src sdk/tests lab/tests tests benchmarks tools
	$(BIN)/python -m pytest -q $(WORKERS) tests/docs
	$(BIN)/python tools/reference.py --check

bench: venv  ## lambent and its peers, the lab and RIE, each in one interleaved run; writes the README's tables
	$(BIN)/python benchmarks/run.py --readme
	$(BIN)/python benchmarks/emulators.py --readme
	$(BIN)/python benchmarks/events.py

gates: venv  ## does the gate hold what it promises? A quarter of an hour; writes docs/reference/gates.md
	$(BIN)/python benchmarks/gates.py --doc

faults: venv  ## every way of delivery, of ending and of a collector; writes docs/reference/delivery-matrix.md
	$(BIN)/python tools/faults.py

soak: venv  ## 100,000 invocations in one environment: nothing may grow
	$(BIN)/python tools/soak.py

docs: venv  ## write the generated pages of docs/reference
	$(BIN)/python tools/reference.py
	$(BIN)/python -m tests.spec.listing

picture: venv  ## measure an example, and renew the README's picture of the report (needs Chromium: tools/chromium.sh)
	@mkdir -p $(DEMO)
	$(BIN)/lambent bench examples/orders-api/app.handler --event examples/orders-api/events/get-order.json \
		--memory 512 --cold 30 --warm 30 --output $(DEMO)/picture.json --html $(DEMO)/picture.html
	$(BIN)/python tools/chromium.py $(DEMO)/picture.html docs/images/report.png --width 1000 --height 1750

layer: venv  ## write dist/lambent-layer.zip: the SDK as a layer, with /opt/lambent for AWS_LAMBDA_EXEC_WRAPPER
	$(BIN)/python tools/layer.py

lock: venv  ## write requirements.txt from requirements.in and lab/pyproject.toml
	$(BIN)/python tools/lock.py

venv:
	@tools/venv.sh $(PYTHON)

clean:
	rm -rf .venv .bench .lambent .mypy_cache .ruff_cache .pytest_cache .hypothesis
