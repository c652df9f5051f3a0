package measure

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const fixtures = "../../fixtures"

func TestThePairIsTheFixtureAsItIs(t *testing.T) {
	fixture, err := os.ReadFile(filepath.Join(fixtures, "scenarios", "rolling.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"without", "with"} {
		manifest, err := variantOf(name).manifest(fixtures)
		if err != nil || manifest != string(fixture)+service {
			t.Errorf("%s: %v\n%s", name, err, manifest)
		}
	}
}

func TestEachVariantSaysWhatItIsAbout(t *testing.T) {
	for name, expected := range map[string]string{
		"without-explicit":         "  strategy: {rollingUpdate: {maxUnavailable: 1, maxSurge: 1}}\n",
		"with-explicit":            "  strategy: {rollingUpdate: {maxUnavailable: 1, maxSurge: 1}}\n",
		"probe-only":               "          readinessProbe: {tcpSocket: {port: 5000}, periodSeconds: 5}\n---\n",
		"sleep-only":               "          lifecycle: {preStop: {sleep: {seconds: 10}}}\n      terminationGracePeriodSeconds: 40\n---\n",
		"max-unavailable-only":     "  strategy: {rollingUpdate: {maxUnavailable: 0}}\n",
		"graceful-only":            "          env: [{name: SHUTDOWN, value: graceful}]\n---\n",
		"recreate":                 "  strategy: {type: Recreate}\n",
		"stateful-set":             "kind: StatefulSet\nmetadata:\n  name: chatbot\nspec:\n  replicas: 2\n  serviceName: chatbot\n",
		"with-daemon-set":          "kind: DaemonSet\nmetadata:\n  name: chatbot\nspec:\n  revisionHistoryLimit: 10\n",
		"one-replica":              "  replicas: 1\n  selector:\n",
		"with-keep-alive-graceful": "          env: [{name: SHUTDOWN, value: graceful}]\n---\n",
	} {
		manifest, err := variantOf(name).manifest(fixtures)
		if err != nil || !strings.Contains(manifest, expected) {
			t.Errorf("%s: %v\n%s", name, err, manifest)
		}
	}
}

func TestAnEditThatDoesNotFitTheFixtureIsAnError(t *testing.T) {
	variant := variant{name: "odd", edits: []edit{{"  replicas: 3", "  replicas: 1"}}}
	if _, err := variant.manifest(fixtures); err == nil || !strings.Contains(err.Error(), `not exactly one line "  replicas: 3"`) {
		t.Errorf("%v", err)
	}
}

func TestVariantsHaveNamesOfTheirOwnAndPartners(t *testing.T) {
	seen := map[string]bool{}
	for _, variant := range variants {
		if seen[variant.name] || variant.what == "" || variant.runs == 0 {
			t.Errorf("%+v", variant)
		}
		seen[variant.name] = true
		if hasGapless := strings.HasPrefix(variant.name, "with-") || variant.name == "with"; hasGapless != variant.gapless {
			t.Errorf("%s: gapless %v", variant.name, variant.gapless)
		}
		if isOther := strings.HasSuffix(variant.name, "-set"); isOther != (variant.kind != "") {
			t.Errorf("%s: %s", variant.name, variant.workload())
		}
		if hasKeepAlive := strings.Contains(variant.name, "keep-alive"); hasKeepAlive != variant.keepAlive {
			t.Errorf("%s: keep-alive %v", variant.name, variant.keepAlive)
		}
	}
}
