package measure

import (
	"fmt"
	"math"
	"slices"
	"time"

	"gapless.dev/tests/lab/load"
)

// maxLag is how late the generator may start a request. Ten times less than a
// second, the shortest time that Kubernetes' probes know.
const maxLag = 100 * time.Millisecond

// minCapacityFactor is how many times the rate the generator has to reach.
const minCapacityFactor = 3

// observation is what a run gives. The times are since the start of the load.
type observation struct {
	result    load.Result
	rate      int
	capacity  float64
	setImage  time.Duration
	rolledOut time.Duration
	settled   time.Duration
	end       time.Duration
	// injected is whether the Deployment has gapless's annotation.
	injected bool
}

// evaluate fills in a record. The requests are in the order in which they were due.
func evaluate(record *Record, variant variant, seen observation) {
	requests := seen.result.Requests
	since := func(moment time.Duration) float64 { return seconds(moment - seen.setImage) }

	record.InvalidReasons = seen.invalidReasons(variant)
	record.Valid = len(record.InvalidReasons) == 0

	record.Sent = len(requests)
	record.Kinds = map[load.Kind]int{}
	record.Failures = []Failure{}
	record.SentBySecond = []int{}
	var latencies []time.Duration
	for _, request := range requests {
		record.SentBySecond = countInSecond(record.SentBySecond, request.Due-requests[0].Due)
		if request.Kind == load.Success {
			latencies = append(latencies, request.Latency)
			continue
		}
		record.Kinds[request.Kind]++
		record.Failures = append(record.Failures, Failure{since(request.Due), request.Kind})
	}
	record.Failed = len(record.Failures)
	if record.Sent > 0 {
		record.LoadStart, record.LoadEnd = since(requests[0].Due), since(requests[len(requests)-1].Due)
	}
	if record.Failed > 0 {
		record.FailingSeconds = round(record.Failures[record.Failed-1].Due - record.Failures[0].Due)
	}
	record.OutageSeconds = seconds(longestOutage(requests))
	record.RolloutSeconds, record.SettledSeconds = since(seen.rolledOut), since(seen.settled)
	record.LatencyMS = latency(latencies)

	record.Rate, record.Capacity = seen.rate, math.Round(seen.capacity)
	record.MaxLagMS = milliseconds(seen.result.MaxLag)
	record.MaxInFlight = seen.result.MaxInFlight
	record.GeneratorFaults = seen.result.GeneratorFaults
}

// invalidReasons are why the run says nothing about the variant: the generator was
// at fault, or the cluster was not in the state that the run is about.
func (o observation) invalidReasons(variant variant) []string {
	var before, after, fromOld int
	for _, request := range o.result.Requests {
		isLost := request.Kind != load.Success
		switch {
		case request.Due < o.setImage && isLost:
			before++
		case request.Due >= o.settled && isLost:
			after++
		case request.Due >= o.settled && request.Version != newVersion:
			fromOld++
		}
	}
	reasons := []string{}
	add := func(isWrong bool, format string, arguments ...any) {
		if isWrong {
			reasons = append(reasons, fmt.Sprintf(format, arguments...))
		}
	}
	add(len(o.result.Requests) == 0, "no request was sent")
	add(before > 0, "%d requests failed before kubectl set image", before)
	add(after > 0, "%d requests failed after the old pods were gone and all new ones answered", after)
	add(fromOld > 0, "%d answers were not from %s after the old pods were gone", fromOld, newVersion)
	due := int(o.end.Seconds() * float64(o.rate))
	missing := due - len(o.result.Requests) - o.result.GeneratorFaults
	add(missing > int(maxLag.Seconds()*float64(o.rate))+1, "of %d requests that were due the generator left out %d", due, missing)
	add(o.result.GeneratorFaults > 0, "the generator could not send %d requests: %v", o.result.GeneratorFaults, o.result.FirstFault)
	add(o.result.MaxLag > maxLag, "the generator started a request %v late, more than %v", o.result.MaxLag, maxLag)
	add(o.capacity < float64(minCapacityFactor*o.rate), "%d requests/s are more than a third of the capacity, %.0f/s", o.rate, o.capacity)
	add(variant.gapless && !o.injected, "the workload lacks the annotation %s", injectedAnnotation)
	add(!variant.gapless && o.injected, "the workload has the annotation %s, without gapless", injectedAnnotation)
	return reasons
}

// longestOutage is the longest time from a request that failed to the next one that
// succeeded; to the last request if none did.
func longestOutage(requests []load.Request) time.Duration {
	var longest, start time.Duration
	isOut := false
	for _, request := range requests {
		isLost := request.Kind != load.Success
		if isLost && !isOut {
			start = request.Due
		}
		if isOut || isLost {
			longest = max(longest, request.Due-start)
		}
		isOut = isLost
	}
	return longest
}

// countInSecond counts a moment that is not before the last one.
func countInSecond(counts []int, moment time.Duration) []int {
	for second := int(moment / time.Second); len(counts) <= second; {
		counts = append(counts, 0)
	}
	counts[len(counts)-1]++
	return counts
}

func latency(all []time.Duration) Latency {
	if len(all) == 0 {
		return Latency{}
	}
	slices.Sort(all)
	// The nearest rank.
	percentile := func(share float64) float64 {
		return milliseconds(all[int(math.Ceil(share*float64(len(all))))-1])
	}
	return Latency{P50: percentile(0.5), P99: percentile(0.99), Max: percentile(1)}
}

func seconds(duration time.Duration) float64      { return round(duration.Seconds()) }
func milliseconds(duration time.Duration) float64 { return round(duration.Seconds() * 1000) }

// round leaves three digits after the point.
func round(value float64) float64 { return math.Round(value*1000) / 1000 }
