package measure

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	// startsIn and stopsIn are what gapless preview is told of the chatbot.
	startsIn = "3s"
	stopsIn  = "0s"
	// rollLimit is longer than any of the settings takes.
	rollLimit = 5 * time.Minute
	// longestPeriod is that of the settings' probes. A kubelet that is younger makes
	// a probe wait for a random part of its period first (kubernetes,
	// pkg/kubelet/prober/worker.go).
	longestPeriod = 60 * time.Second
)

// Duration is what one rollout of a setting took: a line of the JSON file, from which
// README.md's table is made. All times are in seconds, since the change.
type Duration struct {
	Setting string `json:"setting"`
	What    string `json:"what"`
	// Run counts from 1.
	Run        int    `json:"run"`
	Kubernetes string `json:"kubernetes"`
	// Manifest is what was applied before the change, StartsIn and StopsIn what is
	// known of its application.
	Manifest string `json:"manifest"`
	StartsIn string `json:"starts_in"`
	StopsIn  string `json:"stops_in"`
	// Seconds is when the last new pod was available.
	Seconds float64 `json:"seconds"`
	// MaxLagMS is how late this program was woken at worst meanwhile: what it has to do
	// with a rollout, the node's processes have, too.
	MaxLagMS float64 `json:"max_lag_ms"`
	// Pods are the new ones, in the order in which they were created.
	Pods []NewPod `json:"pods"`
}

// NewPod is when a pod was created, when it was seen running, and when ready.
type NewPod struct {
	Created float64 `json:"created"`
	Running float64 `json:"running"`
	Ready   float64 `json:"ready"`
}

// duration measures one rollout, in a namespace of its own.
func (e *experiment) duration(ctx context.Context, setting variant, number int) (seen Duration, err error) {
	seen = Duration{
		Setting: setting.name, What: setting.what, Run: number, Kubernetes: e.kubernetes, StartsIn: startsIn, StopsIn: stopsIn,
	}
	if seen.Manifest, err = setting.manifest(e.cluster.Fixtures()); err != nil {
		return seen, err
	}
	name := e.namespaceName("lab", setting, number)
	if _, err := e.kubectl(ctx, "", "create", "namespace", name); err != nil {
		return seen, err
	}
	defer func() {
		_, failed := e.kubectl(context.WithoutCancel(ctx), "", "delete", "namespace", name, "--wait=false")
		err = errors.Join(err, failed)
	}()
	namespace := namespace{e, name, setting.workload()}
	if _, err := namespace.kubectl(ctx, seen.Manifest, "apply", "--filename", "-"); err != nil {
		return seen, err
	}
	if err := namespace.rolloutStatus(ctx); err != nil {
		return seen, err
	}
	if err := sleep(ctx, e.pace.settle); err != nil {
		return seen, err
	}

	ctx, cancel := context.WithTimeout(ctx, rollLimit)
	defer cancel()
	workloads, err := namespace.watch(ctx, namespace.workload)
	if err != nil {
		return seen, err
	}
	pods, err := namespace.watch(ctx, "pods", "--selector", podSelector)
	if err != nil {
		return seen, err
	}
	rollout := rollout{}
	// Both watches tell first what there is.
	if err := errors.Join(rollout.workload(next(ctx, workloads)), rollout.pod(next(ctx, pods))); err != nil {
		return seen, err
	}
	lag := startClock(ctx)
	changed := make(chan error, 1)
	go func() {
		_, err := namespace.kubectl(ctx, "", "set", "image", namespace.workload, container+"="+container+":"+newVersion)
		changed <- err
	}()
	for !rollout.isOver() {
		select {
		case err = <-changed:
		case event := <-workloads:
			err = rollout.workload(event)
		case event := <-pods:
			err = rollout.pod(event)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			return seen, fmt.Errorf("%w (seen so far: %+v)", err, rollout)
		}
	}
	seen.Seconds, seen.Pods = seconds(rollout.end.Sub(rollout.start)), rollout.newPods()
	late := lag()
	seen.MaxLagMS = milliseconds(late)
	if late > maxLag {
		return seen, fmt.Errorf("this machine is too busy: it woke this program %v late, more than %v", late, maxLag)
	}
	return seen, nil
}

// startClock looks at the time every few milliseconds. What it returns ends that, and
// says how late it has been woken at worst.
func startClock(ctx context.Context) func() time.Duration {
	ctx, cancel := context.WithCancel(ctx)
	worst := make(chan time.Duration, 1)
	go func() {
		const every = 5 * time.Millisecond
		var late time.Duration
		for before := time.Now(); ; {
			err := sleep(ctx, every)
			now := time.Now()
			late = max(late, now.Sub(before)-every)
			if before = now; err != nil {
				worst <- late
				return
			}
		}
	}()
	return func() time.Duration {
		cancel()
		return <-worst
	}
}

// event is one of a watch, and when it came.
type event struct {
	at     time.Time
	object watched
	err    error
}

// watched is what is of interest in a workload, or a pod.
type watched struct {
	Kind     string
	Metadata struct {
		UID        string
		Generation int64
	}
	Spec struct {
		Replicas   int
		Containers []struct{ Image string }
	}
	Status struct {
		ObservedGeneration int64
		// Those of a DaemonSet are the last three.
		Replicas, UpdatedReplicas, AvailableReplicas                    int
		DesiredNumberScheduled, UpdatedNumberScheduled, NumberAvailable int

		Conditions        []struct{ Type, Status string }
		ContainerStatuses []struct {
			State struct{ Running *struct{} }
		}
	}
}

// watch tells what there is, and then each change, until the context ends.
func (n namespace) watch(ctx context.Context, arguments ...string) (<-chan event, error) {
	arguments = append([]string{"--namespace", n.name, "get"}, append(arguments, "--watch", "--output-watch-events", "--output", "json")...)
	lines, err := n.experiment.cluster.Watch(ctx, arguments...)
	if err != nil {
		return nil, fmt.Errorf("kubectl %s: %w", strings.Join(arguments, " "), err)
	}
	events := make(chan event, 1000)
	go func() {
		defer lines.Close()
		events <- event{err: readEvents(lines, events)}
	}()
	return events, nil
}

// readEvents ends with an error, be it that a watch should not end.
func readEvents(lines io.Reader, events chan<- event) error {
	reader := bufio.NewReader(lines)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("the watch has ended: %w", err)
		}
		at := time.Now()
		var found struct{ Object watched }
		if err := json.Unmarshal(line, &found); err != nil {
			return err
		}
		events <- event{at: at, object: found.Object}
	}
}

func next(ctx context.Context, events <-chan event) event {
	select {
	case event := <-events:
		return event
	case <-ctx.Done():
		return event{err: context.Cause(ctx)}
	}
}

// rollout is what has been seen of one.
type rollout struct {
	generation int64
	start, end time.Time
	// pods are the new ones, in the order in which they came.
	pods []*seenPod
}

type seenPod struct {
	uid                     string
	created, running, ready time.Time
}

// isOver is whether the rollout is complete, and its pods are seen ready: the news of
// both come on ways of their own.
func (r *rollout) isOver() bool {
	isWaiting := func(pod *seenPod) bool { return pod.ready.IsZero() }
	return !r.end.IsZero() && len(r.pods) > 0 && !slices.ContainsFunc(r.pods, isWaiting)
}

// workload sees the workload. The change is its next generation.
func (r *rollout) workload(event event) error {
	if event.err != nil {
		return event.err
	}
	generation := event.object.Metadata.Generation
	switch {
	case r.generation == 0:
		r.generation = generation
	case generation > r.generation && r.start.IsZero():
		r.start = event.at
	}
	if !r.start.IsZero() && r.end.IsZero() && event.object.isComplete() {
		r.end = event.at
	}
	return nil
}

// isComplete as kubectl rollout status has it.
func (w watched) isComplete() bool {
	status := w.Status
	if status.ObservedGeneration < w.Metadata.Generation {
		return false
	}
	if w.Kind == "DaemonSet" {
		wanted := status.DesiredNumberScheduled
		return status.UpdatedNumberScheduled == wanted && status.NumberAvailable == wanted
	}
	wanted := w.Spec.Replicas
	return status.UpdatedReplicas == wanted && status.AvailableReplicas == wanted && status.Replicas == wanted
}

// pod sees a pod, which is of interest if it is a new one.
func (r *rollout) pod(event event) error {
	if event.err != nil {
		return event.err
	}
	object := event.object
	if len(object.Spec.Containers) == 0 || !strings.HasSuffix(object.Spec.Containers[0].Image, ":"+newVersion) {
		return nil
	}
	pod := r.podOf(object.Metadata.UID, event.at)
	for _, container := range object.Status.ContainerStatuses {
		if container.State.Running != nil && pod.running.IsZero() {
			pod.running = event.at
		}
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type == "Ready" && condition.Status == "True" && pod.ready.IsZero() {
			pod.ready = event.at
		}
	}
	return nil
}

func (r *rollout) podOf(uid string, at time.Time) *seenPod {
	for _, pod := range r.pods {
		if pod.uid == uid {
			return pod
		}
	}
	pod := &seenPod{uid: uid, created: at}
	r.pods = append(r.pods, pod)
	return pod
}

func (r *rollout) newPods() []NewPod {
	var pods []NewPod
	for _, pod := range r.pods {
		since := func(moment time.Time) float64 { return seconds(moment.Sub(r.start)) }
		pods = append(pods, NewPod{since(pod.created), since(pod.running), since(pod.ready)})
	}
	return pods
}
