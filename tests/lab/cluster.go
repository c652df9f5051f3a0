package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gapless.dev/tests/lab/node"
)

// cluster is the node that this process runs in, as the measurement wants it. Its
// PATH has kubectl and helm.
type cluster struct {
	repository string
}

func (c cluster) Kubectl(ctx context.Context, stdin string, arguments ...string) (string, error) {
	return output(ctx, stdin, "kubectl", arguments...)
}

func (c cluster) Watch(ctx context.Context, arguments ...string) (io.ReadCloser, error) {
	command := exec.CommandContext(ctx, "kubectl", arguments...)
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return watch{stdout, command}, command.Start()
}

// watch is a kubectl that goes on until its context ends.
type watch struct {
	io.ReadCloser
	command *exec.Cmd
}

func (w watch) Close() error {
	// It is killed: how it ended says nothing.
	_ = w.command.Wait()
	return nil
}

func (c cluster) SourceAddress(n int) netip.Addr { return node.SourceAddress(n) }

func (c cluster) Fixtures() string { return filepath.Join(c.repository, "tests", "fixtures") }

// InstallGapless does what the project's README.md tells users to do, and waits
// until the API server asks gapless.
func (c cluster) InstallGapless(ctx context.Context) error {
	chart := filepath.Join(c.repository, "charts", "gapless")
	if _, err := output(ctx, "", "helm", "install", "gapless", chart, "--namespace", "gapless-system", "--create-namespace", "--wait",
		"--set", "config.workloads={Deployment,StatefulSet,DaemonSet}"); err != nil {
		return err
	}
	for {
		err := asksGapless(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// asksGapless tries in a dry run whether both webhooks take effect: one completes
// the Deployment, the other denies it for its tag.
func asksGapless(ctx context.Context) error {
	said, err := output(ctx, "", "kubectl", "create", "deployment", "probe", "--image=app:latest", "--port=80", "--dry-run=server")
	if err == nil {
		return fmt.Errorf("a Deployment with the tag latest is let through: %s", said)
	}
	for _, expected := range []string{"(pre-stop-sleep)", `"production.validate.gapless.dev"`, "(mutable-image-tag)"} {
		if !strings.Contains(err.Error(), expected) {
			return err
		}
	}
	return nil
}

// output runs a program to its end; the error says what it wrote to standard error.
func output(ctx context.Context, stdin, program string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, program, arguments...)
	command.Stdin = strings.NewReader(stdin)
	var stdout, stderr strings.Builder
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
