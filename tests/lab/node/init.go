package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// hidden are the directories of the machine that a node writes to. The node gets
// empty ones: containerd's and runc's sockets and state, the results of CNI calls,
// the logs of containers.
var hidden = []string{"/run", "/var/lib", "/var/log"}

// kernelSettings are what kubelet wants of the whole machine, and would set
// (setupKernelTunables in pkg/kubelet/cm/container_manager_linux.go). It finds
// files with these values instead.
var kernelSettings = map[string]string{
	"/proc/sys/kernel/panic":         "10",
	"/proc/sys/kernel/panic_on_oops": "1",
	"/proc/sys/vm/overcommit_memory": "1",
	"/proc/sys/vm/panic_on_oom":      "0",
}

// Init is process 1 of the lab's namespaces. It starts this program once more,
// with the arguments, to be [Run], and ends with it.
func Init(runArguments []string) int {
	if err := hideMachine(directory(os.Getenv(environmentDirectory))); err != nil {
		fmt.Fprintln(os.Stderr, "lab: cannot prepare the mounts:", err)
		return 1
	}
	// /proc is the new namespace's by now.
	command := exec.Command("/proc/self/exe", runArguments...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.ExtraFiles = []*os.File{os.NewFile(listenerDescriptor, "listener")}
	if err := command.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return reap(command.Process.Pid)
}

// reap collects every process that ends, orphans too, until this one has, and
// returns its exit code.
func reap(pid int) int {
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintln(os.Stderr, "lab:", err)
			return 1
		case ended == pid && status.Signaled():
			return 128 + int(status.Signal())
		case ended == pid && status.Exited():
			return status.ExitStatus()
		}
	}
}

// hideMachine lets the node find an empty machine where it would leave traces.
func hideMachine(lab directory) error {
	if err := syscall.Sethostname([]byte(nodeName)); err != nil {
		return err
	}
	// First nothing of ours may reach the machine. Then the node's own mount
	// points propagate among its pods, as kubelet needs it.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return err
	}
	for _, path := range hidden {
		if strings.HasPrefix(string(lab), path+"/") {
			return fmt.Errorf("the lab's directory %s is in %s, which the node must not see: set TMPDIR to another place", lab, path)
		}
		if err := syscall.Mount("tmpfs", path, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	for setting, value := range kernelSettings {
		if err := pretend(lab, setting, value); err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
	}
	return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, "")
}

// pretend puts a file with this value in the place of a kernel setting.
func pretend(lab directory, setting, value string) error {
	file := lab.file("kernel-settings", strings.ReplaceAll(strings.Trim(setting, "/"), "/", "."))
	if err := os.MkdirAll(lab.file("kernel-settings"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
		return err
	}
	return syscall.Mount(file, setting, "", syscall.MS_BIND, "")
}
