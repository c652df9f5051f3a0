package measure

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gapless.dev/tests/lab/load"
)

// sound is a run of 10 s with 10 requests/s: set image at 2 s, and at 6 s all of it
// is over. Nothing is lost.
func sound() observation {
	seen := observation{
		rate: 10, capacity: 100, setImage: 2 * time.Second, rolledOut: 4 * time.Second, settled: 6 * time.Second,
		end: 10 * time.Second,
	}
	for n := range 100 {
		request := load.Request{
			Due: time.Duration(n) * 100 * time.Millisecond, Latency: time.Duration(n+1) * time.Millisecond,
			Kind: load.Success, Version: newVersion,
		}
		if n < 30 {
			request.Version = oldVersion
		}
		seen.result.Requests = append(seen.result.Requests, request)
	}
	return seen
}

// lose makes requests fail, by their number.
func lose(seen observation, kind load.Kind, numbers ...int) {
	for _, n := range numbers {
		seen.result.Requests[n].Kind, seen.result.Requests[n].Version = kind, ""
	}
}

func evaluated(seen observation, name string) Record {
	variant := *variantOf(name)
	record := Record{Variant: name, Run: 1}
	evaluate(&record, variant, seen)
	return record
}

func TestARunWithoutLoss(t *testing.T) {
	record := evaluated(sound(), "without")
	expected := Record{
		Variant: "without", Run: 1, Valid: true, InvalidReasons: []string{},
		Sent: 100, Kinds: map[load.Kind]int{}, RolloutSeconds: 2, SettledSeconds: 4,
		LatencyMS: Latency{P50: 50, P99: 99, Max: 100}, Rate: 10, Capacity: 100,
		LoadStart: -2, LoadEnd: 7.9, SentBySecond: slices.Repeat([]int{10}, 10), Failures: []Failure{},
	}
	if !reflect.DeepEqual(record, expected) {
		t.Errorf("%+v\ninstead of\n%+v", record, expected)
	}
}

func TestLossesAreCountedByKindAndTime(t *testing.T) {
	seen := sound()
	lose(seen, load.ConnectionRefused, 25, 26, 27, 40)
	lose(seen, load.ClosedEarly, 24)
	record := evaluated(seen, "without")
	if !record.Valid || record.Sent != 100 || record.Failed != 5 {
		t.Errorf("%+v", record)
	}
	if !maps.Equal(record.Kinds, map[load.Kind]int{load.ConnectionRefused: 4, load.ClosedEarly: 1}) {
		t.Errorf("%v", record.Kinds)
	}
	expected := []Failure{
		{0.4, load.ClosedEarly}, {0.5, load.ConnectionRefused}, {0.6, load.ConnectionRefused}, {0.7, load.ConnectionRefused},
		{2, load.ConnectionRefused},
	}
	if !slices.Equal(record.Failures, expected) {
		t.Errorf("%v", record.Failures)
	}
	// From 24 to 28, the next that succeeds; and from 24 to 40.
	if record.OutageSeconds != 0.4 || record.FailingSeconds != 1.6 {
		t.Errorf("outage %v, failing %v", record.OutageSeconds, record.FailingSeconds)
	}
	if record.LatencyMS.Max != 100 || record.LatencyMS.P50 != 53 {
		t.Errorf("%+v", record.LatencyMS)
	}
}

func TestTheLongestOutage(t *testing.T) {
	for name, test := range map[string]struct {
		lost     []int
		expected time.Duration
	}{
		"none":                  {nil, 0},
		"a single request":      {[]int{30}, 100 * time.Millisecond},
		"every second request":  {[]int{30, 32, 34, 36}, 100 * time.Millisecond},
		"the longer of two":     {[]int{30, 31, 50, 51, 52}, 300 * time.Millisecond},
		"the first of two":      {[]int{30, 31, 32, 50}, 300 * time.Millisecond},
		"one that does not end": {[]int{97, 98, 99}, 200 * time.Millisecond},
	} {
		seen := sound()
		lose(seen, load.ConnectionReset, test.lost...)
		if outage := longestOutage(seen.result.Requests); outage != test.expected {
			t.Errorf("%s: %v instead of %v", name, outage, test.expected)
		}
	}
}

func TestWhyARunIsInvalid(t *testing.T) {
	for reason, spoil := range map[string]func(*observation){
		"1 requests failed before kubectl set image":                                       func(seen *observation) { lose(*seen, load.Other, 19) },
		"2 requests failed after the old pods were gone and all new ones answered":         func(seen *observation) { lose(*seen, load.Other, 60, 99) },
		"1 answers were not from v2.0 after the old pods were gone":                        func(seen *observation) { seen.result.Requests[60].Version = oldVersion },
		"the generator could not send 1 requests: in use":                                  func(seen *observation) { fault(seen) },
		"the generator started a request 101ms late, more than 100ms":                      func(seen *observation) { seen.result.MaxLag = 101 * time.Millisecond },
		"10 requests/s are more than a third of the capacity, 29/s":                        func(seen *observation) { seen.capacity = 29 },
		"of 100 requests that were due the generator left out 3":                           func(seen *observation) { seen.result.Requests = seen.result.Requests[:97] },
		"the workload has the annotation gapless.dev/injected, without gapless":            func(seen *observation) { seen.injected = true },
		"no request was sent; of 100 requests that were due the generator left out 100":    func(seen *observation) { seen.result.Requests = nil },
		"1 requests failed before kubectl set image; 1 requests failed after the old pods": func(seen *observation) { lose(*seen, load.Other, 0, 70) },
	} {
		seen := sound()
		spoil(&seen)
		record := evaluated(seen, "without")
		if text := strings.Join(record.InvalidReasons, "; "); record.Valid || !strings.HasPrefix(text, reason) {
			t.Errorf("valid: %v, %q instead of %q", record.Valid, text, reason)
		}
	}

	if record := evaluated(sound(), "with"); !slices.Equal(record.InvalidReasons, []string{"the workload lacks the annotation gapless.dev/injected"}) {
		t.Errorf("%q", record.InvalidReasons)
	}
	atTheLimits := sound()
	atTheLimits.result.MaxLag, atTheLimits.capacity, atTheLimits.injected = maxLag, 30, true
	lose(atTheLimits, load.Other, 20, 59)
	if record := evaluated(atTheLimits, "with"); !record.Valid {
		t.Errorf("%q", record.InvalidReasons)
	}
}

func fault(seen *observation) {
	seen.result.GeneratorFaults, seen.result.FirstFault = 1, errors.New("in use")
}
