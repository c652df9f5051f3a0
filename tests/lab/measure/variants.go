package measure

import (
	"strings"

	"gapless.dev/tests/lab/load"
)

// variant is one way to roll out the application.
type variant struct {
	name string
	// what it is, for the table.
	what string
	runs int
	// gapless is whether it is installed.
	gapless bool
	// kind is that of the workload, empty for a Deployment.
	kind string
	// edits turn the fixture into the variant's manifest.
	edits []edit
	// keepAlive is whether the load uses persistent connections.
	keepAlive bool
}

// The names of the pair that the claim is about: the same manifest, byte for byte.
const (
	withoutGapless = "without"
	withGapless    = "with"
)

// variants are all of them, in the order of the table.
var variants = []variant{
	{name: withoutGapless, runs: 10, what: "image and port, nothing else"},
	{name: withGapless, runs: 10, gapless: true, what: "the same bytes, with gapless"},

	{name: "without-explicit", runs: 3, edits: []edit{oneMayBeMissing}, what: "maxUnavailable 1, maxSurge 1"},
	{name: "with-explicit", runs: 3, edits: []edit{oneMayBeMissing}, gapless: true, what: "maxUnavailable 1, maxSurge 1, with gapless"},
	{name: "probe-only", runs: 3, edits: []edit{readinessProbe}, what: "a readiness probe alone"},
	{name: "sleep-only", runs: 3, edits: []edit{preStopSleep}, what: "a preStop sleep of 10 s alone"},
	{name: "max-unavailable-only", runs: 3, edits: []edit{noneMayBeMissing}, what: "maxUnavailable 0 alone"},
	{name: "graceful-only", runs: 3, edits: []edit{gracefulShutdown}, what: "a graceful application alone"},
	{name: "with-graceful", runs: 3, edits: []edit{gracefulShutdown}, gapless: true, what: "a graceful application, with gapless"},
	{name: "recreate", runs: 3, edits: []edit{recreate}, what: "strategy Recreate (gapless denies it)"},
	{name: "recreate-with-sleep", runs: 3, edits: []edit{recreate, preStopSleep}, what: "strategy Recreate, a preStop sleep of 10 s"},
	{name: "one-replica", runs: 3, edits: []edit{oneReplica}, what: "1 replica"},
	{name: "with-one-replica", runs: 3, edits: []edit{oneReplica}, gapless: true, what: "1 replica, with gapless"},
	{name: "stateful-set", runs: 3, kind: "StatefulSet", edits: asStatefulSet, what: "as `without`, but a StatefulSet"},
	{name: "with-stateful-set", runs: 3, kind: "StatefulSet", edits: asStatefulSet, gapless: true, what: "a StatefulSet, with gapless"},
	{name: "daemon-set", runs: 3, kind: "DaemonSet", edits: asDaemonSet, what: "as `without`, but a DaemonSet, one pod on the node"},
	{name: "with-daemon-set", runs: 3, kind: "DaemonSet", edits: asDaemonSet, gapless: true, what: "a DaemonSet, with gapless"},
	{name: "keep-alive", runs: 3, keepAlive: true, what: "as `without`, but persistent connections"},
	{name: "with-keep-alive", runs: 3, keepAlive: true, gapless: true, what: "persistent connections, with gapless"},
	{name: "with-keep-alive-graceful", runs: 3, edits: []edit{gracefulShutdown}, keepAlive: true, gapless: true, what: "persistent connections, a graceful application, with gapless"},
}

// variantOf is nil if there is none with that name.
func variantOf(name string) *variant {
	for n := range variants {
		if variants[n].name == name {
			return &variants[n]
		}
	}
	return nil
}

// workload is the variant's as kubectl names it.
func (v variant) workload() string {
	if v.kind == "" {
		return "deployment/" + name
	}
	return strings.ToLower(v.kind) + "/" + name
}

func (v variant) mode() load.Mode {
	if v.keepAlive {
		return load.KeepAlive
	}
	return load.NewConnections
}
