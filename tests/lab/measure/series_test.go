package measure

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// seriesWith calls the program, with a fake cluster.
func seriesWith(t *testing.T, cluster Cluster, line string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	arguments := strings.Fields(line)
	code = program{cluster, quick, &out, &err}.series(t.Context(), seriesOf(arguments), arguments[1:])
	return code, out.String(), err.String()
}

// lines reads a file of records.
func lines[R any](t *testing.T, path string) []R {
	t.Helper()
	var records []R
	decoder := json.NewDecoder(strings.NewReader(read(t, path)))
	decoder.DisallowUnknownFields()
	for decoder.More() {
		var record R
		if err := decoder.Decode(&record); err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
	}
	return records
}

func TestADurationIsFromTheChangeUntilTheLastPodIsAvailable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "durations.jsonl")
	code, stdout, stderr := seriesWith(t, newFake(t), "durations --variant period-5 --variant no-probe --runs 2 --json "+file)
	if code != 0 || strings.Count(stdout, "\n") != 4 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	var names []string
	for _, record := range lines[Duration](t, file) {
		names = append(names, record.Setting)
		manifest, err := settingOf(record.Setting).manifest(fixtures)
		if err != nil || record.Manifest != manifest || record.Kubernetes != "v1.37.2" {
			t.Errorf("%v\n%+v", err, record)
		}
		// The fake waits for 50 ms; who is told of both ends may be late at either.
		if record.Seconds < 0.02 || record.Seconds > 5 || len(record.Pods) != 1 || record.MaxLagMS <= 0 {
			t.Fatalf("%+v", record)
		}
		if pod := record.Pods[0]; pod.Ready-pod.Created < 0.02 || pod.Running != pod.Created {
			t.Errorf("%+v", record)
		}
	}
	if !slices.Equal(names, []string{"no-probe", "period-5", "no-probe", "period-5"}) {
		t.Errorf("each in turn, in the order of the table: %v", names)
	}
}

func TestARunThatCannotBeMadeIsTriedAgain(t *testing.T) {
	t.Parallel()
	cluster := newFake(t)
	cluster.watchEnds = true
	code, stdout, stderr := seriesWith(t, cluster, "durations --variant period-5 --runs 1")
	if code != unusable || stdout != "" || strings.Count(stderr, "period-5, run 1: the watch has ended") != tries+1 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, expected := range []string{"create namespace lab-period-5-1", "create namespace lab-period-5-1-try-3", "delete namespace lab-period-5-1-try-3 --wait=false"} {
		if !slices.Contains(cluster.commands, expected) {
			t.Errorf("%q is not in\n%s", expected, strings.Join(cluster.commands, "\n"))
		}
	}
}

func TestTheCostOfProbes(t *testing.T) {
	t.Parallel()
	cluster := newFake(t)
	cluster.gapless = true
	cluster.injectsNothing = true
	file := filepath.Join(t.TempDir(), "probe-periods.jsonl")
	code, stdout, stderr := seriesWith(t, cluster, "probe-periods --variant period-2 --runs 1 --json "+file)
	if code != 0 || !strings.Contains(stdout, "period-2, run 1: 0 of ") && !strings.Contains(stdout, "requests lost") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	records := lines[ProbePeriod](t, file)
	if len(records) != 1 || records[0].Rollout.Sent == 0 || records[0].Rollout.Failed != 0 {
		t.Fatalf("%+v", records)
	}
	cost := records[0].Cost
	near := func(value, expected float64) bool { return value > expected*0.99 && value < expected*1.01 }
	if cost.Pods != 20 || !near(cost.Probes, 40/cost.Seconds) || !near(cost.KubeletCPU, 0.5/cost.Seconds) || !near(cost.ApplicationCPU, 20*0.01/2) {
		t.Errorf("%+v", cost)
	}
	if !strings.Contains(cluster.manifests["cost-period-2-1"], "\n  replicas: 20\n") || !strings.Contains(cluster.manifests["lab-period-2-1"], "\n  replicas: 2\n") {
		t.Error(cluster.manifests)
	}
}

func TestWhatTheKubeletDoesNotKnowIsAnError(t *testing.T) {
	before := used{at: time.Unix(0, 0), containers: map[string]sample{"a": {1, 10}}}
	for name, after := range map[string]used{
		"a new container":     {containers: map[string]sample{"b": {1, 20}}},
		"not looked at again": {containers: map[string]sample{"a": {1, 10}}},
	} {
		after.at = time.Unix(10, 0)
		if _, err := after.since(before); err == nil || !strings.Contains(err.Error(), "nothing new is known of") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestACompleteWorkload(t *testing.T) {
	for text, expected := range map[string]bool{
		`{"status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}}`:            true,
		`{"status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}}`:            false,
		`{"status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}}`:            false,
		`{"status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}}`:            false,
		`{"status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}}`:            false,
		`{"kind": "DaemonSet", "status": {"observedGeneration": 2, "desiredNumberScheduled": 1, "numberAvailable": 1}}`: false,
		`{"kind": "DaemonSet", "status": {"observedGeneration": 2, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1,
			"numberAvailable": 1}}`: true,
	} {
		object := watched{}
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			t.Fatal(err)
		}
		object.Metadata.Generation, object.Spec.Replicas = 2, 2
		if object.isComplete() != expected {
			t.Errorf("%v: %s", !expected, text)
		}
	}
}

func TestSettingsAndPeriodsFitTheFixture(t *testing.T) {
	for _, all := range [][]variant{settings, periods} {
		seen := map[string]bool{}
		for _, variant := range all {
			if _, err := variant.manifest(fixtures); err != nil || seen[variant.name] || variant.what == "" {
				t.Errorf("%s: %v", variant.name, err)
			}
			seen[variant.name] = true
		}
	}
}

func TestUsageOfSeries(t *testing.T) {
	t.Parallel()
	for line, expected := range map[string]string{
		"durations --variant nonsense":        `there is no variant "nonsense", only no-probe, period-1, `,
		"durations --runs 0":                  "--runs needs a number above 0",
		"durations something":                 `"something" is no option`,
		"probe-periods --render x":            "not defined",
		"durations --json /nonexistent/x/y.z": "no such file",
	} {
		code, stdout, stderr := seriesWith(t, newFake(t), line)
		if code != unusable || stdout != "" || !strings.Contains(stderr, expected) {
			t.Errorf("%s: exit code %d\n%s%s", line, code, stdout, stderr)
		}
	}
	for line, expected := range map[string]bool{
		"durations": true, "probe-periods --runs 1": true, "durations --list": false, "durations --help": false, "durations x": false,
	} {
		if NeedsCluster(strings.Fields(line)) != expected {
			t.Errorf("%q", line)
		}
	}
	if code, stdout, _ := seriesWith(t, nil, "durations --list"); code != 0 || strings.Count(stdout, "\n") != len(settings) {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	if code, _, stderr := seriesWith(t, nil, "durations --help"); code != 0 || !strings.Contains(stderr, "usage: lab measure durations") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if code, _, stderr := seriesWith(t, nil, "durations"); code != unusable || !strings.Contains(stderr, "there is no cluster") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestWhatWasMeasuredIsStillTheSetting(t *testing.T) {
	measured := map[string][]string{}
	for _, record := range lines[Duration](t, "../results/durations.jsonl") {
		measured[record.Setting] = append(measured[record.Setting], record.What+"\n"+record.Manifest)
		if record.StartsIn != startsIn || record.StopsIn != stopsIn {
			t.Errorf("%s, run %d is of another application", record.Setting, record.Run)
		}
	}
	areThoseOf(t, settings, measured)

	measured = map[string][]string{}
	for _, record := range lines[ProbePeriod](t, "../results/probe-periods.jsonl") {
		measured[record.Setting] = append(measured[record.Setting], record.What+"\n"+record.Manifest)
		if !record.Rollout.Valid {
			t.Errorf("%s, run %d is invalid", record.Setting, record.Run)
		}
	}
	areThoseOf(t, periods, measured)
}

// areThoseOf is whether each setting was measured three times, as it is today.
func areThoseOf(t *testing.T, settings []variant, measured map[string][]string) {
	t.Helper()
	for _, setting := range settings {
		manifest, err := setting.manifest(fixtures)
		if err != nil {
			t.Fatal(err)
		}
		expected := slices.Repeat([]string{setting.what + "\n" + manifest}, 3)
		if !slices.Equal(measured[setting.name], expected) {
			t.Errorf("%s was measured %d times, or as something else", setting.name, len(measured[setting.name]))
		}
		delete(measured, setting.name)
	}
	if len(measured) > 0 {
		t.Errorf("there are no settings for %v", measured)
	}
}

// settingOf is nil if there is none with that name.
func settingOf(name string) *variant {
	for n := range settings {
		if settings[n].name == name {
			return &settings[n]
		}
	}
	return nil
}
