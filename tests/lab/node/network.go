package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
)

// addresses are the commands that make the node's network. There is no way out of
// it: the only interfaces are the loopback and a pair whose both ends are here.
// (A dummy interface would do, but not every kernel has them.)
var addresses = []string{
	"link set lo up",
	"link add lab0 type veth peer name lab1",
	"address add " + nodeAddress + "/24 dev lab0",
	"link set lab0 up",
	"link set lab1 up",
	// Without a route, connecting to a Service's address fails before kube-proxy's
	// rules can translate it.
	"route add " + servicePrefix + " dev lab0",
	"route add local " + sourcePrefix + " dev lo",
}

// networkSettings are those of the network namespace, not of the machine.
var networkSettings = map[string]string{
	"net/ipv4/ip_forward": "1",
}

func makeNetwork(lab directory) error {
	for _, arguments := range addresses {
		if err := runTool(exec.Command("ip", strings.Fields(arguments)...)); err != nil {
			return err
		}
	}
	for setting, value := range networkSettings {
		if err := os.WriteFile("/proc/sys/"+setting, []byte(value), 0); err != nil {
			return err
		}
	}
	return writePodNetwork(lab)
}

// writePodNetwork configures CNI: each pod is joined to the node by a pair of
// interfaces of its own, and reached by a route. With a bridge, answers from one
// pod to another would bypass kube-proxy's translation, unless the kernel has
// br_netfilter.
func writePodNetwork(lab directory) error {
	config := fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": "lab",
  "plugins": [{
    "type": "ptp",
    "ipam": {
      "type": "host-local",
      "dataDir": %q,
      "subnet": %q,
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`, lab.file("cni", "addresses"), podPrefix)
	return writeFile(lab.file("cni", "net.d", "lab.conflist"), config)
}

// forward passes connections that come from the machine on to the API server.
func forward(listenerFile *os.File, target string) error {
	listener, err := net.FileListener(listenerFile)
	if err != nil {
		return err
	}
	go func() {
		for {
			outside, err := listener.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, "lab: the API server cannot be reached from the machine any more:", err)
				return
			}
			go join(outside, target)
		}
	}()
	return nil
}

// join copies in both directions until both sides have ended.
func join(outside net.Conn, target string) {
	defer outside.Close()
	inside, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer inside.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		passOn(inside, outside)
	}()
	passOn(outside, inside)
	<-ended
}

// passOn copies until one side ends, and tells the other.
func passOn(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err == nil {
		err = to.(*net.TCPConn).CloseWrite()
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		// Whoever still waits for something would wait for ever.
		_ = to.Close()
		_ = from.Close()
	}
}
