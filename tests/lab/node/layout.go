package node

import (
	"net/netip"
	"os"
	"path/filepath"
)

// The addresses of the lab. They exist in its network namespace only, which has
// no route out, so they clash with nothing of the machine.
const (
	nodeName    = "lab"
	nodeAddress = "10.87.0.1"
	nodePrefix  = "10.87.0.0/24"
	// Every address in it is the node's own, to connect from.
	sourcePrefix  = "10.87.128.0/17"
	podPrefix     = "10.88.0.0/16"
	servicePrefix = "10.96.0.0/16"
	apiPort       = "6443"
	etcdPort      = "2379"
	etcdPeerPort  = "2380"
)

// SourceAddress is an address of the node to connect from, the n-th of 32,000.
// Whoever takes one that nobody else takes has all its ports.
func SourceAddress(n int) netip.Addr {
	first := netip.MustParsePrefix(sourcePrefix).Addr().As4()
	first[2] += byte(n / 250)
	first[3] = byte(n%250 + 1)
	return netip.AddrFrom4(first)
}

// directory is where a lab keeps everything that it writes.
type directory string

func (d directory) file(parts ...string) string {
	return filepath.Join(append([]string{string(d)}, parts...)...)
}

// outsideKubeconfig is for programs on the machine, insideKubeconfig for those in
// the network namespace. Both log in as a member of system:masters.
func (d directory) outsideKubeconfig() string { return d.file("outside.kubeconfig") }
func (d directory) insideKubeconfig() string  { return d.file("inside.kubeconfig") }

// The certificate that the API server makes for itself, with its CA.
func (d directory) apiCA() string { return d.file("certs", "apiserver.crt") }

func (d directory) log(component string) string { return d.file("logs", component+".log") }

// makeDirectories makes those that a component expects to be there.
func (d directory) makeDirectories() error {
	for _, name := range []string{"bin", "home", "kubelet", "logs"} {
		if err := os.MkdirAll(d.file(name), 0o755); err != nil {
			return err
		}
	}
	return nil
}
