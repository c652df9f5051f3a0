// Command cluster is a Kubernetes control plane and the clients to drive it,
// in one program: the tests of gapless start it as child processes instead of
// pulling container images or downloading binaries.
//
// The first argument names the component, the rest are its own arguments. What
// begins like kubectl is kubectl under another file name (kubectl.exe, kubectl1.30):
// it stands in the User-Agent. One more component, tied, runs another command for as
// long as its caller lives.
//
// For another Kubernetes release, change the versions of k8s.io modules in
// go.mod, k8s.io/kubernetes v1.X.Y and its staging modules v0.X.Y, and run
// go mod tidy.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdmain"
	helm "helm.sh/helm/v4/pkg/cmd"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// components maps the first argument to the program it stands for. Each reads
// os.Args as if it had been started under its own name.
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
	"kube-scheduler": func() int {
		return cli.Run(scheduler.NewSchedulerCommand())
	},
	"kube-proxy": func() int {
		return cli.Run(proxy.NewProxyCommand())
	},
	"kubelet": func() int {
		// Not a context that ends with a signal: kubelet sets that up by itself,
		// and a second time is a panic.
		return cli.Run(kubelet.NewKubeletCommand(context.Background()))
	},
	"kubectl": runKubectl,
	"helm":    runHelm,
	"tied":    runTied,
}

// runKubectl prints errors as kubectl does: "Error from server (Forbidden): …".
func runKubectl() int {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
	return 0
}

func runHelm() int {
	// The name in managedFields; helm's own main sets it too.
	helmkube.ManagedFieldsManager = "helm"
	command, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Execute prints the error itself.
	if err := command.Execute(); err != nil {
		if failed, ok := errors.AsType[helm.CommandError](err); ok {
			return failed.ExitCode
		}
		return 1
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
	fmt.Fprintf(os.Stderr, "usage: %s etcd|kube-apiserver|kube-controller-manager|kubectl|helm|tied ARGUMENT...\n", filepath.Base(os.Args[0]))
	os.Exit(2)
}
