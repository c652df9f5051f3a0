package measure

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// measureWith calls the whole program, with a fake cluster.
func measureWith(t *testing.T, cluster Cluster, arguments ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = program{cluster, quick, &out, &err}.main(t.Context(), arguments)
	return code, out.String(), err.String()
}

func TestThePairShowsTheClaim(t *testing.T) {
	t.Parallel()
	cluster := newFake(t)
	directory := t.TempDir()
	jsonFile, svgFile := filepath.Join(directory, "runs.json"), filepath.Join(directory, "pair.svg")
	code, stdout, stderr := measureWith(t, cluster, "--pair", "--runs", "2", "--json", jsonFile, "--svg", svgFile)
	if code != claimHolds {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, expected := range []string{"| `without` | image and port, nothing else | 2 | ", "closed-early", "**The claim holds.**"} {
		if !strings.Contains(stdout, expected) {
			t.Errorf("%q is not in\n%s", expected, stdout)
		}
	}

	file, err := os.Open(jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	records, err := readRecords(file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, record := range records {
		names = append(names, record.Variant)
		if !record.Valid || record.Kubernetes != "v1.37.2" || record.Load != "new-connections" || record.Capacity < 120 {
			t.Errorf("%+v", record)
		}
		if isLossy := record.Variant == "without"; isLossy != (record.Failed > 0) {
			t.Errorf("%s lost %d", record.Variant, record.Failed)
		}
	}
	if !slices.Equal(names, []string{"without", "without", "with", "with"}) {
		t.Errorf("the runs are %v", names)
	}

	if without, with := cluster.manifests["lab-without-1"], cluster.manifests["lab-with-1"]; without != with || without == "" {
		t.Errorf("the manifests differ:\n%s\n%s", without, with)
	}
	for _, expected := range []string{"create namespace lab-without-1", "delete namespace lab-without-1 --wait=false", "create namespace lab-with-2"} {
		if !slices.Contains(cluster.commands, expected) {
			t.Errorf("%q is not in\n%s", expected, strings.Join(cluster.commands, "\n"))
		}
	}

	// Table and picture come from the file alone.
	again := filepath.Join(directory, "again.svg")
	code, rendered, _ := measureWith(t, nil, "--render", jsonFile, "--svg", again)
	if code != claimHolds || rendered != stdout {
		t.Errorf("exit code %d, rendered anew:\n%s\ninstead of\n%s", code, rendered, stdout)
	}
	first, _ := os.ReadFile(svgFile)
	second, _ := os.ReadFile(again)
	if len(first) == 0 || !bytes.Equal(first, second) {
		t.Error("the picture is another one")
	}
}

func TestALossWithGaplessRefutesTheClaim(t *testing.T) {
	t.Parallel()
	cluster := newFake(t)
	cluster.losesWithGapless = true
	code, stdout, _ := measureWith(t, cluster, "--pair", "--runs", "1")
	if code != claimFails || !strings.Contains(stdout, "**The claim does not hold.**") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

func TestPersistentConnectionsAreUsedIfTheVariantSaysSo(t *testing.T) {
	t.Parallel()
	jsonFile := filepath.Join(t.TempDir(), "runs.json")
	code, stdout, stderr := measureWith(t, newFake(t), "--variant", "with-keep-alive-graceful", "--runs", "1", "--json", jsonFile)
	text, _ := os.ReadFile(jsonFile)
	var record Record
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatal(err)
	}
	if code != claimHolds || record.Load != "keep-alive" {
		t.Errorf("exit code %d, load %q\n%s%s", code, record.Load, stdout, stderr)
	}
}

func TestARunWithoutTheInjectedAnnotationIsInvalid(t *testing.T) {
	t.Parallel()
	cluster := newFake(t)
	cluster.injectsNothing = true
	code, stdout, _ := measureWith(t, cluster, "--variant", "with", "--runs", "1")
	if code != unusable || !strings.Contains(stdout, "Invalid: `with`, run 1: the workload lacks the annotation gapless.dev/injected.") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

func TestARunThatCannotBeMadeIsInvalidAndCleanedUp(t *testing.T) {
	t.Parallel()
	cluster := newFake(t)
	cluster.isBroken = "set image"
	code, stdout, _ := measureWith(t, cluster, "--variant", "without", "--runs", "2")
	if code != unusable || !strings.Contains(stdout, "| `without` | image and port, nothing else | 0 (and 2 invalid) | – | – | – | – | – |") ||
		!strings.Contains(stdout, "the run could not be made: kubectl --namespace lab-without-1 set image deployment/chatbot kuberada-chatbot=kuberada-chatbot:v2.0: it is broken") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	if !slices.Contains(cluster.commands, "delete namespace lab-without-2 --wait=false") {
		t.Errorf("the namespace is not deleted:\n%s", strings.Join(cluster.commands, "\n"))
	}
}

func TestWithoutGaplessInstalledTheEarlierRunsAreStillShown(t *testing.T) {
	t.Parallel()
	cluster := newFake(t)
	cluster.uninstallable = true
	code, stdout, stderr := measureWith(t, cluster, "--pair", "--runs", "1")
	if code != unusable || !strings.Contains(stdout, "`without`") || !strings.Contains(stderr, "gapless cannot be installed: no chart") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestAnEndOfTheContextEndsTheMeasurement(t *testing.T) {
	t.Parallel()
	cluster := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, err bytes.Buffer
	code := program{cluster, quick, &out, &err}.main(ctx, []string{"--pair"})
	if code != unusable || !strings.Contains(err.String(), "interrupted") {
		t.Errorf("exit code %d\n%s", code, err.String())
	}
	if !slices.Contains(cluster.commands, "delete namespace lab-without-1 --wait=false") {
		t.Errorf("the namespace is not deleted:\n%s", strings.Join(cluster.commands, "\n"))
	}
}

func TestBadUsage(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for arguments, expected := range map[string]string{
		"--variant nonsense":             `there is no variant "nonsense", only without, with, `,
		"--runs 0":                       "--runs needs a number above 0",
		"--runs many":                    "invalid value",
		"--pair --variant with":          "leave --variant away",
		"--variant with --svg x":         "run both",
		"--render x --json y":            "only --svg goes with it",
		"--render x --runs 3":            "only --svg goes with it",
		"something":                      `"something" is no option`,
		"--render /nonexistent":          "no such file",
		"--render " + empty:              "there is no run in it",
		"--unknown":                      "not defined",
		"--pair --json /nonexistent/x/y": "no such file",
	} {
		code, stdout, stderr := measureWith(t, newFake(t), strings.Fields(arguments)...)
		if code != unusable || stdout != "" || !strings.Contains(stderr, expected) {
			t.Errorf("%s: exit code %d\n%s%s", arguments, code, stdout, stderr)
		}
	}
}

func TestNoClusterIsNeededToRenderAndToList(t *testing.T) {
	t.Parallel()
	for arguments, expected := range map[string]bool{
		"": true, "--pair": true, "--json x": true, "--render x": false, "--list": false, "--nonsense": false, "--help": false,
	} {
		if NeedsCluster(strings.Fields(arguments)) != expected {
			t.Errorf("%q", arguments)
		}
	}
	code, stdout, _ := measureWith(t, nil, "--list")
	if code != 0 || strings.Count(stdout, "\n") != len(variants) {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	code, _, stderr := measureWith(t, nil, "--help")
	if code != 0 || !strings.Contains(stderr, "usage: lab measure") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	code, _, stderr = measureWith(t, nil, "--pair")
	if code != unusable || !strings.Contains(stderr, "there is no cluster") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
