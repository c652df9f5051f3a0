package measure

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"gapless.dev/tests/lab/load"
)

const (
	injectedAnnotation = "gapless.dev/injected"
	// connections are those of the persistent ones: with 60 requests/s and 50 ms
	// each, three of them are busy at a time, and each one is used every 0.3 s.
	connections = 20
	workers     = 64
	// commandLimit is for each kubectl, so that one which hangs is noticed.
	commandLimit = 3 * time.Minute
	// rolloutLimit is kubectl's own for rollout status.
	rolloutLimit = 2 * time.Minute
	// answerLimit is for a Service or a pod to answer as it should.
	answerLimit = time.Minute
	pollEvery   = 500 * time.Millisecond
	// steadyAnswers in a row are taken as a sign that each of a Service's pods is
	// reached.
	steadyAnswers = 10
)

// pace is how much load there is, and for how long. Tests are in a hurry.
type pace struct {
	rate int
	// before set image, and after everything has settled.
	before, after time.Duration
	capacity      time.Duration
	// settle is between the old pods' readiness and a change that is timed: what the
	// controllers still write is written by then.
	settle time.Duration
	// kubelet is how old the kubelet has to be for that.
	kubelet time.Duration
	// cost is how long the cost of probes is looked at, and beforeCost how long the pods
	// run before.
	beforeCost, cost time.Duration
}

var realPace = pace{
	rate: 60, before: 10 * time.Second, after: 10 * time.Second, capacity: 2 * time.Second,
	settle: 2 * time.Second, kubelet: longestPeriod, beforeCost: 15 * time.Second, cost: 45 * time.Second,
}

// experiment makes runs in a cluster.
type experiment struct {
	cluster    Cluster
	pace       pace
	kubernetes string
	// addresses is how many source addresses are used.
	addresses int
	// try is how often the same run was tried before.
	try int
}

// run makes one run. The record says so if it could not be made.
func (e *experiment) run(ctx context.Context, variant variant, number int) Record {
	record := Record{
		Variant: variant.name, Run: number, Kubernetes: e.kubernetes, Load: variant.mode(),
	}
	seen, err := e.observe(ctx, variant, e.namespaceName("lab", variant, number))
	if err != nil {
		seen = observation{rate: e.pace.rate}
	}
	evaluate(&record, variant, seen)
	if err != nil {
		record.Valid, record.InvalidReasons = false, []string{"the run could not be made: " + err.Error()}
	}
	return record
}

// observe makes a run in a namespace of its own: so the Service's address is a new
// one, of which nothing in the node knows anything yet.
func (e *experiment) observe(ctx context.Context, variant variant, name string) (seen observation, err error) {
	if _, err := e.kubectl(ctx, "", "create", "namespace", name); err != nil {
		return seen, err
	}
	// Also after Ctrl-C. Its pods may take their time to go.
	defer func() {
		_, failed := e.kubectl(context.WithoutCancel(ctx), "", "delete", "namespace", name, "--wait=false")
		err = errors.Join(err, failed)
	}()
	namespace := namespace{e, name, variant.workload()}

	manifest, err := variant.manifest(e.cluster.Fixtures())
	if err != nil {
		return seen, err
	}
	if _, err := namespace.kubectl(ctx, manifest, "apply", "--filename", "-"); err != nil {
		return seen, err
	}
	if err := namespace.rolloutStatus(ctx); err != nil {
		return seen, err
	}
	if seen.injected, err = namespace.isInjected(ctx); err != nil {
		return seen, err
	}
	target, err := namespace.serviceAddress(ctx)
	if err != nil {
		return seen, err
	}
	// A client for all questions before the load and beside it.
	asker := load.NewClient(e.sourceAddress())
	if err := waitForSteadyAnswers(ctx, asker, target); err != nil {
		return seen, err
	}
	if err := namespace.waitForPods(ctx, asker, oldVersion); err != nil {
		return seen, err
	}
	if seen.capacity, err = load.Capacity(target, e.sourceAddress(), workers, e.pace.capacity); err != nil {
		return seen, err
	}

	seen.rate = e.pace.rate
	sending, err := load.Start(ctx, load.Config{
		Target: target, Source: e.sourceAddress(), Mode: variant.mode(), Connections: connections, Rate: e.pace.rate,
		Limit: e.pace.before + 2*rolloutLimit + answerLimit + e.pace.after,
	})
	if err != nil {
		return seen, err
	}
	defer func() { seen.end, seen.result = time.Since(sending.StartTime()), sending.Stop() }()
	now := func() time.Duration { return time.Since(sending.StartTime()) }

	if err := sleep(ctx, e.pace.before); err != nil {
		return seen, err
	}
	seen.setImage = now()
	image := fmt.Sprintf("%s=%s:%s", container, container, newVersion)
	if _, err := namespace.kubectl(ctx, "", "set", "image", namespace.workload, image); err != nil {
		return seen, err
	}
	if err := namespace.rolloutStatus(ctx); err != nil {
		return seen, err
	}
	seen.rolledOut = now()
	if err := namespace.waitForPods(ctx, asker, newVersion); err != nil {
		return seen, err
	}
	seen.settled = now()
	return seen, sleep(ctx, e.pace.after)
}

// namespaceName is another one for each try: namespaces take their time to go.
func (e *experiment) namespaceName(prefix string, variant variant, number int) string {
	name := fmt.Sprintf("%s-%s-%d", prefix, variant.name, number)
	if e.try > 0 {
		name += fmt.Sprintf("-try-%d", e.try+1)
	}
	return name
}

func (e *experiment) kubectl(ctx context.Context, stdin string, arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	output, err := e.cluster.Kubectl(ctx, stdin, arguments...)
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w", strings.Join(arguments, " "), err)
	}
	return output, nil
}

func (e *experiment) sourceAddress() netip.Addr {
	e.addresses++
	return e.cluster.SourceAddress(e.addresses)
}
