package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// components are the processes that the node consists of. They end with process 1
// of their PID namespace, so nobody has to stop them.
type components struct {
	program string
	lab     directory
	// ended has what is to be said of each that has ended: none should.
	ended chan error
}

func newComponents(tools Tools, lab directory) *components {
	return &components{tools.Components, lab, make(chan error, 16)}
}

// command is one component's command line. It sees nothing of the user's own
// environment: proxies, KUBECONFIG, ETCD_*.
func (c *components) command(name string, arguments []string) *exec.Cmd {
	return c.otherCommand(c.program, append([]string{name}, arguments...))
}

func (c *components) otherCommand(program string, arguments []string) *exec.Cmd {
	command := exec.Command(program, arguments...)
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"LD_LIBRARY_PATH=" + os.Getenv("LD_LIBRARY_PATH"),
		"HOME=" + c.lab.file("home"),
	}
	return command
}

// start starts a component of the program built from tests/cluster.
func (c *components) start(name string, arguments []string) {
	c.startCommand(name, c.command(name, arguments))
}

func (c *components) startCommand(name string, command *exec.Cmd) {
	log, err := openLog(c.lab.log(name))
	if err != nil {
		c.ended <- err
		return
	}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		c.ended <- fmt.Errorf("%s: %w", name, err)
		return
	}
	go func() {
		// How it ended is in its state.
		_ = command.Wait()
		c.ended <- fmt.Errorf("%s has ended (%v); the end of its log:\n%s", name, command.ProcessState, tail(c.lab.log(name)))
	}()
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
}

// wait asks until there is no error, as long as every component runs.
func (c *components) wait(what string, ask func() error) error {
	deadline := time.Now().Add(startLimit)
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case ended := <-c.ended:
			return ended
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s; last seen: %w; the logs end so:\n%s", startLimit, what, err, c.tails())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// firstEnd waits until a component has ended, and says which.
func (c *components) firstEnd() error {
	return <-c.ended
}

// tails are the ends of all logs.
func (c *components) tails() string {
	entries, err := os.ReadDir(c.lab.file("logs"))
	if err != nil {
		return err.Error()
	}
	var text strings.Builder
	for _, entry := range entries {
		fmt.Fprintf(&text, "=== %s\n%s\n", entry.Name(), tail(c.lab.file("logs", entry.Name())))
	}
	return text.String()
}

// tail is the last twenty lines of a file.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// runTool runs a program to its end.
func runTool(command *exec.Cmd) error {
	output, err := command.CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", strings.Join(command.Args, " "), err), errors.New(strings.TrimSpace(string(output))))
	}
	return nil
}
