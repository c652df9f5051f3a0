package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// startLimit is for each step of the start. All of them together take some ten
// seconds; a machine that also compiles needs longer.
const startLimit = 2 * time.Minute

// Run starts the node inside the namespaces that [Init] is process 1 of. Then it
// runs the command, or else says how to use the node and waits for its end.
func Run(tools Tools, command []string) int {
	code, err := run(tools, command)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return code
}

func run(tools Tools, command []string) (int, error) {
	lab := directory(os.Getenv(environmentDirectory))
	if err := errors.Join(tools.use(), lab.makeDirectories(), makeNetwork(lab)); err != nil {
		return 0, err
	}
	node, err := start(tools, lab)
	if err != nil {
		return 0, err
	}
	if len(command) > 0 {
		return node.runCommand(command)
	}
	node.sayHowToUse()
	return 0, node.components.firstEnd()
}

// runningNode is a node whose components run.
type runningNode struct {
	directory
	tools      Tools
	components *components
}

// start starts everything, in the order in which one needs the other.
func start(tools Tools, lab directory) (*runningNode, error) {
	outside := os.Getenv(environmentOutside)
	if err := writeCredentials(lab, outside); err != nil {
		return nil, err
	}
	if err := writeWrappers(tools, lab); err != nil {
		return nil, err
	}
	components := newComponents(tools, lab)
	node := &runningNode{lab, tools, components}

	if err := startContainerd(components, tools, lab); err != nil {
		return nil, err
	}
	components.start("etcd", etcdArguments(lab))
	if err := components.wait("etcd to listen", listens("127.0.0.1:"+etcdPort)); err != nil {
		return nil, err
	}
	components.start("kube-apiserver", apiserverArguments(lab))
	images := make(chan error, 1)
	go func() { images <- importImages(components, tools) }()
	if err := components.wait("the API server to be ready", node.kubectlSucceeds("get", "--raw", "/readyz")); err != nil {
		return nil, err
	}
	components.start("kube-controller-manager", controllerManagerArguments(lab))
	components.start("kube-scheduler", schedulerArguments(lab))
	if err := <-images; err != nil {
		return nil, err
	}
	if err := startKubelet(components, lab); err != nil {
		return nil, err
	}
	if err := startProxy(components, lab); err != nil {
		return nil, err
	}
	if err := components.wait("the node to be ready", node.kubectlSucceeds("wait", "--for=condition=Ready", "--timeout=1s", "node/"+nodeName)); err != nil {
		return nil, err
	}
	// Pods need it, and it comes a moment after the namespace.
	if err := components.wait("the service account of the namespace default", node.kubectlSucceeds("get", "serviceaccount", "default", "--namespace", "default")); err != nil {
		return nil, err
	}
	return node, forward(os.NewFile(listenerDescriptor, "listener"), net.JoinHostPort(nodeAddress, apiPort))
}

// kubectlSucceeds asks once; the error is what kubectl said.
func (n *runningNode) kubectlSucceeds(arguments ...string) func() error {
	return func() error {
		command := n.components.command("kubectl", arguments)
		command.Env = append(command.Env, "KUBECONFIG="+n.insideKubeconfig())
		if output, err := command.CombinedOutput(); err != nil {
			return errors.New(strings.TrimSpace(string(output)))
		}
		return nil
	}
}

// runCommand runs a command in the node, for as long as the node is whole.
func (n *runningNode) runCommand(line []string) (int, error) {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	command := exec.CommandContext(ctx, line[0], line[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Env = append(os.Environ(),
		"KUBECONFIG="+n.insideKubeconfig(),
		"PATH="+n.file("bin")+":"+os.Getenv("PATH"),
	)
	if err := command.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	broken := make(chan error, 1)
	go func() { broken <- n.components.firstEnd() }()
	select {
	case err := <-broken:
		return 0, err
	case err := <-ended:
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			return 0, err
		}
		return exitCode(command.ProcessState), nil
	}
}

func (n *runningNode) sayHowToUse() {
	fmt.Printf(`The node is ready. In another shell, use it so:

export KUBECONFIG=%s
export PATH=%s:"$PATH"

This brings kubectl and helm, and enter, which runs a program in the node's
namespaces: enter ip address. The logs are in %s.
It goes down with Ctrl-C, and leaves nothing behind.
`, n.outsideKubeconfig(), n.file("bin"), n.file("logs"))
}

// writeWrappers makes kubectl and helm of the one program that is both.
func writeWrappers(tools Tools, lab directory) error {
	for _, name := range []string{"kubectl", "helm"} {
		script := fmt.Sprintf("#!/bin/sh\nexec '%s' %s \"$@\"\n", tools.Components, name)
		if err := os.WriteFile(lab.file("bin", name), []byte(script), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// listens succeeds as soon as somebody does.
func listens(address string) func() error {
	return func() error {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}
