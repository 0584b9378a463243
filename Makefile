# A fresh machine needs Python 3.11.4 or later, git and make; everything else is built here, in .uv and .venv.
PYTHON ?= python3
UV := .uv/bin/uv
READY := .venv/.ready
DEV := .venv/.group-dev
RARE := .venv/.group-rare
INTERPRETER = --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"
CORES ?= all

unexport PYTHONDONTWRITEBYTECODE  # a graph has many short processes, which share the compiled modules

.PHONY: env cpu test tests quick torture golden bench cluster-test lint release docs
env: $(READY)

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4) and "Python 3.11.4 or later is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv

$(READY): pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.venv $(UV) sync --locked $(INTERPRETER)
	@touch $@

# The same versions with torch's build for CPUs, without 4.3 GB of CUDA; uv.lock stays as it is.
cpu: | $(UV)
	$(UV) export --locked --no-hashes --no-annotate --quiet | grep -vE '^(nvidia|cuda|triton)' > .uv/cpu.txt
	$(UV) venv --clear $(INTERPRETER) .venv
	$(UV) pip install --python .venv --torch-backend cpu -r .uv/cpu.txt
	@touch $(READY)

# What tests and lint need beside, by groups of pyproject.toml; also on top of `make cpu`.
.venv/.group-%: $(READY)
	$(UV) export --locked --only-group $* --no-hashes --no-annotate --quiet --output-file .uv/$*.txt
	$(UV) pip install --quiet --python .venv -r .uv/$*.txt
	@touch $@

test: $(DEV) $(RARE)
	$(RUN) python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

tests: test

# A first check of an edit, in a minute: style, layers, and the tests that neither train nor run a graph.
QUICK := config work papers/test_coverage.py models measures system datasets/test_sources.py test_architecture.py
quick: $(DEV)
	$(RUN) ruff check .
	$(RUN) lint-imports --no-cache
	$(RUN) python -m pytest --numprocesses auto --maxprocesses 8 -x $(addprefix tests/,$(QUICK))
	$(RUN) python -m pytest -k 'key or specification' tests/test_golden.py

# Inject every fault that the project claims to survive; print a table of losses.
torture: $(DEV) $(RARE)
	$(RUN) PYTHONPATH=.:tests python -m torture

# Record the keys, specifications and short trainings that tests/test_golden.py compares with: docs/refactoring.md.
golden: $(DEV)
	$(RUN) PYTHONPATH=.:tests python -m golden --renew

# results/release/: tables, records, encoders, environment and checksums, for an archive with a DOI.
release: $(READY)
	@$(RUN) python -m pipeline.release

# site/ from docs/ and the pages that they link to; a dead link is an error. In an environment of its own (130 MB).
docs: | $(UV)
	UV_PROJECT_ENVIRONMENT=.venv-docs $(UV) sync --locked --only-group docs $(INTERPRETER)
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	@echo site/index.html

bench: $(READY)
	$(RUN) python -m benchmarks

# A real SLURM on this machine; as root, after apt install slurm-wlm munge. In an environment of its own.
cluster-test: | $(UV)
	UV_PROJECT_ENVIRONMENT=.venv-cluster $(UV) sync --locked --group dev --group cluster $(INTERPRETER)
	PATH="$(CURDIR)/.venv-cluster/bin:$$PATH" python -m pytest -rs tests/test_cluster.py

# Snakemake's lints except one: all rules share .venv, which uv.lock pins, so no rule names an environment.
REFUSED := {said = said $$0 "\n"} /^    [*]/ && !/conda environment or container/ {bad = 1} \
	/^Lints for|^Congratulations/ {ran = 1} END {if (bad || !ran) {printf "%s", said; exit 1}}
lint: $(DEV)
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile
	$(RUN) snakemake --lint 2>&1 | awk '$(REFUSED)'
	$(RUN) mypy
	$(RUN) lint-imports --no-cache

results/report.html: $(READY) FORCE  # from existing results; snakemake's target of that name makes everything first
	@$(RUN) python -m pipeline.report

results/%: $(READY) FORCE
	@begun=$$(mktemp); trap 'rm "$$begun"' EXIT; $(RUN) snakemake --cores $(CORES) $@ || exit; \
	case $@ in *.csv) [ $@ -nt "$$begun" ] || cat $(@:.csv=.md);; esac  # a new table was printed as it was made

# Whatever else Snakemake makes: `make dong2017`. It answers a misspelt target with the nearest.
.DEFAULT:
	@[ -e $(READY) ] || { echo "make has no target $@; if Snakemake has one: make env, then again" >&2; exit 2; }
	@$(RUN) snakemake --cores $(CORES) $@

FORCE:
