// Command cluster is a Kubernetes control plane and the clients to drive it,
// in one program: the tests of gapless start it as child processes instead of
// pulling container images or downloading binaries.
//
// The first argument names the component, the rest are its own arguments. What
// begins like kubectl is kubectl under another file name (kubectl.exe, kubectl1.30):
// it stands in the User-Agent. One more component, tied, runs another command for as
// long as its caller lives.
//
// The tests know two Kubernetes releases, and each has a program: the newest is
// here, the oldest that the chart admits in a directory of its own. That one has its
// own go.mod and go.sum, and links to the files that both share. Helm and what a node
// runs are in the newest alone.
//
// For another Kubernetes release, change the versions of k8s.io modules in
// go.mod, k8s.io/kubernetes v1.X.Y and its staging modules v0.X.Y, and run
// go mod tidy.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// components maps the first argument to the program it stands for. Each reads
// os.Args as if it had been started under its own name. Other files add to it.
var components = map[string]func() int{
	"etcd": func() int {
		etcdmain.Main(os.Args)
		return 0
	},
	"kube-apiserver": func() int {
		return cli.Run(apiserver.NewAPIServerCommand())
	},
	"kube-controller-manager": func() int {
		return cli.Run(controllermanager.NewControllerManagerCommand())
	},
	"kubectl": runKubectl,
	"tied":    runTied,
}

// runKubectl prints errors as kubectl does: "Error from server (Forbidden): …".
func runKubectl() int {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
	return 0
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	run, ok := components[os.Args[1]]
	if !ok && strings.HasPrefix(os.Args[1], "kubectl") {
		run, ok = runKubectl, true
	}
	if !ok {
		usage()
	}
	os.Args = append([]string{filepath.Base(os.Args[1])}, os.Args[2:]...)
	os.Exit(run())
}

func usage() {
	fmt.Fprintf(os.Stderr, "usage: %s %s ARGUMENT...\n", filepath.Base(os.Args[0]), strings.Join(slices.Sorted(maps.Keys(components)), "|"))
	os.Exit(2)
}
