# Every target sets up what it needs into .venv; nothing has to be activated or installed first.

PYTHON ?= python3

# Named after this folder's path: a .venv that was copied or moved with its checkout still points to the old one.
READY := .venv/ready-$(shell pwd -P | cksum | cut -d ' ' -f 1)

# The site's generator is no package of the labs, so it has an environment of its own.
SITE_TOOLS := build/site-tools/ready

# The records of the servers of this checkout's state folders: without them a running server could not be found and stopped.
RECORDS := $(wildcard $(foreach folder,.labkit build/*,$(folder)/run/*.json $(folder)/practice/run/*.json))

# A user's own settings for these would send packages elsewhere than into .venv, or import others than those in it.
unexport PIP_PREFIX PIP_TARGET PYTHONHOME PYTHONPATH
# With this one set, each of the many processes that tests start would compile labkit anew.
unexport PYTHONDONTWRITEBYTECODE
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# As in: make run-labs CLUSTER=kind. A variable of that name in a person's environment means another cluster.
ifeq ($(origin CLUSTER),command line)
export LABKIT_CLUSTER := $(CLUSTER)
endif

# As in: make setup BUNDLE=labs.tar.gz. Python's packages and the programs come out of it, and nothing is fetched.
OFFLINE := $(if $(findstring command line,$(origin BUNDLE)),$(BUNDLE))

# Four processes on any machine: half of a run is waiting for processes and sockets.
UNIT := pytest --quiet -p no:nbval --numprocesses=4 --ignore=tests/unit/test_project.py tests/unit

# As in: make test T=tests/unit/test_trust.py. T of a person's environment is not meant.
ONE := $(if $(findstring command line,$(origin T)),$(T))

COMPILE := .venv/bin/uv pip compile --universal --python-version 3.11 --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
  --custom-compile-command "make lock" --quiet

# Any of these will do for the browser tests.
CHROMIUMS := chromium || command -v chromium-browser || command -v google-chrome || command -v google-chrome-stable

.DEFAULT_GOAL := help
.PHONY: help setup lab run-labs unit coverage test test-faults fuzz test-room test-kind test-cluster check bench seats sizes pictures browser image docs docs-site dist down clean lock pins

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make .venv from requirements.lock (every target does so when needed); BUNDLE=FILE: without network
	@echo "✔ .venv is ready"

lab: $(READY) ## open the labs in JupyterLab, in a copy of your own (work/)
	@.venv/bin/labkit lab

run-labs: $(READY) ## run all labs headless, in a state folder of their own (CLUSTER=kind: on KinD); results in build/labs/
	@.venv/bin/labkit run

# nbval runs notebooks; without it pytest starts a second sooner.
unit: $(READY) ## run the unit tests, without servers: seconds
	@.venv/bin/python -m $(UNIT)

coverage: $(READY) ## run the unit tests, and list the lines of labkit that they leave out
	@rm -rf build/coverage && mkdir -p build/coverage
	@.venv/bin/python -m coverage run -m $(UNIT)
	@.venv/bin/python -m coverage combine --quiet
	@.venv/bin/python -m coverage report

test: $(if $(ONE),$(READY),check) ## check, then the unit tests, the tests on real servers, and the labs but 07 headless, in JupyterLab and under nbval; T=PATH: only what is there
ifdef ONE
	@.venv/bin/python -m pytest $(ONE)
else
	@LABKIT_CLUSTER=local .venv/bin/labkit setup --ui
	@.venv/bin/python -m tests.programs
	@.venv/bin/python -m pytest --numprocesses=4 --no-loadscope-reorder --durations=10 --ignore=tests/unit/test_project.py
endif

test-faults: $(READY) ## kill servers and commands at many moments, run lab 07, break all that the doctor knows (some 25 min)
	@LABKIT_CLUSTER=local .venv/bin/labkit setup --ui
	@.venv/bin/python -m pytest --numprocesses=2 --durations=10 tests/faults

fuzz: $(READY) ## give thousands of generated files to labkit and to the real programs: an hour or more (T="PATH -k WORD" for some of it)
	@.venv/bin/python -m pytest -p no:nbval --hypothesis-profile=fuzz --timeout=0 --hypothesis-show-statistics \
	  $(or $(ONE),$(addprefix tests/integration/test_,differential.py odd_workshops.py schemas.py))

test-room: $(READY) ## 8 people at once in a room, labs 01 to 03 in JupyterLab (ROOM_PEOPLE=8); and a rehearsal of a room of two
	@LABKIT_CLUSTER=local .venv/bin/labkit setup --ui
	@.venv/bin/python -m pytest --durations=10 tests/room

test-kind: $(READY) ## labs 02 to 06 on a real KinD, and its faults; skipped, with the reason, where Docker does not run (RECORD=1, RESTART_DOCKER=…)
	@LABKIT_CLUSTER=local .venv/bin/labkit setup
	@RESTART_DOCKER="$(RESTART_DOCKER)" .venv/bin/python -m pytest --durations=10 $(if $(RECORD),--record) tests/kind

test-cluster: $(READY) ## a class on a real KinD by JupyterHub's Helm chart: CHART=jupyterhub/jupyterhub (or a folder) IMAGE=FILE (make image); skipped where Docker or helm is missing
	@LABKIT_CLUSTER=kind .venv/bin/labkit setup
	@CHART="$(CHART)" IMAGE="$(IMAGE)" .venv/bin/python -m pytest -s --durations=10 tests/cluster

check: $(READY) ## ruff, mypy, layers, project files, notebooks, plain words
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/mypy & .venv/bin/python -m pytest --quiet -p no:nbval tests/unit/test_project.py tests/unit/test_problems.py; \
	  tested=$$?; wait $$! && exit $$tested

bench: $(READY) ## measure what people and kubectl wait for, on real servers, beside Terraform and kubectl (ROWS="P5 P8" for some of it, RUNS=3)
	@.venv/bin/python -m tests.bench $(ROWS) $(if $(RUNS),--runs $(RUNS))

seats: $(READY) ## measure what each seat of a room takes, on real servers (N=4 seats)
	@.venv/bin/python -m tests.seats $(or $(N),4)

sizes: $(READY) ## count labkit's lines, packages, layers and imports, and the words in a sentence of its pages
	@.venv/bin/python -m tests.sizes

docs: $(READY) ## write docs/reliability.md, docs/troubleshooting.md and docs/glossary.md from what they are about
	@said=$$(.venv/bin/python -m pytest --collect-only -qq -p no:nbval --faults-table docs/reliability.md tests) || { echo "$$said"; exit 1; }
	@.venv/bin/python -m tests.troubleshooting > docs/troubleshooting.md
	@.venv/bin/python -m tests.glossary > docs/glossary.md
	@echo "✔ wrote docs/reliability.md, docs/troubleshooting.md and docs/glossary.md"

pictures: $(READY) ## take the README's picture of a lab in JupyterLab anew (docs/pictures)
	@LABKIT_CLUSTER=local .venv/bin/python -m tests.pictures

docs-site: $(SITE_TOOLS) ## make one searchable site of README, docs and the labs as `make run-labs` left them: build/site/
	@.venv/bin/python -m tests.site write
	@build/site-tools/bin/zensical build --clean --strict
	@rm build/site/404.html # its links begin at a server's root, where a project's pages are not
	@.venv/bin/python -m tests.site check
	@echo "✔ build/site/index.html; with its search: .venv/bin/python -m http.server --bind 127.0.0.1 --directory build/site"

$(SITE_TOOLS): site.lock $(READY)
	@rm -rf build/site-tools
	@.venv/bin/python -m venv build/site-tools
	@build/site-tools/bin/python -m pip install --quiet --require-hashes --requirement site.lock
	@touch $@

image: build/image/programs.tar.gz ## build the labs' image by docker, podman or buildah; archive in build/image/ (IMAGE=NAME:TAG, BASE=packages: pull nothing)
	@.venv/bin/python deploy/image.py $(or $(IMAGE),localhost/labkit:local) build/image/labkit.tar $(if $(BASE),--base $(BASE)) $(OPTIONS)

# This machine's programs go into the image; those that it lacks are made here.
build/image/programs.tar.gz: $(READY) $(wildcard labkit/toolchain/*.* labkit/toolchain/*/* labkit/portal/app/*.json labkit/portal/pages/*.* labkit/portal/pages/src/* labkit/room/proxy/*.*)
	@mkdir -p $(@D) && rm -f $@
	@.venv/bin/python -P deploy/programs.py --pack $@

dist: $(READY) ## make what a release consists of: wheel, sdist and the list of all packages (CycloneDX) in dist/
	@rm -rf dist
	@.venv/bin/uv build --quiet --no-build-isolation --python .venv/bin/python
	@.venv/bin/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-file dist/sbom.cdx.json
	@echo "✔ dist/: $$(cd dist && echo *)"

browser: ## install a Chromium and NSS's certutil for the browser tests, by apt-get, as root, where they are missing
	@{ { command -v $(CHROMIUMS); } && command -v certutil; } >/dev/null || { \
	  command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] || { \
	    echo "✘ the browser tests need Chromium and certutil. On Debian, as root: apt install chromium libnss3-tools"; exit 1; }; \
	  echo "… installing chromium and libnss3-tools" && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium libnss3-tools >/dev/null; }
	@echo "✔ there are a browser and certutil"

down: $(READY) ## stop the lab's servers; keep what they know
	@.venv/bin/labkit down

clean: $(if $(RECORDS),$(READY)) ## stop this checkout's servers, remove .venv, build/ and .labkit/; keep work/ and the programs
	@for run in $(sort $(dir $(RECORDS))); do LABKIT_HOME="$${run%/run/}" .venv/bin/labkit down || exit 1; done
	@rm -rf .venv build .labkit
	@echo "✔ removed .venv, build/ and .labkit/; work/ and the programs' cache are kept"

lock: $(READY) ## pin the newest versions that pyproject.toml allows in requirements.lock, site.lock and deploy/kubernetes.lock
	@$(COMPILE) --all-extras --output-file requirements.lock pyproject.toml
	@$(COMPILE) --group site --output-file site.lock
	@$(COMPILE) --group kubernetes --constraint requirements.lock --output-file deploy/kubernetes.lock
	@echo "✔ requirements.lock: $$(grep -c '^[a-z].*==' requirements.lock) packages pinned"

pins: $(READY) ## pin the SHA-256 of every official download in labkit/toolchain/official.txt; fails while one is open
	@.venv/bin/python -m tests.pins

$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "✘ labkit needs Python 3.11 or newer, and $(PYTHON) is not. Name one: make PYTHON=python3.13 …"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' || { \
	  echo "✘ $(PYTHON) can't make virtual environments. On Debian or Ubuntu: apt install python3-venv"; exit 1; }
	@echo "… installing $$(grep -c '^[a-z].*==' requirements.lock) pinned packages into .venv (once; one to three minutes)"
	@[ -e $@ ] || rm -rf .venv
	@"$(PYTHON)" -m venv .venv
ifdef OFFLINE
	@tar -xzf "$(OFFLINE)" -C .venv "$$(.venv/bin/python -c 'import sys; print("python/%d.%d" % sys.version_info[:2])')" || { \
	  echo "✘ $(OFFLINE) has no packages for $$(.venv/bin/python --version). Name the Python that it was made with: make PYTHON=python3.13 …"; exit 1; }
endif
	@.venv/bin/python -m pip install --quiet $(if $(OFFLINE),--no-index --find-links .venv/python/*) --require-hashes --requirement requirements.lock
	@.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
ifdef OFFLINE
	@rm -rf .venv/python
	@.venv/bin/labkit setup --offline-bundle "$(OFFLINE)"
endif
	@touch $@
