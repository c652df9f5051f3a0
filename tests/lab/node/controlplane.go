package node

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

// users are who may log in, with the token of the same name. RBAC knows them by
// these names and groups.
var users = []struct{ name, groups string }{
	{"admin", "system:masters"},
	{"system:kube-controller-manager", ""},
	{"system:kube-scheduler", ""},
	{"system:kube-proxy", ""},
	{"system:node:" + nodeName, "system:nodes"},
}

// writeCredentials writes what the components log in with. All of it is of use in
// this lab only, and is removed with it.
func writeCredentials(lab directory, outsideAddress string) error {
	tokens := ""
	for _, user := range users {
		tokens += fmt.Sprintf("%s-token,%s,%s,%q\n", user.name, user.name, user.name, user.groups)
		if err := writeKubeconfig(lab, componentKubeconfig(lab, user.name), user.name, nodeAddress+":"+apiPort); err != nil {
			return err
		}
	}
	if err := writeKubeconfig(lab, lab.insideKubeconfig(), "admin", nodeAddress+":"+apiPort); err != nil {
		return err
	}
	if err := writeKubeconfig(lab, lab.outsideKubeconfig(), "admin", outsideAddress); err != nil {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for _, file := range []struct{ path, text string }{
		{lab.file("tokens.csv"), tokens},
		{lab.file("service-account.key"), string(private)},
	} {
		if err := writeFile(file.path, file.text); err != nil {
			return err
		}
	}
	return nil
}

func componentKubeconfig(lab directory, user string) string {
	return lab.file("kubeconfig", user)
}

func writeKubeconfig(lab directory, path, user, address string) error {
	// The API server's certificate is for this name, whatever way leads to it.
	return writeFile(path, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
  - name: lab
    cluster:
      server: https://%s
      certificate-authority: %s
      tls-server-name: kubernetes.default.svc
users:
  - name: %q
    user: {token: %q}
contexts:
  - name: lab
    context: {cluster: lab, user: %q}
current-context: lab
`, address, lab.apiCA(), user, user+"-token", user))
}

func etcdArguments(lab directory) []string {
	clients, peers := "http://127.0.0.1:"+etcdPort, "http://127.0.0.1:"+etcdPeerPort
	return []string{
		"--data-dir", lab.file("etcd"),
		"--listen-client-urls", clients, "--advertise-client-urls", clients,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
		"--initial-cluster", "default=" + peers,
		"--unsafe-no-fsync", "--log-level", "error",
	}
}

func apiserverArguments(lab directory) []string {
	return []string{
		"--etcd-servers", "http://127.0.0.1:" + etcdPort,
		"--bind-address", nodeAddress, "--secure-port", apiPort, "--advertise-address", nodeAddress,
		"--service-cluster-ip-range", servicePrefix,
		"--cert-dir", filepath.Dir(lab.apiCA()),
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", lab.file("service-account.key"),
		"--service-account-signing-key-file", lab.file("service-account.key"),
		"--token-auth-file", lab.file("tokens.csv"),
		"--authorization-mode", "Node,RBAC", "--allow-privileged",
		"--kubelet-preferred-address-types", "InternalIP",
	}
}

func controllerManagerArguments(lab directory) []string {
	return []string{
		"--kubeconfig", componentKubeconfig(lab, "system:kube-controller-manager"),
		"--leader-elect=false", "--secure-port", "0",
		"--use-service-account-credentials", "--service-account-private-key-file", lab.file("service-account.key"),
		"--root-ca-file", lab.apiCA(),
		// Its usual 20 requests a second are for a fleet of clients.
		"--kube-api-qps", "1000", "--kube-api-burst", "1000",
	}
}

func schedulerArguments(lab directory) []string {
	return []string{
		"--kubeconfig", componentKubeconfig(lab, "system:kube-scheduler"),
		"--leader-elect=false", "--secure-port", "0",
	}
}

// writeFile makes the file and the directories that lead to it.
func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}
