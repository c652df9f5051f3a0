package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fakeCluster plays Kubernetes on the loopback. Without gapless, a roll-out cuts
// off all requests for a while.
type fakeCluster struct {
	t *testing.T
	// losesWithGapless makes gapless useless.
	losesWithGapless bool
	// uninstallable makes its installation fail.
	uninstallable bool
	// isBroken is a kubectl command that fails.
	isBroken string
	// injectsNothing makes gapless leave no annotation.
	injectsNothing bool

	mutex     sync.Mutex
	gapless   bool
	commands  []string
	manifests map[string]string
	apps      map[string]*fakeApp
	// watches are those of a namespace: of its workload, and of its pods.
	watches map[string]fakeWatches
	// metricsAsked is how often the kubelet was asked for its own.
	metricsAsked int
	// watchEnds makes watches end with the change.
	watchEnds bool
}

type fakeWatches struct{ workload, pods *io.PipeWriter }

// outage is how long a roll-out without gapless takes until the new pods listen.
const outage = 300 * time.Millisecond

// quick is a pace for tests.
var quick = pace{
	rate: 40, before: 300 * time.Millisecond, after: 300 * time.Millisecond, capacity: 100 * time.Millisecond,
	settle: time.Millisecond, kubelet: time.Millisecond, beforeCost: time.Millisecond, cost: 100 * time.Millisecond,
}

func newFake(t *testing.T) *fakeCluster {
	return &fakeCluster{t: t, manifests: map[string]string{}, apps: map[string]*fakeApp{}, watches: map[string]fakeWatches{}}
}

func (f *fakeCluster) Fixtures() string { return "../../fixtures" }

// usedSources counts over all tests, and the process's number keeps tests apart
// that run one after the other.
var usedSources atomic.Uint32

func (f *fakeCluster) SourceAddress(int) netip.Addr {
	n := usedSources.Add(1)
	return netip.AddrFrom4([4]byte{127, byte(50 + n/250), byte(os.Getpid()), byte(n%250 + 1)})
}

func (f *fakeCluster) InstallGapless(context.Context) error {
	if f.uninstallable {
		return errors.New("no chart")
	}
	f.gapless = true
	return nil
}

func (f *fakeCluster) Kubectl(_ context.Context, stdin string, arguments ...string) (string, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	namespace := ""
	if arguments[0] == "--namespace" {
		namespace, arguments = arguments[1], arguments[2:]
	}
	command := strings.Join(arguments, " ")
	f.commands = append(f.commands, strings.TrimSpace(namespace+" "+command))
	if f.isBroken != "" && strings.HasPrefix(command, f.isBroken) {
		return "", errors.New("it is broken")
	}
	app := f.apps[namespace]
	switch {
	case command == "get --raw /version":
		return `{"major": "1", "gitVersion": "v1.37.2"}`, nil
	case strings.HasPrefix(command, "create namespace "):
		return "", nil
	case strings.HasPrefix(command, "delete namespace "):
		return "", nil
	case strings.HasPrefix(command, "apply "):
		f.manifests[namespace] = stdin
		f.apps[namespace] = startApp(f.t)
		return "", nil
	case isAbout(command, "rollout status ", " --timeout 2m0s"):
		return "", nil
	case isAbout(command, "get --output json ", ""):
		annotations := `{"deployment.kubernetes.io/revision": "1"}`
		if f.gapless && !f.injectsNothing {
			annotations = `{"gapless.dev/injected": "{}"}`
		}
		return `{"metadata": {"annotations": ` + annotations + `}}`, nil
	case strings.HasPrefix(command, "get --output json service chatbot"):
		address := app.service
		return fmt.Sprintf(`{"spec": {"clusterIP": %q, "ports": [{"port": %d}]}}`, address.Addr(), address.Port()), nil
	case strings.HasPrefix(command, "get --output json pods --selector app=chatbot"):
		return app.pods(), nil
	case isAbout(command, "set image ", " kuberada-chatbot=kuberada-chatbot:v2.0"):
		// Long enough for the requests that were due before.
		time.Sleep(100 * time.Millisecond)
		app.rollOut(!f.gapless || f.losesWithGapless)
		f.announce(namespace)
		return "", nil
	case strings.HasPrefix(command, "get --raw "+kubeletPath):
		return f.metrics(strings.TrimPrefix(command, "get --raw "+kubeletPath)), nil
	}
	return "", fmt.Errorf("the fake does not know %q", command)
}

// Watch tells of one old pod.
func (f *fakeCluster) Watch(_ context.Context, arguments ...string) (io.ReadCloser, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	namespace := arguments[1]
	reader, writer := io.Pipe()
	watches := f.watches[namespace]
	first := fakeWorkload(1, 1)
	if arguments[3] == "pods" {
		watches.pods, first = writer, fakePod("1", "v1.0", true)
	} else {
		watches.workload = writer
	}
	f.watches[namespace] = watches
	go fmt.Fprintln(writer, first)
	return reader, nil
}

// announce tells the watches, if there are any, of a new pod.
func (f *fakeCluster) announce(namespace string) {
	watches, isWatched := f.watches[namespace]
	if !isWatched {
		return
	}
	if f.watchEnds {
		_ = watches.workload.Close()
		return
	}
	fmt.Fprintln(watches.workload, fakeWorkload(2, 0))
	fmt.Fprintln(watches.pods, fakePod("2", newVersion, false))
	time.Sleep(50 * time.Millisecond)
	fmt.Fprintln(watches.workload, fakeWorkload(2, 1))
	fmt.Fprintln(watches.pods, fakePod("2", newVersion, true))
}

// fakeWorkload has one pod, which is updated or not.
func fakeWorkload(generation, updated int) string {
	return fmt.Sprintf(`{"type": "MODIFIED", "object": {"kind": "Deployment", "metadata": {"generation": %d}, "spec": {"replicas": 1}, "status": {"observedGeneration": %d, "replicas": 1, "updatedReplicas": %d, "availableReplicas": 1}}}`,
		generation, generation, updated)
}

func fakePod(uid, version string, isReady bool) string {
	ready := "False"
	if isReady {
		ready = "True"
	}
	return fmt.Sprintf(`{"type": "MODIFIED", "object": {"kind": "Pod", "metadata": {"uid": %q}, "spec": {"containers": [{"image": "docker.io/chatbot:%s"}]}, "status": {"conditions": [{"type": "Ready", "status": %q}], "containerStatuses": [{"state": {"running": {}}}]}}}`, uid, version, ready)
}

// metrics grow with each question: 40 probes, 0.5 s of the kubelet, 20 times 0.01 s of
// containers within 2 s.
func (f *fakeCluster) metrics(path string) string {
	n := f.metricsAsked
	switch path {
	case "/metrics/probes":
		return fmt.Sprintf("# TYPE x\nprober_probe_total{namespace=%q,probe_type=\"Readiness\",result=\"successful\"} %d\n"+
			"prober_probe_total{namespace=\"other\",probe_type=\"Readiness\"} 99\nprober_probe_total{namespace=%q,probe_type=\"Startup\"} 99\n",
			f.last("cost-"), 40*n, f.last("cost-"))
	case "/metrics":
		f.metricsAsked++
		return fmt.Sprintf("process_cpu_seconds_total %v\n", 1+float64(n)/2)
	}
	text := ""
	for pod := range costPods {
		text += fmt.Sprintf("container_cpu_usage_seconds_total{namespace=%q,pod=\"%d\"} %v %d\n", f.last("cost-"), pod, float64(n)/100, 1000+2000*n)
	}
	return text
}

// last is the namespace with that prefix.
func (f *fakeCluster) last(prefix string) string {
	for namespace := range f.manifests {
		if strings.HasPrefix(namespace, prefix) {
			return namespace
		}
	}
	return ""
}

// isAbout is whether the command names the workload, of whichever kind, between both.
func isAbout(command, before, after string) bool {
	for _, variant := range slices.Concat(variants, settings) {
		if command == before+variant.workload()+after {
			return true
		}
	}
	return false
}

// fakeApp is a Service with two pods behind it; one that answers is enough here.
type fakeApp struct {
	service, pod netip.AddrPort
	version      atomic.Value
	outageEnd    atomic.Int64
}

func startApp(t *testing.T) *fakeApp {
	app := &fakeApp{}
	app.version.Store(oldVersion)
	app.service, app.pod = serve(t, app), serve(t, app)
	return app
}

func serve(t *testing.T, handler http.Handler) netip.AddrPort {
	server := httptest.NewServer(handler)
	t.Cleanup(server.CloseClientConnections)
	return netip.MustParseAddrPort(server.Listener.Addr().String())
}

func (a *fakeApp) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	if time.Now().UnixNano() < a.outageEnd.Load() {
		connection, _, _ := response.(http.Hijacker).Hijack()
		_ = connection.(*net.TCPConn).Close()
		return
	}
	response.Header().Set("X-Version", a.version.Load().(string))
	fmt.Fprintln(response, "hello")
}

func (a *fakeApp) rollOut(loses bool) {
	if loses {
		a.outageEnd.Store(time.Now().Add(outage).UnixNano())
	}
	a.version.Store(newVersion)
}

func (a *fakeApp) pods() string {
	return fmt.Sprintf(`{"items": [{
		"metadata": {"name": "chatbot-1"},
		"spec": {"containers": [{"ports": [{"containerPort": %d}]}]},
		"status": {"podIP": %q}
	}]}`, a.pod.Port(), a.pod.Addr())
}
