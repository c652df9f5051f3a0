package node

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Check lists what this machine lacks to run a node, one line for each; empty: it
// can. The programs are made findable for this process on the way.
func Check(tools Tools) []string {
	if err := tools.use(); err != nil {
		return []string{err.Error()}
	}
	if os.Geteuid() != 0 {
		// Nothing else can be told without.
		return append(tools.missing(), "root: namespaces, mounts and cgroups are made (run it with sudo)")
	}
	missing := tools.missing()
	missing = append(missing, missingControllers()...)
	missing = append(missing, missingFileSystems()...)
	return append(missing, missingNetwork()...)
}

func missingFileSystems() []string {
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return []string{err.Error()}
	}
	if !strings.Contains(string(known), "\toverlay\n") {
		return []string{"the file system overlay in this kernel (modprobe overlay)"}
	}
	return nil
}

// missingNetwork tries in a network namespace of its own what the node will need:
// a pair of interfaces, and a rule that translates addresses, as kube-proxy makes.
func missingNetwork() []string {
	trials := []struct{ what, script string }{
		{"network, mount and PID namespaces (a container, or a seccomp profile, may forbid them)", "true"},
		{"veth interfaces in this kernel (modprobe veth)", "ip link add lab0 type veth peer name lab1"},
		{"nftables with connection tracking and NAT in this kernel (modprobe nft_chain_nat)",
			"nft 'table ip lab { chain out { type nat hook output priority -100; ip daddr 192.0.2.1 dnat to 192.0.2.2; }; }'"},
	}
	var missing []string
	for _, trial := range trials {
		command := exec.Command("sh", "-c", trial.script)
		command.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		}
		if output, err := command.CombinedOutput(); err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v: %s", trial.what, err, strings.TrimSpace(string(output))))
		}
	}
	return missing
}
