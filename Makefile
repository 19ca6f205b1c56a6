# The entry to all tooling. Each target works from a fresh clone on a fresh Debian 12 as root.
VENV ?= .venv
PYTHON3 ?= /usr/bin/python3
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
APT_BASE := python3 python3-venv libpython3.11 binutils gcc libc6-dev gdb openssl ca-certificates libarchive-tools busybox-static age bindfs
APT_ETCD := etcd-server util-linux
APT_E2E := $(APT_ETCD) containerd runc containernetworking-plugins iptables conntrack iproute2
APT_BENCH := nginx-light zstd curl
SOURCES := $(shell find coredumpd -name '*.py') build.spec requirements-build.lock
export PYTHONDONTWRITEBYTECODE := 1
# The same sources give the same bytes (reproducible-builds.org, SOURCE_DATE_EPOCH).
export PYTHONHASHSEED := 0
export SOURCE_DATE_EPOCH := 0
APT_STORAGE := ceph-mon ceph-osd ceph-mds ceph-common ceph-fuse radosgw glusterfs-server glusterfs-client

# Install the Debian packages named in $(1) if any is missing; fail with their names if that is not possible.
define debian
@missing=; for package in $(1); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
if [ -n "$$missing" ]; then \
  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
    echo "installing$$missing"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
  else echo "these Debian packages are needed and you are not root:$$missing" >&2; exit 1; fi; fi
endef

# On a busy machine a test may miss its deadline: failed tests run once more, which is reported.
define pytest
$(PY) -m pytest $(1) || { echo "FAILED ABOVE; running the failed tests once more"; \
  $(PY) -m pytest $(1) --last-failed --last-failed-no-failures none; }
endef

.PHONY: help demo test e2e kernels runtimes fuzz soak bench verify update lock audit reproducible dist image clean debian debian-etcd debian-e2e debian-storage debian-bench azurite
help: ## this list
	@sed -n 's/^\([a-z0-9]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

debian:
	$(call debian,$(APT_BASE))
debian-etcd: debian
	$(call debian,$(APT_ETCD))
debian-e2e: debian
	$(call debian,$(APT_E2E) $(shell command -v kubectl >/dev/null || echo kubernetes-client))
# Without them the tests that need a real Ceph or GlusterFS are skipped, by name.
debian-storage: debian
	-$(call debian,$(APT_STORAGE))

# Azure's emulator, 186 MB in 10 s; without npm its tests are skipped, by name.
AZURITE := .cache/azurite/node_modules/.bin/azurite-blob
azurite: $(AZURITE)
$(AZURITE):
	-$(if $(shell command -v npm),,$(call debian,nodejs npm))
	-npm install --silent --no-audit --no-fund --prefix .cache/azurite azurite@3.35.0

# The peers of the benchmarks.
debian-bench: debian
	$(call debian,$(APT_BENCH))

# Every file that pip takes must have one of the hashes in the lock.
$(READY): requirements-dev.lock | debian
	$(PYTHON3) -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

LOCK := $(PY) -m piptools compile -q --generate-hashes --allow-unsafe --strip-extras --no-annotate \
  --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
lock: $(READY) ## after a change of requirements*.txt: the versions and hashes of all that pip installs
	$(LOCK) -o requirements-build.lock requirements-build.txt
	$(LOCK) -c requirements-build.lock -o requirements-dev.lock requirements-dev.txt

# Its data about vulnerabilities comes with the package index; where it has none, this says so and fails.
audit: $(READY) ## known vulnerabilities of what is shipped, by pip-audit
	$(PYTHON3) -m venv .cache/audit && .cache/audit/bin/pip install -q --disable-pip-version-check pip-audit==2.10.1
	.cache/audit/bin/pip-audit --strict --disable-pip --no-deps -r requirements.txt

reproducible: $(READY) ## two builds give the same executable and the same image, byte for byte
	rm -rf .cache/twice && mkdir -p .cache/twice
	for n in one two; do \
	  $(PY) -m PyInstaller --noconfirm --log-level WARN --distpath .cache/twice/$$n --workpath .cache/twice/build-$$n build.spec && \
	  $(PY) -m tools.image .cache/twice/$$n/coredumpd .cache/twice/$$n/coredumpd.oci.tar || exit 1; done
	sha256sum .cache/twice/*/coredumpd*; cd .cache/twice && for file in one/*; do cmp $$file two/$${file#one/} || exit 1; done

demo: dist ## the whole way on this machine, no Kubernetes: crash, capture, download, gdb
	dist/coredumpd demo

# The end-to-end tests hold core_pattern and mostly wait: tests that do not need it run beside them.
BESIDE := tests/unit $(addprefix tests/integration/,server objects storage deploy test_download.py test_client.py test_config.py agent/test_outage.py)
test: debian-etcd verify dist image debian-e2e debian-storage azurite ## everything: unit, contract, integration on source and frozen, e2e
	@mkdir -p .cache; failed=; \
	$(MAKE) --no-print-directory e2e >.cache/e2e.log 2>&1 & e2e=$$!; \
	{ $(call pytest,$(BESIDE)); } || failed=1; \
	echo "waiting for the end-to-end tests"; wait $$e2e || failed=1; cat .cache/e2e.log; \
	{ $(call pytest,tests/integration $(addprefix --ignore=,$(BESIDE))); } || failed=1; \
	[ -z "$$failed" ]

e2e: dist image debian-e2e ## real Kubernetes: KUBEBUILDER_ASSETS=dir, or a cluster by KUBECONFIG
	$(call pytest,tests/e2e --timeout 900 -o cache_dir=.pytest_cache/e2e)

# Other kernels and processors than this machine's, in qemu; about 300 MB of packages.
APT_KERNELS := qemu-system-x86 qemu-system-arm cpio
kernels: dist ## captures on Linux 5.10, 6.1, 6.12 and on arm64, in virtual machines
	$(call debian,$(APT_KERNELS))
	$(PY) -m pytest tests/kernels

# Compilers and runtimes, about 1 GB installed.
APT_RUNTIMES := g++ rustc golang-go nodejs openjdk-17-jdk-headless
runtimes: dist ## which crashes of C, C++, Rust, Go, Python, Node.js and Java leave a core
	$(call debian,$(APT_RUNTIMES))
	$(PY) -m pytest tests/runtimes

fuzz: SECONDS ?= 60
fuzz: $(READY) ## fuzz every reader of hostile bytes: make fuzz [SECONDS=60]
	$(PY) -m tests.fuzz $(SECONDS)

soak: SECONDS ?= 3600
soak: dist ## a node crashes on while its store is away: make soak [SECONDS=3600]
	COREDUMPD_OUTAGE_S=$(SECONDS) $(PY) -m pytest -s tests/integration/agent/test_outage.py -k "is_away and frozen"

bench: dist debian-bench ## speed as ratios: make bench [BENCH="name ..."]
	PYTHONPATH=tests $(PY) -m bench $(BENCH)

verify: $(READY) ## format, lint, types, import contracts, docs (repair: make update)
	$(VENV)/bin/ruff format --check -q . || { echo "repair: make update"; exit 1; }
	$(VENV)/bin/ruff check -q . || { echo "repair: make update"; exit 1; }
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/bandit -q -r -c bandit.yaml coredumpd tools
	$(PY) -m pytest -q tests/contract

update: $(READY) ## reformat, and regenerate what is generated
	$(VENV)/bin/ruff format -q .
	$(VENV)/bin/ruff check -q --fix .
	$(PY) tests/contract/generate.py

dist: dist/coredumpd ## dist/coredumpd, the one file
dist/coredumpd: $(SOURCES) | $(READY)
	$(PY) -m PyInstaller --noconfirm --log-level WARN build.spec
	@ls -l --block-size=K $@

# Of PLATFORMS, those that are not this machine's are built in a Debian of theirs, by qemu.
PLATFORMS ?=
comma := ,
FOREIGN := $(filter-out $(shell dpkg --print-architecture),$(patsubst linux/%,%,$(subst $(comma), ,$(PLATFORMS))))
APT_FOREIGN := debootstrap qemu-user-static
image: dist/coredumpd ## dist/coredumpd.oci.tar without a registry; for several: PLATFORMS=linux/amd64,linux/arm64
	$(PY) -m tools.image dist/coredumpd dist/coredumpd.oci.tar
ifneq ($(FOREIGN),)
	$(call debian,$(APT_FOREIGN))
	for arch in $(FOREIGN); do $(PY) -m tools.cross_build $$arch || exit 1; done
	mv dist/coredumpd.oci.tar dist/native.oci.tar
	$(PY) -m tools.image_index dist/native.oci.tar $(FOREIGN:%=dist/%/coredumpd.oci.tar) dist/coredumpd.oci.tar
endif

clean: ## remove what was built
	rm -rf build dist .cache
