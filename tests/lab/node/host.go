// Package node brings up a whole Kubernetes node, with its control plane, in
// namespaces of its own, and takes it down again.
//
// Three processes of this program take part, from the outside in:
//
//   - [Up] on the machine. It makes the directory and the cgroups, starts the
//     others, and waits.
//   - [Init], process 1 of a new network, mount, PID, IPC and UTS namespace. It
//     hides what a node would write to on the machine, and reaps orphans. When
//     it ends, for whatever reason, the kernel ends all processes of the node,
//     and with them its mounts, interfaces and routes.
//   - [Run] starts the components, and then the caller's command if there is one.
//
// What the kernel does not remove by itself, the directory and the cgroups, is
// left to a [Janitor], which outlives all of them.
package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// ExitUnable is the exit code where this machine cannot run a node.
const ExitUnable = 3

// The environment variable by which [Up] hands its findings to [Init] and [Run].
const (
	environmentDirectory = "GAPLESS_LAB_DIRECTORY"
	environmentOutside   = "GAPLESS_LAB_OUTSIDE_ADDRESS"
)

// The file descriptor on which [Run] finds the listener of [Up]: the first after
// standard error.
const listenerDescriptor = 3

// Up brings a node up, runs the command in it if there is one, and takes the node
// down: when the command has ended, or else at SIGINT or SIGTERM. The exit code
// is the command's.
//
// initArguments tell this program to be [Init].
func Up(tools Tools, initArguments []string) int {
	if missing := Check(tools); len(missing) > 0 {
		fmt.Fprintln(os.Stderr, "this machine cannot run the lab, it lacks")
		for _, line := range missing {
			fmt.Fprintln(os.Stderr, "  - "+line)
		}
		return ExitUnable
	}
	code, err := up(initArguments)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return code
}

func up(initArguments []string) (int, error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	// The kernel sends Pdeathsig when the thread ends that started the child.
	runtime.LockOSThread()

	path, err := os.MkdirTemp("", "gapless-lab-")
	if err != nil {
		return 0, err
	}
	janitor, err := startJanitor(path)
	if err != nil {
		return 0, errors.Join(err, os.RemoveAll(path))
	}
	defer janitor.finish()
	if err := makeCgroups(directory(path).cgroup()); err != nil {
		return 0, err
	}

	// It stays in the namespace of the machine, whoever accepts from it: this is
	// how programs on the machine reach the API server.
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return 0, err
	}
	defer file.Close()

	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	command := exec.Command(program, initArguments...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.ExtraFiles = []*os.File{file}
	command.Env = append(os.Environ(), environmentDirectory+"="+path, environmentOutside+"="+listener.Addr().String())
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
		// Ctrl-C is for this process only.
		Setpgid: true,
	}
	if err := command.Start(); err != nil {
		return 0, fmt.Errorf("cannot make namespaces: %w", err)
	}
	janitor.watch(command.Process.Pid)
	if err := writePids(directory(path), command.Process.Pid); err != nil {
		return 0, errors.Join(err, command.Process.Kill())
	}

	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case err := <-ended:
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return exitCode(exit.ProcessState), nil
		}
		return 0, err
	case received := <-signals:
		fmt.Fprintln(os.Stderr, "lab: taking the node down")
		// Fails only if it has just ended.
		_ = command.Process.Kill()
		<-ended
		return 128 + int(received.(syscall.Signal)), nil
	}
}

// writePids writes down who this process is, and makes a script that runs a program
// in the namespaces that process 1 of the lab is in.
func writePids(lab directory, process1 int) error {
	enter := fmt.Sprintf("#!/bin/sh\nexec nsenter --target %d --mount --net --pid --ipc --uts -- \"$@\"\n", process1)
	return errors.Join(
		lab.makeDirectories(),
		os.WriteFile(lab.file("pid"), fmt.Appendln(nil, os.Getpid()), 0o644),
		os.WriteFile(lab.file("bin", "enter"), []byte(enter), 0o755),
	)
}

// exitCode is that of a process, or 128 plus the signal that killed it, as shells
// report it.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// janitor is the other end of a [Janitor].
type janitor struct {
	pipe    io.WriteCloser
	process *exec.Cmd
}

func startJanitor(path string) (*janitor, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	process := exec.Command(program, "janitor", path)
	process.Stderr = os.Stderr
	// Out of reach of Ctrl-C, and of a kill of the whole process group.
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, err
	}
	return &janitor{pipe, process}, nil
}

// watch tells it which process has to be gone before it cleans up.
func (j *janitor) watch(pid int) {
	// Fails only if the janitor is gone, which finish will say.
	_, _ = fmt.Fprintln(j.pipe, pid)
}

func (j *janitor) finish() {
	_ = j.pipe.Close()
	if err := j.process.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, "lab: the janitor:", err)
	}
}

// Janitor removes what a lab leaves behind, as soon as whoever holds the other end
// of its standard input has ended: that happens after SIGKILL too. On standard
// input it is told the process that is to be gone before.
func Janitor(path string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "janitor:", err)
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
		endNamespaces(pid)
	}
	err = errors.Join(removeCgroups(directory(path).cgroup()), os.RemoveAll(path))
	if err != nil {
		fmt.Fprintln(os.Stderr, "janitor: left behind:", err)
		return 1
	}
	return 0
}

// endNamespaces kills process 1 of the lab and returns when all its processes and
// mounts are gone.
func endNamespaces(pid int) {
	// Gone already, unless the lab was cut off before it could say who it is.
	_ = syscall.Kill(pid, syscall.SIGKILL)
	waitUntil(func() bool { return syscall.Kill(pid, 0) != nil })
}
