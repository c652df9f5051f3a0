package measure

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	name       = "chatbot"
	container  = "kuberada-chatbot"
	oldVersion = "v1.0"
	newVersion = "v2.0"
	// podSelector is that of the fixture.
	podSelector = "app=chatbot"
)

// service leads to the fixture's pods.
const service = `---
apiVersion: v1
kind: Service
metadata:
  name: chatbot
spec:
  selector: {app: chatbot}
  ports:
    - port: 80
      targetPort: 5000
`

// edit replaces a line of the fixture.
type edit struct{ line, by string }

var (
	oneReplica       = edit{"  replicas: 2", "  replicas: 1"}
	oneMayBeMissing  = edit{"  replicas: 2", "  replicas: 2\n  strategy: {rollingUpdate: {maxUnavailable: 1, maxSurge: 1}}"}
	noneMayBeMissing = edit{"  replicas: 2", "  replicas: 2\n  strategy: {rollingUpdate: {maxUnavailable: 0}}"}
	asStatefulSet    = []edit{{"kind: Deployment", "kind: StatefulSet"}, {"  replicas: 2", "  replicas: 2\n  serviceName: chatbot"}}
	asDaemonSet      = []edit{{"kind: Deployment", "kind: DaemonSet"}, {"  replicas: 2", "  revisionHistoryLimit: 10"}}
	recreate         = edit{"  replicas: 2", "  replicas: 2\n  strategy: {type: Recreate}"}
	gracefulShutdown = afterThePort("          env: [{name: SHUTDOWN, value: graceful}]")
	// As gapless injects them.
	readinessProbe = afterThePort("          readinessProbe: {tcpSocket: {port: 5000}, periodSeconds: 5}")
	preStopSleep   = afterThePort("          lifecycle: {preStop: {sleep: {seconds: 10}}}\n      terminationGracePeriodSeconds: 40")
)

// afterThePort adds to the container, whose last line is its port.
func afterThePort(lines string) edit {
	port := "            - containerPort: 5000"
	return edit{port, port + "\n" + lines}
}

// manifest is the fixture with the variant's edits, and a Service.
func (v variant) manifest(fixtures string) (string, error) {
	path := filepath.Join(fixtures, "scenarios", "rolling.yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	text := string(content)
	for _, edit := range v.edits {
		line := "\n" + edit.line + "\n"
		if strings.Count(text, line) != 1 {
			return "", fmt.Errorf("%s has not exactly one line %q, which the variant %s replaces", path, edit.line, v.name)
		}
		text = strings.Replace(text, line, "\n"+edit.by+"\n", 1)
	}
	return text + service, nil
}
