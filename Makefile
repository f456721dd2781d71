# `make` tells what there is. What CI runs is `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo test check release bench fuzz clean

# How long `make fuzz` spends on each target.
FUZZ_SECONDS ?= 60

help: ## tell what there is
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## start a writer, two replicas and Weir in front of them, and watch (ONCE=1: show and exit; ARGS='--flavor mysql9')
	@.ci/install demo
	cargo build --profile demo --locked
	target/demo/weir sandbox --demo $(if $(ONCE),--once) $(ARGS)

# MySQL 9 is in no stable release of Debian, and not every machine gets every driver: without them the rest is tested,
# and the last line says so.
test: ## install the servers and drivers that tests need, then run every check
	@.ci/install lints compiler mariadb
	@.ci/install mysql9 || [ $$? = 3 ]
	@.ci/install drivers
	@.ci/check

check: ## run every check with what is installed
	@.ci/check

release: ## build target/profiled/release/weir, compiled with a profile of its work
	@.ci/install rust compiler mariadb
	@.ci/install profiler || [ $$? = 3 ]
	@.ci/profiled

bench: release ## measure what a statement costs the release
	@.ci/install bench
	WEIR_BENCH_PROGRAM=$(CURDIR)/target/profiled/release/weir cargo bench --locked

fuzz: ## feed garbage to every decoder for FUZZ_SECONDS each (needs a nightly Rust and cargo-fuzz)
	@set -e; for target in $$(cargo +nightly fuzz list); do \
		cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS); \
	done

clean: ## remove what was built, and the initialised data folders of the sandbox
	cargo clean
	rm -rf "$${WEIR_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/weir}/data"
