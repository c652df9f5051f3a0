package node

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSourceAddressesAreTheNodesOwnAndDiffer(t *testing.T) {
	prefix := netip.MustParsePrefix(sourcePrefix)
	seen := map[netip.Addr]bool{}
	for n := range 32_000 {
		address := SourceAddress(n)
		if !prefix.Contains(address) || seen[address] {
			t.Fatalf("the address %d is %v", n, address)
		}
		seen[address] = true
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	empty := t.TempDir()
	t.Setenv("PATH", empty)
	missing := strings.Join(Tools{Components: filepath.Join(empty, "cluster-bench"), Packages: empty}.missing(), "\n")
	for _, expected := range []string{
		"the program containerd: run tests/lab/packages, or install the package containerd",
		"the program nft: run tests/lab/packages, or install the package nftables",
		"cluster-bench: run tests/lab/build",
	} {
		if !strings.Contains(missing, expected) {
			t.Errorf("%q is not in\n%s", expected, missing)
		}
	}
}

func TestUnpackedProgramsAreFound(t *testing.T) {
	packages := t.TempDir()
	for _, name := range []string{"usr/bin/containerd", "usr/lib/cni/ptp", "usr/lib/cni/host-local", "usr/lib/cni/loopback"} {
		path := filepath.Join(packages, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	t.Setenv("LD_LIBRARY_PATH", "")
	tools := Tools{Packages: packages}
	if err := tools.use(); err != nil {
		t.Fatal(err)
	}
	for _, line := range tools.missing() {
		if strings.Contains(line, "the program containerd:") || strings.Contains(line, "CNI") {
			t.Error(line)
		}
	}
}

func TestCgroupsAreRemovedFromTheLeavesUp(t *testing.T) {
	top := filepath.Join(t.TempDir(), "lab")
	if err := os.MkdirAll(filepath.Join(top, "kubepods", "pod1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(top); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(top); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	if err := removeTree(top); err != nil {
		t.Errorf("what is gone needs no removal: %v", err)
	}
}

func TestConnectionsArePassedOnToTheirEnd(t *testing.T) {
	server := listen(t)
	go func() {
		connection, err := server.Accept()
		if err != nil {
			return
		}
		// Answers when the client has ended its side, as HTTP clients may.
		request, _ := io.ReadAll(connection)
		_, _ = connection.Write(append([]byte("answer to "), request...))
		_ = connection.Close()
	}()
	outside := listen(t)
	file, err := outside.File()
	if err != nil {
		t.Fatal(err)
	}
	if err := forward(file, server.Addr().String()); err != nil {
		t.Fatal(err)
	}

	client, err := net.Dial("tcp", outside.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("request")); err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(client)
	if err != nil || string(answer) != "answer to request" {
		t.Errorf("%q, %v", answer, err)
	}
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.(*net.TCPListener)
}

func TestTheLastLinesOfALog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(strings.Repeat("early\n", 5)+strings.Repeat("late\n", 20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tail(path); got != strings.TrimSpace(strings.Repeat("late\n", 20)) {
		t.Errorf("%q", got)
	}
}
