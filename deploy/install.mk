# SPDX-License-Identifier: Apache-2.0
# make install PREFIX=/usr/local DESTDIR=, make uninstall, make deb.
PREFIX  ?= /usr/local
DESTDIR ?=
STRIP   ?=# -s strips the programs
BINDIR  := $(PREFIX)/bin
LIBDIR  := $(PREFIX)/lib/drover
DATADIR := $(PREFIX)/share
UNITDIR := $(PREFIX)/lib/systemd/system
VERSION := $(shell sed -n 's/.*DROVER_VERSION "\(.*\)"/\1/p' src/base/version.h)

.PHONY: install uninstall deb
install: all  ## install programs, runner, man pages, completions, examples and unit; PREFIX, DESTDIR
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR)/runner $(DESTDIR)$(DATADIR)/man/man1 \
	    $(DESTDIR)$(PREFIX)/include/drover $(DESTDIR)$(DATADIR)/drover/examples $(DESTDIR)$(DATADIR)/doc/drover/docs/pictures $(DESTDIR)$(UNITDIR) \
	    $(DESTDIR)$(DATADIR)/bash-completion/completions $(DESTDIR)$(DATADIR)/zsh/site-functions
	install $(STRIP) -m 755 $(BUILD)/drover $(DESTDIR)$(BINDIR)/drover
	install $(STRIP) -m 755 $(BUILD)/drover-agent $(DESTDIR)$(LIBDIR)/drover-agent
	install $(STRIP) -m 644 $(RUNNER) $(DESTDIR)$(LIBDIR)/runner/
	install -m 644 $(RUNNER_PY) $(RUNNER_NODE) $(DESTDIR)$(LIBDIR)/runner/
	install $(STRIP) -m 755 $(RUNNER_NATIVE) $(DESTDIR)$(LIBDIR)/runner/
	install -m 644 include/drover/function.h $(DESTDIR)$(PREFIX)/include/drover/
	rm -rf $(BUILD)/man && $(BUILD)/drover man $(BUILD)/man
	install -m 644 $(BUILD)/man/*.1 $(DESTDIR)$(DATADIR)/man/man1/
	$(BUILD)/drover completion bash > $(DESTDIR)$(DATADIR)/bash-completion/completions/drover
	$(BUILD)/drover completion zsh > $(DESTDIR)$(DATADIR)/zsh/site-functions/_drover
	cp -R examples/hello examples/image-quality examples/native-image-size examples/node-words $(DESTDIR)$(DATADIR)/drover/examples/
	rm -f $(DESTDIR)$(DATADIR)/drover/examples/native-image-size/functions.so
	chmod -R u=rwX,go=rX $(DESTDIR)$(DATADIR)/drover
	install -m 644 README.md CHANGELOG.md ARCHITECTURE.md CONTRIBUTING.md LICENSE $(DESTDIR)$(DATADIR)/doc/drover/
	install -m 644 docs/*.md $(DESTDIR)$(DATADIR)/doc/drover/docs/
	install -m 644 docs/pictures/* $(DESTDIR)$(DATADIR)/doc/drover/docs/pictures/
	sed 's|@BINDIR@|$(BINDIR)|' deploy/drover.service.in > $(DESTDIR)$(UNITDIR)/drover.service
	chmod 644 $(DESTDIR)$(UNITDIR)/drover.service

uninstall:  ## remove what `make install` put under PREFIX
	rm -rf $(DESTDIR)$(LIBDIR) $(DESTDIR)$(PREFIX)/include/drover $(DESTDIR)$(DATADIR)/drover $(DESTDIR)$(DATADIR)/doc/drover
	rm -f $(DESTDIR)$(BINDIR)/drover $(DESTDIR)$(UNITDIR)/drover.service \
	    $(DESTDIR)$(DATADIR)/man/man1/drover.1 $(DESTDIR)$(DATADIR)/man/man1/drover-*.1 \
	    $(DESTDIR)$(DATADIR)/bash-completion/completions/drover \
	    $(DESTDIR)$(DATADIR)/zsh/site-functions/_drover

deb: all  ## build a Debian package: build/drover_VERSION_ARCH.deb
	@BUILD=$(BUILD) VERSION=$(VERSION) deploy/make-deb
