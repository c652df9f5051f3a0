package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroup is the name of the cgroup in which the pods of this lab are.
func (d directory) cgroup() string { return filepath.Base(string(d)) }

// neededControllers are the ones without which kubelet or runc refuse to work.
var neededControllers = []string{"cpu", "cpuset", "memory", "pids"}

// hierarchies are the mounted cgroup hierarchies in which pods get cgroups. There
// is one for each controller with cgroup v1, and often an empty one of v2 beside
// them; with v2 alone there is just that one.
func hierarchies() []string {
	if isUnified() {
		return []string{cgroupRoot}
	}
	var found []string
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 2 && strings.HasPrefix(fields[2], "cgroup") && strings.HasPrefix(fields[1], cgroupRoot+"/") {
			found = append(found, fields[1])
		}
	}
	return found
}

func isUnified() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers"))
	return err == nil
}

// missingControllers lists what the machine's cgroups lack.
func missingControllers() []string {
	var controllers []string
	if isUnified() {
		text, _ := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"))
		controllers = strings.Fields(string(text))
	} else {
		for _, hierarchy := range hierarchies() {
			controllers = append(controllers, strings.Split(filepath.Base(hierarchy), ",")...)
		}
	}
	var missing []string
	for _, controller := range neededControllers {
		if !slices.Contains(controllers, controller) {
			missing = append(missing, fmt.Sprintf("the cgroup controller %s below %s", controller, cgroupRoot))
		}
	}
	return missing
}

// makeCgroups makes the cgroup in every hierarchy.
func makeCgroups(name string) error {
	for _, hierarchy := range hierarchies() {
		cgroup := filepath.Join(hierarchy, name)
		if err := os.Mkdir(cgroup, 0o755); err != nil {
			return fmt.Errorf("cannot make a cgroup: %w", err)
		}
		// A new one in a v1 cpuset hierarchy has no CPU, and takes no process then.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(hierarchy, file))
			if isUnified() || errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(cgroup, file), value, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeCgroups removes the cgroup and all below it. Processes that have just been
// killed keep theirs busy for a moment.
func removeCgroups(name string) error {
	var failed error
	for _, hierarchy := range hierarchies() {
		var err error
		waitUntil(func() bool {
			err = removeTree(filepath.Join(hierarchy, name))
			return err == nil
		})
		failed = errors.Join(failed, err)
	}
	return failed
}

// removeTree removes cgroups from the leaves up: their files cannot be removed.
func removeTree(cgroup string) error {
	entries, err := os.ReadDir(cgroup)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeTree(filepath.Join(cgroup, entry.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(cgroup)
}

// waitUntil asks until the answer is yes, for ten seconds at most.
func waitUntil(done func() bool) {
	for deadline := time.Now().Add(10 * time.Second); !done() && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
}
