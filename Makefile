# Everything runs in a virtual environment outside of the checkout, made from requirements.txt.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON_IN_VENV = "$$(tests/testbed/bootstrap.sh)"

.PHONY: help dashboards demo demo-down test test-one test-changed soak bench bench-grafana bench-gateway bench-schema bench-ingest bench-durability bench-idle bench-controller lint unit
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## Build hosts in containers, install the whole platform on them, show a real application's telemetry arriving
	@python=$(PYTHON_IN_VENV) && exec $$python -m tests.testbed demo

demo-down: ## Remove what `make demo` started
	@python=$(PYTHON_IN_VENV) && exec $$python -m tests.testbed down demo

test: ## Lint, unit, integration and molecule tests; prints a table of stages and the slowest tests
	@python=$(PYTHON_IN_VENV) && exec $$python -m tests.run

test-one: ## Some unit or integration tests: T=<a file, folder or pytest id, or an expression for pytest -k>
	@python=$(PYTHON_IN_VENV) && exec $$python -m tests.run one '$(T)'

test-changed: ## Unit and integration tests that concern what differs from main (the rule: tests/changed.py)
	@python=$(PYTHON_IN_VENV) && exec $$python -m tests.run changed

soak: ## What takes some hours: the unit tests and a site installed by the newest ansible-core; a host with every setting changed, and one that is damaged and repaired; 20,000 random pairs of tables and 5,000 changes of random sets of objects, each lot with a seed; 100 rounds of changes on four replicas; a million rows of each signal copied from the exporter's tables, with a SIGKILL; 20 random faults under load on nine hosts; the faults that alerts are about; the faults of the telemetry pipeline
	@python=$(PYTHON_IN_VENV) && exec $$python -m tests.run soak

bench: ## clickhouse_schema beside a looped task, as ratios
	@python=$(PYTHON_IN_VENV) && exec $$python -m bench.clickhouse_schema

bench-grafana: ## grafana_dashboards beside looped tasks, on 100 dashboards without a change (about 3 minutes)
	@python=$(PYTHON_IN_VENV) && exec $$python -m bench.grafana_dashboards

bench-gateway: ## What a gateway costs ClickHouse and ZooKeeper with 10 to 3,000 agents, with and without batches (about 40 minutes)
	@python=$(PYTHON_IN_VENV) && exec $$python -m bench.gateway

bench-schema: ## Storage and query time of our tables beside those that the collector's exporter makes, for 5 M logs and spans and 10 M points
	@python=$(PYTHON_IN_VENV) && exec $$python -m bench.schema

bench-ingest: ## CPU, memory and latency of our gateway beside the exporter's defaults
	@python=$(PYTHON_IN_VENV) && exec $$python -m bench.ingest

bench-durability: ## What it costs that acknowledged records survive a host without power: fsync of queues and inserts, insert_quorum
	@python=$(PYTHON_IN_VENV) && exec $$python -m bench.durability

bench-idle: ## What the platform costs while nobody sends anything: CPU, memory and writes of each service (about 12 minutes)
	@python=$(PYTHON_IN_VENV) && exec $$python -m bench.idle

bench-controller: ## What a run without changes costs the controller with 10, 100 and 1,000 hosts
	@python=$(PYTHON_IN_VENV) && exec $$python -m bench.controller

lint: ## ansible-lint, yamllint, ruff, mypy, ansible-test sanity
	@python=$(PYTHON_IN_VENV) && exec $$python -m tests.run lint

dashboards: ## Draw all dashboards without Grafana, on data of real collectors; pictures go to docs/dashboards (about 2 minutes, needs chromium and pngquant)
	@python=$(PYTHON_IN_VENV) && exec $$python -m tests.previews

unit: ## Unit tests only
	@python=$(PYTHON_IN_VENV) && exec $$python -m tests.run unit
