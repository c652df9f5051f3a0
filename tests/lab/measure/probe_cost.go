package measure

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// costPods are enough for the cost of their probes to stand out from that of
	// everything else which the kubelet does.
	costPods = 20
	// kubeletPath leads through the API server to what the kubelet says of itself.
	kubeletPath = "/api/v1/nodes/lab/proxy"
)

// periods are the periodSeconds of the readiness probe that gapless injects: each of
// them as it completes the fixture, but for this number.
var periods = []variant{
	ofPeriod("no-probe", "no readiness probe"),
	ofPeriod("period-1", "each second", injectedProbe(1)),
	ofPeriod("period-2", "each 2 s", injectedProbe(2)),
	ofPeriod("period-3", "each 3 s", injectedProbe(3)),
	ofPeriod("period-5", "each 5 s", injectedProbe(5)),
	ofPeriod("period-10", "each 10 s", injectedProbe(10)),
}

func ofPeriod(name, what string, probe ...string) variant {
	container := append(probe, sleeps(10)+"\n      terminationGracePeriodSeconds: 40")
	return variant{name: name, what: what, edits: []edit{noneMayBeMissing, probes(container...)}}
}

func injectedProbe(period int) string {
	return fmt.Sprintf("readinessProbe: {tcpSocket: {port: 5000}, periodSeconds: %d, failureThreshold: 3}", period)
}

// ProbePeriod is what a readiness probe of one period brings and costs: a line of the
// JSON file.
type ProbePeriod struct {
	Setting string `json:"setting"`
	What    string `json:"what"`
	// Run counts from 1.
	Run        int    `json:"run"`
	Kubernetes string `json:"kubernetes"`
	// Manifest is what was rolled out; for the cost it had more replicas.
	Manifest string `json:"manifest"`
	// Rollout is one of two pods under load.
	Rollout Record `json:"rollout"`
	Cost    Cost   `json:"cost"`
}

// Cost is what happens in a second while nothing happens: no load, no rollout.
type Cost struct {
	Pods int `json:"pods"`
	// Seconds is how long it was looked at.
	Seconds float64 `json:"seconds"`
	// Probes is how many the kubelet made in a second, of all pods.
	Probes float64 `json:"probes"`
	// KubeletCPU is the CPU seconds that the kubelet took in a second, ApplicationCPU
	// those of the containers of all pods.
	KubeletCPU     float64 `json:"kubelet_cpu"`
	ApplicationCPU float64 `json:"application_cpu"`
}

func (e *experiment) probePeriod(ctx context.Context, setting variant, number int) (ProbePeriod, error) {
	seen := ProbePeriod{Setting: setting.name, What: setting.what, Run: number, Kubernetes: e.kubernetes}
	var err error
	if seen.Manifest, err = setting.manifest(e.cluster.Fixtures()); err != nil {
		return seen, err
	}
	seen.Rollout = e.run(ctx, setting, number)
	if !seen.Rollout.Valid {
		return seen, errors.New(strings.Join(seen.Rollout.InvalidReasons, "; "))
	}
	seen.Cost, err = e.cost(ctx, setting, e.namespaceName("cost", setting, number))
	return seen, err
}

func (p ProbePeriod) summary() string {
	return fmt.Sprintf("%d of %d requests lost, roll-out %.1f s; %.1f probes/s, kubelet %.2f ms/s, application %.2f ms/s",
		p.Rollout.Failed, p.Rollout.Sent, p.Rollout.RolloutSeconds, p.Cost.Probes, 1000*p.Cost.KubeletCPU, 1000*p.Cost.ApplicationCPU)
}

// cost lets many pods run in a namespace of their own, for a while.
func (e *experiment) cost(ctx context.Context, setting variant, name string) (cost Cost, err error) {
	manifest, err := setting.manifest(e.cluster.Fixtures())
	if err != nil {
		return cost, err
	}
	manifest = strings.Replace(manifest, "\n  replicas: 2\n", fmt.Sprintf("\n  replicas: %d\n", costPods), 1)
	if _, err := e.kubectl(ctx, "", "create", "namespace", name); err != nil {
		return cost, err
	}
	namespace := namespace{e, name, setting.workload()}
	// It waits until they are gone: they would cost the next one something.
	defer func() {
		_, failed := e.kubectl(context.WithoutCancel(ctx), "", "delete", "namespace", name)
		err = errors.Join(err, failed)
	}()
	if _, err := namespace.kubectl(ctx, manifest, "apply", "--filename", "-"); err != nil {
		return cost, err
	}
	if err := namespace.rolloutStatus(ctx); err != nil {
		return cost, err
	}
	// The kubelet looks at what containers use some seconds later at first.
	if err := sleep(ctx, e.pace.beforeCost); err != nil {
		return cost, err
	}
	before, err := namespace.usage(ctx)
	if err != nil {
		return cost, err
	}
	if err := sleep(ctx, e.pace.cost); err != nil {
		return cost, err
	}
	after, err := namespace.usage(ctx)
	if err != nil {
		return cost, err
	}
	return after.since(before)
}

// used is what has been so far.
type used struct {
	at         time.Time
	kubeletCPU float64
	probes     float64
	containers map[string]sample
}

// sample is of one container; the kubelet says when it looked.
type sample struct {
	cpu float64
	// at is in seconds.
	at float64
}

func (n namespace) usage(ctx context.Context) (used, error) {
	seen := used{containers: map[string]sample{}}
	text := map[string]string{}
	for _, path := range []string{"/metrics/resource", "/metrics/probes", "/metrics"} {
		var err error
		if text[path], err = n.experiment.kubectl(ctx, "", "get", "--raw", kubeletPath+path); err != nil {
			return seen, err
		}
	}
	seen.at = time.Now()
	for _, metric := range metrics(text["/metrics"]) {
		if metric.name == "process_cpu_seconds_total" {
			seen.kubeletCPU = metric.value
		}
	}
	for _, metric := range metrics(text["/metrics/probes"]) {
		isMeant := metric.name == "prober_probe_total" && metric.has("namespace", n.name) && metric.has("probe_type", "Readiness")
		if isMeant {
			seen.probes += metric.value
		}
	}
	for _, metric := range metrics(text["/metrics/resource"]) {
		if metric.name == "container_cpu_usage_seconds_total" && metric.has("namespace", n.name) {
			seen.containers[metric.labels] = sample{metric.value, metric.at}
		}
	}
	if seen.kubeletCPU == 0 || len(seen.containers) != costPods {
		return seen, fmt.Errorf("the kubelet says %v s of itself, and something of %d containers instead of %d",
			seen.kubeletCPU, len(seen.containers), costPods)
	}
	return seen, nil
}

func (u used) since(before used) (Cost, error) {
	elapsed := u.at.Sub(before.at).Seconds()
	cost := Cost{
		Pods: costPods, Seconds: round(elapsed), Probes: round((u.probes - before.probes) / elapsed),
		KubeletCPU: (u.kubeletCPU - before.kubeletCPU) / elapsed,
	}
	for labels, sample := range u.containers {
		first, isKnown := before.containers[labels]
		if !isKnown || sample.at <= first.at {
			return cost, fmt.Errorf("nothing new is known of %s", labels)
		}
		cost.ApplicationCPU += (sample.cpu - first.cpu) / (sample.at - first.at)
	}
	return cost, nil
}

// metric is a line of Prometheus' text format.
type metric struct {
	name, labels string
	value, at    float64
}

var metricLine = regexp.MustCompile(`^([a-z_]+)(\{.*\})? (\S+)(?: (\d+))?$`)

func metrics(text string) []metric {
	var found []metric
	for scanner := bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); {
		parts := metricLine.FindStringSubmatch(scanner.Text())
		if parts == nil {
			continue
		}
		// What is no number counts as none of the metrics that are asked for.
		value, _ := strconv.ParseFloat(parts[3], 64)
		milliseconds, _ := strconv.ParseFloat(parts[4], 64)
		found = append(found, metric{parts[1], parts[2], value, milliseconds / 1000})
	}
	return found
}

func (m metric) has(label, value string) bool {
	return strings.Contains(m.labels, fmt.Sprintf("%s=%q", label, value))
}
