# Two commands set up everything: make run, and make test.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

# What the tests need on Debian and Ubuntu: a real PC/SC service with virtual readers, a C compiler, mingw to compile the
# cgo backend for Windows, and programs that are not ours to run on the virtual service.
DEB = pcscd libpcsclite-dev vsmartcard-vpcd gcc libc6-dev pkg-config \
	gcc-mingw-w64-x86-64 gcc-mingw-w64-i686 opensc pcsc-tools python3-pyscard

.PHONY: run test generate check bench lint vet unit abi test-windows test-arch wine wine-deps deps fetch

# The guided tour, on the embedded virtual reader where no PC/SC service runs. Needs Go alone.
run:
	CGO_ENABLED=0 go run ./cmd/pcsc demo

# Everything, on the real pcscd. A component that is missing is a failure here, not a skip.
test: deps fetch check lint vet unit

deps:
	@$(call install,$(DEB))

# What the go command fetches. By itself it does not try again.
fetch:
	@for pause in 5 30 0; do go list -deps -test ./... >/dev/null && go run $(STATICCHECK) -version >/dev/null && exit; sleep $$pause; done; exit 1

# Installs the Debian packages that are missing, and says which. A mirror may fail for a moment, and another apt have the lock.
define install
missing=; for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then \
	command -v apt-get >/dev/null || { echo "make $@ needs these Debian packages or their like:$$missing" >&2; exit 1; }; \
	echo "installing:$$missing"; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	for pause in 5 30 0; do \
		$$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends \
			-o DPkg::Lock::Timeout=300 $$missing >/dev/null && exit; \
		sleep $$pause; \
	done; \
	exit 1; \
fi
endef

generate:
	go generate ./...

# The generated files are made anew in a copy of the tree without them, and must be those of the tree.
check:
	@sh internal/check.sh

lint:
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	go run $(STATICCHECK) ./...
	go run $(STATICCHECK) -tags pcsc_purego ./...

# Every target of the spec under every choice of backend.
vet:
	PCSC_MUST_RUN=1 go run ./internal/matrix

# All tests under both backends, the cgo one with the race detector. In between the dlopen backend in programs that have
# cgo, less what mostly waits.
unit:
	PCSC_MUST_RUN=1 go test -race -timeout 20m ./...
	PCSC_MUST_RUN=1 CGO_ENABLED=1 go test -timeout 20m -tags pcsc_purego -skip '^Test(HotPlugReal|WatchIdle|WatchVirtual|ISO7816.*)$$' \
		./backend_purego ./cmd/pcsc ./internal/conformance ./internal/cstub ./pcsc
	PCSC_MUST_RUN=1 CGO_ENABLED=0 go test -timeout 20m ./...

# The spec against the headers, compilers and libraries of every target that Debian has them for.
abi: deps
	@$(call install,$$(go run ./internal/abi -packages))
	PCSC_MUST_RUN=1 go run ./internal/abi

# The programs of Windows under wine, and those of other processors under qemu or natively. Both need root, say what they
# fetch and keep, and are quick once they have it: see internal/elsewhere. What can't be had is reported as not run.
test-windows test-arch: deps
	-@$(call install,$$(go run ./internal/elsewhere -packages $(@:test-%=%)))
	go run ./internal/elsewhere $(@:test-%=%)

# What test-windows makes the first time, ahead of it.
wine: wine-deps
	go run ./internal/elsewhere make-windows

wine-deps: deps
	-@$(call install,$$(go run ./internal/elsewhere -packages windows))

bench: deps
	go test ./internal/bench -run TestTable -count=1 -v -bench-table
