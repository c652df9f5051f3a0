package node

import (
	"fmt"
	"os/exec"
)

const (
	containerdSocket = "/run/containerd/containerd.sock"
	// PauseImage is the name of the image that every pod starts with.
	PauseImage = "docker.io/library/gapless-lab-pause:1"
)

func startContainerd(components *components, tools Tools, lab directory) error {
	plugins, err := tools.pluginDirectory()
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`version = 2
root = %q
state = "/run/containerd"
[grpc]
  address = %q
[plugins."io.containerd.internal.v1.opt"]
  path = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_apparmor = true
  # Without it, pods stay at "can't get final child's PID from pipe: EOF" where
  # scores may not be lowered.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`, lab.file("containerd"), containerdSocket, lab.file("opt"), PauseImage, plugins, lab.file("cni", "net.d"))
	path := lab.file("containerd.toml")
	if err := writeFile(path, config); err != nil {
		return err
	}
	components.startCommand("containerd", components.otherCommand("containerd", []string{"--config", path}))
	return nil
}

// importImages hands the archives to containerd, where kubelet finds them without
// a registry.
func importImages(components *components, tools Tools) error {
	ctr := func(arguments ...string) *exec.Cmd {
		return components.otherCommand("ctr", append([]string{"--address", containerdSocket, "--namespace", "k8s.io"}, arguments...))
	}
	err := components.wait("containerd to answer", func() error { return runTool(ctr("version")) })
	if err != nil {
		return err
	}
	for _, archive := range tools.Images {
		if err := runTool(ctr("images", "import", archive)); err != nil {
			return err
		}
	}
	return nil
}

func startKubelet(components *components, lab directory) error {
	config := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %s
containerRuntimeEndpoint: unix://%s
authentication:
  anonymous: {enabled: true}
  webhook: {enabled: false}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /%s
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
# Nothing of the machine's, not even how full its disks are.
evictionHard:
  imagefs.available: "0%%"
  memory.available: "0%%"
  nodefs.available: "0%%"
  nodefs.inodesFree: "0%%"
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
resolvConf: ""
volumePluginDir: %s
podLogsDir: %s
`, nodeAddress, containerdSocket, lab.cgroup(), lab.file("volume-plugins"), lab.file("pod-logs"))
	path := lab.file("kubelet.yaml")
	if err := writeFile(path, config); err != nil {
		return err
	}
	components.start("kubelet", []string{
		"--config", path,
		"--kubeconfig", componentKubeconfig(lab, "system:node:"+nodeName),
		"--root-dir", lab.file("kubelet"), "--cert-dir", lab.file("kubelet", "pki"),
		"--hostname-override", nodeName, "--node-ip", nodeAddress,
	})
	return nil
}

func startProxy(components *components, lab directory) error {
	config := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %q}
hostnameOverride: %s
# The limits of connection tracking are the machine's: left alone.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, componentKubeconfig(lab, "system:kube-proxy"), nodeName)
	path := lab.file("kube-proxy.yaml")
	if err := writeFile(path, config); err != nil {
		return err
	}
	components.start("kube-proxy", []string{"--config", path})
	return nil
}
