package measure

import "fmt"

// asItIs keeps gapless, and gapless preview, from completing a setting's manifest: it
// is rolled out as it stands there.
var asItIs = edit{"  name: chatbot", `  name: chatbot
  annotations:
    gapless.dev/waive.readiness-probe: &why its rollout is measured as it is
    gapless.dev/waive.pre-stop-sleep: *why
    gapless.dev/waive.rolling-update: *why
    gapless.dev/waive.version-label: *why`}

// settings are the rollouts whose durations are foretold and measured: each of them
// with an application that listens after three seconds, and ends at SIGTERM.
var settings = []variant{
	{name: "no-probe", what: "2 pods, no probe", edits: []edit{asItIs, pods(2, surge(1, 0))}},
	{name: "period-1", what: "2 pods, probed each second", edits: []edit{asItIs, pods(2, surge(1, 0)), probes(readiness(0, 1))}},
	{name: "period-5", what: "2 pods as gapless completes them: probed each 5 s, 10 s of sleep",
		edits: []edit{asItIs, pods(2, surge(1, 0)), probes(readiness(0, 5), sleeps(10))}},
	{name: "period-10", what: "2 pods, probed each 10 s", edits: []edit{asItIs, pods(2, surge(1, 0)), probes(readiness(0, 10))}},
	{name: "delay-7-period-5", what: "1 pod, probed each 5 s, from 7 s on", edits: []edit{asItIs, pods(1, surge(1, 0)), probes(readiness(7, 5))}},
	{name: "delay-12-period-10", what: "1 pod, probed each 10 s, from 12 s on", edits: []edit{asItIs, pods(1, surge(1, 0)), probes(readiness(12, 10))}},
	{name: "delay-20-period-60", what: "1 pod, probed each minute, from 20 s on", edits: []edit{asItIs, pods(1, surge(1, 0)), probes(readiness(20, 60))}},
	{name: "three-successes", what: "2 pods, probed each 2 s, ready after 3 successes",
		edits: []edit{asItIs, pods(2, surge(1, 0)), probes("readinessProbe: {tcpSocket: {port: 5000}, periodSeconds: 2, successThreshold: 3}")}},
	{name: "startup-1-period-10", what: "2 pods, startupProbe each second, then probed each 10 s",
		edits: []edit{asItIs, pods(2, surge(1, 0)), probes(startup(1), readiness(0, 10))}},
	{name: "startup-5", what: "2 pods, startupProbe each 5 s, no readiness probe", edits: []edit{asItIs, pods(2, surge(1, 0)), probes(startup(5))}},
	{name: "min-ready-10", what: "2 pods, probed each second, minReadySeconds 10",
		edits: []edit{asItIs, pods(2, surge(1, 0)+"\n  minReadySeconds: 10"), probes(readiness(0, 1))}},
	{name: "one-by-one", what: "6 pods, maxSurge 1, probed each second", edits: []edit{asItIs, pods(6, surge(1, 0)), probes(readiness(0, 1))}},
	{name: "all-at-once", what: "4 pods, maxSurge 100%, probed each 5 s", edits: []edit{asItIs, pods(4, surge("100%", 0)), probes(readiness(0, 5))}},
	{name: "quarters", what: "10 pods, 25% and 25%, probed each 2 s", edits: []edit{asItIs, pods(10, surge("25%", "25%")), probes(readiness(0, 2))}},
	{name: "no-surge", what: "4 pods, maxUnavailable 1, maxSurge 0, probed each second, 5 s of sleep",
		edits: []edit{asItIs, pods(4, surge(0, 1)), probes(readiness(0, 1), sleeps(5))}},
	{name: "recreate", what: "2 pods, Recreate, probed each 5 s, 5 s of sleep",
		edits: []edit{asItIs, pods(2, "strategy: {type: Recreate}"), probes(readiness(0, 5), sleeps(5))}},
	{name: "stateful-set", what: "StatefulSet of 3, probed each second, 5 s of sleep", kind: "StatefulSet",
		edits: []edit{asItIs, {"kind: Deployment", "kind: StatefulSet"}, pods(3, "serviceName: chatbot"), probes(readiness(0, 1), sleeps(5))}},
	{name: "stateful-set-parallel", what: "StatefulSet of 4, Parallel, maxUnavailable 2, probed each 2 s, 5 s of sleep", kind: "StatefulSet",
		edits: []edit{asItIs, {"kind: Deployment", "kind: StatefulSet"},
			pods(4, "serviceName: chatbot\n  podManagementPolicy: Parallel\n  updateStrategy: {rollingUpdate: {maxUnavailable: 2}}"),
			probes(readiness(0, 2), sleeps(5))}},
	{name: "daemon-set", what: "DaemonSet on one node, probed each 5 s, 5 s of sleep", kind: "DaemonSet",
		edits: []edit{asItIs, {"kind: Deployment", "kind: DaemonSet"}, {"  replicas: 2", "  minReadySeconds: 0"}, probes(readiness(0, 5), sleeps(5))}},
}

// pods is how many there are, and the next lines of the spec.
func pods(replicas int, spec string) edit {
	return edit{"  replicas: 2", fmt.Sprintf("  replicas: %d\n  %s", replicas, spec)}
}

// surge is a rolling update with these amounts.
func surge(surge, unavailable any) string {
	return fmt.Sprintf("strategy: {rollingUpdate: {maxSurge: %v, maxUnavailable: %v}}", surge, unavailable)
}

// probes adds lines to the container.
func probes(lines ...string) edit {
	text := ""
	for n, line := range lines {
		if n > 0 {
			text += "\n"
		}
		text += "          " + line
	}
	return afterThePort(text)
}

func readiness(delay, period int) string {
	return fmt.Sprintf("readinessProbe: {tcpSocket: {port: 5000}, initialDelaySeconds: %d, periodSeconds: %d}", delay, period)
}

func startup(period int) string {
	return fmt.Sprintf("startupProbe: {tcpSocket: {port: 5000}, periodSeconds: %d, failureThreshold: 30}", period)
}

// sleeps is the hook. The grace period of 30 s is longer than any of them.
func sleeps(seconds int) string {
	return fmt.Sprintf("lifecycle: {preStop: {sleep: {seconds: %d}}}", seconds)
}
