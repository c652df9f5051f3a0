package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// grace is how long a command may take to end after SIGTERM, once nobody holds
// the other end of our standard input any more.
const grace = 2 * time.Second

// runTied runs a command and ends it when our own standard input ends. Whoever
// starts a command this way and keeps the write end of the pipe leaves nothing
// behind, however it ends itself: the kernel closes the pipe, also after SIGKILL.
//
// SIGTERM and SIGINT are passed on to the command, and its exit code is ours.
func runTied() int {
	flags := flag.NewFlagSet("tied", flag.ExitOnError)
	remove := flags.String("remove", "", "`directory` to remove when standard input ends")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: tied [--remove DIRECTORY] COMMAND ARGUMENT...")
		flags.PrintDefaults()
	}
	// ExitOnError: Parse does not return an error.
	_ = flags.Parse(os.Args[1:])
	if flags.NArg() == 0 {
		flags.Usage()
		return 2
	}

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)

	command := exec.Command(flags.Arg(0), flags.Args()[1:]...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	// A process group of its own, so that what the command starts ends with it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "tied:", err)
		return exitCodeOfFailedStart(err)
	}

	exited := make(chan struct{})
	go func() {
		// The outcome is read from ProcessState.
		_ = command.Wait()
		close(exited)
	}()
	abandoned := make(chan struct{})
	go func() {
		// An error means as much as the end: nobody can reach us any more.
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(abandoned)
	}()

	for {
		select {
		case received := <-signals:
			// Fails only if the command has just ended.
			_ = command.Process.Signal(received)
		case <-exited:
			return exitCode(command.ProcessState)
		case <-abandoned:
			end(command.Process.Pid, exited)
			if *remove != "" {
				if err := os.RemoveAll(*remove); err != nil {
					fmt.Fprintln(os.Stderr, "tied:", err)
				}
			}
			return exitCode(command.ProcessState)
		}
	}
}

// end terminates the process group of a command, by force after the grace
// period, and returns when the command is gone.
func end(group int, exited <-chan struct{}) {
	// Both calls fail only if the whole group is gone already.
	_ = syscall.Kill(-group, syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(grace):
	}
	_ = syscall.Kill(-group, syscall.SIGKILL)
	<-exited
}

// exitCode is the exit code of an ended command, or 128 plus the number of the
// signal that killed it, as shells report it.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// exitCodeOfFailedStart follows the shell: 127 for a command that is not there,
// 126 for one that cannot be run.
func exitCodeOfFailedStart(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return 127
	}
	return 126
}
