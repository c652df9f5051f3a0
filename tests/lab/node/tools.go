package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tools are the programs that a node consists of, and its images.
type Tools struct {
	// Components is the program built from tests/cluster.
	Components string
	// Packages is where tests/lab/packages has unpacked what the machine lacks,
	// as in a root directory; it may be empty.
	Packages string
	// Images are archives to import, see package image.
	Images []string
}

// programs are the ones that are not built here, and the Debian package of each.
var programs = []struct{ name, debianPackage string }{
	{"containerd", "containerd"},
	{"containerd-shim-runc-v2", "containerd"},
	{"ctr", "containerd"},
	{"runc", "runc"},
	{"nft", "nftables"},
	{"ip", "iproute2"},
	{"mount", "mount"},
	{"umount", "mount"},
	{"nsenter", "util-linux"},
}

// plugins are the CNI plugins that the node's pod network needs.
var plugins = []string{"ptp", "host-local", "loopback"}

// searchPath is the PATH of everything in the lab.
func (t Tools) searchPath() string {
	path := os.Getenv("PATH") + ":/usr/sbin:/usr/bin:/sbin:/bin"
	if t.Packages != "" {
		for _, directory := range []string{"usr/sbin", "usr/bin", "sbin", "bin"} {
			path += ":" + filepath.Join(t.Packages, directory)
		}
	}
	return path
}

// libraryPath is where the unpacked programs find their libraries.
func (t Tools) libraryPath() string {
	if t.Packages == "" {
		return ""
	}
	libraries, _ := filepath.Glob(filepath.Join(t.Packages, "usr/lib/*-linux-gnu"))
	return strings.Join(libraries, ":")
}

// pluginDirectory is the first one that has all CNI plugins.
func (t Tools) pluginDirectory() (string, error) {
	candidates := []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}
	if t.Packages != "" {
		candidates = append(candidates, filepath.Join(t.Packages, "usr/lib/cni"))
	}
	for _, directory := range candidates {
		if hasAll(directory, plugins) {
			return directory, nil
		}
	}
	return "", fmt.Errorf("the CNI plugins %s are in none of %s: run tests/lab/packages, or install containernetworking-plugins",
		strings.Join(plugins, ", "), strings.Join(candidates, ", "))
}

func hasAll(directory string, names []string) bool {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(directory, name)); err != nil {
			return false
		}
	}
	return true
}

// use makes the programs findable for this process and its children.
func (t Tools) use() error {
	err := os.Setenv("PATH", t.searchPath())
	if libraries := t.libraryPath(); libraries != "" {
		err = errors.Join(err, os.Setenv("LD_LIBRARY_PATH", libraries))
	}
	return err
}

// missing lists what is not there, one line for each.
func (t Tools) missing() []string {
	var lines []string
	for _, program := range programs {
		if _, err := exec.LookPath(program.name); err != nil {
			lines = append(lines, fmt.Sprintf("the program %s: run tests/lab/packages, or install the package %s", program.name, program.debianPackage))
		}
	}
	if _, err := t.pluginDirectory(); err != nil {
		lines = append(lines, err.Error())
	}
	for _, file := range append([]string{t.Components}, t.Images...) {
		if _, err := os.Stat(file); err != nil {
			lines = append(lines, fmt.Sprintf("the file %s: run tests/lab/build", file))
		}
	}
	return lines
}

// ToolsIn are the tools where tests/lab/build puts them: below Cargo's target
// directory.
func ToolsIn(target string) Tools {
	// The pattern is well-formed, so there is no error.
	images, _ := filepath.Glob(filepath.Join(target, "lab", "images", "*.tar"))
	return Tools{
		Components: filepath.Join(target, "cluster-bench"),
		Packages:   filepath.Join(target, "lab", "packages"),
		Images:     images,
	}
}
