package main

import (
	"context"

	"k8s.io/component-base/cli"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// What a cluster with a node has besides: only tests/lab starts these.
func init() {
	components["kube-scheduler"] = func() int {
		return cli.Run(scheduler.NewSchedulerCommand())
	}
	components["kube-proxy"] = func() int {
		return cli.Run(proxy.NewProxyCommand())
	}
	components["kubelet"] = func() int {
		// Not a context that ends with a signal: kubelet sets that up by itself,
		// and a second time is a panic.
		return cli.Run(kubelet.NewKubeletCommand(context.Background()))
	}
}
